//! Bugs of the kind that the other tests are there for, planted: the tests have to see them. The
//! third control of this kind, an ended job that is run again without mainspring's store of
//! results, is in `engines/flink/tests/real`.

use e2e::Host;
use e2e::flink::{ExactlyOnce, Moment, Part, Trial, posts, programs};
use e2e::process::eventually;

const ID: &str = ExactlyOnce::ID;

/// Proves that a kill of the leader is noticed by its job as soon as checkpoints are fenced by the
/// epoch instead of the incarnation.
#[test]
fn control_pointers_that_are_fenced_by_the_epoch_cost_the_job_its_cluster() {
    let trial = Trial { part: Part::Contender, moment: Moment::Running };
    let verdict = trial.run_on(Host::new().with_bug("store.pointers-fenced-by-epoch"));
    assert!(verdict.incarnations > 1, "{verdict:#?}");
    let objection = trial.objection(&verdict).unwrap_or_default();
    assert!(objection.contains("incarnations"), "{objection:?} of {verdict:#?}");
}

/// The front dies with the job in the record and main() without an answer, so that Flink's own
/// client repeats its POST.
fn repeats_a_post(host: Host) -> Host {
    let (host, marker) = host.with_failpoint("front.job-stored", "kill");
    let (jar, output) = (programs(), host.scratch().join("counted"));
    let output = output.to_str().unwrap();
    host.run(&["run", "-d", "--application-id", ID, "-c", "ExactlyOnce", &jar, "500", output])
        .exits(0);
    eventually("the front is killed", || marker.exists());
    host
}

/// How many jobs are in the record, and how often all of them were submitted.
fn jobs_and_submissions(host: &Host) -> (usize, u64) {
    let status = host.status(ID);
    let jobs = status["jobs"].as_array().unwrap();
    (jobs.len(), jobs.iter().filter_map(|job| job["submissions"].as_u64()).sum())
}

#[test]
fn a_repeated_post_is_one_submission() {
    let host = repeats_a_post(Host::new());
    host.run(&["wait", ID]).exits(0);
    assert_eq!((jobs_and_submissions(&host), posts(&host, ID)), ((1, 1), 1));
}

/// Proves that a front that took a repeated POST for another `execute()` would be seen.
#[test]
fn control_a_front_that_passes_on_a_repeated_post_submits_twice() {
    let host = repeats_a_post(Host::new().with_bug("front.repeat-is-another-job"));
    eventually("there are two of one execute()", || jobs_and_submissions(&host) == (2, 2));
    host.run(&["cancel", ID, "--wait"]);
}
