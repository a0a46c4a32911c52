//! Every arrow of one run: which facts call for which decisions.

use std::collections::BTreeSet;

use proto::Incarnation;

use super::*;
use crate::model::fact::MOST_DOUBTS;

/// One row: the facts that are taken in, and all that is wanted after them.
fn walk(facts: &mut Facts, rows: Vec<(Fact, &[&str])>) {
    for (fact, expected) in rows {
        let text = format!("{fact:?}");
        facts.apply(fact);
        assert_eq!(wants(facts), expected, "after {text}");
    }
}

#[test]
fn a_fresh_run_takes_every_arrow_in_order_and_independent_ones_together() {
    let mut facts = leader(Recorded::default());
    assert_eq!(wants(&facts), ["EndPrevious", "Fetch", "StartDescribe"]);
    let job = job_id("a");
    let one = Incarnation(1);
    let endpoint = || "unix:/jobs".to_owned();
    walk(
        &mut facts,
        vec![
            (Fact::PreviousEnded { finished: false }, &["Fetch", "StartDescribe"]),
            (Fact::Describing, &["Fetch"]),
            (Fact::Fetched, &["Describe", "Pin"]),
            (Fact::Described, &["BeginCluster", "Pin"]),
            (Fact::Pinned, &["BeginCluster", "StartMain"]),
            (Fact::ClusterBegun(one), &["Provision", "StartMain"]),
            (Fact::MainStarted, &["Provision"]),
            (Fact::JobStored { job, stored: Box::new(stored("a")) }, &["Provision"]),
            (
                Fact::ClusterReady { incarnation: one, endpoint: endpoint() },
                &["Adopt", "RecordReady"],
            ),
            (
                Fact::Adopted { incarnation: one, endpoint: endpoint(), jobs: BTreeSet::new() },
                &["RecordReady", "Submit"],
            ),
            (Fact::ReadyRecorded(one), &["Submit"]),
            (Fact::Submitted { job, incarnation: one }, &[]),
            (
                Fact::JobEnded {
                    job,
                    end: RecordedJobEnd {
                        outcome: JobOutcome::Succeeded,
                        message: String::new(),
                        leaves_checkpoints: false,
                    },
                },
                &["Publish"],
            ),
            (Fact::Published(job), &[]),
            (
                Fact::MainExited { exit: exit(0), seen: true, stderr_tail: String::new() },
                &["RecordMainEnd"],
            ),
            (Fact::MainEndRecorded, &["RecordEnd"]),
            (Fact::EndRecorded(Outcome::Succeeded), &["EndDescribe", "Release", "Teardown"]),
            (Fact::Released, &["EndDescribe", "Teardown"]),
            (Fact::TornDown { leftovers: vec![] }, &["EndDescribe"]),
            (Fact::DescribeEnded, &[]),
            (Fact::OutputShipped, &["RemoveWork"]),
            (Fact::WorkRemoved { leftovers: vec![] }, &["MarkClean"]),
            (Fact::Clean, &["Leave"]),
        ],
    );
    assert_eq!(decide(&facts), [Decision::Leave(Leave::Clean(Outcome::Succeeded))]);
}

#[test]
fn a_refusal_by_the_engine_ends_it_before_any_cluster_or_main() {
    let mut facts = leader(Recorded::default());
    let why = Failure::new(Reason::OptionMeaningless, "-n means nothing to datafusion");
    walk(
        &mut facts,
        vec![
            (Fact::PreviousEnded { finished: false }, &["Fetch", "StartDescribe"]),
            (Fact::Fetched, &["Pin", "StartDescribe"]),
            (Fact::Describing, &["Describe", "Pin"]),
            (Fact::Refused(why.clone()), &["RecordEnd"]),
        ],
    );
    let desired_revision = 0;
    assert_eq!(
        decide(&facts),
        [Decision::RecordEnd { outcome: Outcome::Failed, why, desired_revision }]
    );
    walk(&mut facts, vec![(Fact::EndRecorded(Outcome::Failed), &["EndDescribe", "Release"])]);
}

#[test]
fn a_successor_adopts_the_recorded_cluster_at_once_and_submits_only_what_was_lost() {
    let mut record = Recorded { pinned: true, ..Recorded::default() };
    record.cluster = RecordedCluster {
        incarnation: Incarnation(3),
        state: ClusterState::Ready,
        jobs_endpoint: "unix:/jobs-3".into(),
        elsewhere: None,
    };
    record.main =
        RecordedMain { state: MainState::Begun, epoch: Epoch(4), ..RecordedMain::default() };
    for job in [stored("lost"), stored("runs"), ended("done", JobOutcome::Succeeded)] {
        record.jobs.insert(job_id(&job.name), RecordedJob { published: true, ..job });
    }
    let mut facts = leader(record);
    assert_eq!(wants(&facts), ["Adopt", "EndPrevious", "Fetch", "StartDescribe"]);
    let adopted = Fact::Adopted {
        incarnation: Incarnation(3),
        endpoint: "unix:/jobs-3".into(),
        jobs: [job_id("runs"), job_id("done")].into(),
    };
    facts.apply(adopted);
    let submitted = Decision::Submit { job: job_id("lost"), incarnation: Incarnation(3) };
    let submits: Vec<_> =
        decide(&facts).into_iter().filter(|d| matches!(d, Decision::Submit { .. })).collect();
    assert_eq!(submits, [submitted]);
}

#[test]
fn a_cluster_that_does_not_answer_is_asked_after_and_not_lost() {
    let mut facts = running(vec![stored("a")]);
    facts.cluster =
        Cluster::Ready { incarnation: Incarnation(1), endpoint: "unix:/jobs".into(), doubts: 0 };
    let ready =
        || Fact::ClusterReady { incarnation: Incarnation(1), endpoint: "unix:/jobs".into() };
    for doubts in 1..=MOST_DOUBTS {
        facts.apply(Fact::NotAdopted(Incarnation(1)));
        assert_eq!(wants(&facts), ["Provision"], "the substrate is asked for the same incarnation");
        facts.apply(ready());
        let adopt =
            Decision::Adopt { incarnation: Incarnation(1), endpoint: "unix:/jobs".into(), doubts };
        assert!(decide(&facts).contains(&adopt), "{:?}", decide(&facts));
    }
    facts.apply(Fact::NotAdopted(Incarnation(1)));
    assert_eq!(
        wants(&facts),
        ["RecordGone"],
        "silent although its processes live: a new incarnation"
    );
}

#[test]
fn a_dead_cluster_is_recorded_before_the_next_incarnation_and_its_jobs_run_again_there() {
    let mut facts = running(vec![stored("a")]);
    facts.apply(Fact::Submitted { job: job_id("a"), incarnation: Incarnation(1) });
    facts.apply(Fact::ClusterDied {
        incarnation: Incarnation(1),
        message: "worker exited 137".into(),
    });
    assert_eq!(wants(&facts), ["RecordGone"]);
    facts.apply(Fact::GoneRecorded(Incarnation(1)));
    let cause = "worker exited 137".to_owned();
    assert_eq!(decide(&facts), [Decision::BeginCluster { cause, deaths: 1 }]);
    facts.apply(Fact::ClusterBegun(Incarnation(2)));
    facts.apply(Fact::ClusterDied { incarnation: Incarnation(1), message: "told twice".into() });
    assert_eq!(wants(&facts), ["Provision"], "news of an old incarnation change nothing");
    let endpoint = || "unix:/jobs-2".to_owned();
    facts.apply(Fact::ClusterReady { incarnation: Incarnation(2), endpoint: endpoint() });
    facts.apply(Fact::Adopted {
        incarnation: Incarnation(2),
        endpoint: endpoint(),
        jobs: BTreeSet::new(),
    });
    assert!(
        decide(&facts)
            .contains(&Decision::Submit { job: job_id("a"), incarnation: Incarnation(2) })
    );
}

#[test]
fn three_barren_incarnations_end_the_application() {
    let mut facts = running(vec![stored("a")]);
    facts.apply(Fact::ClusterDied {
        incarnation: Incarnation(1),
        message: "worker exited 137".into(),
    });
    facts.apply(Fact::GoneRecorded(Incarnation(1)));
    // The record counts the incarnations and refuses the next one.
    facts.apply(Fact::Refused(Failure::new(Reason::ClusterKeepsDying, "three in a row")));
    assert_eq!(wants(&facts), ["StopMain"]);
    facts.apply(Fact::MainExited {
        exit: MainExit { signal: Some(15), ..MainExit::default() },
        seen: true,
        stderr_tail: String::new(),
    });
    facts.apply(Fact::MainEndRecorded);
    let ended = decide(&facts);
    assert!(
        matches!(&ended[..], [Decision::EndJob { outcome: JobOutcome::Cancelled, .. }]),
        "{ended:?}"
    );
    facts.apply(Fact::JobEnded {
        job: job_id("a"),
        end: RecordedJobEnd {
            outcome: JobOutcome::Cancelled,
            message: String::new(),
            leaves_checkpoints: false,
        },
    });
    let end = decide(&facts);
    let [Decision::RecordEnd { outcome: Outcome::Failed, why, .. }] = &end[..] else {
        panic!("{end:?}")
    };
    assert_eq!(
        why.reason,
        Some(Reason::ClusterKeepsDying),
        "not the signal that we sent ourselves"
    );
}

#[test]
fn past_the_leases_deadline_nothing_is_begun_until_the_same_epoch_is_confirmed() {
    let mut facts = running(vec![stored("a")]);
    facts.apply(Fact::Suspended(true));
    assert!(decide(&facts).is_empty());
    facts.apply(Fact::Suspended(false));
    assert_eq!(wants(&facts), ["Submit"]);
    facts.apply(Fact::Leave(Leave::Superseded));
    facts.apply(Fact::Leave(Leave::LeaseLost("late".into())));
    assert_eq!(
        decide(&facts),
        [Decision::Leave(Leave::Superseded)],
        "the first reason to leave stands"
    );
}

#[test]
fn a_jobs_process_that_restarted_is_adopted_again_before_it_is_given_jobs() {
    let mut facts = running(vec![stored("a")]);
    facts.apply(Fact::AdoptAgain(Incarnation(1)));
    assert_eq!(wants(&facts), ["Adopt"]);
}
