//! The variables of main()'s environment and its secrets, as the options give them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Reads `--env-file` (lines `K=V`, `K` to inherit, `#` comments), then `--env K=V` and `--env K`.
pub(crate) fn environment(
    files: &[PathBuf],
    given: &[String],
    inherited: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::new();
    for path in files {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("--env-file {}: {error}", path.display()))?;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            let (name, value) = one(line, &inherited)
                .map_err(|error| format!("{}:{}: {error}", path.display(), at + 1))?;
            variables.insert(name, value);
        }
    }
    for text in given {
        let (name, value) = one(text, &inherited).map_err(|error| format!("--env {error}"))?;
        variables.insert(name, value);
    }
    Ok(variables)
}

fn one(text: &str, inherited: impl Fn(&str) -> Option<String>) -> Result<(String, String), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(format!("{name:?} is no name of a variable"));
    }
    match value.or_else(|| inherited(name)) {
        Some(value) => Ok((name.to_owned(), value)),
        None => Err(format!(
            "{name}: it is not set here, so it cannot be inherited; write {name}=VALUE"
        )),
    }
}

/// Reads `--secret K=@FILE`. Only files are taken, because other users of the machine can read a
/// command line.
pub(crate) fn secrets(given: &[String]) -> Result<super::Secrets, String> {
    given
        .iter()
        .map(|text| {
            let (name, source) = text.split_once('=').unwrap_or((text, ""));
            let path = source.strip_prefix('@').filter(|path| !path.is_empty());
            let path = path.ok_or_else(|| {
                format!("--secret {name}: write {name}=@FILE; a value on the command line is for all to see")
            })?;
            if name.is_empty() {
                return Err("--secret: write NAME=@FILE".to_owned());
            }
            let value = std::fs::read_to_string(Path::new(path))
                .map_err(|error| format!("--secret {name}=@{path}: {error}"))?;
            // The end of the file's last line is not a part of the secret.
            let value = value.strip_suffix('\n').map(str::to_owned).unwrap_or(value);
            Ok((name.to_owned(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn given(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn variables_are_given_inherited_and_read_from_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("env");
        std::fs::write(&file, "# comment\n\nA=1\nexport B = x\nHOME\n".replace("B = x", "B=x y"))
            .unwrap();
        let inherited = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
        let variables = environment(&[file], &given(&["A=2", "EMPTY="]), inherited).unwrap();
        let expected = [("A", "2"), ("B", "x y"), ("EMPTY", ""), ("HOME", "/home/me")];
        assert_eq!(variables, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert!(
            environment(&[], &given(&["NOWHERE"]), inherited)
                .unwrap_err()
                .contains("NOWHERE=VALUE")
        );
        assert!(environment(&[], &given(&["=x"]), inherited).is_err());
    }

    #[test]
    fn a_secret_comes_from_a_file_and_never_shows() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, "hunter2\n").unwrap();
        let read = secrets(&given(&[&format!("PASSWORD=@{}", file.display())])).unwrap();
        assert_eq!(read["PASSWORD"], "hunter2");
        let error = secrets(&given(&["PASSWORD=hunter2"])).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
