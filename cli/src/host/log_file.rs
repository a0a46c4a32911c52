//! Files that services write their stderr to. Appended to by the service itself, so that they outlive `up`; capped by
//! whoever is `up`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// A log larger than this is moved to `<log>.1`, which is replaced.
pub(crate) const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Opens a log for a child to append to.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Keeps a log below its limit. Its writer appends, so it goes on at the start of the emptied file.
pub(crate) fn cap(path: &Path, max_bytes: u64) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > max_bytes => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    fs::copy(path, path.with_added_extension("1"))?;
    OpenOptions::new().write(true).open(path)?.set_len(0)
}

/// The last lines of a log.
pub(crate) fn tail(path: &Path, lines: usize) -> io::Result<Vec<String>> {
    const LOOK_BACK: u64 = 16 * 1024;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOOK_BACK)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    Ok(all[all.len().saturating_sub(lines)..].iter().map(|&line| line.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_capped_log_keeps_its_past_beside_it_and_its_writer_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut writer = open(&path).unwrap();
        writer.write_all(b"one\ntwo\nthree\n").unwrap();
        cap(&path, 100).unwrap();
        assert_eq!(tail(&path, 2).unwrap(), ["two", "three"]);
        cap(&path, 5).unwrap();
        writer.write_all(b"four\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
        assert_eq!(tail(&directory.path().join("log.1"), 9).unwrap(), ["one", "two", "three"]);
    }
}
