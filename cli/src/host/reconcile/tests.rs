//! The reconciler before a record that says what the test tells it to, while time stands still.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chassis::clock::ManualClock;
use chassis::transport::{Endpoint, OsTransport};
use proto::api::{Application, SnapshotEnd};
use proto::{Generation, PlaceUid};

use super::*;
use crate::api::tests::puppet::{Puppet, soon};

struct Stage {
    record: Puppet,
    clock: Arc<ManualClock>,
    work: watch::Receiver<Work>,
}

impl Stage {
    /// No process serves at lifecycle's endpoint, so that everything asked of lifecycle is refused.
    async fn new() -> (Self, Reconciler) {
        Self::among(None).await
    }

    /// The same for one of several hosts.
    async fn among(company: Option<Company>) -> (Self, Reconciler) {
        let clock = Arc::new(ManualClock::new());
        let record = Puppet::new(clock.clone()).await;
        let nobody = Endpoint::Unix("/nowhere/lifecycle.sock".into());
        let lifecycle =
            chassis::channel::connect(Arc::new(OsTransport), clock.clone(), nobody, None);
        let contenders = Contenders::new(
            lifecycle,
            clock.clone(),
            PathBuf::from("/mainspring"),
            BTreeMap::new(),
        );
        let terms = Terms { max_running: 8, share_by: "team".into() };
        let (work, seen) = watch::channel(Work::default());
        let queue = watch::Sender::default();
        let api = record.api.clone();
        let reconciler =
            Reconciler::new(api, contenders, clock.clone(), terms, company, work, queue).unwrap();
        (Self { record, clock, work: seen }, reconciler)
    }

    async fn knows(&mut self, applications: usize) {
        let is_so = |work: &Work| work.known && work.applications == applications;
        soon(self.work.wait_for(is_so)).await.unwrap();
    }
}

fn application(id: &str, clean: bool) -> Application {
    Application { application_id: id.into(), generation: 1, clean, ..Application::default() }
}

fn reference(id: &str) -> ApplicationRef {
    ApplicationRef { id: id.parse().unwrap(), generation: Generation(1) }
}

#[tokio::test]
async fn a_watch_that_is_silent_too_long_is_opened_anew_and_one_that_tells_is_not() {
    let (mut stage, reconciler) = Stage::new().await;
    let run = tokio::spawn(reconciler.run());
    let first = stage.record.watched().await;
    first.tell(Item::SnapshotEnd(SnapshotEnd { revision: 1 }));
    stage.knows(0).await;

    for so_far in 1..=3 {
        stage.clock.advance(SILENCE * 2 / 3);
        first.tell(Item::Application(application(&format!("orders-{so_far}"), false)));
        stage.knows(so_far).await;
    }
    assert!(!stage.record.is_watched_anew(), "it told something every now and then");

    stage.clock.advance(SILENCE);
    let again = async {
        // The reconciler pauses before it begins again, by this clock.
        while !stage.record.is_watched_anew() {
            tokio::task::yield_now().await;
            stage.clock.advance(Duration::from_millis(1));
        }
    };
    soon(again).await;
    run.abort();
}

#[tokio::test]
async fn one_of_several_hosts_asks_for_nothing_before_it_knows_what_it_has() {
    let (_seats, told) = watch::channel(Vec::new());
    let company = Company::new(PlaceUid::from_bytes([7; 8]), told);
    let (mut stage, reconciler) = Stage::among(Some(company)).await;
    let run = tokio::spawn(reconciler.run());
    let first = stage.record.watched().await;
    first.tell(Item::Application(application("orders", false)));
    first.tell(Item::SnapshotEnd(SnapshotEnd { revision: 1 }));
    let again = async {
        while !stage.record.is_watched_anew() {
            tokio::task::yield_now().await;
            stage.clock.advance(Duration::from_millis(1));
        }
    };
    soon(again).await;
    assert!(!stage.work.borrow().known, "lifecycle did not say which contenders there are");
    run.abort();
}

#[tokio::test]
async fn a_call_that_panics_ends_the_reconciler() {
    let (mut stage, mut reconciler) = Stage::new().await;
    reconciler.calls.spawn(async { panic!("a defect") });
    let run = tokio::spawn(reconciler.run());
    let watch = stage.record.watched().await;
    watch.tell(Item::SnapshotEnd(SnapshotEnd { revision: 1 }));
    let error = soon(run).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
}

#[tokio::test]
async fn what_is_not_seen_is_over_only_if_the_record_says_so() {
    let (stage, mut reconciler) = Stage::new().await;
    stage.record.holds(application("over", true));
    stage.record.holds(application("submitted-since", false));
    stage.record.holds(application("seen", true));
    stage.record.forgot("forgotten");
    stage.record.forgot("forgotten-by-now");
    let moment = reconciler.moment();
    reconciler.agenda.note(&application("forgotten-by-now", false), moment);

    let seen = HashSet::from([reference("seen")]);
    let known = ["over", "submitted-since", "seen", "forgotten", "somebody-else-s"].map(reference);
    let mut over = soon(reconciler.left_behind(&seen, known.into())).await.ok().unwrap();
    over.sort();
    assert_eq!(over, ["forgotten", "forgotten-by-now", "over"].map(reference));
}
