//! One process after the other is killed under a running, checkpointed job: what is written is
//! exactly what was to be written. The whole matrix, every part at every moment, is `make
//! e2e-flink`.

use e2e::Host;
use e2e::flink::{ExactlyOnce, Moment, Part, Tally, Trial, Verdict};

#[track_caller]
fn killed_while_running(part: Part) -> Verdict {
    let trial = Trial { part, moment: Moment::Running };
    let verdict = trial.run();
    assert_eq!(trial.objection(&verdict), None, "{verdict:#?}\n{}", verdict.run.stderr);
    verdict
}

#[test]
fn a_job_does_not_notice_that_the_leader_is_killed() {
    assert_eq!(killed_while_running(Part::Contender).executions, 2);
}

#[test]
fn a_killed_jobmanager_is_a_new_incarnation_from_the_latest_checkpoint() {
    assert_eq!(killed_while_running(Part::JobManager).incarnations, 2);
}

#[test]
fn a_killed_taskmanager_is_started_again_within_the_incarnation() {
    assert!(killed_while_running(Part::TaskManager).restarts >= 1);
}

#[test]
fn a_job_does_not_notice_that_jobs_is_killed() {
    killed_while_running(Part::Jobs).run.exits(0);
}

#[test]
fn neither_job_nor_main_notice_that_the_front_is_killed() {
    assert_eq!(killed_while_running(Part::Front).executions, 1);
}

#[test]
fn a_job_does_not_notice_that_main_is_killed_and_main_attaches_to_it_again() {
    let verdict = killed_while_running(Part::Main);
    assert_eq!((verdict.executions, verdict.submissions), (2, 1));
    verdict.run.exits(0).says("killed by signal 9").says("executed again");
}

/// A JVM catches SIGTERM and exits with a code of its own.
#[test]
fn a_main_that_is_asked_to_end_by_somebody_else_is_executed_again() {
    let host = Host::new();
    let counted = ExactlyOnce::start(&host, 8_000, &[]);
    counted.until_committed(1);
    Part::Main.end_by(&host, "TERM");
    let (run, tally) = counted.finish(&host);
    run.exits(0).says("killed by signal 15").says("executed again");
    assert_eq!(tally, Tally::default());
    assert_eq!(host.status(ExactlyOnce::ID)["jobs"][0]["submissions"], 1);
    host.down();
}

/// At this moment only main() calls the front, so that no other process finds out that the front is
/// gone.
#[test]
fn a_front_that_is_killed_before_it_was_called_is_started_again() {
    let trial = Trial { part: Part::Front, moment: Moment::BeforeSubmission };
    let verdict = trial.run();
    assert_eq!(trial.objection(&verdict), None, "{verdict:#?}\n{}", verdict.run.stderr);
}
