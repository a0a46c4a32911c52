//! The host through the real command: started by the first command that needs it, adopted,
//! repaired, ended.
#![allow(clippy::disallowed_methods, reason = "runs the command as people do")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use chassis::clock::{Clock as _, SystemClock};
use client::process_tree::Process;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The longest that a test waits for anything here.
const LONG: Duration = Duration::from_secs(30);

/// A host with a state directory of its own, which is ended when this value is dropped.
struct Host {
    directory: tempfile::TempDir,
    linger: &'static str,
}

impl Host {
    fn new(linger: &'static str) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), linger }
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainspring"));
        command.args(line.split_whitespace()).stdin(Stdio::null());
        command
            .env("MAINSPRING_STATE_DIR", self.state())
            .env("MAINSPRING_HOST_LINGER", self.linger);
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    fn answer(&self, line: &str) -> Value {
        let output = self.run(line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn file(&self) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.state().join("host.json")).ok()?).ok()
    }

    /// The process ids by name: `up` and the four services.
    fn pids(&self) -> BTreeMap<String, u32> {
        let file = self.file().expect("a host runs");
        let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
        let services = file["services"].as_object().unwrap().iter();
        let mut pids: BTreeMap<_, _> =
            services.map(|(name, entry)| (name.clone(), number(&entry["pid"]))).collect();
        pids.insert("up".to_owned(), number(&file["pid"]));
        pids
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The log of a host that did the wrong thing goes with the host's directory.
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.state().join("up.log")).unwrap_or_default();
            eprintln!("--- host.json\n{:?}\n--- up.log\n{log}", self.file());
        }
        let _ = self.run("down --yes");
    }
}

fn lives(pid: u32) -> bool {
    Process::of(pid).is_some_and(|process| !process.is_zombie())
}

/// Whether none of a host's processes lives.
fn have_left(pids: &BTreeMap<String, u32>) -> bool {
    pids.values().all(|&pid| !lives(pid))
}

/// How many processes have this state directory on their command line.
fn processes_of(state: &Path) -> usize {
    let names_it = |entry: std::io::Result<std::fs::DirEntry>| {
        let words = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        words
            .split(|&byte| byte == 0)
            .any(|word| word == state.as_os_str().as_encoded_bytes())
            .then_some(())
    };
    std::fs::read_dir("/proc").unwrap().filter_map(names_it).count()
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Waits until the condition holds; a test that waits too long fails.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = SystemClock.boot() + LONG;
    while !so() {
        assert!(SystemClock.boot() < end, "not within {LONG:?}: {what}");
        SystemClock.sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn whoever_needs_a_host_starts_it_and_down_leaves_nothing() {
    let host = Host::new("60s");
    assert_eq!(host.answer("list -o json")["applications"], serde_json::json!([]));
    let pids = host.pids();
    assert_eq!(pids.len(), 5);
    assert!(pids.values().all(|&pid| lives(pid)), "{pids:?}");
    host.answer("list -o json");
    assert_eq!(host.pids(), pids, "a second command has started another host");
    let down = host.run("down");
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    until("all processes are gone", || have_left(&pids)).await;
    assert_eq!(host.file(), None);
    assert_eq!(host.answer("doctor -o json")["problems"], 0);
}

#[tokio::test]
async fn commands_that_come_at_once_share_one_host() {
    let host = Host::new("60s");
    let running: Vec<_> = (0..6)
        .map(|_| {
            host.command("list -o name")
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    // An `up` that came second looks at the lock for a moment before it leaves.
    until("one host is left", || processes_of(&host.state()) == 5).await;
    assert_eq!(host.pids().values().filter(|&&pid| lives(pid)).count(), 5);
}

#[tokio::test]
async fn services_outlive_up_and_the_next_one_adopts_them() {
    let host = Host::new("60s");
    host.answer("list -o json");
    let before = host.pids();
    signal(before["up"], Signal::KILL);
    until("up is gone", || !lives(before["up"])).await;
    assert!(before.iter().all(|(name, &pid)| name == "up" || lives(pid)), "a service went with up");
    host.answer("list -o json");
    let after = host.pids();
    assert_ne!(after["up"], before["up"]);
    for (name, pid) in before.iter().filter(|(name, _)| *name != "up") {
        assert_eq!(after[name], *pid, "{name} was not adopted");
    }
}

/// The number in the lock is that of an `up` in another container, or of a killed one, and belongs
/// to an unrelated process by now.
#[test]
fn down_ends_nobody_who_only_has_the_number_in_the_lock() {
    let host = Host::new("60s");
    std::fs::create_dir_all(host.state()).unwrap();
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let path = host.state().join("host.lock");
    std::fs::write(&path, stranger.id().to_string()).unwrap();
    let lock = std::fs::File::open(&path).unwrap();
    lock.lock().unwrap();
    let down = host.run("down --yes");
    drop(lock);
    let lives = stranger.try_wait().unwrap().is_none();
    stranger.kill().and_then(|()| stranger.wait()).unwrap();
    let said = String::from_utf8_lossy(&down.stderr);
    assert!(lives, "{said}");
    assert!(!down.status.success() && said.contains("cannot be seen from here"), "{said}");
}

#[tokio::test]
async fn a_service_that_dies_is_started_again() {
    let host = Host::new("60s");
    host.answer("list -o json");
    for name in ["jobgraph-store", "lifecycle", "leader-elector", "artifact-fetcher"] {
        let before = host.pids();
        signal(before[name], Signal::KILL);
        until(name, || host.file().is_some() && host.pids()[name] != before[name]).await;
        assert!(lives(host.pids()[name]));
        host.answer("list -o json");
        assert_eq!(host.pids()["up"], before["up"], "up was replaced");
    }
}

#[tokio::test]
async fn a_host_without_work_leaves() {
    let host = Host::new("0s");
    host.answer("list -o json");
    let pids = host.pids();
    until("the host has left", || have_left(&pids)).await;
    assert_eq!(host.file(), None);
}

#[tokio::test]
async fn a_store_that_answers_late_does_not_keep_the_services_of_a_host_that_leaves() {
    /// Longer than the host waits for one answer.
    const LATE: Duration = Duration::from_secs(11);
    let host = Host::new("0s");
    host.answer("list -o json");
    let pids = host.pids();
    signal(pids["jobgraph-store"], Signal::STOP);
    until("the host is about to leave", || host.file().is_none()).await;
    SystemClock.sleep(LATE).await;
    signal(pids["jobgraph-store"], Signal::CONT);
    until("the host has left", || have_left(&pids)).await;
}

#[tokio::test]
async fn a_host_that_cannot_start_says_why() {
    let host = Host::new("60s");
    std::fs::create_dir_all(host.state()).unwrap();
    // The store cannot open a directory as its record.
    std::fs::create_dir_all(host.state().join("jobgraph-store/record.redb")).unwrap();
    let output = host.run("list");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.starts_with("error[HOST_NOT_REACHABLE]"), "{said}");
    assert!(said.contains("jobgraph-store") && said.contains("up.log"), "{said}");
}

#[test]
fn the_only_host_has_no_seat_and_gives_no_host_up() {
    let host = Host::new("60s");
    assert_eq!(host.answer("host list -o json"), serde_json::json!({ "hosts": [] }));
    let unknown = host.run("host give-up node-7 --yes");
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(unknown.status.code(), Some(7), "{said}");
    assert!(said.contains("HOST_NOT_FOUND") && said.contains("node-7"), "{said}");

    let id = std::fs::read(host.state().join("host-id")).unwrap();
    let id: Value = serde_json::from_slice(&id).unwrap();
    let itself = host.run(&format!("host give-up {} --yes", id["uid"].as_str().unwrap()));
    let said = String::from_utf8_lossy(&itself.stderr).into_owned();
    assert_eq!(itself.status.code(), Some(6), "{said}");
    assert!(said.contains("HOST_LIVES"), "{said}");
}
