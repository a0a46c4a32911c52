//! How a Flink program's main() is launched.

use std::path::Path;

use proto::api;

/// Why a program cannot be launched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProgramError {
    /// The file is of another kind.
    #[error("{0} is no .jar: the flink engine runs Flink programs in jars")]
    Unsupported(String),
    /// The file does not begin as a jar does.
    #[error(
        "{0} is no jar (a jar is a zip file): is it what the build made, or a page that says that it is not there?"
    )]
    NotAJar(String),
    /// The file cannot be read.
    #[error("{name}: {error}")]
    Unreadable {
        /// The file's name.
        name: String,
        /// Why it cannot be read.
        error: String,
    },
}

/// What every zip file begins with.
const ZIP: &[u8] = b"PK\x03\x04";

/// Checks whether the file can be a Flink program.
pub(super) fn check(name: &str, path: &Path) -> Result<(), ProgramError> {
    use std::io::Read as _;
    if !name.ends_with(".jar") {
        return Err(ProgramError::Unsupported(name.to_owned()));
    }
    let unreadable = |error: std::io::Error| ProgramError::Unreadable {
        name: name.to_owned(),
        error: error.to_string(),
    };
    let mut first = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(ZIP.len() as u64).read_to_end(&mut first).map_err(unreadable)?;
    if first == ZIP { Ok(()) } else { Err(ProgramError::NotAJar(name.to_owned())) }
}

/// The arguments of [`crate::role::Role::Main`]'s class for a program and Flink's settings.
pub(super) fn arguments(
    program: &api::Program,
    jar: &str,
    settings: impl IntoIterator<Item = (String, String)>,
) -> Vec<String> {
    let mut all: Vec<String> =
        settings.into_iter().map(|(key, value)| format!("-D{key}={value}")).collect();
    let mut option = |name: &str, value: &str| {
        if !value.is_empty() {
            all.extend([name.to_owned(), value.to_owned()]);
        }
    };
    option("--jar", jar);
    option("--class", &program.entry_class);
    for url in &program.classpaths {
        option("--classpath", url);
    }
    option("--savepoint", &program.savepoint);
    option("--claim-mode", &program.claim_mode);
    if program.parallelism > 0 {
        option("--parallelism", &program.parallelism.to_string());
    }
    if program.allow_non_restored_state {
        all.push("--allow-non-restored".to_owned());
    }
    all.push("--".to_owned());
    all.extend(program.arguments.iter().cloned());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_flink_run_reach_the_launcher_and_the_rest_the_program() {
        let program = api::Program {
            entry_class: "a.B".into(),
            classpaths: vec!["file:/x.jar".into()],
            parallelism: 3,
            arguments: vec!["--input".into(), "in".into()],
            ..Default::default()
        };
        let line =
            arguments(&program, "/app.jar", [("rest.port".to_owned(), "1".to_owned())]).join(" ");
        let expected = "-Drest.port=1 --jar /app.jar --class a.B --classpath file:/x.jar --parallelism 3 -- --input in";
        assert_eq!(line, expected);
    }

    #[test]
    fn what_is_no_jar_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let page = dir.path().join("app.jar");
        std::fs::write(&page, "<html>").unwrap();
        assert_eq!(check("app.jar", &page), Err(ProgramError::NotAJar("app.jar".into())));
        std::fs::write(&page, b"PK\x03\x04rest").unwrap();
        assert_eq!(check("app.jar", &page), Ok(()));
        assert!(matches!(check("app.exe", &page), Err(ProgramError::Unsupported(_))));
        assert!(matches!(
            check("b.jar", &dir.path().join("b.jar")),
            Err(ProgramError::Unreadable { .. })
        ));
    }
}
