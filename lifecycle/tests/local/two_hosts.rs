//! Two hosts over one record, each with a state directory and processes of its own: what is over on
//! one because of the other ends there.

use std::sync::Arc;
use std::time::Duration;

use chassis::channel;
use chassis::clock::{Clock as _, ManualClock};
use chassis::credential::Principal;
use chassis::server::{self, Authenticator, Limits, Serve};
use chassis::tasks::{Shutdown, TaskSet};
use chassis::transport::{Endpoint, OsTransport};
use client::lifecycle::{Lifecycle as Client, Provisioning};
use futures::StreamExt as _;
use lifecycle::grpc;
use lifecycle::record::LogSource;
use lifecycle::service::Lifecycle;
use proto::engine::{Commit, Plan, RestartPolicy, Role};
use proto::{ApplicationRef, Epoch, EpochFence, Incarnation, Place};

use crate::attempts::main_of;
use crate::host::{Host, here, there};
use crate::{KEY, Machine, laws, within};

/// How long a cluster goes on that the record does not confirm and no fence holds back.
const GRACE: Duration = Duration::from_secs(300);

fn application() -> ApplicationRef {
    laws::order(1, "").slot.group.application
}

/// A machine with a lifecycle, whose clock moves when a test says so. The processes live by the
/// system's clock.
struct OneHost {
    /// Everything that lifecycle does. It is cut before the machine ends what runs.
    _tasks: TaskSet,
    machine: Machine,
    client: Client,
    clock: Arc<ManualClock>,
}

impl OneHost {
    async fn new(record: &Host, place: Place) -> Self {
        let machine = Machine::of_several();
        let (shutdown, clock) = (Shutdown::new(), Arc::new(ManualClock::new()));
        let tasks = TaskSet::new(shutdown.clone(), clock.clone());
        let store = record.shared_store(place);
        let service = Lifecycle::new(machine.local(), store, clock.clone(), tasks.handle());
        let endpoint = Endpoint::Unix(machine.directory.path().join("lifecycle.sock"));
        let server = server::bind(Serve {
            name: "lifecycle",
            endpoints: vec![endpoint.clone()],
            transport: Arc::new(OsTransport),
            clock: machine.clock.clone(),
            authenticator: Authenticator::new(KEY),
            routes: grpc::routes(service.clone()),
            shutdown,
            limits: Limits::default(),
        });
        tasks.spawn("server", server.await.unwrap().run());
        tasks.spawn_job("outbox", service.clone().ship_outbox());
        tasks.spawn_loop("following", service.clone().follow_record());
        tasks.spawn_loop("grace", service.clone().end_unconfirmed(GRACE));
        tasks.spawn_job("adoption", service.adopt());
        let credential = Some(KEY.mint(&Principal::Deployment));
        let channel =
            channel::connect(Arc::new(OsTransport), machine.clock.clone(), endpoint, credential);
        Self { _tasks: tasks, machine, client: Client::new(channel), clock }
    }

    /// Has a cluster of one worker run.
    async fn provision(&self, epoch: u64, incarnation: u64, commit: Commit) {
        let fence = EpochFence { application: application(), epoch: Epoch(epoch) };
        let worker = Role {
            name: "worker".into(),
            command: ["/bin/sh", "-c", "echo words; sleep 1000"].map(str::to_owned).to_vec(),
            replicas: 1,
            restart: RestartPolicy::Always.into(),
            serves_jobs: true,
            ..Role::default()
        };
        within(async {
            let incarnation = Incarnation(incarnation);
            let plan = Plan { roles: vec![worker], commit: commit.into(), ..Plan::default() };
            let answers = self.client.provision(&fence, incarnation, plan, "").await;
            let mut answers = Box::pin(answers.unwrap());
            while !matches!(answers.next().await.unwrap().unwrap(), Provisioning::Ready(_)) {}
        })
        .await;
    }

    /// Lets time pass until `reached`.
    async fn advance_until(&self, what: &str, mut reached: impl AsyncFnMut() -> bool) {
        let after_a_while = async || {
            self.clock.advance(Duration::from_millis(50));
            reached().await
        };
        self.machine.until(what, after_a_while).await;
    }

    /// Lets time pass until the record says that no cluster may live on this host, and looks then
    /// that nothing of one does.
    async fn ends_before_it_is_forgotten(&self, record: &Host, place: &Place) {
        let is_forgotten = async || {
            // The record is asked first: what it has forgotten has to be gone by then.
            let forgotten = record.intended_at(place).await.is_empty();
            assert!(!forgotten || self.machine.marked().is_empty(), "{:?}", self.machine.marked());
            forgotten
        };
        self.advance_until("it is forgotten", is_forgotten).await;
        let work = self.machine.places.application_work(&application());
        assert!(!work.join("cluster-1").exists(), "its directory is removed");
    }
}

/// Two hosts over one record. The first incarnation runs on the first host.
async fn two_hosts() -> (Host, OneHost, OneHost) {
    let record = Host::with(&application()).await;
    record.begin(1).await;
    record.incarnation(1).await;
    let one = OneHost::new(&record, here()).await;
    let other = OneHost::new(&record, there()).await;
    one.provision(1, 1, Commit::Gated).await;
    assert_eq!(record.keys_at(&here()).await, ["orders/4/cluster/1/worker/0"]);
    (record, one, other)
}

#[tokio::test]
async fn a_cluster_is_ended_once_another_host_has_replaced_it_and_forgotten_when_nothing_lives() {
    let (record, one, other) = two_hosts().await;
    record.begin_at(2, there()).await;
    record.incarnation_at(2, there()).await;
    other.provision(2, 2, Commit::Gated).await;
    one.ends_before_it_is_forgotten(&record, &here()).await;
    let words = LogSource::new(&laws::order(1, "").slot, 1);
    let are_kept = async || record.log(&words).await == (b"words\n".to_vec(), true);
    one.advance_until("what it said is in the record", are_kept).await;

    let end = other.clock.boot() + Duration::from_secs(15);
    other.advance_until("time has passed", async || other.clock.boot() >= end).await;
    assert_eq!(record.keys_at(&there()).await, ["orders/4/cluster/2/worker/0"]);
    assert!(!other.machine.marked().is_empty(), "the other host's cluster goes on");
}

#[tokio::test]
async fn a_cluster_of_an_ended_application_is_released_for_the_leader_on_another_host() {
    let (record, one, _other) = two_hosts().await;
    record.end(1).await;
    record.begin_at(2, there()).await;
    one.ends_before_it_is_forgotten(&record, &here()).await;
    // Nothing of another place is in the way any more.
    record.mark_clean(2).await;
}

/// A host that keeps no contender any more is not asked to end one, and may have output that no
/// other host has. Red without the search.
#[tokio::test]
async fn what_attempts_left_where_no_contender_is_goes_once_the_application_is_clean() {
    let record = Host::with(&application()).await;
    record.begin(1).await;
    let one = OneHost::new(&record, here()).await;
    let fence = EpochFence { application: application(), epoch: Epoch(1) };
    let _owned = main_of(&one.machine, &fence).await;
    record.end(1).await;
    let work = one.machine.places.application_work(&application());
    let end = one.clock.boot() + Duration::from_secs(80);
    let advanced = async || {
        one.clock.advance(Duration::from_millis(250));
        one.clock.boot() >= end
    };
    one.machine.until("time has passed", advanced).await;
    assert!(!one.machine.marked().is_empty() && work.exists(), "a leader may need it");

    record.mark_clean(1).await;
    let is_gone = async || {
        one.clock.advance(Duration::from_millis(250));
        !work.exists()
    };
    one.machine.until("it is removed", is_gone).await;
    assert!(one.machine.marked().is_empty(), "{:?}", one.machine.marked());
    let words = LogSource {
        application: application(),
        role: "main".into(),
        replica: 0,
        number: 1,
        start: 0,
    };
    let are_kept = async || record.log(&words).await == (b"last words\n".to_vec(), true);
    one.advance_until("what it said is in the record", are_kept).await;
}

/// A cluster that goes after the contender leaves a work directory that is empty. Red where only
/// directories of attempts are looked for.
#[tokio::test]
async fn the_work_directory_of_a_clean_application_goes_although_it_is_empty() {
    let (record, one, _other) = two_hosts().await;
    record.begin_at(2, there()).await;
    record.incarnation_at(2, there()).await;
    one.ends_before_it_is_forgotten(&record, &here()).await;
    let work = one.machine.places.application_work(&application());
    assert!(work.exists(), "the cluster was the last in there");
    record.end(2).await;
    record.mark_clean(2).await;
    let is_gone = async || {
        one.clock.advance(Duration::from_millis(250));
        !work.exists()
    };
    one.machine.until("it is removed", is_gone).await;
}

/// The intents stay, so that the application is not clean before the host has told of the end.
#[tokio::test]
async fn what_a_host_ends_while_it_is_cut_off_may_live_for_the_record_and_what_it_said_is_kept() {
    let record = Host::with(&application()).await;
    record.begin(1).await;
    record.incarnation(1).await;
    let one = OneHost::new(&record, here()).await;
    record.backend.set_deaf(true);
    one.provision(1, 1, Commit::None).await;
    record.backend.set_away(true);
    let is_ended = async || {
        one.clock.advance(Duration::from_millis(500));
        one.machine.marked().is_empty()
    };
    one.machine.until("it is ended", is_ended).await;

    record.backend.set_away(false);
    assert_eq!(record.intended_at(&here()).await, ["orders/4/cluster/1/worker/0"]);
    record.begin_at(2, there()).await;
    one.ends_before_it_is_forgotten(&record, &here()).await;
    record.backend.set_deaf(false);
    let words = LogSource::new(&laws::order(1, "").slot, 1);
    let are_kept = async || record.log(&words).await == (b"words\n".to_vec(), true);
    one.advance_until("what it said is in the record", are_kept).await;
}
