//! No contender leads, and Flink goes on: what a cluster reports needs no leader, only its
//! incarnation.

use std::time::{Duration, Instant};

use e2e::Host;
use e2e::flink::{ExactlyOnce, Part, Tally, posts};
use e2e::http::ask;
use e2e::process::{eventually, eventually_within, is_gone, signal};

const ID: &str = ExactlyOnce::ID;

/// How long a job has to do without a leader.
const LEADERLESS: Duration = Duration::from_secs(20);

/// The longest that the job may come to no new checkpoint during that time; it makes one every 0.2
/// s.
const SILENCE: Duration = Duration::from_secs(20);

/// A time in which no contender can lead, because the elector is gone, and `up`, which would start
/// it again, is stopped. The time ends when this value is dropped.
struct WithoutElector {
    up: u32,
}

impl WithoutElector {
    fn begin(host: &Host) -> Self {
        let up = host.pid_of("up").unwrap();
        signal(up, "STOP");
        let this = Self { up };
        Part::Service("leader-elector").kill(host);
        this
    }
}

impl Drop for WithoutElector {
    fn drop(&mut self) {
        signal(self.up, "CONT");
    }
}

/// Every runner of this host, leader and standbys.
fn runners(host: &Host) -> Vec<u32> {
    let is_runner = |line: &str| line.contains(" serve app-runner");
    host.alive().into_iter().filter(|(_, line)| is_runner(line)).map(|(pid, _)| pid).collect()
}

/// The newest checkpoint in the record.
fn checkpoint(host: &Host) -> u64 {
    let jobs = host.run(&["jobs", ID, "-o", "json"]).exits(0).json();
    number(&jobs[0]["checkpoint"]["id"])
}

/// A number from JSON, in which numbers of 64 bits are text.
fn number(value: &serde_json::Value) -> u64 {
    value.as_str().unwrap_or_default().parse().unwrap_or_default()
}

fn age(status: &serde_json::Value) -> Duration {
    Duration::from_millis(number(&status["observation"]["ageMillis"]))
}

fn ends(host: &Host) -> usize {
    let ended = |event: &&serde_json::Value| {
        event["kind"] == "job" && event["attributes"]["state"] == "ended"
    };
    host.events(ID).iter().filter(ended).count()
}

/// How often Flink restarted the job, in Flink's own words. Flink fetches the number only when it
/// is asked for, so that the first answer is empty.
fn restarts_told_by_flink(status: &serde_json::Value) -> String {
    let address = status["cluster"]["addresses"]["jobmanager/rest"].as_str().unwrap();
    let path =
        format!("/jobs/{}/metrics?get=numRestarts", status["jobs"][0]["jobId"].as_str().unwrap());
    let mut told = String::new();
    eventually("Flink tells how often it restarted the job", || {
        let answer = ask(address, "GET", &path).unwrap().json();
        told = answer[0]["value"].as_str().unwrap_or_default().to_owned();
        !told.is_empty()
    });
    told
}

#[test]
fn a_job_checkpoints_for_twenty_seconds_without_a_leader() {
    let host = Host::new();
    let counted = ExactlyOnce::start(&host, 56_000, &["--contenders", "2"]);
    counted.until_committed(4);
    let before = host.status(ID);
    let leaders = runners(&host);
    assert_eq!(leaders.len(), 2, "{:#?}", host.alive());

    let without_elector = WithoutElector::begin(&host);
    // The runners that lifecycle starts in their place find no elector.
    leaders.iter().for_each(|pid| signal(*pid, "KILL"));
    eventually("all runners are gone", || leaders.iter().all(|pid| is_gone(*pid)));
    let begun = Instant::now();
    let mut seen = vec![checkpoint(&host)];
    while begun.elapsed() < LEADERLESS {
        let last = seen[seen.len() - 1];
        eventually_within(SILENCE, "a newer checkpoint is in the record", || {
            checkpoint(&host) > last
        });
        seen.push(checkpoint(&host));
    }
    let after = host.status(ID);
    assert_eq!(
        after["leadership"]["epoch"], before["leadership"]["epoch"],
        "a contender led: {after:#}"
    );
    assert!(age(&after) >= LEADERLESS, "a contender led: {after:#}");
    assert!(after["jobs"][0]["end"].is_null(), "the job was over too soon: {after:#}");
    assert_eq!(restarts_told_by_flink(&after), "0");
    drop(without_elector);

    let (run, tally) = counted.finish(&host);
    assert!(run.exits(0).stdout.contains("all 56000 counted"));
    assert_eq!(tally, Tally::default());
    let status = host.status(ID);
    assert_eq!(number(&status["cluster"]["incarnation"]), 1, "{status:#}");
    assert_eq!(status["main"]["executions"], 2, "{status:#}");
    let job = &status["jobs"][0];
    assert_eq!(job["submissions"], 1, "{job:#}");
    assert_eq!(job["end"]["progress"]["restarts"].as_u64().unwrap_or_default(), 0, "{job:#}");
    assert_eq!(ends(&host), 1);
}

#[test]
fn a_job_that_ends_without_a_leader_and_loses_its_jobmanager_at_once_is_not_run_again() {
    let host = Host::new();
    let counted = ExactlyOnce::start(&host, 12_000, &[]);
    counted.until_committed(4);
    let leader = Part::Contender.pid(&host).unwrap();
    assert_eq!(runners(&host), [leader]);
    signal(leader, "STOP");
    let stopped = host.status(ID);
    assert!(stopped["jobs"][0]["end"].is_null(), "{stopped:#}");

    let mut status = stopped.clone();
    eventually("the job's end is in the record", || {
        status = host.status(ID);
        !status["jobs"][0]["end"].is_null()
    });
    Part::JobManager.kill(&host);
    eventually("the record tells that its leader is silent", || {
        status = host.status(ID);
        status["observation"]["stale"] == true
    });
    assert_eq!(status["phase"], "PHASE_RUNNING", "{status:#}");
    assert_eq!(ends(&host), 1);
    signal(leader, "CONT");

    let (run, tally) = counted.finish(&host);
    assert!(run.exits(0).stdout.contains("all 12000 counted"));
    assert_eq!(tally, Tally::default());
    let after = host.status(ID);
    assert_eq!(after["jobs"][0]["end"], status["jobs"][0]["end"], "an end does not change");
    assert_eq!(after["jobs"][0]["submissions"], 1, "{after:#}");
    assert_eq!(ends(&host), 1);
    assert_eq!(posts(&host, ID), 1);
}
