//! Session mode: jobs go to a Flink cluster that runs already, that other applications use too, and
//! that stays.

use std::time::{Duration, Instant};

use e2e::flink::{SessionCluster, WORD_COUNT, examples, programs};
use e2e::process::{eventually, eventually_within, signal};
use e2e::{Host, Running};
use serde_json::Value;

/// The only job of an application, or null.
fn job(host: &Host, id: &str) -> Value {
    let status = host.run(&["status", id, "-o", "json"]);
    if status.code == 0 { status.json()["jobs"][0].clone() } else { Value::Null }
}

#[track_caller]
fn endless(host: &Host, cluster: &SessionCluster, options: &[&str]) -> Running {
    let (jar, address) = (programs(), cluster.address());
    let mut arguments =
        vec!["run", "--application-id", "endless", "-m", &address, "-c", "Misbehaving"];
    arguments.extend(options);
    arguments.extend([jar.as_str(), "forever"]);
    let run = host.start(&arguments);
    eventually_within(Duration::from_secs(60), "the job runs", || {
        let id = job(host, "endless")["jobId"].clone();
        cluster.jobs().iter().any(|(state, job)| id == job.as_str() && state == "RUNNING")
    });
    run
}

#[test]
fn a_program_uses_a_cluster_that_stays_and_two_of_the_same_name_do_not_meet() {
    let cluster = SessionCluster::start();
    let (here, there) = (Host::new(), Host::new());
    let (text, out) = (here.file("text", "to be or not to be\n"), here.scratch().join("out"));
    let words = ["--execution-mode", "BATCH", "--input", &text, "--output", out.to_str().unwrap()];
    let (jar, address) = (examples(), cluster.address());
    let mut arguments = vec![
        "run",
        "-t",
        "session",
        "-m",
        &address,
        "--application-id",
        "words",
        "-c",
        WORD_COUNT,
        &jar,
    ];
    arguments.extend(words);
    here.run(&arguments).exits(0).says("nothing left over");
    assert_eq!(here.status("words")["jobs"][0]["submissions"], 1);
    assert_eq!(
        cluster.jobs().iter().map(|(state, _)| state.as_str()).collect::<Vec<_>>(),
        ["FINISHED"]
    );

    // Application, generation and job are equal, and the job is another record's all the same.
    let (ours, theirs) = (endless(&here, &cluster, &[]), endless(&there, &cluster, &[]));
    let (our_id, their_id) =
        (job(&here, "endless")["jobId"].clone(), job(&there, "endless")["jobId"].clone());
    assert_ne!(our_id, their_id);
    here.run(&["ui", "endless"]).exits(6).says(&format!("http://{address}"));
    here.run(&["cancel", "endless"]).exits(0);
    ours.finish().exits(3).says("nothing left over");
    let state = |id: &Value| {
        let jobs = cluster.jobs();
        jobs.into_iter().find(|(_, job)| *id == job.as_str()).map(|(state, _)| state)
    };
    assert_eq!(
        (state(&our_id).as_deref(), state(&their_id).as_deref()),
        (Some("CANCELED"), Some("RUNNING"))
    );
    there.run(&["cancel", "endless"]).exits(0);
    theirs.finish().exits(3);
    here.down();
    there.down();
}

#[test]
fn a_job_that_its_cluster_lost_ends_lost_unless_it_may_begin_anew() {
    let mut cluster = SessionCluster::start();
    let (given_up, begun_anew) = (Host::new(), Host::new());
    let lost = endless(&given_up, &cluster, &[]);
    let anew = endless(&begun_anew, &cluster, &["--resubmit-lost"]);
    cluster.replace_jobmanager();
    let lost = lost
        .finish_within(Duration::from_secs(60))
        .exits(1)
        .says("forever LOST")
        .says("--resubmit-lost");
    assert!(!lost.stderr.contains("CLUSTER_KEEPS_DYING"), "{}", lost.stderr);
    assert_eq!(job(&given_up, "endless")["end"]["outcome"], "JOB_OUTCOME_LOST");
    let id = job(&begun_anew, "endless")["jobId"].clone();
    eventually("the other one runs again", || {
        cluster.jobs().iter().any(|(state, job)| id == job.as_str() && state == "RUNNING")
    });
    let restarts: Vec<Value> = begun_anew
        .events("endless")
        .into_iter()
        .filter(|event| event["kind"] == "restart")
        .collect();
    assert_eq!(restarts.len(), 1, "{restarts:#?}");
    begun_anew.run(&["cancel", "endless"]).exits(0);
    anew.finish().exits(3);
    given_up.down();
    begun_anew.down();
}

/// While the cluster cannot be asked nothing is concluded, not even by a new leader and a new
/// `jobs`.
#[test]
fn a_cluster_that_is_away_has_lost_nothing() {
    let mut cluster = SessionCluster::start();
    let host = Host::new();
    let run = endless(&host, &cluster, &["--contenders", "2"]);
    cluster.lose_jobmanager();
    for (pid, _) in host
        .alive()
        .into_iter()
        .filter(|(_, line)| line.contains(" jobs ") || line.contains("app-runner"))
    {
        signal(pid, "KILL");
    }
    let status = || {
        let status = host.run(&["status", "endless", "-o", "json"]);
        if status.code == 0 { status.json() } else { Value::Null }
    };
    eventually("a contender leads again", || status()["leadership"]["epoch"].as_str() > Some("1"));
    // A leader that took silence for a loss would begin another incarnation within a few seconds.
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        let now = status();
        assert!(now.is_null() || now["cluster"]["incarnation"] == "1", "{now:#}");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(job(&host, "endless")["end"], Value::Null);
    host.run(&["cancel", "endless"]).exits(0);
    run.finish_within(Duration::from_secs(90)).exits(3);
    host.down();
}

#[test]
fn what_names_no_cluster_or_is_not_ours_to_set_is_refused() {
    let host = Host::new();
    let jar = programs();
    let run = |options: &[&str]| {
        let mut arguments = vec!["run", "-c", "Misbehaving"];
        arguments.extend(options);
        arguments.extend([jar.as_str(), "forever"]);
        host.run(&arguments)
    };
    run(&["-m", "127.0.0.1:1"])
        .exits(1)
        .says("CLUSTER_NOT_READY")
        .says("127.0.0.1:1")
        .says("help: start the session cluster");
    run(&["-t", "static"]).exits(1).says("rest.address").says("-m HOST:PORT");
    run(&["-m", "127.0.0.1:1", "-D", "taskmanager.numberOfTaskSlots=2"])
        .exits(1)
        .says("taskmanager.numberOfTaskSlots");
    run(&["--resubmit-lost"]).exits(2).says("resubmit_lost");
    host.run(&["run", "-t", "static", &host.file("one.sql", "SELECT 1")])
        .exits(1)
        .says("TARGET_UNKNOWN");
    host.down();
}
