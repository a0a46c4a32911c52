//! The files that services write their stderr to. Each service appends to its file by itself, so
//! that the writing outlives `up`; the `up` of the moment caps the files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The size above which a log is moved to `<log>.1`, which it replaces.
pub(crate) const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Opens a log for a child to append to.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Keeps a log below its limit. The writer goes on at the start of the emptied file, because it
/// appends.
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

/// The last errors, in sentences, of the process that wrote a log from byte `from` on; a panic is
/// an error too. The help that follows an error is left out, because the caller adds its own. A log
/// without errors answers its last lines.
pub(crate) fn last_words(path: &Path, from: u64) -> io::Result<Vec<String>> {
    const LOOK_BACK: u64 = 64 * 1024;
    const ERRORS: usize = 2;
    const LINES: usize = 3;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // A log that was emptied in the meantime is read from its beginning.
    let from = if from > length { 0 } else { from };
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(LOOK_BACK))))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let said: Vec<Said> = text.lines().filter_map(Said::of).collect();
    let any_error = said.iter().any(|said| said.is_error);
    let mut words: Vec<String> = Vec::new();
    for said in said.iter().filter(|said| said.is_error || !any_error) {
        // A repeated sentence, as after a second start, says nothing new.
        words.retain(|word| *word != said.text);
        words.push(said.text.clone());
    }
    let most = if any_error { ERRORS } else { LINES };
    words.drain(..words.len().saturating_sub(most));
    Ok(words)
}

/// One line of a log, for people.
struct Said {
    text: String,
    is_error: bool,
}

impl Said {
    /// Reads a line; `None` for a line that says nothing by itself, because it is blank or indented
    /// below one that does.
    fn of(line: &str) -> Option<Self> {
        if line.trim().is_empty() || line.starts_with(char::is_whitespace) {
            return None;
        }
        let Ok(serde_json::Value::Object(event)) = serde_json::from_str(line) else {
            return Some(Self { text: line.to_owned(), is_error: line.starts_with("error") });
        };
        let text =
            event.get("message").and_then(|message| message.as_str()).unwrap_or(line).to_owned();
        Some(Self { text, is_error: event.get("level").is_some_and(|level| level == "ERROR") })
    }
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
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
        cap(&path, 5).unwrap();
        writer.write_all(b"four\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
        assert_eq!(
            fs::read_to_string(directory.path().join("log.1")).unwrap(),
            "one\ntwo\nthree\n"
        );
    }

    #[test]
    fn last_words_are_sentences_of_this_life_errors_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let event = |level: &str, message: &str| {
            format!(
                "{}\n",
                serde_json::json!({ "timestamp": "t", "level": level, "message": message })
            )
        };
        let earlier = event("ERROR", "of an earlier life");
        let now = [
            event("INFO", "opening"),
            event("ERROR", "worker panicked at page.rs:7: page 3 is damaged"),
            "   0: std::backtrace\n   1: redb\n".to_owned(),
            event("ERROR", "the record is damaged"),
            event("INFO", "gone"),
        ];
        fs::write(&path, format!("{earlier}{}", now.concat())).unwrap();
        let from = earlier.len() as u64;
        let errors = ["worker panicked at page.rs:7: page 3 is damaged", "the record is damaged"];
        assert_eq!(last_words(&path, from).unwrap(), errors);
        fs::write(&path, format!("{earlier}{}{}", event("INFO", "one"), event("WARN", "two")))
            .unwrap();
        assert_eq!(last_words(&path, from).unwrap(), ["one", "two"]);
        let twice = "error[STORE_FULL]: no room\n  | a\n  help: make room\n".repeat(2);
        fs::write(&path, twice).unwrap();
        assert_eq!(last_words(&path, 0).unwrap(), ["error[STORE_FULL]: no room"]);
        assert_eq!(last_words(&path, 1_000_000).unwrap().len(), 1, "emptied meanwhile");
    }
}
