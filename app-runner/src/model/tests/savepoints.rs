//! Savepoints that a user or main() asked for: each is taken once, and none is forgotten.

use std::collections::BTreeSet;

use proto::Incarnation;

use super::world::{Led, World};
use super::*;

fn wish(job: &str, stop: bool) -> Wish {
    let job = job_id(job);
    Wish {
        job,
        trigger: TriggerId::derive("wish", job),
        directory: String::new(),
        stop,
        drain: false,
        format: String::new(),
    }
}

fn ask(facts: &mut Facts, wishes: &[Wish]) {
    let mut record = facts.record.clone();
    record.desired.savepoints = wishes.to_vec();
    record.desired.revision += 1;
    facts.apply(Fact::Record(Box::new(record)));
}

fn settled(facts: &mut Facts, wish: &Wish) {
    facts.apply(Fact::SavepointSettled { job: wish.job, trigger: wish.trigger });
}

#[test]
fn the_cluster_that_knows_the_job_is_asked_and_no_other() {
    let one = Incarnation(1);
    let mut facts = running(vec![stored("a")]);
    let wish = wish("a", false);
    ask(&mut facts, std::slice::from_ref(&wish));
    assert_eq!(wants(&facts), ["Submit"], "a job that the cluster does not have yet");
    facts.apply(Fact::Submitted { job: wish.job, incarnation: one });
    assert_eq!(decide(&facts), [Decision::Savepoint { wish: wish.clone(), incarnation: one }]);
    facts.apply(Fact::AdoptAgain(one));
    assert_eq!(wants(&facts), ["Adopt"]);
    facts.apply(Fact::ClusterDied { incarnation: one, message: "signal 9".into() });
    assert_eq!(wants(&facts), ["RecordGone"]);
    let (two, endpoint) = (Incarnation(2), "unix:/2".to_owned());
    facts.apply(Fact::ClusterBegun(two));
    facts.apply(Fact::ClusterReady { incarnation: two, endpoint: endpoint.clone() });
    let jobs = BTreeSet::from([wish.job]);
    facts.apply(Fact::Adopted { incarnation: two, endpoint, jobs });
    facts.apply(Fact::ReadyRecorded(two));
    assert_eq!(decide(&facts), [Decision::Savepoint { wish: wish.clone(), incarnation: two }]);
    settled(&mut facts, &wish);
    assert_eq!(wants(&facts), [""; 0]);
    ask(&mut facts, std::slice::from_ref(&wish));
    assert_eq!(wants(&facts), [""; 0], "an older view of the record does not bring it back");
}

#[test]
fn a_job_that_has_ended_is_asked_for_where_it_ran_and_otherwise_it_is_said_that_it_is_too_late() {
    let ended = || ended("a", JobOutcome::Cancelled);
    let mut facts = running(vec![ended()]);
    facts.known_jobs.insert(job_id("a"));
    let wish = wish("a", false);
    ask(&mut facts, std::slice::from_ref(&wish));
    assert_eq!(wants(&facts), ["Savepoint"]);
    main_exits(&mut facts, 0);
    facts.apply(Fact::MainEndRecorded);
    assert_eq!(wants(&facts), ["Savepoint"], "no end while nobody knows what became of it");
    facts.apply(Fact::ClusterDied { incarnation: Incarnation(1), message: "gone".into() });
    assert_eq!(wants(&facts), ["RefuseSavepoint"]);
    settled(&mut facts, &wish);
    assert_eq!(wants(&facts), ["RecordEnd"]);

    // A later leader, after main()'s end, asks the cluster that the earlier leader had.
    let mut record = Recorded { jobs: [(job_id("a"), ended())].into(), ..Recorded::default() };
    record.main = RecordedMain {
        state: MainState::Ended,
        epoch: Epoch(4),
        exit: Some(exit(0)),
        ..RecordedMain::default()
    };
    record.cluster = RecordedCluster {
        incarnation: Incarnation(1),
        state: ClusterState::Ready,
        jobs_endpoint: "unix:/jobs".into(),
        elsewhere: None,
    };
    record.desired.savepoints = vec![wish.clone()];
    let mut facts = leader(record.clone());
    assert_eq!(wants(&facts), ["Adopt"]);
    facts.apply(Fact::NotAdopted(Incarnation(1)));
    assert_eq!(wants(&facts), ["RefuseSavepoint"]);

    // A leader on another host asks nothing, and says where the savepoint may be.
    record.cluster.elsewhere = Some("node-7".into());
    let decisions = decide(&leader(record));
    let [Decision::RefuseSavepoint { why, .. }] = &decisions[..] else { panic!("{decisions:?}") };
    assert!(why.message.contains("on host node-7"), "{}", why.message);
}

#[test]
fn an_application_that_ends_says_so_to_whoever_waits_for_a_savepoint() {
    let mut facts = running(vec![stored("a")]);
    facts.apply(Fact::Submitted { job: job_id("a"), incarnation: Incarnation(1) });
    let wish = wish("a", true);
    ask(&mut facts, std::slice::from_ref(&wish));
    facts.apply(Fact::DeadlinePassed);
    assert_eq!(wants(&facts), ["RefuseSavepoint", "StopMain"]);
    main_exits(&mut facts, 0);
    facts.apply(Fact::MainEndRecorded);
    facts.apply(Fact::JobEnded {
        job: job_id("a"),
        end: RecordedJobEnd {
            outcome: JobOutcome::Cancelled,
            message: String::new(),
            leaves_checkpoints: false,
        },
    });
    assert_eq!(wants(&facts), ["RefuseSavepoint"], "no end without a word on it");
    settled(&mut facts, &wish);
    assert_eq!(wants(&facts), ["RecordEnd"]);
}

/// The savepoint is asked for after any step, and the leader is lost right then, alone or with the
/// cluster. Each cluster that was asked takes one savepoint, and the end knows of all of them.
#[test]
fn a_savepoint_that_was_acknowledged_outlives_the_leader() {
    let mut taken = 0;
    for stop in [false, true] {
        for with_cluster in [false, true] {
            for (asked_after, lost_after) in (0..45).flat_map(|a| [(a, 0), (a, 1), (a, 2), (a, 3)])
            {
                let context = format!(
                    "asked after {asked_after}, lost {lost_after} later, {stop} {with_cluster}"
                );
                let mut world = World::default();
                world.lead(1, asked_after, |_| 0);
                world.crash(false);
                world.ask_for_savepoints(stop);
                let asked = world.record.desired.savepoints.len();
                if world.lead(2, lost_after, |step| step) == Led::Crashed {
                    world.crash(with_cluster);
                }
                let end = world.lead(3, usize::MAX, |_| 0);
                assert_eq!(end, Led::Left(Leave::Clean(Outcome::Succeeded)), "{context}");
                assert_eq!(world.record.pending_savepoints().count(), 0, "{context}");
                let most = asked as u32 * if with_cluster { 2 } else { 1 };
                assert!(world.savepoints <= most, "{} savepoints: {context}", world.savepoints);
                assert!(world.ends.values().all(|&times| times == 1), "{context}");
                taken += world.savepoints;
            }
        }
    }
    assert!(taken > 20, "hardly any was taken: {taken}");
}
