//! The laws of [`Hosts`](super::Hosts) as tests. Each law is run against every backend, and against
//! mutants that break it: a law that a mutant passes checks nothing.

mod keeping;
mod mutants;
mod on_etcd;
mod stage;
mod telling;

use std::time::Duration;

use chassis::clock::{SystemClock, timeout};
use futures::future::LocalBoxFuture;

use crate::election::laws::rig::{Rig, Server, Verdict};
use stage::Stage;

/// A law and its name.
type Law = (&'static str, for<'a> fn(&'a Stage) -> LocalBoxFuture<'a, Verdict>);

/// Every law, in the order of the trait's list.
const LAWS: &[Law] = &[
    ("1 a silent host loses its seat", |stage| {
        Box::pin(keeping::a_silent_host_loses_its_seat(stage))
    }),
    ("1 a host that renews keeps its seat", |stage| {
        Box::pin(keeping::a_host_that_renews_keeps_its_seat(stage))
    }),
    ("2 a name has one host", |stage| Box::pin(keeping::a_name_has_one_host(stage))),
    ("3 a host goes on on another stream", |stage| {
        Box::pin(keeping::a_host_goes_on_on_another_stream(stage))
    }),
    ("4 a seat that is left is free at once", |stage| {
        Box::pin(keeping::a_seat_that_is_left_is_free_at_once(stage))
    }),
    ("5 a break frees nothing before the lease does", |stage| {
        Box::pin(keeping::a_break_frees_nothing_before_the_lease_does(stage))
    }),
    ("6 all hosts are told by name", |stage| Box::pin(telling::all_hosts_are_told_by_name(stage))),
    ("6 each change is told", |stage| Box::pin(telling::each_change_is_told(stage))),
];

/// How long a law may take that moves its clock. A call that sleeps on a clock which nothing moves
/// any more would never return.
const JUDGED_WITHIN: Duration = Duration::from_secs(120);

async fn all_hold(rig: impl Fn() -> Rig) {
    for (name, law) in LAWS {
        let stage = Stage::of(rig());
        match timeout(&SystemClock, JUDGED_WITHIN, law(&stage)).await {
            Ok(Ok(())) => {}
            Ok(Err(broken)) => panic!("law {name}: {broken}"),
            Err(elapsed) => panic!("law {name} hangs: {elapsed}"),
        }
    }
}

#[tokio::test]
async fn seats_in_memory_keep_the_laws() {
    all_hold(Rig::memory).await;
}

#[tokio::test]
async fn seats_on_etcd_keep_the_laws_by_a_clock_that_they_move() {
    all_hold(Rig::in_memory).await;
}

/// The laws run beside each other, because most of their time is waiting.
#[tokio::test]
async fn seats_on_etcd_keep_the_laws() {
    let server = Server::start();
    let verdicts = LAWS.iter().enumerate().map(|(number, (name, law))| {
        let server = server.clone();
        async move {
            let stage = Stage::of(Rig::etcd(server, format!("/law-{number}")));
            law(&stage).await.map_err(|broken| format!("law {name}: {broken}"))
        }
    });
    let broken: Vec<String> =
        futures::future::join_all(verdicts).await.into_iter().filter_map(Result::err).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[tokio::test]
async fn every_law_has_a_mutant_that_fails_it() {
    for (name, law) in LAWS {
        let mutants = mutants::of(name);
        assert!(!mutants.is_empty(), "law {name} has no mutant");
        for (mutant, stage) in mutants {
            assert!(law(&stage).await.is_err(), "law {name} does not see the mutant: {mutant}");
        }
    }
}
