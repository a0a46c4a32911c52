//! Savepoints: asking for one, stopping with one, beginning from one.

use std::path::{Path, PathBuf};

use e2e::flink::programs;
use e2e::process::{eventually, signal, with_environment};
use e2e::{Finished, Host};

/// An application that counts, with a directory in which it notes how it began.
struct Counting {
    host: Host,
    notes: PathBuf,
}

impl Counting {
    fn new() -> Self {
        let host = Host::new();
        let notes = host.scratch().join("notes");
        std::fs::create_dir(&notes).expect("a test may write below its own directory");
        Self { host, notes }
    }

    /// Submits a generation, and returns at once.
    fn submit(&self, savepoint: &str, uid: &str, checkpoint_every_ms: u32) {
        self.run(&["-d"], savepoint, uid, checkpoint_every_ms).exits(0);
    }

    #[track_caller]
    fn run(
        &self,
        options: &[&str],
        savepoint: &str,
        uid: &str,
        checkpoint_every_ms: u32,
    ) -> Finished {
        let (jar, notes) = (programs(), self.notes.to_string_lossy());
        let every = checkpoint_every_ms.to_string();
        let mut words = vec!["run", "--application-id", "counting", "-c", "Counter"];
        words.extend(options);
        if !savepoint.is_empty() {
            words.extend(["-s", savepoint]);
        }
        words.extend([&*jar, &*notes, uid, &*every]);
        self.host.run(&words)
    }

    /// How the task began each time: whether it was restored, and the count that it began from.
    fn starts(&self) -> Vec<(bool, u64)> {
        let text = std::fs::read_to_string(self.notes.join("starts")).unwrap_or_default();
        let read = |line: &str| {
            let (restored, count) = line.split_once(' ')?;
            Some((restored == "true", count.parse().ok()?))
        };
        text.lines().filter_map(read).collect()
    }

    #[track_caller]
    fn started(&self, times: usize) -> (bool, u64) {
        eventually(&format!("start number {times}"), || self.starts().len() >= times);
        self.starts()[times - 1]
    }

    fn job(&self) -> serde_json::Value {
        self.host.status("counting")["jobs"][0].clone()
    }

    #[track_caller]
    fn checkpointed(&self) {
        eventually("a checkpoint", || !self.job()["checkpoint"].is_null());
    }

    fn kill(&self, what: &str) {
        let state = format!("MAINSPRING_STATE_DIR={}", self.host.state().display());
        let work = self.host.state();
        let work = work.to_string_lossy();
        let all = with_environment(&state).into_iter().chain(with_environment("MAINSPRING_OWNER="));
        let mine: Vec<u32> = all
            .filter(|(_, line)| line.contains(what) && line.contains(&*work))
            .map(|(pid, _)| pid)
            .collect();
        assert!(!mine.is_empty(), "no process of this host is a {what}");
        mine.iter().for_each(|pid| signal(*pid, "KILL"));
    }
}

/// The one pointer that a command printed, whose files have to exist.
#[track_caller]
fn pointer(finished: Finished) -> String {
    let pointer = finished.exits(0).stdout.trim().to_owned();
    let path = pointer.strip_prefix("file:").expect("a place on this machine");
    assert!(Path::new(path).join("_metadata").is_file(), "nothing at {pointer}");
    pointer
}

#[test]
fn what_a_job_is_stopped_with_is_where_the_next_generation_goes_on() {
    let counting = Counting::new();
    let host = &counting.host;
    counting.submit("", "count", 200);
    assert_eq!(counting.started(1), (false, 0));
    counting.checkpointed();

    let first =
        pointer(host.run(&["savepoint", "counting", "--job", "count", "--request-id", "one"]));
    let again =
        pointer(host.run(&["savepoint", "counting", "--job", "count", "--request-id", "one"]));
    assert_eq!(first, again, "a repeat takes no second one");
    host.run(&["savepoint", "counting", "--job", "nobody"]).exits(7).says("JOB_NOT_FOUND");

    let mine = host.scratch().join("mine");
    let stop = host.run(&["stop", "counting", "--dir", "mine", "--wait"]);
    let stopped = pointer(stop);
    assert!(stopped.starts_with(&format!("file:{}/savepoint-", mine.display())), "{stopped}");
    let status = host.status("counting");
    assert_eq!(
        (status["outcome"].as_str(), status["clean"].as_bool()),
        (Some("OUTCOME_SUCCEEDED"), Some(true))
    );
    let job = &status["jobs"][0];
    assert_eq!(
        (&job["end"]["savepoint"], job["savepoints"].as_array().map(Vec::len)),
        (&stopped.clone().into(), Some(2))
    );
    let main = host.run(&["logs", "counting", "--role", "main"]).exits(0).stdout;
    assert!(main.contains("main() goes on"), "execute() returned: {main}");
    host.run(&["stop", "counting"]).exits(6).says("ALREADY_ENDED");

    // Checkpoints of the new generation are far away, so that a job which is lost before the first
    // one begins from the savepoint again.
    counting.submit(&stopped, "count", 3_600_000);
    let (restored, begun) = counting.started(2);
    assert!(restored && begun > 0, "begun from {begun}");
    counting.kill("StandaloneSessionClusterEntrypoint");
    assert_eq!(counting.started(3), (true, begun), "lost before its first checkpoint");
    host.run(&["cancel", "counting", "--wait"]).exits(3);

    // Once there is a checkpoint, it wins over the savepoint, so that nothing counted is counted
    // again.
    counting.submit(&stopped, "count", 200);
    assert_eq!(counting.started(4), (true, begun));
    eventually("a checkpoint of its own", || counting.job()["checkpoint"]["savepoint"] == false);
    counting.kill("StandaloneSessionClusterEntrypoint");
    let (restored, later) = counting.started(5);
    assert!(restored && later > begun, "restored {later}, the savepoint has {begun}");
    host.run(&["cancel", "counting", "--wait"]).exits(3);
}

#[test]
fn a_restart_is_told_with_its_cause_and_a_savepoint_of_another_job_with_what_to_do() {
    let counting = Counting::new();
    let host = &counting.host;
    counting.submit("", "count", 200);
    counting.started(1);
    counting.checkpointed();
    std::fs::write(counting.notes.join("break"), "")
        .expect("a test may write below its own directory");
    assert!(counting.started(2).0, "Flink restarts it from a checkpoint");
    let cause = "java.lang.IllegalStateException: the lookup table is gone";
    eventually("the cause is shown", || counting.job()["lastFailure"] == cause);
    let told = || host.events("counting").iter().filter(|event| event["kind"] == "restart").count();
    eventually("the cause is told", || told() == 1);
    let status = host.run(&["status", "counting"]).exits(0).stdout;
    assert!(
        status.contains(&format!("count was restarted: {cause}")) && status.contains("CHECKPOINT"),
        "{status}"
    );
    let stopped = pointer(host.run(&["stop", "counting", "--wait"]));
    assert_eq!(told(), 1, "each text once");

    let failed = counting.run(&[], &stopped, "other", 200).exits(1);
    assert!(failed.stderr.contains("Cannot map checkpoint/savepoint state"), "{}", failed.stderr);
    failed.says("help: is it a savepoint of this program?");
}

/// main()'s own wish is one in the record, as any other caller's, and the end carries the savepoint
/// that the job was stopped with.
#[test]
fn a_program_has_savepoints_taken_of_its_own_job_and_stops_it_with_one() {
    let host = Host::new();
    let (jar, directory) = (programs(), host.scratch().join("savepoints"));
    let place = directory.to_string_lossy();
    let run =
        host.run(&["run", "--application-id", "stopping", "-c", "Stopping", &jar, &place]).exits(0);
    let said: Vec<(&str, &str)> =
        run.stdout.lines().filter_map(|line| line.split_once(' ')).collect();
    let [("taken", taken), ("stopped", stopped)] = said[..] else { panic!("{said:?}") };
    let job = &host.status("stopping")["jobs"][0];
    let kept: Vec<_> =
        job["savepoints"].as_array().unwrap().iter().map(|one| one["pointer"].clone()).collect();
    assert_eq!(kept, [taken, stopped], "{job:#}");
    assert_eq!(job["end"]["savepoint"], stopped);
    for pointer in [taken, stopped] {
        let metadata = Path::new(pointer.trim_start_matches("file:")).join("_metadata");
        assert!(metadata.starts_with(&directory) && metadata.is_file(), "{}", metadata.display());
    }
    host.down();
}
