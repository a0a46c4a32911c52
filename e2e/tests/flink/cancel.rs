//! A job that never ends by itself is ended by who asks for it.

use e2e::Host;
use e2e::flink::programs;
use e2e::process::eventually;

#[test]
fn a_running_job_is_cancelled() {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "1m");
    let jar = programs();
    let run = host.start(&["run", "--application-id", "endless", "-c", "Misbehaving", &jar, "forever"]);
    let job = || host.run(&["status", "endless", "-o", "json"]).json()["jobs"][0].clone();
    eventually("the job runs", || {
        let status = host.run(&["status", "endless", "-o", "json"]);
        status.code == 0 && status.json()["jobs"][0]["state"] == "JOB_STATE_RUNNING"
    });
    host.run(&["cancel", "endless"]).exits(0);
    let run = run.finish().exits(3).says("nothing left over");
    assert_eq!(run.stdout, "");
    assert_eq!(job()["end"]["outcome"], "JOB_OUTCOME_CANCELLED");
    assert_eq!(host.status("endless")["outcome"], "OUTCOME_CANCELLED");
    host.down();
}
