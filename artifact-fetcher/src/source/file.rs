//! Files of this machine.

use std::fs::Metadata;
use std::io::{Error, ErrorKind, SeekFrom};
use std::os::unix::fs::MetadataExt as _;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::{Broken, OpenError, Opened, Source};
use crate::error::FetchError;
use crate::model::Location;

/// How many bytes are read at once, at most.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Reads regular files.
pub struct FileSource;

#[async_trait]
impl Source for FileSource {
    async fn open(
        &self,
        location: &Location,
        offset: u64,
        validator: Option<&str>,
    ) -> Result<Opened, OpenError> {
        let (Location::File(path) | Location::Local(path)) = location else {
            let why = "it is no file".to_owned();
            return Err(OpenError::Final(FetchError::UriInvalid {
                uri: location.to_string(),
                why,
            }));
        };
        let refuse = |error: Error| OpenError::Final(refusal(location, error));
        // The file is looked at before it is opened, because opening a pipe waits for a writer.
        regular(&tokio::fs::metadata(path).await.map_err(refuse)?).map_err(refuse)?;
        let mut file = File::open(path).await.map_err(refuse)?;
        let metadata = file.metadata().await.map_err(refuse)?;
        regular(&metadata).map_err(refuse)?;
        // A file that was changed between two openings counts as another version.
        let version = format!(
            "{}-{}-{}.{}",
            metadata.ino(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec()
        );
        let offset = if validator == Some(version.as_str()) { offset } else { 0 };
        file.seek(SeekFrom::Start(offset)).await.map_err(refuse)?;
        let size_bytes = Some(metadata.len());
        Ok(Opened {
            size_bytes,
            offset,
            validator: Some(version),
            body: chunks(file, metadata.len()).boxed(),
        })
    }
}

fn regular(metadata: &Metadata) -> Result<(), Error> {
    let what = if metadata.is_file() {
        return Ok(());
    } else if metadata.is_dir() {
        "it is a directory: name one file"
    } else {
        "it is no regular file"
    };
    Err(Error::new(ErrorKind::InvalidInput, what))
}

/// The buffers are as large as the file, where the file is small: the runtime has another of the
/// same size for each, and an allocator keeps for good what large buffers took.
fn chunks(file: File, size: u64) -> impl futures::Stream<Item = Result<Bytes, Broken>> + Send {
    // One byte is enough to find the end, or that the file has grown.
    let at_once = usize::try_from(size).unwrap_or(CHUNK_BYTES).clamp(1, CHUNK_BYTES);
    futures::stream::try_unfold(file, move |mut file| async move {
        let mut buffer = BytesMut::with_capacity(at_once);
        let read = file.read_buf(&mut buffer).await.map_err(|error| Broken(error.to_string()))?;
        Ok((read > 0).then(|| (buffer.freeze(), file)))
    })
}

fn refusal(location: &Location, error: Error) -> FetchError {
    let (uri, why) = (location.to_string(), error.to_string());
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            FetchError::NotFound { uri, why: "no such file".into() }
        }
        _ => FetchError::NotReadable { uri, why },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::TryStreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_small_file_is_read_into_a_small_buffer_and_a_large_one_into_several() {
        let directory = tempfile::tempdir().unwrap();
        for bytes in [0, 20, CHUNK_BYTES + 1] {
            let path = directory.path().join(bytes.to_string());
            std::fs::write(&path, vec![7; bytes]).unwrap();
            let opened = FileSource.open(&Location::Local(path), 0, None).await.unwrap();
            let chunks: Vec<Bytes> = opened.body.try_collect().await.unwrap();
            assert_eq!(chunks.iter().map(Bytes::len).sum::<usize>(), bytes);
            for chunk in chunks {
                let buffer = chunk.try_into_mut().unwrap().capacity();
                assert!(buffer <= bytes.min(CHUNK_BYTES), "{buffer} for a file of {bytes}");
            }
        }
    }
}
