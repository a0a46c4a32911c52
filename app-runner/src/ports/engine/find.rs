//! The search for an engine's executable.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use proto::Reason;

use crate::error::PortError;
use crate::ports::PortResult;

/// The directories where engines are looked for, in this order.
#[derive(Debug, Clone, Default)]
pub struct EnginePath {
    /// The directories of `MAINSPRING_ENGINE_PATH`.
    pub configured: Vec<PathBuf>,
    /// The directory that holds `mainspring` itself.
    pub beside: Option<PathBuf>,
    /// The directories of `PATH`.
    pub path: Vec<PathBuf>,
}

impl EnginePath {
    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        self.configured.iter().chain(&self.beside).chain(&self.path)
    }
}

/// The absolute path of `mainspring-<engine>`. The refusal `ENGINE_NOT_FOUND` names the places that
/// were looked at.
pub fn find(engine: &str, path: &EnginePath) -> PortResult<PathBuf> {
    let well_formed = !engine.is_empty()
        && engine.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !well_formed {
        let text =
            format!("{engine:?} is no engine's name (a-z, 0-9 and -); choose one with --engine");
        return Err(PortError::refused(Reason::EngineNotFound, text));
    }
    let name = format!("mainspring-{engine}");
    let found = path
        .directories()
        .map(|directory| directory.join(&name))
        .find(|candidate| is_executable(candidate));
    found.ok_or_else(|| {
        let mut looked: Vec<String> = path.configured.iter().map(|at| at.display().to_string()).collect();
        looked.extend(path.beside.iter().map(|beside| format!("{} (beside mainspring)", beside.display())));
        looked.push("PATH".to_owned());
        let text = format!(
            "there is no executable {name} in {}; install that engine, name its directory in MAINSPRING_ENGINE_PATH, \
             or choose another one with --engine",
            looked.join(", ")
        );
        PortError::refused(Reason::EngineNotFound, text)
    })
}

fn is_executable(path: &Path) -> bool {
    path.is_absolute()
        && path
            .metadata()
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn install(directory: &Path, name: &str, mode: u32) {
        let path = directory.join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_configured_directory_stands_above_the_one_beside_us_and_that_above_path() {
        let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let at = |n: usize| directories[n].path().to_owned();
        let path = EnginePath { configured: vec![at(0)], beside: Some(at(1)), path: vec![at(2)] };
        for n in [2, 1, 0] {
            install(&at(n), "mainspring-x", 0o755);
            assert_eq!(find("x", &path).unwrap(), at(n).join("mainspring-x"));
        }
    }

    #[test]
    fn what_is_missing_is_said_with_the_places_that_were_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        install(directory.path(), "mainspring-flink", 0o644);
        let path =
            EnginePath { configured: vec![directory.path().to_owned()], ..EnginePath::default() };
        for engine in ["flink", "../flink", "", "Flink"] {
            let refused = find(engine, &path).unwrap_err();
            assert_eq!(refused.reason, Some(Reason::EngineNotFound));
            assert!(refused.message.contains(engine), "{refused}");
        }
        let text = find("flink", &path).unwrap_err().message;
        assert!(text.contains(&directory.path().display().to_string()), "{text}");
    }
}
