//! Looks at the files of this machine that the spec names, and refuses those that cannot be meant
//! before a host is started for them. The bytes of the files are not read here.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use proto::Reason;
use proto::api::ApplicationSpec;

use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};

/// Refuses a directory, and a program without a byte. A file that is missing or may not be read is
/// left to the artifact-fetcher, because the fetcher is the process that reads it.
pub(crate) fn check(spec: &ApplicationSpec) -> OrFailure<()> {
    let program = spec.program.iter().map(|program| ("program.uri".to_owned(), &program.uri, true));
    let others = spec.artifacts.iter().enumerate();
    let others =
        others.map(|(at, artifact)| (format!("artifacts[{at}].uri"), &artifact.uri, false));
    for (field, uri, is_program) in program.chain(others) {
        let Some(path) = path_of(uri) else { continue };
        let Ok(there) = std::fs::metadata(&path) else { continue };
        let why = match (there.is_dir(), there.len()) {
            (true, _) => "is a directory",
            (false, 0) if there.is_file() && is_program => "is empty",
            _ => continue,
        };
        let text = format!("{field}: {} {why}", path.display());
        let failure = Failure::new(Exit::USAGE, Reason::SpecInvalid, text);
        return Err(failure.help(match is_program {
            true => "name the program's file: a .sql script, an executable, a .jar, a .py",
            false => "name a file; a directory of data is read in place by its absolute path",
        }));
    }
    Ok(())
}

/// The path behind a `file://` URI of this machine.
fn path_of(uri: &str) -> Option<PathBuf> {
    let path = uri.strip_prefix("file://").filter(|path| path.starts_with('/'))?;
    percent_decode_str(path).decode_utf8().ok().map(|path| PathBuf::from(path.as_ref()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use proto::api::{ArtifactReference, Program};

    use super::*;
    use crate::spec::pointer;

    fn uri(path: &Path) -> String {
        pointer::parse(path.to_str().unwrap(), Path::new("/")).unwrap().uri
    }

    fn spec(program: &Path, artifact: &Path) -> ApplicationSpec {
        ApplicationSpec {
            program: Some(Program { uri: uri(program), ..Program::default() }),
            artifacts: vec![ArtifactReference {
                uri: uri(artifact),
                ..ArtifactReference::default()
            }],
            ..ApplicationSpec::default()
        }
    }

    #[test]
    fn a_directory_and_an_empty_program_are_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let [script, empty] = ["ä b.sql", "empty.sql"].map(|name| directory.path().join(name));
        std::fs::write(&script, "SELECT 1").unwrap();
        std::fs::write(&empty, "").unwrap();
        let missing = directory.path().join("missing.sql");
        for (program, artifact) in [(&script, &script), (&script, &empty), (&missing, &missing)] {
            assert_eq!(check(&spec(program, artifact)), Ok(()));
        }
        let there = directory.path();
        for (program, artifact, says) in [
            (there, script.as_path(), format!("program.uri: {} is a directory", there.display())),
            (
                empty.as_path(),
                script.as_path(),
                format!("program.uri: {} is empty", empty.display()),
            ),
            (
                script.as_path(),
                there,
                format!("artifacts[0].uri: {} is a directory", there.display()),
            ),
        ] {
            let failure = check(&spec(program, artifact)).unwrap_err();
            assert_eq!((failure.exit, failure.message.as_str()), (Exit::USAGE, says.as_str()));
        }
    }

    #[test]
    fn other_machines_are_not_looked_at() {
        let spec = |uri: &str| ApplicationSpec {
            program: Some(Program { uri: uri.into(), ..Program::default() }),
            ..ApplicationSpec::default()
        };
        for uri in ["https://host/", "local:///", "", "file://host/x"] {
            assert_eq!(check(&spec(uri)), Ok(()), "{uri}");
        }
    }
}
