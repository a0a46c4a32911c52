//! Applications that have ended and cannot finish: an output that cannot be put in its place, a
//! teardown that does not come to its end. Users are told of it where they look, it is tried again,
//! it goes on by itself when the fault is gone, and it can be given up.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};

use e2e::disk::{Disk, in_a_namespace};
use e2e::process::{eventually, signal};
use e2e::{Finished, Host, Running};
use serde_json::Value;

/// A script with partitioned output, so that a plain file can lie where the job needs a directory.
const SCRIPT: &str = "\
-- job: squares
COPY (SELECT value * value AS square, value AS year FROM (VALUES (1), (2)) AS t(value))
  TO 'squares/' STORED AS PARQUET PARTITIONED BY (year);
-- job: report
SELECT 5 AS sum;
";

/// An application whose first job has committed its output and is held before the output is
/// published.
struct Committed {
    host: Host,
    run: Running,
    go: PathBuf,
    target: PathBuf,
}

fn committed(host: Host, out: &Path, options: &[&str]) -> Committed {
    let (host, marker) =
        host.with("MAINSPRING_HOST_LINGER", "1m").with_failpoint("runner.before-publish", "hold");
    let script = host.file("squares.sql", SCRIPT);
    let out = out.to_str().unwrap();
    let arguments =
        [&["run", "--application-id", "squares", "--output", out], options, &[&script]].concat();
    let run = host.start(&arguments);
    eventually("the job's end is committed", || marker.exists());
    Committed { host, run, go: marker.with_extension("go"), target: Path::new(out).join("squares") }
}

impl Committed {
    /// Lets the leader publish, and waits until the leader has said that it cannot.
    fn fails_to_publish(&self) -> Value {
        std::fs::write(&self.go, "").unwrap();
        self.says_why()
    }

    fn says_why(&self) -> Value {
        eventually("its status says why it is not published", || {
            !trouble(&self.host, "Published").is_null()
        });
        trouble(&self.host, "Published")
    }

    /// Checks that there is one end, each part once, and nothing staged.
    #[track_caller]
    fn ends_well(self) {
        self.run.finish().exits(0).says("nothing left over");
        let status = self.host.status("squares");
        assert_eq!(status["outcome"], "OUTCOME_SUCCEEDED");
        assert_eq!(status["clean"], true);
        let events = self.host.events("squares");
        let count = |kind: &str| events.iter().filter(|event| event["kind"] == kind).count();
        assert_eq!((count("published"), count("ended"), count("clean")), (1, 1, 1), "{events:#?}");
        assert!(trouble(&self.host, "Published").is_null(), "{status:#}");
        assert_eq!(parts(&self.target), 2);
        self.host.down();
    }
}

/// The condition of this type if it is false, else null.
fn trouble(host: &Host, kind: &str) -> Value {
    let status = host.status("squares");
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let is_false = |c: &Value| c["type"] == kind && c["status"] == "CONDITION_STATUS_FALSE";
    conditions.into_iter().find(is_false).unwrap_or_default()
}

/// How many parts of the partitioned output are published. Anything else in the output but the
/// marker of a whole one is a failure.
#[track_caller]
fn parts(target: &Path) -> usize {
    let names = |directory: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path()).collect()
    };
    let partitions: Vec<_> =
        names(target).into_iter().filter(|path| !path.ends_with("_SUCCESS")).collect();
    assert!(
        partitions.iter().all(|path| path.is_dir() && path.to_str().unwrap().contains("year=")),
        "{partitions:?}"
    );
    partitions.iter().map(|partition| names(partition).len()).sum()
}

/// Puts a plain file where a directory has to be.
fn block(target: &Path) -> PathBuf {
    let file = target.join("year=1");
    std::fs::write(&file, "in the way").unwrap();
    file
}

#[test]
fn an_output_that_cannot_be_put_in_its_place_is_told_and_goes_on_by_itself() {
    let host = Host::new();
    let out = host.scratch().join("out");
    let held = committed(host, &out, &[]);
    let in_the_way = block(&held.target);
    let trouble = held.fails_to_publish();
    assert_eq!(trouble["reason"], "OUTPUT_NOT_WRITABLE", "{trouble:#}");
    let message = trouble["message"].as_str().unwrap();
    for text in ["\"squares\"", "year=1", "tried again", "mainspring abandon squares@1"] {
        assert!(message.contains(text), "{text}: {message}");
    }
    // Users see it where they look: status, list, jobs, events; and never an end that is not so.
    let status = held.host.run(&["status", "squares"]).exits(0).stdout;
    for text in [
        "RUNNING",
        "PUBLISHING",
        "cannot be put in its place",
        "year=1",
        "help: once the target can be written",
    ] {
        assert!(status.contains(text), "{text}: {status}");
    }
    let list = held.host.run(&["list", "-o", "wide"]).exits(0).stdout;
    assert!(list.contains("cannot be put in its place"), "{list}");
    held.host.run(&["wait", "squares", "--timeout", "1ms"]).exits(124);
    std::fs::remove_file(in_the_way).unwrap();
    let host_events = |held: &Committed| {
        held.host.events("squares").iter().filter(|e| e["kind"] == "warning").count()
    };
    assert_eq!(host_events(&held), 1, "what is tried again is said once");
    held.ends_well();
}

#[test]
fn a_target_on_a_read_only_disk_outlives_the_leader_and_is_published_once() {
    in_a_namespace(
        "a_target_on_a_read_only_disk_outlives_the_leader_and_is_published_once",
        || {
            let host = Host::new();
            let disk = Disk::mount(host.scratch().join("out"), "size=4m");
            let held = committed(host, disk.path(), &["--contenders", "2"]);
            disk.set_read_only(true);
            let trouble = held.fails_to_publish();
            assert!(
                trouble["message"].as_str().unwrap().contains("Read-only file system"),
                "{trouble:#}"
            );
            let leader = held.host.status("squares")["leadership"]["leaderPid"].as_u64().unwrap();
            signal(u32::try_from(leader).unwrap(), "KILL");
            eventually("the other leads", || {
                held.host.status("squares")["leadership"]["ordinal"] == 2
            });
            eventually("it was told so, too", || {
                let told =
                    |e: &&Value| e["kind"] == "warning" && e["reason"] == "OUTPUT_NOT_WRITABLE";
                held.host.events("squares").iter().filter(told).count() == 2
            });
            disk.set_read_only(false);
            held.ends_well();
        },
    );
}

/// An application whose output cannot be published, and which was told to end.
fn cancelled_unpublished(host: Host, options: &[&str]) -> (Committed, PathBuf) {
    let out = host.scratch().join("out");
    let held = committed(host, &out, options);
    let in_the_way = block(&held.target);
    held.fails_to_publish();
    (held, in_the_way)
}

#[test]
fn a_publish_that_cannot_finish_is_given_up_and_said_for_good() {
    let (held, in_the_way) = cancelled_unpublished(Host::new(), &[]);
    // While main() waits for the publish there is no end to give up; without a terminal the command
    // does not ask.
    held.host
        .run(&["abandon", "squares", "--yes"])
        .exits(6)
        .says("NOT_ENDED")
        .says("squares@1 is RUNNING")
        .says("help: cancel it first: mainspring cancel squares@1");
    held.host.run(&["cancel", "squares"]).exits(0);
    held.host
        .run(&["abandon", "squares"])
        .exits(6)
        .says("committed output of job \"squares\"")
        .says("say --yes");
    let abandoned = held
        .host
        .run(&["abandon", "squares", "--yes", "--reason", "enough", "--wait", "-o", "json"])
        .exits(3);
    assert_eq!(abandoned.json()["clean"], true);

    let run: Finished = held.run.finish().exits(3);
    assert!(run.stderr.contains("given up before it was in its place"), "{}", run.stderr);
    let status = held.host.status("squares");
    assert_eq!(status["outcome"], "OUTCOME_CANCELLED");
    assert_eq!(status["jobs"][0]["published"], false);
    assert_eq!(status["jobs"][0]["end"]["outcome"], "JOB_OUTCOME_SUCCEEDED");
    let left = status["leftovers"][0].as_str().unwrap().to_owned();
    let staged = Path::new(left.rsplit_once("staged in ").unwrap().1);
    assert!(staged.is_dir(), "what was given up can still be had: {left}");
    assert!(
        held.host
            .run(&["status", "squares"])
            .stdout
            .contains("left over: output of job \"squares\"")
    );
    held.host.run(&["wait", "squares"]).exits(3);
    held.host.run(&["abandon", "squares", "--yes"]).exits(6).says("ALREADY_ENDED");

    // The id can be used again, and what was left does no harm to it.
    std::fs::remove_file(in_the_way).unwrap();
    let script = held.host.scratch().join("squares.sql");
    let out = held.host.scratch().join("out");
    let arguments = [
        "run",
        "--application-id",
        "squares",
        "--output",
        out.to_str().unwrap(),
        script.to_str().unwrap(),
    ];
    held.host.run(&arguments).exits(0);
    assert_eq!(held.host.status("squares")["generation"], "2");
    assert!(staged.is_dir(), "another generation does not sweep it");
    held.host.down();
}

#[test]
fn a_main_that_failed_keeps_its_outcome_when_its_output_is_given_up() {
    let (held, _in_the_way) = cancelled_unpublished(Host::new(), &["--on-failover", "fail"]);
    let main = held.host.status("squares")["main"]["pid"].as_u64().unwrap();
    signal(u32::try_from(main).unwrap(), "KILL");
    eventually("only the publish is left", || {
        held.host.status("squares")["phase"] == "PHASE_FINISHING"
    });
    // No cancel is needed, because nothing runs any more.
    held.host.run(&["abandon", "squares", "--yes", "--wait"]).exits(1);
    held.run
        .finish()
        .exits(1)
        .says("error[MAIN_KILLED]")
        .says("left over: output of job \"squares\"");
    held.host.down();
}

#[test]
fn a_teardown_that_cannot_finish_is_cleaning_until_it_can_or_is_given_up() {
    let name = "a_teardown_that_cannot_finish_is_cleaning_until_it_can_or_is_given_up";
    in_a_namespace(name, || {
        for give_up in [false, true] {
            let (host, marker) = Host::new()
                .with("MAINSPRING_HOST_LINGER", "1m")
                .with_failpoint("runner.before-teardown", "hold");
            let script = host.file("one.sql", "SELECT 1 AS one;");
            let run = host.start(&["run", "--application-id", "squares", &script]);
            eventually("the teardown is about to begin", || marker.exists());
            // A mount cannot be removed.
            let work = host.state().join("work/squares@1/cluster-1");
            assert!(work.is_dir(), "the cluster's directory is somewhere else");
            let busy = Disk::mount(work.join("busy"), "size=1m");
            std::fs::write(marker.with_extension("go"), "").unwrap();
            eventually("its status says what does not end", || {
                !trouble(&host, "TornDown").is_null()
            });
            let status = host.run(&["status", "squares"]).exits(0).stdout;
            for text in ["CLEANING", "busy", "mainspring abandon squares@1"] {
                assert!(status.contains(text), "{text}: {status}");
            }
            assert!(host.run(&["list"]).stdout.contains("CLEANING"));
            if give_up {
                host.run(&["abandon", "squares", "--yes", "--wait"]).exits(0);
                let left = host.status("squares")["leftovers"].to_string();
                assert!(left.contains("busy"), "{left}");
                drop(busy);
                run.finish().exits(0).says("busy");
            } else {
                drop(busy);
                run.finish().exits(0).says("nothing left over");
            }
            host.run(&["run", "--application-id", "squares", &script]).exits(0);
            host.down();
        }
    });
}
