//! The directory that this host shares with others, as `doctor` looks at it.

use std::path::Path;

use rustix::fs::{Access, access};

use super::{Finding, LITTLE_ROOM, room};
use crate::table::size;

/// Whether this user may write to the directory, and how much room its disk has.
pub(super) fn look(directory: &Path) -> Finding {
    let shown = directory.display();
    let what = "shared directory";
    if !directory.is_dir() {
        let problem = "no store serves without what MAINSPRING_SHARED_DIR names: mount it there";
        let text = format!("{shown} is not there");
        return Finding { what, text, problem: Some(problem.to_owned()) };
    }
    let room = room(directory);
    let problem = if access(directory, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let why = "you may not write there: run mainspring with one user number on all hosts";
        Some(why.to_owned())
    } else {
        room.filter(|&room| room < LITTLE_ROOM)
            .map(|room| format!("its disk has only {} left: make room", size(room)))
    };
    let room = room.map(|room| format!("{} free", size(room))).unwrap_or_default();
    Finding { what, text: format!("{shown} ({room})"), problem }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_shared_directory_is_there_or_its_mount_is_absent() {
        let root = tempfile::tempdir().unwrap();
        let found = look(root.path());
        assert!(found.text.contains(" free)") && found.problem.is_none(), "{found:?}");
        let (absent, file) = (root.path().join("absent"), root.path().join("file"));
        std::fs::write(&file, "").unwrap();
        for path in [absent, file] {
            let found = look(&path);
            assert!(found.text.contains(&*path.to_string_lossy()), "{found:?}");
            assert!(found.problem.as_ref().unwrap().contains("mount it there"), "{found:?}");
        }
    }
}
