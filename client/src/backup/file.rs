//! The file of a backup: a line that says what it is, parts, and a digest of all that. Without the
//! digest the file was cut off, and with another one it was damaged; neither is restored.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chassis::{MAX_MESSAGE_BYTES, disk};
use prost::Message as _;
use proto::jobgraph::BackupPart;
use sha2::{Digest as _, Sha256};

/// The first line.
const LINE: &[u8] = b"mainspring backup 1\n";

/// How many bytes the digest at the end has.
const DIGEST_BYTES: usize = 32;
const DIGEST: u64 = DIGEST_BYTES as u64;

/// The most bytes that one part may have: what a message may have.
const LARGEST: u64 = MAX_MESSAGE_BYTES as u64;

/// A file that is being written. It gets its name once it is whole, and is removed if the value is
/// dropped before.
#[derive(Debug)]
pub struct BackupWriter {
    file: BufWriter<File>,
    path: PathBuf,
    new: PathBuf,
    hasher: Sha256,
    bytes: u64,
}

impl BackupWriter {
    /// Begins a file that only its owner can read: a backup holds secrets.
    pub fn create(path: &Path) -> io::Result<Self> {
        if path.try_exists()? {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "it is there already"));
        }
        let new = path.with_added_extension("unfinished");
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let (file, path) = (BufWriter::new(file), path.to_owned());
        let mut writer = Self { file, path, new, hasher: Sha256::new(), bytes: 0 };
        writer.put(LINE)?;
        Ok(writer)
    }

    /// Adds a part.
    pub fn add(&mut self, part: &BackupPart) -> io::Result<()> {
        self.put(&part.encode_length_delimited_to_vec())
    }

    /// Ends the file and gives it its name. The answer is its size in bytes.
    pub fn finish(mut self) -> io::Result<u64> {
        let digest = self.hasher.clone().finalize();
        self.put(&digest)?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        disk::replace(&self.new, &self.path)?;
        Ok(self.bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

impl Drop for BackupWriter {
    fn drop(&mut self) {
        // A whole file has its own name by now, so that there is nothing to remove.
        let _ = fs::remove_file(&self.new);
    }
}

/// The parts of a whole file.
#[derive(Debug)]
pub struct BackupReader {
    file: io::Take<BufReader<File>>,
}

impl BackupReader {
    /// Opens a file once all of its bytes were seen to be those that were written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let damaged = |why| io::Error::new(ErrorKind::InvalidData, why);
        let mut file = BufReader::new(File::open(path)?);
        let bytes = file.get_ref().metadata()?.len();
        let mut line = [0; LINE.len()];
        if bytes < LINE.len() as u64 + DIGEST || file.read_exact(&mut line).is_err() || line != LINE
        {
            return Err(damaged("it is no backup of mainspring, or of another format"));
        }
        let whole = digest_of(&mut File::open(path)?.take(bytes - DIGEST))?;
        let mut tail = [0; DIGEST_BYTES];
        let mut end = File::open(path)?;
        end.seek(SeekFrom::Start(bytes - DIGEST))?;
        end.read_exact(&mut tail)?;
        if whole != tail {
            return Err(damaged("it is damaged, or was cut off"));
        }
        Ok(Self { file: file.take(bytes - DIGEST - LINE.len() as u64) })
    }

    fn part(&mut self) -> io::Result<Option<BackupPart>> {
        let malformed = |text: String| io::Error::new(ErrorKind::InvalidData, text);
        let Some(length) = self.length()? else { return Ok(None) };
        if length > LARGEST {
            return Err(malformed(format!("a part of the backup has {length} bytes")));
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact(&mut bytes)?;
        BackupPart::decode(bytes.as_slice()).map(Some).map_err(|error| malformed(error.to_string()))
    }

    /// The length of the next part, a varint; `None` at the end.
    fn length(&mut self) -> io::Result<Option<u64>> {
        let mut length = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            if self.file.read(&mut byte)? == 0 {
                return if shift == 0 { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
            length |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(Some(length));
            }
        }
        Err(ErrorKind::InvalidData.into())
    }
}

impl Iterator for BackupReader {
    type Item = io::Result<BackupPart>;

    fn next(&mut self) -> Option<Self::Item> {
        self.part().transpose()
    }
}

fn digest_of(file: &mut impl io::Read) -> io::Result<[u8; 32]> {
    let (mut hasher, mut part) = (Sha256::new(), vec![0; 1024 * 1024]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok(hasher.finalize().into()),
            read => hasher.update(&part[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proto::jobgraph::backup_part::Part;

    use super::*;

    fn parts() -> Vec<BackupPart> {
        [1, 200, 100_000]
            .map(|size| BackupPart { part: Some(Part::Chunk(vec![7_u8; size].into())) })
            .to_vec()
    }

    fn written(path: &Path) {
        let mut writer = BackupWriter::create(path).unwrap();
        parts().iter().for_each(|part| writer.add(part).unwrap());
        writer.finish().unwrap();
    }

    #[test]
    fn a_file_reads_back_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record.backup");
        written(&path);
        let read: io::Result<Vec<_>> = BackupReader::open(&path).unwrap().collect();
        assert_eq!(read.unwrap(), parts());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let again = BackupWriter::create(&path).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists, "no backup replaces another one");
    }

    #[test]
    fn a_file_that_is_not_finished_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = BackupWriter::create(&directory.path().join("record.backup")).unwrap();
        writer.add(&parts()[0]).unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_is_cut_or_has_another_byte_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record.backup");
        written(&path);
        let whole = fs::read(&path).unwrap();
        for length in [0, 5, LINE.len(), LINE.len() + 31, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(BackupReader::open(&path).is_err(), "{length} bytes of {}", whole.len());
        }
        for at in [0, LINE.len() + 1, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(BackupReader::open(&path).is_err(), "byte {at}");
        }
    }
}
