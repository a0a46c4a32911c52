//! Files of this machine.

use std::fs::Metadata;
use std::io::{Error, ErrorKind, SeekFrom};
use std::os::unix::fs::MetadataExt as _;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::{Cut, OpenError, Opened, Source};
use crate::error::FetchError;
use crate::model::Location;

/// Bytes that are read at once.
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
            return Err(OpenError::Final(FetchError::UriInvalid { uri: location.to_string(), why }));
        };
        let refuse = |error: Error| OpenError::Final(refusal(location, error));
        // Looked at before it is opened: opening a pipe waits until somebody writes into it.
        regular(&tokio::fs::metadata(path).await.map_err(refuse)?).map_err(refuse)?;
        let mut file = File::open(path).await.map_err(refuse)?;
        let metadata = file.metadata().await.map_err(refuse)?;
        regular(&metadata).map_err(refuse)?;
        // A file that was changed between two openings is another one.
        let version =
            format!("{}-{}-{}.{}", metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        let offset = if validator == Some(version.as_str()) { offset } else { 0 };
        file.seek(SeekFrom::Start(offset)).await.map_err(refuse)?;
        let size_bytes = Some(metadata.len());
        Ok(Opened { size_bytes, offset, validator: Some(version), body: chunks(file).boxed() })
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

fn chunks(file: File) -> impl futures::Stream<Item = Result<Bytes, Cut>> + Send {
    futures::stream::try_unfold(file, |mut file| async move {
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
        let read = file.read_buf(&mut buffer).await.map_err(|error| Cut(error.to_string()))?;
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
