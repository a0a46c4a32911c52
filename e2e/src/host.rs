//! One state directory of a test's own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::local_cluster::{Machine, namespace_of};
use crate::process::{Finished, Running, command_line, eventually, with_environment};

/// The state directory of each host that is a machine, as its own processes know it.
const STATE_OF_A_MACHINE: &str = "/srv/state";

/// How many lines of each log are printed for a test that failed.
const TOLD_LINES: usize = 200;

/// A host that only one test uses. Its `up` leaves as soon as there is no work.
pub struct Host {
    directory: TempDir,
    environment: Vec<(String, String)>,
    /// The machine that the host is, in a cluster of machines. The cluster starts and ends it.
    machine: Option<Machine>,
    /// Where the host's executables are.
    binaries: PathBuf,
}

/// What tells the processes of a host from those of all others: hosts that are machines have one
/// path of the state directory, and so one mark.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    mark: String,
    machine: Option<Machine>,
}

impl Home {
    /// The mark, and the namespace of the processes; `None` where no process can be.
    pub(crate) fn now(&self) -> Option<(String, PathBuf)> {
        let namespace = match &self.machine {
            Some(machine) => machine.namespace(),
            None => namespace_of(std::process::id()),
        };
        Some((self.mark.clone(), namespace?))
    }
}

impl Host {
    /// A new state directory, in which nothing runs yet.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("h")
            .tempdir()
            .expect("the temporary directory is writable");
        Self { directory, environment: Vec::new(), machine: None, binaries: binaries() }
    }

    /// What this host starts from now on is of the build in this directory.
    pub fn set_build(&mut self, binaries: &Path) {
        binaries.clone_into(&mut self.binaries);
    }

    /// The host that a machine of a cluster is.
    pub(crate) fn on(machine: Machine) -> Self {
        let mut host = Self::new();
        host.machine = Some(machine);
        host
    }

    /// Sets a variable for everything that this host starts.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Arms a failpoint: the first process that passes `name` does `action`, or with `name@3` the
    /// process that passes it third; see `chassis::failpoint`. Returns the host and the marker, a
    /// file that exists once the failpoint has fired.
    pub fn with_failpoint(mut self, name: &str, action: &str) -> (Self, PathBuf) {
        const VARIABLE: &str = "MAINSPRING_FAILPOINTS";
        let file = format!("fired-{}", name.replace(['.', '@', '%'], "-"));
        let marker = self.directory.path().join(file);
        let armed = self.environment.iter().find(|(variable, _)| variable == VARIABLE);
        let before = armed.map(|(_, value)| format!("{value},")).unwrap_or_default();
        self.environment.retain(|(variable, _)| variable != VARIABLE);
        (self.with(VARIABLE, format!("{before}{name}={action}@{}", marker.display())), marker)
    }

    /// Plants a bug that every process has from its start; see `chassis::failpoint`.
    pub fn with_bug(self, name: &str) -> Self {
        self.with_failpoint(name, "bug").0
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        let of = self.machine.as_ref().map(Machine::directory);
        of.unwrap_or_else(|| self.directory.path().to_owned()).join("state")
    }

    /// A directory for a test's own files.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file for the test and returns its path as an argument.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.scratch().join(name);
        std::fs::write(&path, content).expect("a test may write below its own directory");
        path.to_str().expect("temporary paths are UTF-8").to_owned()
    }

    /// Writes an executable shell script and returns its path as an argument.
    pub fn program(&self, name: &str, script: &str) -> String {
        let program = self.file(name, &format!("#!/bin/sh\n{script}\n"));
        make_executable(Path::new(&program));
        program
    }

    /// `mainspring` with these arguments, for this host.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = self.binaries.join("mainspring");
        let mut command = match &self.machine {
            // The machine's own environment says where its state is.
            Some(machine) => machine.command(&program, arguments),
            None => {
                let mut command = Command::new(program);
                command
                    .args(arguments)
                    .env("MAINSPRING_STATE_DIR", self.state())
                    .env("MAINSPRING_HOST_LINGER", "0s");
                command
            }
        };
        command
            .current_dir(self.scratch())
            .env("NO_COLOR", "1")
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts `mainspring` with these arguments.
    #[track_caller]
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// Runs `mainspring` with these arguments to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.start(arguments).finish()
    }

    /// One application as JSON.
    #[track_caller]
    pub fn status(&self, id: &str) -> serde_json::Value {
        self.run(&["status", id, "-o", "json"]).exits(0).json()
    }

    /// All events of an application's generation, oldest first.
    #[track_caller]
    pub fn events(&self, id: &str) -> Vec<serde_json::Value> {
        self.run(&["events", id, "-o", "jsonl"]).exits(0).json_lines()
    }

    /// The pid of one of the processes named in `host.json`, such as `jobgraph-store` or `up`.
    pub fn pid_of(&self, service: &str) -> Option<u32> {
        let text = std::fs::read_to_string(self.state().join("host.json")).ok()?;
        let host: serde_json::Value = serde_json::from_str(&text).ok()?;
        let entry = if service == "up" { &host } else { &host["services"][service] };
        self.outside(u32::try_from(entry["pid"].as_u64()?).ok()?)
    }

    /// The number by which this process knows the one that the host knows by this number; `None`
    /// if the host is a machine on which there is no such process.
    pub(crate) fn outside(&self, pid: u32) -> Option<u32> {
        self.machine.as_ref().map_or(Some(pid), |machine| machine.outside(pid))
    }

    /// The name that the host has among the hosts of its deployment, once one of its processes has
    /// asked for the name.
    #[track_caller]
    pub fn name(&self) -> String {
        let text = std::fs::read(self.state().join("host-id")).expect("the host has been up");
        let id: serde_json::Value = serde_json::from_slice(&text).expect("host-id is JSON");
        id["name"].as_str().expect("a host has a name").to_owned()
    }

    /// What the owner marks of this host's processes begin with, without the `/` behind it.
    pub fn mark(&self) -> String {
        match self.machine {
            Some(_) => state_mark(Path::new(STATE_OF_A_MACHINE)),
            None => state_mark(&self.state()),
        }
    }

    /// What the host's `up` has written, where that goes to a file.
    pub(crate) fn log(&self) -> Option<PathBuf> {
        self.machine.as_ref().map(|machine| machine.directory().join("log"))
    }

    pub(crate) fn home(&self) -> Home {
        Home { mark: self.mark(), machine: self.machine.clone() }
    }

    /// Every process that was started for an application of this host and is alive: pid and command
    /// line.
    pub fn owned(&self) -> Vec<(u32, String)> {
        self.owned_as("")
    }

    /// The same of those whose owner mark goes on like this behind the host's own part of it.
    pub(crate) fn owned_as(&self, rest: &str) -> Vec<(u32, String)> {
        let mut found = with_environment(&format!("MAINSPRING_OWNER={}/{rest}", self.mark()));
        if let Some(machine) = &self.machine {
            let own = machine.processes();
            found.retain(|(pid, _)| own.contains(pid));
        }
        found
    }

    /// Every process that belongs to this state directory and is alive: pid and command line. Of a
    /// machine that is every process.
    pub fn alive(&self) -> Vec<(u32, String)> {
        if let Some(machine) = &self.machine {
            let all = machine.processes().into_iter();
            return all.map(|pid| (pid, command_line(pid))).collect();
        }
        let mut found = self.owned();
        let state = format!("MAINSPRING_STATE_DIR={}", self.state().display());
        found.extend(with_environment(&state));
        found.sort();
        found.dedup();
        found
    }

    /// Prints what the host says of a test that failed, because its directory is about to go: the
    /// past of its applications, and what `up` and the services have written.
    fn tell(&self) {
        let applications = self.command(&["list", "-o", "json"]).output();
        let listed = applications.ok().and_then(|list| serde_json::from_slice(&list.stdout).ok());
        let listed: serde_json::Value = listed.unwrap_or_default();
        for application in listed["applications"].as_array().into_iter().flatten() {
            let Some(id) = application["applicationId"].as_str() else { continue };
            if let Ok(events) = self.command(&["events", id]).output() {
                eprintln!("--- events {id}\n{}", String::from_utf8_lossy(&events.stdout));
            }
        }
        let state = self.state();
        let services = ["jobgraph-store", "leader-elector", "lifecycle", "artifact-fetcher"];
        let logs = services.map(|service| state.join(service).join("log"));
        for log in std::iter::once(state.join("up.log")).chain(logs) {
            if let Ok(text) = std::fs::read_to_string(&log) {
                let lines: Vec<&str> = text.lines().collect();
                let last = &lines[lines.len().saturating_sub(TOLD_LINES)..];
                eprintln!("--- {}\n{}", log.display(), last.join("\n"));
            }
        }
    }

    /// Ends the host and checks that nothing is left.
    #[track_caller]
    pub fn down(&self) {
        if self.state().exists() {
            self.run(&["down", "--yes"]).exits(0);
        }
        eventually("nothing of this host is alive", || self.alive().is_empty());
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.machine.is_some() {
            return;
        }
        if std::thread::panicking() {
            self.tell();
            // The test has failed already, so that the processes are ended without hiding why.
            let _ = self.command(&["down", "--yes"]).output();
            for (pid, _) in self.alive() {
                crate::process::signal(pid, "KILL");
            }
        } else {
            self.down();
        }
    }
}

/// Lets a file that a test has written be run.
pub(crate) fn make_executable(path: &Path) {
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, mode).expect("the file was just written");
}

/// A binary of this build.
pub fn binary(name: &str) -> PathBuf {
    binaries().join(name)
}

/// Where the binaries of this build are: beside the running test.
pub fn binaries() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has an executable");
    test.ancestors().nth(2).expect("tests lie in <profile>/deps").to_owned()
}

/// The first 8 hex digits of the SHA-256 of the state directory's path, as in owner marks.
fn state_mark(state: &Path) -> String {
    use sha2::Digest as _;
    use std::os::unix::ffi::OsStrExt as _;
    hex::encode(&sha2::Sha256::digest(state.as_os_str().as_bytes())[..4])
}
