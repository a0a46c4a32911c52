//! Removes what ended jobs left of their checkpoints. Flink removes these files itself after an end
//! is in the record, but a JobManager that dies before it has done so, or while it writes a
//! checkpoint, leaves files that no process knows of any more.

use std::io;
use std::path::Path;

use proto::JobId;

use crate::launch::{CHECKPOINTS, SAVEPOINTS};

/// Removes the checkpoints of these jobs from the application's own directory, then the directories
/// that are empty by then. Answers how many jobs had any. Checkpoints that a setting or a program
/// puts elsewhere are left alone, because that place is not mainspring's.
pub(super) fn sweep(state_directory: &Path, jobs: &[JobId]) -> io::Result<u32> {
    let checkpoints = state_directory.join(CHECKPOINTS);
    let mut removed = 0;
    let mut failed = None;
    for job in jobs {
        match is_done(std::fs::remove_dir_all(checkpoints.join(job.to_string()))) {
            Ok(done) => removed += u32::from(done),
            // The checkpoints of the other jobs are removed all the same.
            Err(error) => failed = Some(error),
        }
    }
    for directory in [&checkpoints, &state_directory.join(SAVEPOINTS), state_directory] {
        // A directory stays while something is kept in it.
        let _ = std::fs::remove_dir(directory);
    }
    failed.map_or(Ok(removed), Err)
}

/// Whether there was something to remove.
fn is_done(removed: io::Result<()>) -> io::Result<bool> {
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ENDED: &str = "00112233445566778899aabbccddeeff";
    const KEPT: &str = "ffeeddccbbaa99887766554433221100";

    #[test]
    fn checkpoints_of_ended_jobs_go_and_what_is_empty_with_them() {
        let state = tempfile::tempdir().unwrap();
        let at = state.path().join("orders@1");
        for job in [ENDED, KEPT] {
            fs::create_dir_all(at.join(CHECKPOINTS).join(job).join("chk-3")).unwrap();
            fs::write(at.join(CHECKPOINTS).join(job).join("chk-3/_metadata"), "").unwrap();
        }
        fs::create_dir_all(at.join(SAVEPOINTS)).unwrap();
        assert_eq!(sweep(&at, &[ENDED.parse().unwrap()]).unwrap(), 1);
        assert!(at.join(CHECKPOINTS).join(KEPT).join("chk-3/_metadata").exists());
        assert!(!at.join(CHECKPOINTS).join(ENDED).exists() && !at.join(SAVEPOINTS).exists());
        assert_eq!(sweep(&at, &[ENDED.parse().unwrap()]).unwrap(), 0, "a repeat finds it done");
        assert_eq!(sweep(&at, &[KEPT.parse().unwrap()]).unwrap(), 1);
        assert!(!at.exists(), "the application leaves nothing");
    }
}
