//! The verbs: which processes are minded, and how that changes.

mod adoption;
mod cut_off;
mod detail;
mod following;
mod group;
mod minder;
mod numbers;
mod outbox;
mod searching;
mod shipping;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::clock::{Clock as _, SharedClock, timeout};
use chassis::failpoint;
use chassis::tasks::Tasks;
use chassis::telemetry::trace;
use client::places::Kind;
use proto::{ApplicationId, ApplicationRef, Epoch, EpochFence, Incarnation};
use tokio::sync::{OwnedMutexGuard, watch};

use crate::error::Error;
use crate::model::{
    Addresses, DONE_RESTS, Fate, GroupId, Order, RoleSpec, Scope, Slot, Status, check_contender,
    check_plan, contenders_to_change,
};
use crate::record::{RecordError, Store};
use crate::substrate::{Leftovers, Substrate};
use minder::Minder;

pub use detail::Detail;
pub(crate) use group::Group;

/// How long a call waits until what an earlier lifecycle has left is found.
const ADOPTION_WAIT: Duration = Duration::from_secs(10);

/// How long processes may take to end by themselves, unless the caller says otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(2);

/// How long processes of a lower incarnation may take to end: their leader has gone on without
/// them.
const LOWER_GRACE: Duration = Duration::from_millis(500);

/// How long an end may take on top of its grace, for the shipping of output and for force.
const END_WAIT: Duration = Duration::from_secs(25);

/// An incarnation that is to be realised.
#[derive(Debug, Clone)]
pub struct Provision {
    /// The fence of the leader that asks.
    pub fence: EpochFence,
    /// The incarnation, one life of the cluster.
    pub incarnation: Incarnation,
    /// The roles of the plan.
    pub roles: Vec<RoleSpec>,
    /// W3C trace context for the roles; may be empty.
    pub traceparent: String,
}

/// Contenders that are to be kept running.
#[derive(Debug, Clone)]
pub struct Contenders {
    /// The application that the contenders are of.
    pub application: ApplicationRef,
    /// How many contenders there are to be.
    pub count: u32,
    /// The role of each contender.
    pub role: RoleSpec,
    /// W3C trace context for the contenders; may be empty.
    pub traceparent: String,
}

/// The processes of clusters and entrypoints.
///
/// Every clone stands for the same lifecycle. A group of processes is changed by one call at a time
/// per application; in between, a minder per process starts it, watches it and does what follows
/// from its exit. What is known here can be lost: the substrate and the record hold the truth, and
/// [`adopt`](Self::adopt) reads it after a start.
#[derive(Clone)]
pub struct Lifecycle(Arc<Inner>);

struct Inner {
    substrate: Arc<dyn Substrate>,
    record: Store,
    clock: SharedClock,
    tasks: Tasks,
    state: Mutex<Known>,
    adopted: watch::Sender<bool>,
}

/// All that is known of groups; every entry has its truth on the substrate and in the record.
#[derive(Default)]
struct Known {
    groups: HashMap<GroupId, Arc<Group>>,
    /// The highest incarnation of an application that was ended here for good.
    torn_down: HashMap<ApplicationId, u64>,
    /// The lock of each application, because its processes are changed by one call at a time.
    locks: HashMap<ApplicationId, Arc<tokio::sync::Mutex<()>>>,
}

impl Lifecycle {
    /// A lifecycle whose minders run on `tasks`. [`adopt`](Self::adopt) has to run before any call
    /// is answered.
    pub fn new(
        substrate: Arc<dyn Substrate>,
        record: Store,
        clock: SharedClock,
        tasks: Tasks,
    ) -> Self {
        let (state, adopted) = (Mutex::default(), watch::Sender::new(false));
        Self(Arc::new(Inner { substrate, record, clock, tasks, state, adopted }))
    }

    /// Realises an incarnation, or finds the one that is realised; the caller follows the board.
    /// Law: from the moment this call returns, nothing of a lower incarnation lives, and nothing
    /// was started for a superseded epoch. An incarnation that the record does not have here
    /// changes nothing.
    pub(crate) async fn provision(&self, mut wish: Provision) -> Result<Arc<Group>, Error> {
        check_plan(&wish.roles)?;
        self.wait_for_adoption().await?;
        self.0.record.confirm_epoch(&wish.fence).await?;
        let application = wish.fence.application.clone();
        let _alone = self.alone(&application.id).await;
        let current = self.highest_incarnation(&application.id);
        let torn_down = self.known().torn_down.get(&application.id).copied().unwrap_or_default();
        let number = wish.incarnation.get();
        if number < current || number <= torn_down {
            let current = Incarnation(current.max(torn_down));
            return Err(Error::IncarnationSuperseded {
                application,
                incarnation: wish.incarnation,
                current,
            });
        }
        let id = GroupId { application, kind: Kind::Cluster, number };
        // The intents of the processes are compared with the same fence when they are written. Here
        // the answer comes before anything of a lower incarnation is ended.
        let (asked, is_ungated) = (self.0.clock.boot(), wish.roles.iter().any(|role| role.ungated));
        let over = match self.0.record.confirm_cluster(&id, is_ungated).await {
            Err(RecordError::IncarnationOver { current }) => Some(current),
            Err(RecordError::Unneeded(_)) => Some(wish.incarnation),
            confirmed => confirmed.map(|()| None)?,
        };
        if let Some(current) = over {
            let (application, incarnation) = (id.application, wish.incarnation);
            return Err(Error::IncarnationSuperseded { application, incarnation, current });
        }
        if self.was_refused_to_an_earlier_leader(&id, wish.fence.epoch) {
            self.end_group(&id, Duration::ZERO).await?;
        }
        if self.group(&id).is_none() {
            self.end_below(&id, wish.incarnation).await?;
        }
        let addresses = self.addresses(&id, &wish.roles).await?;
        for role in &mut wish.roles {
            role.addresses.clone_from(&addresses);
        }
        let group = self.group_or_new(&id);
        group.confirm(asked);
        group.keep_addresses(addresses);
        let slots = wish
            .roles
            .iter()
            .flat_map(|role| (0..role.replicas).map(move |replica| (role, replica)));
        for (role, replica) in slots {
            let slot = Slot { group: id.clone(), role: role.name.clone(), replica };
            self.add(&group, slot, role, &wish.traceparent, Some(wish.fence.epoch));
        }
        Ok(group)
    }

    /// Where the ports of a group are: as they were chosen before, or chosen now.
    async fn addresses(&self, id: &GroupId, roles: &[RoleSpec]) -> Result<Addresses, Error> {
        let chosen = self.group(id).map(|group| group.addresses()).unwrap_or_default();
        if !chosen.is_empty() || roles.iter().all(|role| role.ports.is_empty()) {
            return Ok(chosen);
        }
        self.0.substrate.choose_ports(roles).await.map_err(|error| Error::NoPort(error.to_string()))
    }

    /// The group, if it is minded.
    pub(crate) async fn find(&self, id: &GroupId) -> Result<Option<Arc<Group>>, Error> {
        self.wait_for_adoption().await?;
        Ok(self.group(id))
    }

    /// Ends exactly this incarnation, and answers what could not be ended or removed.
    pub async fn teardown(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        grace: Duration,
    ) -> Result<Vec<String>, Error> {
        self.wait_for_adoption().await?;
        self.0.record.confirm_epoch(fence).await?;
        let _alone = self.alone(&fence.application.id).await;
        let id = GroupId {
            application: fence.application.clone(),
            kind: Kind::Cluster,
            number: incarnation.get(),
        };
        self.will_not_come_back(&id);
        self.end_group(&id, grace).await
    }

    /// Keeps that many contenders running, and answers what is known of them right now.
    pub async fn provision_contenders(&self, wish: Contenders) -> Result<Vec<Status>, Error> {
        check_contender(&wish.role)?;
        self.wait_for_adoption().await?;
        let _alone = self.alone(&wish.application.id).await;
        let scope = Scope::Contenders(wish.application.clone());
        for id in self.groups_in(&scope) {
            if self.has_rested(&id) || self.gave_up_before(&id, wish.role.wish) {
                self.end_group(&id, Duration::ZERO).await?;
            }
        }
        let present: Vec<u64> = self.groups_in(&scope).iter().map(|id| id.number).collect();
        let (start, end) = contenders_to_change(&present, wish.count);
        let id = |number| GroupId {
            application: wish.application.clone(),
            kind: Kind::Contender,
            number,
        };
        for number in end {
            self.end_group(&id(number), DEFAULT_GRACE).await?;
        }
        for number in start {
            let group = self.group_or_new(&id(number));
            let slot = Slot { group: id(number), role: wish.role.name.clone(), replica: 0 };
            self.add(&group, slot, &wish.role, &wish.traceparent, None);
        }
        Ok(self
            .groups_in(&scope)
            .iter()
            .filter_map(|id| self.group(id))
            .flat_map(|group| group.statuses())
            .collect())
    }

    /// Ends what is left of an application's contenders, and answers what could not be ended or
    /// removed. Once the record says that nothing is left to do for the application, what attempts
    /// left on this host goes, too: no contender of any host needs it any more.
    pub async fn teardown_contenders(
        &self,
        application: &ApplicationRef,
    ) -> Result<Vec<String>, Error> {
        self.wait_for_adoption().await?;
        let _alone = self.alone(&application.id).await;
        let scope = Scope::Contenders(application.clone());
        let ended = self
            .groups_in(&scope)
            .into_iter()
            .map(|id| async move { self.end_group(&id, DEFAULT_GRACE).await });
        let mut left = Vec::new();
        for ended in futures::future::join_all(ended).await {
            left.extend(ended?);
        }
        // The sweep also finds contenders that this lifecycle did not know of.
        left.extend(self.0.substrate.sweep(&scope).await.lines());
        if self.is_over(application).await? {
            let attempts = Scope::Attempts(application.clone());
            left.extend(self.0.substrate.sweep(&attempts).await.lines());
        }
        self.0.record.forget_contenders(application).await?;
        left.sort();
        left.dedup();
        Ok(left)
    }

    /// Whether the record says that nothing is left to do for an application. A record that does
    /// not say so, although it answers, keeps what attempts left where it is.
    async fn is_over(&self, application: &ApplicationRef) -> Result<bool, Error> {
        match self.0.record.is_over(application).await {
            Ok(over) => Ok(over),
            Err(error @ RecordError::Away(_)) => Err(error.into()),
            Err(error) => {
                tracing::warn!("{application}: what attempts left here stays: {error}");
                Ok(false)
            }
        }
    }

    /// All minded processes, of one application or of all, in the order of their keys.
    pub async fn list(
        &self,
        application: Option<&ApplicationRef>,
    ) -> Result<Vec<(GroupId, Status)>, Error> {
        self.wait_for_adoption().await?;
        let groups: BTreeMap<String, Arc<Group>> = self
            .known()
            .groups
            .values()
            .filter(|group| application.is_none_or(|wanted| *wanted == group.id.application))
            .map(|group| (group.id.key_prefix(), group.clone()))
            .collect();
        let statuses = |group: Arc<Group>| {
            let statuses = group.statuses().into_iter();
            statuses.map(|status| (group.id.clone(), status)).collect::<Vec<_>>()
        };
        Ok(groups.into_values().flat_map(statuses).collect())
    }

    /// Has a process minded, unless it is minded already.
    fn add(
        &self,
        group: &Arc<Group>,
        slot: Slot,
        role: &RoleSpec,
        traceparent: &str,
        epoch: Option<Epoch>,
    ) {
        let traceparent = traceparent.to_owned();
        let order = Order { slot, role: role.clone(), start: 1, traceparent };
        if let Some(minder) = self.minder(group, order, epoch) {
            let name = format!("mind {}", minder.order.slot.key());
            self.0.tasks.spawn_job(name, trace::carry(minder.start()));
        }
    }

    /// A minder for a process that has none.
    fn minder(&self, group: &Arc<Group>, order: Order, epoch: Option<Epoch>) -> Option<Minder> {
        let endpoint = self.0.substrate.addresses(&order).endpoint;
        let mut status = Status::new(&order.slot, order.start, endpoint);
        (status.serves_jobs, status.wish) = (order.role.serves_jobs, order.role.wish);
        status.ungated = order.role.ungated;
        let place = group.add(&order.slot, status)?;
        Some(Minder {
            group: group.clone(),
            place,
            order,
            epoch,
            substrate: self.0.substrate.clone(),
            record: self.0.record.clone(),
            clock: self.0.clock.clone(),
            shutdown: self.0.tasks.shutdown().clone(),
            stop: group.stop_asked(),
            shippings: Vec::new(),
        })
    }

    /// Ends what is left of every lower incarnation.
    async fn end_below(&self, id: &GroupId, incarnation: Incarnation) -> Result<(), Error> {
        let scope = Scope::ClustersBelow(id.application.id.clone(), incarnation);
        let mut left = Vec::new();
        for lower in self.groups_in(&scope) {
            left.extend(self.end_group(&lower, LOWER_GRACE).await?);
        }
        if incarnation > Incarnation(1) {
            left.extend(self.0.substrate.sweep(&scope).await.lines());
        }
        for line in left {
            // The rest can do no harm: the store takes nothing from a lower incarnation.
            tracing::error!("{id}: a lower incarnation could not be ended: {line}");
        }
        Ok(())
    }

    /// Keeps that an incarnation has been ended for good, before it is: from here on a call for it
    /// is refused, however late the call comes.
    fn will_not_come_back(&self, cluster: &GroupId) {
        let mut known = self.known();
        let torn_down = known.torn_down.entry(cluster.application.id.clone()).or_default();
        *torn_down = (*torn_down).max(cluster.number);
    }

    /// Ends a group, whether it is minded or not, and forgets it everywhere. Answers what could not
    /// be ended or removed.
    async fn end_group(&self, id: &GroupId, grace: Duration) -> Result<Vec<String>, Error> {
        let left = self.end_processes(id, grace).await?;
        self.forget_group(id).await?;
        Ok(left.lines())
    }

    /// Ends the processes of a group, whether they are minded or not, and removes what they left.
    async fn end_processes(&self, id: &GroupId, grace: Duration) -> Result<Leftovers, Error> {
        if let Some(group) = self.group(id) {
            group.stop(grace);
            if timeout(&self.0.clock, grace + END_WAIT, group.gone()).await.is_err() {
                tracing::warn!("{id}: it does not end, and is ended by force");
            }
            if self.0.tasks.shutdown().is_begun() {
                return Err(Error::ShuttingDown);
            }
        }
        failpoint::hit("lifecycle.in-teardown").await;
        Ok(self.0.substrate.sweep(&Scope::Group(id.clone())).await)
    }

    /// Forgets a group that was ended, in the record and here.
    async fn forget_group(&self, id: &GroupId) -> Result<(), Error> {
        self.0.record.forget(id).await?;
        self.known().groups.remove(id);
        tracing::info!("{id}: gone");
        Ok(())
    }

    /// Whether the group was begun for a leader that had been superseded by then. The leader with
    /// this epoch has not been.
    fn was_refused_to_an_earlier_leader(&self, id: &GroupId, epoch: Epoch) -> bool {
        let refused = |status: &Status| matches!(status.fate, Fate::Superseded(shown, _) if shown < epoch.get());
        self.group(id).is_some_and(|group| group.statuses().iter().any(refused))
    }

    /// Whether a contender has been done for so long that a caller who asks for it must know of new
    /// work.
    fn has_rested(&self, id: &GroupId) -> bool {
        let now = self.0.clock.boot();
        self.group(id).is_some_and(|group| {
            let rested =
                |status: &Status| status.fate == Fate::Done && now >= status.since + DONE_RESTS;
            group.statuses().iter().all(rested)
        })
    }

    /// Whether a contender gave up and its application was asked for something since then, which is
    /// worth another try.
    fn gave_up_before(&self, id: &GroupId, wish: u64) -> bool {
        let before = |status: &Status| status.fate == Fate::GaveUp && status.wish != wish;
        self.group(id).is_some_and(|group| group.statuses().iter().any(before))
    }

    fn highest_incarnation(&self, application: &ApplicationId) -> u64 {
        let known = self.known();
        let clusters = known
            .groups
            .keys()
            .filter(|id| id.kind == Kind::Cluster && id.application.id == *application);
        clusters.map(|id| id.number).max().unwrap_or_default()
    }

    fn group(&self, id: &GroupId) -> Option<Arc<Group>> {
        self.known().groups.get(id).cloned()
    }

    fn group_or_new(&self, id: &GroupId) -> Arc<Group> {
        let (mut known, now) = (self.known(), self.0.clock.boot());
        let group = || Arc::new(Group::new(id.clone(), now));
        known.groups.entry(id.clone()).or_insert_with(group).clone()
    }

    fn groups_in(&self, scope: &Scope) -> Vec<GroupId> {
        let mut groups: Vec<GroupId> =
            self.known().groups.keys().filter(|id| scope.holds(id)).cloned().collect();
        groups.sort_by_key(|id| id.number);
        groups
    }

    /// Waits for the caller's turn to change an application's processes.
    async fn alone(&self, application: &ApplicationId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut known = self.known();
            // Forgets the locks that no call holds or waits for.
            known.locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            known.locks.entry(application.clone()).or_default().clone()
        };
        lock.lock_owned().await
    }

    async fn wait_for_adoption(&self) -> Result<(), Error> {
        let mut adopted = self.0.adopted.subscribe();
        match timeout(&self.0.clock, ADOPTION_WAIT, adopted.wait_for(|adopted| *adopted)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Error::ShuttingDown),
            Err(_) => {
                let text =
                    "what earlier processes may live is not known yet: the record is out of reach";
                Err(Error::RecordAway(text.to_owned()))
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
