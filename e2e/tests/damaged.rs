//! Bytes of the record that have changed on the disk: what needs them ends with a reason that names them, and nothing is tried for ever.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use e2e::Host;
use e2e::process::{eventually, signal};

/// A job that takes hours.
const ENDLESS: &str = "\
-- job: endless
SELECT count(*) FROM (SELECT unnest(generate_series(1, 1000000)) AS a) AS x,
  (SELECT unnest(generate_series(1, 1000000)) AS b) AS y WHERE a % 7 <> b % 11;
";

/// The graph is needed again when the cluster that had it is gone.
#[test]
fn a_job_whose_graph_is_damaged_ends_and_names_it() {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "1m");
    let script = host.file("endless.sql", ENDLESS);
    let run = host.start(&["run", "--application-id", "damaged", &script]);
    let job = || host.run(&["status", "damaged", "-o", "json"]).json()["jobs"][0].clone();
    eventually("the job runs", || {
        let status = host.run(&["status", "damaged", "-o", "json"]);
        status.code == 0 && status.json()["jobs"][0]["state"] == "JOB_STATE_RUNNING"
    });
    let digest = job()["graphDigest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let file = host.state().join("payloads").join(&digest[..2]).join(&digest);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let workers = || {
        let is_worker = |line: &str| line.contains("mainspring-datafusion") && line.contains("worker");
        host.alive().into_iter().filter(move |(_, line)| is_worker(line)).collect::<Vec<_>>()
    };
    let killed = workers();
    assert!(!killed.is_empty(), "{:?}", host.alive());
    killed.iter().for_each(|(pid, _)| signal(*pid, "KILL"));

    run.finish().exits(1).says(&digest).says("damaged");
    let end = job()["end"].clone();
    assert_eq!((&end["outcome"], &end["reason"]), (&"JOB_OUTCOME_FAILED".into(), &"DATA_CORRUPT".into()));
    assert!(end["message"].as_str().unwrap().contains(&digest), "{end:#}");
    let status = host.status("damaged");
    assert_eq!((&status["outcome"], &status["clean"]), (&"OUTCOME_FAILED".into(), &true.into()));
    host.down();
}
