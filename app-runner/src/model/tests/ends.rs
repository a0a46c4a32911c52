//! How an application ends: by its main(), by its jobs, by a cancel, by its deadline.

use proto::Incarnation;

use super::*;

fn recorded_end(facts: &Facts) -> (Outcome, Option<Reason>) {
    let decisions = decide(facts);
    let [Decision::RecordEnd { outcome, why, .. }] = &decisions[..] else {
        panic!("no end yet: {decisions:?}")
    };
    (*outcome, why.reason)
}

fn job_ended(facts: &mut Facts, name: &str, outcome: JobOutcome) {
    let end =
        RecordedJobEnd { outcome, message: "division by zero".into(), leaves_checkpoints: false };
    facts.apply(Fact::JobEnded { job: job_id(name), end });
}

#[test]
fn the_outcome_follows_main_and_its_jobs() {
    use JobOutcome::{Cancelled, Failed, Lost, Succeeded};
    // The columns: exit code, job's outcome, whether main() was told of it → outcome and reason.
    let table = [
        (0, Succeeded, true, Outcome::Succeeded, None),
        (0, Succeeded, false, Outcome::Succeeded, None),
        // main() swallowed the error: FLIP-85 says that the status of main() is the application's.
        (0, Failed, true, Outcome::Succeeded, None),
        (0, Failed, false, Outcome::Failed, Some(Reason::JobFailed)),
        (0, Cancelled, true, Outcome::Succeeded, None),
        (0, Lost, true, Outcome::Succeeded, None),
        (0, Lost, false, Outcome::Failed, Some(Reason::JobLost)),
        (3, Succeeded, true, Outcome::Failed, Some(Reason::MainExited)),
        (3, Failed, false, Outcome::Failed, Some(Reason::MainExited)),
    ];
    for (code, outcome, told, expected, reason) in table {
        let mut facts = running(vec![]);
        facts.apply(Fact::JobStored { job: job_id("a"), stored: Box::new(stored("a")) });
        job_ended(&mut facts, "a", outcome);
        facts.apply(Fact::Published(job_id("a")));
        if told {
            facts.apply(Fact::JobAnswered(job_id("a")));
        }
        main_exits(&mut facts, code);
        assert_eq!(wants(&facts), ["RecordMainEnd"]);
        facts.apply(Fact::MainEndRecorded);
        assert_eq!(
            recorded_end(&facts),
            (expected, reason),
            "exit {code}, job {outcome:?}, told {told}"
        );
    }
}

#[test]
fn exit_0_waits_for_jobs_that_main_did_not_wait_for() {
    let mut facts = running(vec![]);
    facts.apply(Fact::JobStored { job: job_id("a"), stored: Box::new(stored("a")) });
    facts.apply(Fact::Submitted { job: job_id("a"), incarnation: Incarnation(1) });
    main_exits(&mut facts, 0);
    facts.apply(Fact::MainEndRecorded);
    assert!(wants(&facts).is_empty(), "the job runs");
    facts.apply(Fact::ClusterDied { incarnation: Incarnation(1), message: "gone".into() });
    assert_eq!(wants(&facts), ["RecordGone"], "and is still worth a cluster");
    job_ended(&mut facts, "a", JobOutcome::Succeeded);
    assert_eq!(wants(&facts), ["Publish"]);
    facts.apply(Fact::Published(job_id("a")));
    assert_eq!(recorded_end(&facts), (Outcome::Succeeded, None));
}

#[test]
fn jobs_that_a_re_executed_main_did_not_reach_are_abandoned_when_it_ends_and_not_before() {
    let mut facts = running(vec![stored("earlier")]);
    facts.apply(Fact::Submitted { job: job_id("earlier"), incarnation: Incarnation(1) });
    assert!(wants(&facts).is_empty(), "it goes on while main() may still reach it");
    main_exits(&mut facts, 0);
    facts.apply(Fact::MainEndRecorded);
    let decisions = decide(&facts);
    let [Decision::EndJob { outcome, why, .. }] = &decisions[..] else { panic!("{decisions:?}") };
    assert_eq!((*outcome, why.reason), (JobOutcome::Abandoned, Some(Reason::Abandoned)));
    job_ended(&mut facts, "earlier", JobOutcome::Abandoned);
    assert_eq!(recorded_end(&facts), (Outcome::Succeeded, None));
}

#[test]
fn a_main_that_fails_takes_its_jobs_along_but_not_what_they_committed() {
    let mut facts = running(vec![ended("done", JobOutcome::Succeeded)]);
    facts.apply(Fact::JobStored { job: job_id("runs"), stored: Box::new(stored("runs")) });
    facts.apply(Fact::Submitted { job: job_id("runs"), incarnation: Incarnation(1) });
    main_exits(&mut facts, 3);
    facts.apply(Fact::MainEndRecorded);
    assert_eq!(wants(&facts), ["CancelBound", "CancelJob", "Publish"]);
    facts.apply(Fact::CancelSent(job_id("runs")));
    facts.apply(Fact::Published(job_id("done")));
    assert_eq!(wants(&facts), ["CancelBound"]);
    facts.apply(Fact::CancelBoundPassed);
    assert_eq!(
        wants(&facts),
        ["EndJob"],
        "a cluster that does not say it in time is not waited for"
    );
    job_ended(&mut facts, "runs", JobOutcome::Cancelled);
    assert_eq!(recorded_end(&facts), (Outcome::Failed, Some(Reason::MainExited)));
}

fn cancel(facts: &mut Facts, revision: u64) {
    let mut record = facts.record.clone();
    record.desired = Desired {
        cancel: true,
        requested_by: "ann@host".into(),
        reason: "wrong day".into(),
        revision,
        abandon: false,
        savepoints: Vec::new(),
    };
    facts.apply(Fact::Record(Box::new(record)));
}

#[test]
fn a_cancel_at_any_time_before_the_end_makes_the_outcome_cancelled() {
    let bring_up: Vec<Fact> = vec![
        Fact::Fetched,
        Fact::Describing,
        Fact::Described,
        Fact::Pinned,
        Fact::PreviousEnded { finished: false },
        Fact::ClusterBegun(Incarnation(1)),
        Fact::MainStarted,
        Fact::JobStored { job: job_id("a"), stored: Box::new(stored("a")) },
        Fact::ClusterReady { incarnation: Incarnation(1), endpoint: "unix:/jobs".into() },
        Fact::Adopted {
            incarnation: Incarnation(1),
            endpoint: "unix:/jobs".into(),
            jobs: Default::default(),
        },
        Fact::Submitted { job: job_id("a"), incarnation: Incarnation(1) },
        Fact::MainExited { exit: exit(3), seen: true, stderr_tail: String::new() },
        Fact::MainEndRecorded,
    ];
    for count in 0..=bring_up.len() {
        let mut facts = leader(Recorded::default());
        for fact in bring_up.iter().take(count).cloned() {
            facts.apply(fact);
        }
        cancel(&mut facts, 7);
        assert!(!accepts_jobs(&facts));
        let end = play_out(&mut facts);
        let Decision::RecordEnd { outcome, why, desired_revision } = end else { panic!("{end:?}") };
        assert_eq!(
            (outcome, why.reason, desired_revision),
            (Outcome::Cancelled, Some(Reason::Cancelled), 7)
        );
        assert!(
            why.message.contains("ann@host") && why.message.contains("wrong day"),
            "{}",
            why.message
        );
    }
}

/// Does what an ending application wants until its end is to be recorded.
fn play_out(facts: &mut Facts) -> Decision {
    for _ in 0..20 {
        let decisions = decide(facts);
        let Some(decision) = decisions
            .into_iter()
            .find(|d| *d != Decision::CancelBound { incarnation: Incarnation(1) })
        else {
            facts.apply(Fact::CancelBoundPassed);
            continue;
        };
        match decision {
            Decision::RecordEnd { .. } => return decision,
            Decision::StopMain => facts.apply(Fact::MainExited {
                exit: MainExit { signal: Some(15), ..MainExit::default() },
                seen: true,
                stderr_tail: String::new(),
            }),
            Decision::RecordMainEnd => facts.apply(Fact::MainEndRecorded),
            Decision::CancelJob { job, .. } => facts.apply(Fact::CancelSent(job)),
            Decision::EndJob { job, outcome, .. } => facts.apply(Fact::JobEnded {
                job,
                end: RecordedJobEnd { outcome, message: String::new(), leaves_checkpoints: false },
            }),
            other => panic!("an ending application wants {other:?}"),
        }
    }
    panic!("it does not end: {:?}", decide(facts));
}

#[test]
fn the_deadline_ends_what_runs_and_leaves_alone_what_is_done() {
    let mut facts = running(vec![]);
    facts.apply(Fact::DeadlinePassed);
    assert_eq!(wants(&facts), ["StopMain"]);
    let Decision::RecordEnd { outcome, why, .. } = play_out(&mut facts) else { unreachable!() };
    assert_eq!((outcome, why.reason), (Outcome::DeadlineExceeded, Some(Reason::DeadlineExceeded)));

    let mut done = running(vec![]);
    main_exits(&mut done, 0);
    done.apply(Fact::DeadlinePassed);
    done.apply(Fact::MainEndRecorded);
    assert_eq!(recorded_end(&done), (Outcome::Succeeded, None));
}

#[test]
fn a_successor_tells_a_deadlines_victim_from_a_main_that_failed_by_itself() {
    let record = |ended_after_deadline| {
        let main = RecordedMain {
            state: MainState::Ended,
            epoch: Epoch(4),
            exit: Some(MainExit { signal: Some(15), ..MainExit::default() }),
            ended_after_deadline,
            ..RecordedMain::default()
        };
        Recorded { main, ..Recorded::default() }
    };
    assert_eq!(recorded_end(&leader(record(true))).0, Outcome::DeadlineExceeded);
    assert_eq!(recorded_end(&leader(record(false))), (Outcome::Failed, Some(Reason::MainKilled)));
}

#[test]
fn an_exit_that_nobody_saw_counts_only_if_it_is_0() {
    let mut lost = running(vec![]);
    lost.apply(Fact::MainExited { exit: exit(101), seen: false, stderr_tail: String::new() });
    assert!(matches!(&decide(&lost)[..], [Decision::Leave(Leave::MainLost(_))]));
    let mut fine = running(vec![]);
    fine.apply(Fact::MainExited { exit: exit(0), seen: false, stderr_tail: String::new() });
    assert_eq!(wants(&fine), ["RecordMainEnd"]);
}

#[test]
fn a_main_that_was_cut_off_is_executed_again_unless_it_must_not_be() {
    let record = |not_repeatable| Recorded {
        pinned: true,
        not_repeatable,
        main: RecordedMain { state: MainState::Begun, epoch: Epoch(4), ..RecordedMain::default() },
        ..Recorded::default()
    };
    let mut again = leader(record(false));
    for fact in [Fact::Fetched, Fact::Describing, Fact::Described] {
        again.apply(fact);
    }
    assert!(!wants(&again).contains(&"StartMain".to_owned()), "the earlier one may live");
    again.apply(Fact::PreviousEnded { finished: false });
    assert!(wants(&again).contains(&"StartMain".to_owned()));

    let mut once = leader(record(true));
    once.apply(Fact::PreviousEnded { finished: false });
    assert_eq!(recorded_end(&once), (Outcome::Failed, Some(Reason::MainNotRepeatable)));

    let mut finished = leader(record(true));
    finished.apply(Fact::PreviousEnded { finished: true });
    assert!(wants(&finished).contains(&"RecordMainEnd".to_owned()), "it had ended well by itself");
}

#[test]
fn the_first_end_wins() {
    let mut facts = running(vec![stored("a")]);
    job_ended(&mut facts, "a", JobOutcome::Succeeded);
    job_ended(&mut facts, "a", JobOutcome::Cancelled);
    assert_eq!(
        facts.record.jobs[&job_id("a")].end.as_ref().unwrap().outcome,
        JobOutcome::Succeeded
    );
    facts.apply(Fact::Refused(Failure::new(Reason::MainDiverged, "first")));
    facts.apply(Fact::DeadlinePassed);
    main_exits(&mut facts, 3);
    facts.apply(Fact::MainEndRecorded);
    facts.apply(Fact::Published(job_id("a")));
    assert_eq!(recorded_end(&facts), (Outcome::Failed, Some(Reason::MainDiverged)));
}

#[test]
fn a_view_of_the_record_that_is_behind_takes_nothing_back() {
    let mut facts = running(vec![stored("a")]);
    let behind = facts.record.clone();
    job_ended(&mut facts, "a", JobOutcome::Succeeded);
    facts.apply(Fact::Published(job_id("a")));
    main_exits(&mut facts, 0);
    facts.apply(Fact::MainEndRecorded);
    let before = decide(&facts);
    facts.apply(Fact::Record(Box::new(behind)));
    assert_eq!(decide(&facts), before);
}

#[test]
fn an_abandoned_teardown_ends_with_what_it_left() {
    let mut facts = running(vec![ended("a", JobOutcome::Succeeded)]);
    main_exits(&mut facts, 0);
    for fact in [
        Fact::MainEndRecorded,
        Fact::EndRecorded(Outcome::Succeeded),
        Fact::OutputShipped,
        Fact::Released,
    ] {
        facts.apply(fact);
    }
    facts.apply(Fact::TornDown { leftovers: vec!["pid 812 (worker-0)".into()] });
    assert!(
        wants(&facts).contains(&"Teardown".to_owned()),
        "tried again while nobody says otherwise"
    );
    let mut record = facts.record.clone();
    record.desired.abandon = true;
    facts.apply(Fact::Record(Box::new(record)));
    facts.apply(Fact::DescribeEnded);
    assert_eq!(wants(&facts), ["RemoveWork"]);
    facts.apply(Fact::WorkRemoved { leftovers: vec![] });
    let decisions = decide(&facts);
    let [Decision::MarkClean { leftovers }] = &decisions[..] else { panic!("{decisions:?}") };
    assert_eq!(
        leftovers.len(),
        2,
        "the process, and the output that was never published: {leftovers:?}"
    );
}

#[test]
fn a_committed_job_whose_cluster_may_not_have_come_to_remove_its_checkpoints_is_swept() {
    let end_of = |leaves_checkpoints| {
        let mut job = RecordedJob { published: true, ..ended("a", JobOutcome::Succeeded) };
        job.end.as_mut().unwrap().leaves_checkpoints = leaves_checkpoints;
        let mut facts = running(vec![job]);
        main_exits(&mut facts, 0);
        for fact in [
            Fact::MainEndRecorded,
            Fact::EndRecorded(Outcome::Succeeded),
            Fact::OutputShipped,
            Fact::Released,
            Fact::TornDown { leftovers: vec![] },
        ] {
            facts.apply(fact);
        }
        wants(&facts)
    };
    assert_eq!(end_of(true), ["Sweep"]);
    assert_eq!(end_of(false), ["EndDescribe"]);
}

fn abandon(facts: &mut Facts) {
    let mut record = facts.record.clone();
    record.desired.abandon = true;
    facts.apply(Fact::Record(Box::new(record)));
}

#[test]
fn a_success_whose_output_is_given_up_is_none() {
    let mut facts = running(vec![]);
    facts.apply(Fact::JobStored { job: job_id("a"), stored: Box::new(stored("a")) });
    job_ended(&mut facts, "a", JobOutcome::Succeeded);
    main_exits(&mut facts, 0);
    facts.apply(Fact::MainEndRecorded);
    assert_eq!(wants(&facts), ["Publish"]);
    abandon(&mut facts);
    assert_eq!(recorded_end(&facts), (Outcome::Failed, Some(Reason::Abandoned)));
}

#[test]
fn a_failure_waits_for_what_was_committed_unless_that_is_given_up() {
    let mut facts = running(vec![]);
    facts.apply(Fact::JobStored { job: job_id("a"), stored: Box::new(stored("a")) });
    job_ended(&mut facts, "a", JobOutcome::Succeeded);
    main_exits(&mut facts, 3);
    facts.apply(Fact::MainEndRecorded);
    assert_eq!(wants(&facts), ["Publish"]);
    let mut published = facts.clone();
    published.apply(Fact::Published(job_id("a")));
    assert_eq!(recorded_end(&published), (Outcome::Failed, Some(Reason::MainExited)));
    abandon(&mut facts);
    assert_eq!(recorded_end(&facts), (Outcome::Failed, Some(Reason::MainExited)));
}

#[test]
fn an_earlier_main_that_cannot_be_ended_holds_up_clean_until_it_is_given_up() {
    let mut facts =
        leader(Recorded { terminal: true, outcome: Some(Outcome::Failed), ..Recorded::default() });
    facts.apply(Fact::Released);
    facts.apply(Fact::DescribeEnded);
    for _ in 0..2 {
        assert_eq!(wants(&facts), ["EndPrevious"]);
        facts.apply(Fact::PreviousLives { message: "pid 7 is alive".into() });
    }
    abandon(&mut facts);
    assert_eq!(wants(&facts), ["RemoveWork"]);
    facts.apply(Fact::WorkRemoved { leftovers: vec![] });
    let decisions = decide(&facts);
    let [Decision::MarkClean { leftovers }] = &decisions[..] else { panic!("{decisions:?}") };
    assert_eq!(leftovers, &["an earlier main(): pid 7 is alive"]);
}

#[test]
fn main_may_cancel_a_job_before_and_after_the_cluster_knows_it() {
    let mut facts = running(vec![stored("a")]);
    facts.apply(Fact::CancelWanted { job: job_id("a"), reason: "enough".into() });
    assert!(matches!(
        &decide(&facts)[..],
        [Decision::EndJob { outcome: JobOutcome::Cancelled, .. }]
    ));
    let mut facts = running(vec![stored("a")]);
    facts.apply(Fact::Submitted { job: job_id("a"), incarnation: Incarnation(1) });
    facts.apply(Fact::CancelWanted { job: job_id("a"), reason: "enough".into() });
    assert!(matches!(&decide(&facts)[..], [Decision::CancelJob { .. }]));
    facts.apply(Fact::CancelSent(job_id("a")));
    assert!(wants(&facts).is_empty());
}

fn main_is_killed(facts: &mut Facts, signal: i32) {
    let exit = MainExit {
        signal: Some(signal),
        signal_sender: "the kernel's OOM killer".to_owned(),
        code: None,
    };
    let stderr_tail = String::new();
    facts.apply(Fact::MainExited { exit, seen: true, stderr_tail });
}

#[test]
fn a_main_that_somebody_else_has_killed_is_left_to_the_next_attempt_and_its_jobs_run_on() {
    let mut facts = running(vec![]);
    facts.apply(Fact::JobStored { job: job_id("a"), stored: Box::new(stored("a")) });
    facts.apply(Fact::Submitted { job: job_id("a"), incarnation: Incarnation(1) });
    main_is_killed(&mut facts, 9);
    assert_eq!(wants(&facts), ["RecordMainKill"], "its job is neither cancelled nor given up");
    facts.apply(Fact::MainKillRecorded);
    assert!(wants(&facts).is_empty(), "what it said is not in the record yet");
    // By now the record says itself that main() was killed.
    facts.record.main.kills = 1;
    facts.apply(Fact::OutputShipped);
    assert_eq!(decide(&facts), [Decision::ExecuteAgain { kills: 1 }]);
    facts.apply(Fact::Leave(Leave::MainKilled));
    assert_eq!(decide(&facts), [Decision::Leave(Leave::MainKilled)]);
}

#[test]
fn only_a_kill_that_nobody_here_wanted_is_none_of_the_applications_ends() {
    // A program ends itself by SIGSEGV, SIGABRT and SIGPIPE.
    for (signal, again) in [
        (9, true),
        (15, true),
        (1, true),
        (2, true),
        (3, true),
        (11, false),
        (6, false),
        (13, false),
    ] {
        let mut facts = running(vec![]);
        main_is_killed(&mut facts, signal);
        let wanted = if again { "RecordMainKill" } else { "RecordMainEnd" };
        assert_eq!(wants(&facts), [wanted], "signal {signal}");
    }
    let mut by_itself = running(vec![]);
    main_exits(&mut by_itself, 137);
    assert_eq!(wants(&by_itself), ["RecordMainEnd"], "an exit code is main()'s own");

    let mut not_repeatable = running(vec![]);
    not_repeatable.record.not_repeatable = true;
    main_is_killed(&mut not_repeatable, 9);
    assert_eq!(wants(&not_repeatable), ["RecordMainEnd"]);
    not_repeatable.apply(Fact::MainEndRecorded);
    assert_eq!(recorded_end(&not_repeatable), (Outcome::Failed, Some(Reason::MainKilled)));

    let mut cancelled = running(vec![]);
    cancel(&mut cancelled, 1);
    main_is_killed(&mut cancelled, 9);
    assert_eq!(wants(&cancelled), ["RecordMainEnd"]);

    let mut late = running(vec![]);
    late.apply(Fact::DeadlinePassed);
    main_is_killed(&mut late, 9);
    assert_eq!(wants(&late), ["RecordMainEnd"]);
}

#[test]
fn a_cancel_ends_what_waits_to_be_executed_again() {
    let mut facts = running(vec![]);
    main_is_killed(&mut facts, 9);
    facts.apply(Fact::MainKillRecorded);
    facts.apply(Fact::OutputShipped);
    cancel(&mut facts, 1);
    let end = play_out(&mut facts);
    assert!(matches!(end, Decision::RecordEnd { outcome: Outcome::Cancelled, .. }), "{end:?}");
}

#[test]
fn the_fourth_kill_ends_the_application_and_is_told_with_its_count_and_its_sender() {
    let mut facts = running(vec![]);
    // The record says so, whichever leader counted.
    facts.record.main.kills = 3;
    main_is_killed(&mut facts, 9);
    assert_eq!(wants(&facts), ["RecordMainEnd"]);
    facts.apply(Fact::MainEndRecorded);
    let decisions = decide(&facts);
    let [Decision::RecordEnd { why, .. }] = &decisions[..] else { panic!("{decisions:?}") };
    let told = "main() was ended by signal 9, sent by the kernel's OOM killer; it was killed 4 times, and executed \
                again 3 times";
    assert_eq!((why.reason, why.message.as_str()), (Some(Reason::MainKilled), told));
}
