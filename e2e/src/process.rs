//! A child process of a test: started, watched, ended, with a bound on everything.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest that any one command of a test may take, on a machine that is busy with other
/// things. Three JVMs of a cluster were seen to take fifty seconds to start on such a machine.
const PATIENCE: Duration = Duration::from_secs(150);

/// The shortest and the longest pause between two looks at what is waited for.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How a command ended, and what it wrote.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit code; 128 + signal if the command was killed.
    pub code: i32,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
}

impl Finished {
    /// Panics, showing both streams, unless the exit code is `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Panics unless stderr contains `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "stderr lacks {text:?}:\n{}", self.stderr);
        self
    }

    /// stdout as one JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => {
                panic!("stdout is no JSON ({error}):\n{}\n--- stderr\n{}", self.stdout, self.stderr)
            }
        }
    }

    /// stdout as one JSON document a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line| match serde_json::from_str(line) {
            Ok(value) => value,
            Err(error) => panic!("no JSON ({error}): {line}"),
        };
        self.stdout.lines().map(parse).collect()
    }
}

/// A command that runs.
pub struct Running {
    child: Child,
    stdout: Collected,
    stderr: Collected,
    line: String,
}

impl Running {
    /// Starts a command with both streams collected.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let line = format!("{command:?}");
        let mut child = match command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
        {
            Ok(child) => child,
            Err(error) => {
                panic!("{line}: {error}; are the binaries built? (make test builds them)")
            }
        };
        let stdout = Collected::of(child.stdout.take().expect("it is a pipe"));
        let stderr = Collected::of(child.stderr.take().expect("it is a pipe"));
        Self { child, stdout, stderr, line }
    }

    /// The command's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the command has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Sends a signal by name, such as `INT`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Whether the command still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours can be asked").is_none()
    }

    /// Waits for the command's end.
    #[track_caller]
    pub fn finish(self) -> Finished {
        self.finish_within(PATIENCE)
    }

    /// Waits for the command's end, for so long at most.
    #[track_caller]
    pub fn finish_within(mut self, patience: Duration) -> Finished {
        let end = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours can be asked") {
                break status;
            }
            if Instant::now() > end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                let (stdout, stderr) = (self.stdout.all(), self.stderr.all());
                panic!(
                    "{} took over {patience:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
                    self.line
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        use std::os::unix::process::ExitStatusExt as _;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        Finished { code, stdout: self.stdout.all(), stderr: self.stderr.all() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by name; does nothing if the process is gone.
pub fn signal(pid: u32, name: &str) {
    signal_all(&[pid], name);
}

/// Sends a signal by name to several processes, as nearly at once as can be; leaves out those that
/// are gone.
pub fn signal_all(pids: &[u32], name: &str) {
    let _ = Command::new("kill")
        .arg(format!("-{name}"))
        .args(pids.iter().map(ToString::to_string))
        .stderr(Stdio::null())
        .status();
}

/// Whether a process has ended. A zombie counts as ended, because it has no executable.
pub fn is_gone(pid: u32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_err()
}

/// The state of a process as `ps` names it, such as `S` (it waits) or `T` (it is stopped); `None`
/// once it is gone.
pub fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the state is the first field after it.
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, condition);
}

/// Waits until `condition` holds, for so long at most.
#[track_caller]
pub fn eventually_within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    loop {
        let asked = Instant::now();
        if condition() {
            return;
        }
        assert!(Instant::now() < end, "{what}: not so after {patience:?}");
        // A condition that takes a process of its own is asked less often, because the questions
        // would keep the machine busy.
        std::thread::sleep((asked.elapsed() * 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
    }
}

/// The processes whose environment holds `text`: pid and command line.
pub fn with_environment(text: &str) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if pid != std::process::id()
            && environment.windows(text.len()).any(|w| w == text.as_bytes())
        {
            found.push((pid, command_line(pid)));
        }
    }
    found
}

/// The words that a process was started with, with blanks between them.
pub(crate) fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}

/// A stream that is read while it is written.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Collected {
    fn of(mut stream: impl Read + Send + 'static) -> Self {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let into = bytes.clone();
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 8192];
            loop {
                match stream.read(&mut chunk) {
                    Ok(count @ 1..) => {
                        into.lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .extend_from_slice(&chunk[..count]);
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    _ => return,
                }
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
            .into_owned()
    }

    /// Waits for the stream's end.
    fn all(&mut self) -> String {
        self.reader.take().map(JoinHandle::join);
        self.text()
    }
}
