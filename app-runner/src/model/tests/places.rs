//! Leaders on several hosts: each has clusters on its own host alone, and leaves those of another
//! host to that host.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::catch_unwind;

use proto::Incarnation;

use super::crash::{NEVER, ORDERS, check, length};
use super::hosts::Bug;
use super::world::{Led, World};
use super::*;

/// The record of an application whose last leader was on host node-7.
fn led_elsewhere(state: ClusterState) -> Recorded {
    let mut record = Recorded { pinned: true, ..Recorded::default() };
    record.cluster = RecordedCluster {
        incarnation: Incarnation(3),
        state,
        jobs_endpoint: "unix:/jobs-3".into(),
        elsewhere: Some("node-7".into()),
    };
    record.main = RecordedMain {
        state: MainState::Begun,
        epoch: Epoch(4),
        elsewhere: Some("node-7".into()),
        ..RecordedMain::default()
    };
    let running = RecordedJob { incarnation: Incarnation(3), submissions: 1, ..stored("a") };
    record.jobs.insert(job_id("a"), running);
    record
}

#[test]
fn a_cluster_of_another_host_is_replaced_at_once_and_its_jobs_run_in_the_next_one() {
    for state in [ClusterState::Starting, ClusterState::Ready] {
        let mut facts = leader(led_elsewhere(state));
        assert_eq!(wants(&facts), ["EndPrevious", "Fetch", "StartDescribe"]);
        for fact in [Fact::PreviousEnded { finished: false }, Fact::Fetched, Fact::Describing] {
            facts.apply(fact);
        }
        assert_eq!(wants(&facts), ["Describe"]);
        facts.apply(Fact::Described);
        let cause = "incarnation 3 is on host node-7, which another leader had".to_owned();
        let begin = Decision::BeginCluster { cause, deaths: 0 };
        assert_eq!(decide(&facts), [begin, Decision::StartMain], "no word on incarnation 3");

        let (four, endpoint) = (Incarnation(4), "unix:/jobs-4".to_owned());
        facts.apply(Fact::ClusterBegun(four));
        assert_eq!(
            decide(&facts),
            [Decision::Provision { incarnation: four }, Decision::StartMain]
        );
        facts.apply(Fact::ClusterReady { incarnation: four, endpoint: endpoint.clone() });
        facts.apply(Fact::Adopted { incarnation: four, endpoint, jobs: BTreeSet::new() });
        let submit = Decision::Submit { job: job_id("a"), incarnation: four };
        assert!(decide(&facts).contains(&submit));
        assert_eq!(facts.deaths, 0, "nobody saw a cluster die, so no pause grows");
    }
}

#[test]
fn what_is_said_of_a_cluster_of_another_host_changes_nothing() {
    let (incarnation, endpoint) = (Incarnation(3), "unix:/jobs-3".to_owned());
    let facts = leader(led_elsewhere(ClusterState::Ready));
    for fact in [
        Fact::NotAdopted(incarnation),
        Fact::ClusterDied { incarnation, message: "its processes are gone".into() },
        Fact::ClusterReady { incarnation, endpoint: endpoint.clone() },
        Fact::Adopted { incarnation, endpoint, jobs: BTreeSet::new() },
    ] {
        let mut after = facts.clone();
        after.apply(fact.clone());
        assert_eq!(after, facts, "{fact:?}");
    }
}

#[test]
fn a_session_cluster_is_found_again_from_another_host_and_what_it_does_not_know_is_lost() {
    let live = |jobs: &[JobId]| {
        let mut record = led_elsewhere(ClusterState::Ready);
        record.lost_is_final = true;
        let mut facts = leader(record);
        let (incarnation, endpoint) = (Incarnation(4), "unix:/jobs-4".to_owned());
        facts.apply(Fact::ClusterBegun(incarnation));
        facts.apply(Fact::ClusterReady { incarnation, endpoint: endpoint.clone() });
        facts.apply(Fact::Adopted { incarnation, endpoint, jobs: jobs.iter().copied().collect() });
        let of_jobs = |decision: &Decision| {
            matches!(decision, Decision::Submit { .. } | Decision::EndJob { .. })
        };
        decide(&facts).into_iter().filter(of_jobs).collect::<Vec<_>>()
    };
    assert!(live(&[job_id("a")]).is_empty(), "it goes on");
    let lost = live(&[]);
    assert!(matches!(&lost[..], [Decision::EndJob { outcome: JobOutcome::Lost, .. }]), "{lost:?}");
}

#[test]
fn an_application_that_ends_does_not_call_a_cluster_of_another_host() {
    let mut record = led_elsewhere(ClusterState::Ready);
    record.desired.cancel = true;
    let mut facts = leader(record);
    assert_eq!(wants(&facts), ["EndPrevious"]);
    facts.apply(Fact::PreviousEnded { finished: false });
    let decisions = decide(&facts);
    assert!(
        matches!(&decisions[..], [Decision::EndJob { outcome: JobOutcome::Cancelled, .. }]),
        "{decisions:?}"
    );
}

#[test]
fn how_a_main_of_another_host_ended_is_not_taken_from_this_one() {
    let mut facts = leader(led_elsewhere(ClusterState::Ready));
    facts.apply(Fact::PreviousEnded { finished: true });
    assert_eq!(facts.main, Main::NotStarted, "it is executed again");

    let mut record = led_elsewhere(ClusterState::Ready);
    record.not_repeatable = true;
    let mut facts = leader(record);
    facts.apply(Fact::PreviousEnded { finished: true });
    let (outcome, why) = facts.verdict.unwrap();
    assert_eq!((outcome, why.reason), (Outcome::Failed, Some(Reason::MainNotRepeatable)));
    assert!(why.message.contains("on host node-7"), "{}", why.message);
}

#[test]
fn nothing_is_swept_or_removed_while_another_host_holds_processes() {
    let held = Recorded {
        terminal: true,
        outcome: Some(Outcome::Failed),
        held_by: vec!["node-7".to_owned()],
        ..led_elsewhere(ClusterState::Ready)
    };
    let mut record = held.clone();
    record.cluster.elsewhere = None;
    let mut facts = leader(record.clone());
    facts.apply(Fact::PreviousEnded { finished: false });
    facts.apply(Fact::Released);
    assert_eq!(wants(&facts), ["Teardown"], "its own cluster first");
    facts.apply(Fact::TornDown { leftovers: vec![] });
    assert_eq!(wants(&facts), ["AwaitPlaces"]);

    let mut elsewhere = leader(held);
    elsewhere.apply(Fact::PreviousEnded { finished: false });
    elsewhere.apply(Fact::Released);
    assert_eq!(wants(&elsewhere), ["AwaitPlaces"], "no teardown on a host that has nothing");

    let mut abandoned = facts.clone();
    abandoned.record.desired.abandon = true;
    assert_eq!(wants(&abandoned), ["StartDescribe"], "the sweep waits for nobody");
    record.held_by.clear();
    facts.apply(Fact::Record(Box::new(record)));
    assert_eq!(wants(&facts), ["StartDescribe"]);
    facts.apply(Fact::Describing);
    assert_eq!(wants(&facts), ["Sweep"]);
}

/// The first two leaders are on two hosts and may be lost after any steps; the third one is on the
/// host of the first. The world checks at each step that no incarnation is provisioned at a second
/// place, and that all hosts have ended what they ran before an application is clean.
#[test]
fn leaders_on_two_hosts_may_be_lost_after_any_steps() {
    let mut replaced = 0;
    let order = ORDERS[2];
    let length = length(&World::default(), order);
    for (first, second) in (0..length).flat_map(|first| (0..length).map(move |then| (first, then)))
    {
        for with_cluster in [false, true] {
            let context = format!("lost after {first}, then after {second}, {with_cluster}");
            let mut world = World::default();
            assert_eq!(world.lead(1, first, order), Led::Crashed);
            world.crash(with_cluster);
            world.hosts.here = 1;
            if world.lead(2, second, order) == Led::Crashed {
                world.crash(false);
                world.hosts.here = 0;
                let end = world.lead(3, NEVER, order);
                assert_eq!(end, Led::Left(Leave::Clean(Outcome::Succeeded)), "{context}");
            }
            check(&world, Outcome::Succeeded, &context);
            replaced += usize::from(world.record.cluster.incarnation > Incarnation(1));
        }
    }
    assert!(replaced > 100, "clusters were hardly ever replaced: {replaced}");
}

#[test]
fn a_cancel_may_come_when_the_leader_is_on_another_host_than_the_cluster() {
    for order in ORDERS {
        for steps in 0..length(&World::default(), order) {
            for cancel_at in [0, 1, 3, 6, 10] {
                let mut world = World::default();
                world.lead(1, steps, order);
                world.crash(false);
                world.hosts.here = 1;
                world.cancel_at = Some(cancel_at);
                let Led::Left(Leave::Clean(outcome)) = world.lead(2, NEVER, order) else {
                    panic!("lost after {steps}, cancelled {cancel_at} later")
                };
                check(&world, outcome, &format!("lost after {steps}, cancelled {cancel_at} later"));
            }
        }
    }
}

/// What the world says of a second leader, on the other host, that has a bug; wherever the first
/// leader was lost.
fn caught(bug: Bug) -> BTreeSet<String> {
    let order = ORDERS[0];
    let runs = (0..length(&World::default(), order)).map(|steps| {
        catch_unwind(|| {
            let mut world = World::default();
            world.lead(1, steps, order);
            world.crash(false);
            world.hosts.here = 1;
            world.hosts.bug = Some(bug);
            world.lead(2, NEVER, order);
        })
    });
    runs.filter_map(Result::err).map(|said| text(&*said)).collect()
}

/// What a panic said.
fn text(said: &(dyn Any + Send)) -> String {
    let text = said.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| said.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// The controls of the two laws above: leaders that break them are noticed.
#[test]
fn a_leader_that_provisions_elsewhere_or_does_not_wait_is_caught() {
    let said = caught(Bug::SameIncarnation);
    assert!(said.contains("incarnation 1 at two places"), "{said:?}");
    let said = caught(Bug::NoHolders);
    let early = |said: &String| said.contains("before all is gone") || said.contains("may stage");
    assert!(said.iter().any(early), "{said:?}");
}

#[test]
fn a_cluster_may_run_elsewhere_until_its_host_has_released_it() {
    let on = |hosts: &[&str], state| {
        let held_by = hosts.iter().map(|host| (*host).to_owned()).collect();
        Recorded { held_by, ..led_elsewhere(state) }
    };
    for state in [ClusterState::Starting, ClusterState::Ready, ClusterState::Gone] {
        assert_eq!(on(&["node-3", "node-7"], state).runs_elsewhere(), Some("node-7"));
        assert_eq!(on(&["node-3"], state).runs_elsewhere(), None, "an earlier one is no matter");
    }
    let mut here = on(&["node-7"], ClusterState::Ready);
    here.cluster.elsewhere = None;
    assert_eq!(here.runs_elsewhere(), None);
}
