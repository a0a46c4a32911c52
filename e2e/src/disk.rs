//! Disks that are full or cannot be written: a small tmpfs in a mount namespace of the test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that is set in the process which runs a test inside its namespace.
const INSIDE: &str = "MAINSPRING_E2E_INSIDE";

/// Runs the test called `name` (as the harness lists it) in this process if this process has a
/// mount namespace of its own, else in another process that has one. Where namespaces are not
/// permitted the test fails, because a test that was not run has not passed.
pub fn in_a_namespace(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let executable = std::env::current_exe().expect("a running test has an executable");
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(executable)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare (util-linux) is installed");
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        !stderr.contains("unshare failed"),
        "this needs root, or a kernel that permits mount namespaces: {stderr}"
    );
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}\n{stderr}");
}

/// A small file system in memory, which is unmounted when this value is dropped.
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts a file system at this directory, which is made; `options` are those of mount(8), such
    /// as `size=4m,ro`.
    pub fn mount(at: PathBuf, options: &str) -> Self {
        std::fs::create_dir_all(&at).expect("a test may write below its own directory");
        // The mode is that with which the host makes its directories.
        let options = format!("{options},mode=0700");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(&at));
        Self(at)
    }

    /// The directory that it is mounted at.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the file system read-only, or writable again.
    pub fn set_read_only(&self, read_only: bool) {
        let options = if read_only { "remount,ro" } else { "remount,rw" };
        run(Command::new("mount").args(["-o", options]).arg(&self.0));
    }

    /// Takes all room that is left.
    pub fn fill(&self) {
        use std::io::Write as _;
        let mut filler = std::fs::File::create(self.filler()).expect("it is not full yet");
        for size in [1 << 16, 1 << 12, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Gives the room back.
    pub fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("util-linux is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
