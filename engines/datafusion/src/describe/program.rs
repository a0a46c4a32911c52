//! Which kind of program a file is, from its name and its first bytes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

use proto::Reason;

use crate::script::{Script, SqlError};

/// A program that this engine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A `.sql` script, which parses without errors.
    Script,
    /// A native executable, built with the SDK if it is to execute jobs.
    Native,
}

/// Why a file is no program of this engine.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// A program of another engine.
    #[error("'{name}' is {what}, which the datafusion engine does not run: {remedy}")]
    Unsupported {
        /// The file's name.
        name: String,
        /// The kind of program.
        what: &'static str,
        /// The way out.
        remedy: &'static str,
    },
    /// The file is no executable for this machine.
    #[error("'{name}' is not an executable for this machine: {why}")]
    NotExecutable {
        /// The file's name.
        name: String,
        /// What was found instead.
        why: String,
    },
    /// A mistake in a script.
    #[error(transparent)]
    Invalid(#[from] Box<SqlError>),
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file's path.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
}

impl ProgramError {
    /// The stable reason code.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unsupported { .. } => Reason::ProgramUnsupported,
            Self::NotExecutable { .. } => Reason::ProgramNotExecutable,
            Self::Invalid(_) => Reason::ProgramInvalid,
            Self::Unreadable { .. } => Reason::ArtifactNotReadable,
        }
    }
}

impl Program {
    /// Looks at the file `path`, which the user calls `name`.
    pub fn of(name: &str, path: &Path) -> Result<Self, ProgramError> {
        let unreadable = |source| ProgramError::Unreadable { path: path.to_owned(), source };
        let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix.to_ascii_lowercase());
        let unsupported =
            |what, remedy| Err(ProgramError::Unsupported { name: name.to_owned(), what, remedy });
        match suffix.as_deref() {
            Some("sql") => {
                let bytes = std::fs::read(path).map_err(unreadable)?;
                let text =
                    String::from_utf8(bytes).map_err(|error| Box::new(not_text(name, &error)))?;
                let script = Script::parse(name, &text).map_err(Box::new)?;
                if script.statements.is_empty() {
                    let nothing =
                        SqlError::at(name, &text, 1, 1, 1, "the script holds no statement");
                    return Err(Box::new(nothing).into());
                }
                return Ok(Self::Script);
            }
            Some("jar") => return unsupported("a jar", "run it with --engine flink"),
            Some("py") => return unsupported("a Python program", "run it with --engine flink"),
            _ => {}
        }
        let mut head = Vec::new();
        File::open(path)
            .and_then(|file| file.take(256).read_to_end(&mut head))
            .map_err(unreadable)?;
        match executable(&head) {
            Ok(()) => Ok(Self::Native),
            Err(why) => Err(ProgramError::NotExecutable { name: name.to_owned(), why }),
        }
    }
}

/// The error at the first byte that makes a script no text.
fn not_text(name: &str, error: &FromUtf8Error) -> SqlError {
    let text = String::from_utf8_lossy(error.as_bytes());
    let before = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
    let line = before.matches('\n').count() as u64 + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) as u64 + 1;
    SqlError::at(name, &text, line, column, 1, "the script is not UTF-8 text")
        .with_help("save it as UTF-8")
}

/// Accepts an ELF file for this machine, or a script with an interpreter.
fn executable(head: &[u8]) -> Result<(), String> {
    if let Some(rest) = head.strip_prefix(b"#!") {
        return has_interpreter(rest);
    }
    let Some([low, high]) = head.strip_prefix(b"\x7fELF").and_then(|rest| rest.get(14..16)) else {
        return Err("it is neither a native executable nor a script that begins with #!".to_owned());
    };
    let machine = u16::from_le_bytes([*low, *high]);
    let ours = match std::env::consts::ARCH {
        "x86_64" => 62,
        "aarch64" => 183,
        // On other machines the operating system decides when the program is started.
        _ => machine,
    };
    if machine == ours {
        Ok(())
    } else {
        Err(format!("it is built for another processor (ELF machine {machine})"))
    }
}

/// Accepts a first line whose `#!` names a file. Otherwise the operating system would say that the
/// script itself is missing.
fn has_interpreter(rest: &[u8]) -> Result<(), String> {
    let line = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let Some(interpreter) = line.split_whitespace().next() else {
        return Err("its first line, #!, names no interpreter".to_owned());
    };
    if Path::new(interpreter).exists() {
        Ok(())
    } else {
        Err(format!("its interpreter {interpreter} is not on this machine"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_needs_its_interpreter() {
        assert_eq!(executable(b"#! /bin/sh -e\nexit 0\n"), Ok(()));
        assert!(
            executable(b"#!/no/such/interpreter\n").unwrap_err().contains("/no/such/interpreter")
        );
        assert!(executable(b"#!\n").is_err());
    }

    fn look(name: &str, bytes: &[u8]) -> Result<Program, ProgramError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        Program::of(name, &path)
    }

    #[test]
    fn programs_are_told_apart() {
        assert_eq!(look("a.sql", b"SELECT 1").unwrap(), Program::Script);
        assert_eq!(look("run.sh", b"#!/bin/sh\n").unwrap(), Program::Native);
        let own = std::env::current_exe().unwrap();
        assert_eq!(Program::of("own", &own).unwrap(), Program::Native);
    }

    #[test]
    fn others_are_refused_with_a_reason() {
        let cases: [(&str, &[u8], Reason); 7] = [
            ("empty.sql", b"", Reason::ProgramInvalid),
            ("comment.sql", b"-- nothing yet\n;\n", Reason::ProgramInvalid),
            ("a.jar", b"PK", Reason::ProgramUnsupported),
            ("a.py", b"print()", Reason::ProgramUnsupported),
            ("a.txt", b"hello", Reason::ProgramNotExecutable),
            ("empty", b"", Reason::ProgramNotExecutable),
            ("a.sql", b"SELEC 1", Reason::ProgramInvalid),
        ];
        for (name, bytes, reason) in cases {
            assert_eq!(look(name, bytes).unwrap_err().reason(), reason, "{name}");
        }
        let mut other = b"\x7fELF".to_vec();
        other.extend([0; 14]);
        other.extend(8u16.to_le_bytes());
        assert!(look("mips", &other).unwrap_err().to_string().contains("another processor"));
    }
}
