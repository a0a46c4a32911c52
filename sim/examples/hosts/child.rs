//! The process that a seed runs in, as its parent sees it.

use std::io;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The exit code of a run in which something was wrong. Each other code but 0 says nothing of the
/// seed.
pub(crate) const WRONG: u8 = 3;

/// How long a run may take by the parent's clock. A loop that waits for nothing would never end.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Wrong,
    /// The run has panicked, hangs, or could not begin.
    Missing,
}

/// A run that is over.
pub(crate) struct Run {
    pub(crate) verdict: Verdict,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Whether the run has met the bug that was planted.
    pub(crate) met: bool,
}

impl Run {
    /// Runs a seed to its end, and kills the process if it hangs.
    pub(crate) fn of(command: &mut Command, seed: u64) -> io::Result<Self> {
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn()?;
        let (reads, all_read) = mpsc::channel();
        let stdout = read(child.stdout.take(), reads.clone());
        let stderr = read(child.stderr.take(), reads);
        // No message ever comes. The channel closes when both readers have come to the end.
        let hangs = all_read.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if hangs {
            child.kill()?;
        }
        let status = child.wait()?;
        let verdict = match status.code() {
            Some(0) => Verdict::Right,
            Some(code) if code == i32::from(WRONG) => Verdict::Wrong,
            _ => Verdict::Missing,
        };
        // A reader does not panic.
        let mut stdout = stdout.join().unwrap_or_default();
        let stderr = stderr.join().unwrap_or_default();
        if verdict == Verdict::Missing {
            let why = if hangs { format!("killed after {PATIENCE:?}") } else { status.to_string() };
            stdout.extend_from_slice(format!("seed {seed}: no verdict: {why}\n").as_bytes());
        }
        Ok(Self { verdict, stdout, stderr, met: false })
    }

    /// Prints what the run has printed.
    pub(crate) fn print(&self) {
        print!("{}", String::from_utf8_lossy(&self.stdout));
        eprint!("{}", String::from_utf8_lossy(&self.stderr));
    }
}

/// Reads a pipe to its end, and then lets the channel go.
fn read(
    pipe: Option<impl io::Read + Send + 'static>,
    reads: mpsc::Sender<()>,
) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is shown.
            let _ = pipe.read_to_end(&mut said);
        }
        drop(reads);
        said
    })
}
