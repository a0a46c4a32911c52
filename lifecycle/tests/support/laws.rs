//! The laws of a [`Substrate`] as tests, for any backend. Each panics with the law's name when the
//! law is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::{SharedClock, timeout};
use client::places::Kind;
use client::tether::Exit;
use futures::StreamExt as _;
use lifecycle::model::{GroupId, Order, Probe, Restart, RoleSpec, Scope, Slot};
use lifecycle::record::LogSource;
use lifecycle::substrate::{Adopted, Leftovers, Live, Output, Substrate};
use proto::{ApplicationRef, Generation, Incarnation};

/// A time longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// Two instances of a substrate on one machine, like a lifecycle and the one after it.
#[derive(Clone)]
pub(crate) struct Subject {
    /// The instance that starts processes.
    pub(crate) substrate: Arc<dyn Substrate>,
    /// The instance that finds them.
    pub(crate) another: Arc<dyn Substrate>,
    /// The clock that bounds the waits.
    pub(crate) clock: SharedClock,
}

/// All laws, one after the other. The subject starts with nothing running.
pub(crate) async fn all(subject: &Subject) {
    an_exit_is_told_to_everybody_and_again(subject).await;
    an_end_leaves_nothing_and_a_grace_lets_it_speak(subject).await;
    what_cannot_be_started_says_why(subject).await;
    a_process_outlives_its_handle_and_is_found_by_another_instance(subject).await;
    what_was_never_started_is_gone(subject).await;
    output_comes_from_any_offset_live_and_afterwards(subject).await;
    a_sweep_ends_all_of_its_groups_and_nothing_else(subject).await;
    what_was_said_outlives_a_sweep_until_it_is_in_the_record(subject).await;
    what_earlier_starts_have_said_outlives_them(subject).await;
    every_named_port_has_an_address_of_its_own(subject).await;
}

/// Every caller that waits is told the same exit.
async fn an_exit_is_told_to_everybody_and_again(subject: &Subject) {
    let live = subject.start(&order(1, "exit 3")).await;
    let (one, other) = subject.within(futures::future::join(live.exited(), live.exited())).await;
    assert_eq!((one.code, &one), (Some(3), &other), "an exit is told to everybody");
    assert_eq!(subject.within(live.exited()).await, one, "and again");
    assert!(!live.answers().await, "what has exited does not answer");
    live.release().await;
}

/// After `end` nothing of the process lives.
async fn an_end_leaves_nothing_and_a_grace_lets_it_speak(subject: &Subject) {
    for (grace, signal) in [(Duration::ZERO, 9), (LONG, 15)] {
        let live = subject.start(&order(2, "sleep 1000")).await;
        assert!(live.answers().await && live.pid() > 0, "what runs answers");
        let exit = subject.within(live.end(grace)).await;
        assert_eq!(exit.signal, Some(signal), "ended with {grace:?} of grace");
        assert_eq!(
            subject.within(live.end(grace)).await.signal,
            Some(signal),
            "ending again changes nothing"
        );
        live.release().await;
        subject.substrate.sweep(&Scope::Group(order(2, "").slot.group)).await;
    }
}

/// An error of `start` means that nothing was started, and says why.
async fn what_cannot_be_started_says_why(subject: &Subject) {
    let mut order = order(3, "");
    order.role.command = vec!["/nonexistent/program".into()];
    let error =
        subject.within(subject.substrate.start(&order)).await.err().expect("it cannot be started");
    assert!(error.to_string().contains("/nonexistent/program"), "{error}");
}

/// Dropping a handle ends nothing; another instance finds the process.
async fn a_process_outlives_its_handle_and_is_found_by_another_instance(subject: &Subject) {
    let order = order(4, "sleep 1000");
    let live = subject.start(&order).await;
    let pid = live.pid();
    drop(live);
    let found = subject.adopt(&order).await.expect("it lives");
    assert_eq!(found.pid(), pid);
    assert!(subject.within(found.end(Duration::ZERO)).await.signal.is_some());
    found.release().await;
}

/// A start that never was is gone, with an unknown exit.
async fn what_was_never_started_is_gone(subject: &Subject) {
    let gone = subject.adopt(&order(5, "sleep 1000")).await.err().expect("nothing is there");
    assert_eq!(gone, Exit::default());
}

/// Output is read from any offset, while the process lives and after its keeper has gone.
async fn output_comes_from_any_offset_live_and_afterwards(subject: &Subject) {
    let order = order(6, "echo one; echo two; sleep 1000");
    let live = subject.start(&order).await;
    let mut output = live.output(0).await.expect("it lives");
    let mut said = Vec::new();
    while said.len() < 8 {
        let chunk = subject.within(output.next()).await.expect("more is coming").expect("readable");
        said.extend_from_slice(&chunk.data);
    }
    assert_eq!(said, b"one\ntwo\n");
    subject.within(live.end(Duration::ZERO)).await;
    assert!(subject.within(output.next()).await.is_none(), "it ends with the process");
    live.release().await;
    let rest = subject.read(subject.another.remains(&order, 4).await).await;
    assert_eq!(rest, b"two\n");
    assert_eq!(subject.read(subject.another.remains(&order, 8).await).await, b"");
}

/// A sweep ends the groups in its scope, whichever instance has started them, and touches no other.
async fn a_sweep_ends_all_of_its_groups_and_nothing_else(subject: &Subject) {
    let orders: Vec<Order> = (10..=12).map(|number| order(number, "sleep 1000")).collect();
    let mut lives = Vec::new();
    for order in &orders {
        lives.push(subject.start(order).await);
    }
    let contender = contender(10, "sleep 1000");
    let kept = subject.start(&contender).await;

    let group = Scope::Group(orders[0].slot.group.clone());
    assert_eq!(subject.within(subject.another.sweep(&group)).await, Leftovers::default());
    assert!(subject.within(lives[0].exited()).await.code.is_none(), "the group has ended");
    assert!(lives[1].answers().await && kept.answers().await, "others have not");

    let id = contender.slot.group.application.id.clone();
    let below = Scope::ClustersBelow(id, Incarnation(12));
    assert_eq!(subject.within(subject.another.sweep(&below)).await, Leftovers::default());
    subject.within(lives[1].exited()).await;
    assert!(lives[2].answers().await, "the incarnation itself goes on");
    assert!(kept.answers().await, "a contender is no incarnation");

    let attempts = Scope::Attempts(contender.slot.group.application.clone());
    assert_eq!(subject.within(subject.another.sweep(&attempts)).await, Leftovers::default());
    assert!(lives[2].answers().await && kept.answers().await, "neither is an attempt");

    let contenders = Scope::Contenders(contender.slot.group.application.clone());
    assert_eq!(subject.within(subject.another.sweep(&contenders)).await, Leftovers::default());
    subject.within(kept.exited()).await;
    assert!(lives[2].answers().await, "an incarnation is no contender");
    let last = Scope::Group(orders[2].slot.group.clone());
    assert_eq!(subject.within(subject.another.sweep(&last)).await, Leftovers::default());
    assert_eq!(
        subject.within(subject.another.sweep(&last)).await,
        Leftovers::default(),
        "sweeping again is harmless"
    );
}

/// A sweep removes no word of output: only the caller that has brought it into the record does.
async fn what_was_said_outlives_a_sweep_until_it_is_in_the_record(subject: &Subject) {
    for order in
        [order(20, "echo one; echo two; exit 0"), contender(20, "echo one; echo two; exit 0")]
    {
        let source = LogSource::new(&order.slot, order.start);
        let group = Scope::Group(order.slot.group.clone());
        let live = subject.start(&order).await;
        subject.within(live.exited()).await;
        live.release().await;
        let is_there = async || subject.another.outbox().await.contains(&source);
        assert!(!is_there().await, "it is where it was said");
        assert_eq!(subject.within(subject.another.sweep(&group)).await, Leftovers::default());
        assert!(is_there().await);
        assert_eq!(subject.read(subject.substrate.outbox_output(&source, 4).await).await, b"two\n");
        subject.substrate.empty_outbox(&source).await;
        assert!(!is_there().await, "it was emptied");

        let live = subject.start(&order).await;
        subject.within(live.exited()).await;
        live.release().await;
        subject.substrate.forget_output(&order).await;
        assert_eq!(subject.within(subject.another.sweep(&group)).await, Leftovers::default());
        assert!(!is_there().await, "nothing was left of it");
    }
}

/// A process that is started again and again takes no room for output that is needed no more, and
/// no word of an earlier start is lost for that.
async fn what_earlier_starts_have_said_outlives_them(subject: &Subject) {
    let first = order(21, "echo words; exit 0");
    let starts: Vec<Order> = (1..=4).map(|start| Order { start, ..first.clone() }).collect();
    for order in &starts {
        let live = subject.start(order).await;
        subject.within(live.exited()).await;
        live.release().await;
    }
    let group = Scope::Group(first.slot.group.clone());
    assert_eq!(subject.within(subject.another.sweep(&group)).await, Leftovers::default());
    for order in &starts {
        let source = LogSource::new(&order.slot, order.start);
        let kept = subject.another.outbox_output(&source, 0).await;
        assert_eq!(subject.read(kept).await, b"words\n", "of start {}", order.start);
        subject.another.empty_outbox(&source).await;
    }
}

/// Each named port of each role, and nothing else, is given an address that no other port has.
async fn every_named_port_has_an_address_of_its_own(subject: &Subject) {
    let mut roles = vec![role("jobmanager", ""), role("jobs", ""), role("taskmanager", "")];
    roles[0].ports = vec!["rest".into(), "rpc".into()];
    roles[1].ports = vec!["rest".into()];
    let chosen =
        subject.within(subject.substrate.choose_ports(&roles)).await.expect("there are free ports");
    let names: Vec<&String> = chosen.keys().collect();
    assert_eq!(names, ["jobmanager/rest", "jobmanager/rpc", "jobs/rest"]);
    assert_eq!(chosen.values().collect::<BTreeSet<_>>().len(), 3, "no two are the same");
}

impl Subject {
    async fn start(&self, order: &Order) -> Arc<dyn Live> {
        self.within(self.substrate.start(order)).await.expect("it can be started")
    }

    async fn adopt(&self, order: &Order) -> Result<Arc<dyn Live>, Exit> {
        match self.within(self.another.adopt(order)).await {
            Adopted::Live(live) => Ok(live),
            Adopted::Gone(exit) => Err(exit),
        }
    }

    async fn read(&self, mut output: Output) -> Vec<u8> {
        let mut said = Vec::new();
        while let Some(chunk) = self.within(output.next()).await {
            said.extend_from_slice(&chunk.expect("readable").data);
        }
        said
    }

    async fn within<F: Future>(&self, future: F) -> F::Output {
        timeout(&self.clock, LONG, future).await.expect("a bounded wait")
    }
}

/// The worker of an incarnation, as `/bin/sh -c SCRIPT`. The script consists of the words that
/// `Memory` knows.
pub(crate) fn order(incarnation: u64, script: &str) -> Order {
    let application =
        ApplicationRef { id: "orders".parse().expect("an id"), generation: Generation(4) };
    let group = GroupId { application, kind: Kind::Cluster, number: incarnation };
    let slot = Slot { group, role: "worker".into(), replica: 0 };
    Order { slot, role: role("worker", script), start: 1, traceparent: String::new() }
}

/// A contender, as `/bin/sh -c SCRIPT`.
pub(crate) fn contender(index: u64, script: &str) -> Order {
    let mut order = order(index, script);
    order.slot.group.kind = Kind::Contender;
    (order.slot.role, order.role.name) = ("contender".into(), "contender".into());
    order.role.restart = Restart::UntilDone(vec![0]);
    order
}

/// A role that is ready as soon as it runs and is never started again.
fn role(name: &str, script: &str) -> RoleSpec {
    RoleSpec {
        name: name.into(),
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        environment: BTreeMap::new(),
        files: Vec::new(),
        replicas: 1,
        probe: Probe::Started,
        ready_within_ms: 30_000,
        restart: Restart::Never,
        serves_jobs: true,
        ends_at_once: false,
        fatal_exit_codes: Vec::new(),
        ports: Vec::new(),
        addresses: BTreeMap::new(),
        wish: 0,
        ungated: false,
    }
}
