//! Looks at the files of this machine that the spec names, and refuses those that cannot be meant
//! before a host is started for them; with a context all of them, because other hosts cannot read
//! them. The bytes of the files are not read here.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use proto::Reason;
use proto::api::ApplicationSpec;
use proto::uri::Scheme;

use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};

/// Refuses a directory, and a program without a byte. A file that is missing or may not be read is
/// left to the artifact-fetcher, because the fetcher is the process that reads it. With a context
/// every file of this machine is refused.
pub(crate) fn check(spec: &ApplicationSpec, context: Option<&str>) -> OrFailure<()> {
    let program = spec.program.iter().map(|program| ("program.uri".to_owned(), &program.uri, true));
    let others = spec.artifacts.iter().enumerate();
    let others =
        others.map(|(at, artifact)| (format!("artifacts[{at}].uri"), &artifact.uri, false));
    for (field, uri, is_program) in program.chain(others) {
        if let Some(context) = context {
            match is_of_this_machine(uri) {
                true => return Err(of_this_machine(&field, uri, context)),
                false => continue,
            }
        }
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

/// Whether a pointer names a file of the machine that it is written on: a path, or a `file://` URI.
fn is_of_this_machine(uri: &str) -> bool {
    match uri.split_once("://") {
        Some((scheme, _)) => scheme.parse::<Scheme>() == Ok(Scheme::File),
        None => !uri.is_empty(),
    }
}

/// The failure of an option whose path begins at this machine's current directory, where the hosts
/// of a context would have to find the place.
pub(crate) fn of_this_directory(option: &str, path: &str, context: &str) -> Failure {
    of_this_machine(option, path, context)
        .help("name it by its absolute path on those hosts, or by a URI")
}

/// The failure of a file of this machine that the hosts of a context would have to fetch. `what` is
/// the field that names the file.
fn of_this_machine(what: &str, place: &str, context: &str) -> Failure {
    let shown = proto::Uri::new(place);
    let text =
        format!("{what}: {shown} is on this machine, where the hosts of {context} cannot reach it");
    let fetched = Scheme::ALL.iter().filter(|scheme| !scheme.is_of_paths());
    let fetched: Vec<_> = fetched.map(|scheme| format!("{scheme}://…")).collect();
    let mut failure = Failure::new(Exit::USAGE, Reason::SpecInvalid, text);
    failure.fields = vec![(what.to_owned(), "is on this machine".to_owned())];
    failure.help(format!(
        "upload it and name its address ({}), or say local:///path if each of those hosts has it there; --context local \
         uses the host of this machine",
        fetched.join(", ")
    ))
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
            assert_eq!(check(&spec(program, artifact), None), Ok(()));
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
            let failure = check(&spec(program, artifact), None).unwrap_err();
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
            assert_eq!(check(&spec(uri), None), Ok(()), "{uri}");
        }
    }

    #[test]
    fn with_a_context_no_file_of_this_machine_is_taken_as_program_or_as_artifact() {
        for (uri, taken) in [
            ("https://host/x.sql", true),
            ("http://host/x.sql", true),
            ("local:///opt/x.sql", true),
            ("s3://bucket/x.sql", true),
            ("", true),
            ("file:///opt/x.sql", false),
            ("file://host/x.sql", false),
            ("/opt/x.sql", false),
            ("x.sql", false),
        ] {
            let program = Program { uri: uri.into(), ..Program::default() };
            let artifact = ArtifactReference { uri: uri.into(), ..ArtifactReference::default() };
            let good = Program { uri: "https://host/y.sql".into(), ..Program::default() };
            for (program, artifacts, field) in
                [(program, vec![], "program.uri"), (good, vec![artifact], "artifacts[0].uri")]
            {
                let program = Some(program);
                let spec = ApplicationSpec { program, artifacts, ..ApplicationSpec::default() };
                let checked = check(&spec, Some("prod"));
                assert_eq!(checked.is_ok(), taken, "{field} {uri}");
                let Err(refused) = checked else { continue };
                assert_eq!((refused.exit, refused.reason.as_str()), (Exit::USAGE, "SPEC_INVALID"));
                assert!(refused.message.starts_with(field), "{}", refused.message);
                assert_eq!(refused.fields[0].0, field);
                for way_out in ["https://", "local:///path", "--context local"] {
                    assert!(refused.help[0].contains(way_out), "{:?}", refused.help);
                }
            }
        }
    }
}
