//! Putting a verified file where a program expects it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// The bits that make a file executable.
const EXECUTABLE: u32 = 0o111;

/// Places a cached file at `target`, in one step and in place of what is there. The file is placed
/// as a hard link, or as a copy where a link cannot be (on another file system) or where the file
/// has to be executable, because a mode belongs to all links of a file. A copy shares its blocks
/// where the file system can.
pub fn place(source: &Path, target: &Path, executable: bool) -> io::Result<()> {
    in_one_step(target, |new| {
        if !executable {
            match fs::hard_link(source, new) {
                Err(error) if no_link_there(&error) => {}
                linked => return linked,
            }
        }
        copy(source, new, executable)
    })
}

/// Places a file that stays where it is: as a symbolic link, or as a copy if the file has to be
/// executable and is not.
pub fn point_to(source: &Path, target: &Path, executable: bool) -> io::Result<()> {
    let runs = fs::metadata(source)?.mode() & EXECUTABLE != 0;
    in_one_step(target, |new| {
        if executable && !runs { copy(source, new, true) } else { symlink(source, new) }
    })
}

fn copy(source: &Path, target: &Path, executable: bool) -> io::Result<()> {
    fs::copy(source, target)?;
    fs::set_permissions(target, fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
}

fn no_link_there(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::CrossesDevices
            | ErrorKind::PermissionDenied
            | ErrorKind::Unsupported
            | ErrorKind::TooManyLinks
    )
}

/// Makes a file beside `target`, then renames it. Fetchers of several hosts may do that at once, in
/// a directory that all of them see, so each such file has a name of its own. The file of a fetcher
/// that was killed goes with its directory.
fn in_one_step(target: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let new = beside(target)?;
    let placed = make(&new).and_then(|()| fs::rename(&new, target));
    // Renaming one link of a file over another link of it does nothing and leaves both.
    remove_if_there(&new)?;
    placed
}

fn beside(target: &Path) -> io::Result<PathBuf> {
    if target.file_name().is_none() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it names no file"));
    }
    Ok(target.with_file_name(format!(".placing-{:016x}", rand::random::<u64>())))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error)
            if error.kind() != ErrorKind::NotFound && error.kind() != ErrorKind::NotADirectory =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}
