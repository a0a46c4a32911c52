//! One task per process: the minder starts the process, finds out that it is ready, notices its
//! end, and does what follows from that, until the minder is asked to end it. A minder that is
//! dropped or shut down ends nothing: the process waits for the next lifecycle.

use std::sync::Arc;
use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::{Boot, Clock as _, SharedClock, timeout};
use chassis::tasks::{OwnedTask, Shutdown, owned};
use chassis::telemetry::metrics::Count;
use chassis::telemetry::trace;
use chassis::{BoxError, failpoint};
use client::places::Kind;
use client::tether::Exit;
use proto::Epoch;
use tokio::sync::watch;

use super::detail::Detail;
use super::group::Group;
use super::shipping::{Origin, Shipped, Shipping};
use crate::model::{
    FIRST_READY_PAUSE, Fate, LONG_LIFE, LONGEST_READY_PAUSE, Order, Restart, STDERR_TAIL_BYTES,
    State, Watchdog, after_exit, watchdog,
};
use crate::record::{Intent, IntentState, LogSource, RecordError, Store};
use crate::substrate::{Adopted, Live, Substrate};

static EXITS: Count =
    Count::new("mainspring.process.exits", "Processes that exited without having been asked to");

/// How long an end may wait until the output is in the record.
const SHIP_WAIT: Duration = Duration::from_secs(5);

/// How long keeping a tombstone may hold up an end. Without a tombstone, a restarted lifecycle
/// finds the process gone all the same.
const TOMBSTONE_WAIT: Duration = Duration::from_secs(2);

/// How many starts may have their output on its way at once.
const SHIPPINGS: usize = 3;

/// Minds one process of a group, from its first start until nothing of it is left.
pub(super) struct Minder {
    pub(super) group: Arc<Group>,
    /// The place of the process on the group's board.
    pub(super) place: usize,
    /// The order of the start that is under way, or of the last one.
    pub(super) order: Order,
    /// The epoch that fences the first start.
    pub(super) epoch: Option<Epoch>,
    pub(super) substrate: Arc<dyn Substrate>,
    pub(super) record: Store,
    pub(super) clock: SharedClock,
    pub(super) shutdown: Shutdown,
    pub(super) stop: watch::Receiver<Option<Duration>>,
    pub(super) shippings: Vec<OwnedTask<Shipped>>,
}

/// Why a running process is not minded any further as it is.
enum Turn {
    /// The process has exited.
    Exited(Exit),
    /// The process was asked to end.
    Stop(Duration),
    /// The process did not become ready, or has been silent for too long.
    Unanswering,
    /// This lifecycle ends, and the process goes on.
    Shutdown,
}

impl Minder {
    /// Starts the process and minds it.
    pub(super) async fn start(self) -> Result<(), BoxError> {
        self.run(false).await;
        Ok(())
    }

    /// Finds the process of an earlier lifecycle and minds it.
    pub(super) async fn adopt(self) -> Result<(), BoxError> {
        self.run(true).await;
        Ok(())
    }

    async fn run(mut self, mut adopting: bool) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            let began = self.clock.boot();
            let begun = if adopting { Some(self.find().await) } else { self.begin().await };
            adopting = false;
            let Some(begun) = begun else { return };
            let fate = match begun {
                Ok(live) => self.mind(live).await,
                Err(exit) => Some(self.exited(exit, None, None).await),
            };
            let Some(fate) = fate else { return };
            if fate != Fate::Open {
                return self.rest(fate).await;
            }
            let lived = self.clock.boot().saturating_duration_since(began);
            if lived >= LONG_LIFE {
                backoff.reset();
            }
            let stopped = tokio::select! {
                () = self.clock.sleep(backoff.next_delay()) => false,
                _ = self.stop_asked() => true,
                () = self.shutdown.begun() => return,
            };
            if stopped {
                return self.rest(Fate::Stopped).await;
            }
            self.order.start += 1;
            self.epoch = None;
        }
    }

    /// Finds the process that an earlier lifecycle has started.
    async fn find(&mut self) -> Result<Arc<dyn Live>, Exit> {
        match self.substrate.adopt(&self.order).await {
            Adopted::Live(live) => {
                tracing::info!("{}: adopted, pid {}", self.order.slot.key(), live.pid());
                Ok(live)
            }
            Adopted::Gone(exit) => Err(exit),
        }
    }

    /// Keeps the intent, then starts the process. `None` when there is nothing more to mind.
    async fn begin(&mut self) -> Option<Result<Arc<dyn Live>, Exit>> {
        if let Err(fate) = self.intend().await {
            if let Some(fate) = fate {
                self.rest(fate).await;
            }
            return None;
        }
        failpoint::hit("lifecycle.before-start").await;
        let started = self.substrate.start(&self.order).await;
        failpoint::hit("lifecycle.after-start").await;
        Some(started.map_err(|error| Exit { start_error: error.to_string(), ..Exit::default() }))
    }

    /// Keeps the intent, for as long as that takes. The error is what follows if that cannot be
    /// done, or nothing at a shutdown.
    async fn intend(&mut self) -> Result<(), Option<Fate>> {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
        let intent = self.intent(String::new(), IntentState::Intended);
        loop {
            match self.record.put(&intent, self.epoch).await {
                Ok(()) => return Ok(()),
                Err(RecordError::Away(why)) => {
                    tracing::debug!("{}: its start waits: {why}", self.order.slot.key())
                }
                Err(RecordError::Superseded { fence, current }) => {
                    return Err(Some(Fate::Superseded(fence.epoch.get(), current.get())));
                }
                Err(RecordError::IncarnationOver { current }) => {
                    return Err(Some(Fate::Over(current.get())));
                }
                Err(RecordError::Elsewhere(why)) => return Err(Some(Fate::Elsewhere(why))),
                Err(
                    RecordError::Refused(why)
                    | RecordError::Unknown(why)
                    | RecordError::Unneeded(why),
                ) => {
                    let exit = Exit { start_error: why, ..Exit::default() };
                    self.group.update(self.place, |status| status.exit = Some(exit));
                    return Err(Some(Fate::Failed));
                }
            }
            tokio::select! {
                () = self.clock.sleep(backoff.next_delay()) => {}
                _ = self.stop_asked() => return Err(Some(Fate::Stopped)),
                () = self.shutdown.begun() => return Err(None),
            }
        }
    }

    fn intent(&self, exit: String, state: IntentState) -> Intent {
        let addresses = self.substrate.addresses(&self.order);
        Intent {
            slot: self.order.slot.clone(),
            start: self.order.start,
            keeper: addresses.keeper,
            endpoint: addresses.endpoint,
            detail: Detail::new(&self.order).encode(),
            exit,
            state,
        }
    }

    /// Minds a running process until it has exited, and answers what follows; `None` at a shutdown.
    async fn mind(&mut self, live: Arc<dyn Live>) -> Option<Fate> {
        let (pid, start) = (live.pid(), self.order.start);
        tracing::info!("{}: pid {pid}, start {start}", self.order.slot.key());
        self.group.update(self.place, |status| {
            (status.state, status.pid, status.starts) = (State::Starting, pid, start);
        });
        self.ship(Some(live.clone()));
        match self.watch(&*live).await {
            Turn::Exited(exit) => Some(self.exited(exit, Some(&*live), None).await),
            Turn::Shutdown => None,
            Turn::Stop(grace) => {
                // Of a cluster, the intent stays until its group is forgotten: the record takes
                // the intent for the word that something may live on this host.
                if self.order.slot.group.kind == Kind::Contender {
                    self.bury(String::new()).await;
                }
                let grace = if self.order.role.ends_at_once { Duration::ZERO } else { grace };
                let exit = live.end(grace).await;
                Some(self.exited(exit, Some(&*live), Some(Fate::Stopped)).await)
            }
            Turn::Unanswering => {
                tracing::warn!("{}: pid {pid} does not answer and is ended", self.order.slot.key());
                let fate = match self.order.role.restart {
                    Restart::UntilDone(_) => Fate::Open,
                    Restart::Never | Restart::Always => {
                        Fate::NotReady(self.order.role.ready_within())
                    }
                };
                let exit = live.end(Duration::ZERO).await;
                Some(self.exited(exit, Some(&*live), Some(fate)).await)
            }
        }
    }

    async fn watch(&self, live: &dyn Live) -> Turn {
        tokio::select! {
            // The order matters: an exit that has been seen is not taken for the answer to a stop.
            biased;
            exit = live.exited() => Turn::Exited(exit),
            () = self.shutdown.begun() => Turn::Shutdown,
            grace = self.stop_asked() => Turn::Stop(grace),
            () = self.ask(live) => Turn::Unanswering,
        }
    }

    /// Waits until the group is asked to end, and answers with which grace.
    async fn stop_asked(&self) -> Duration {
        let mut stop = self.stop.clone();
        let asked = stop.wait_for(Option::is_some).await;
        // The group was forgotten and cannot be asked any more, so the process may end at once.
        asked.map_or(Duration::ZERO, |grace| grace.unwrap_or_default())
    }

    /// Asks the process until it is ready, and a contender ever after; returns when the process is
    /// given up.
    async fn ask(&self, live: &dyn Live) {
        let began = self.clock.boot();
        let mut pause = FIRST_READY_PAUSE;
        while !live.answers().await {
            if self.clock.boot() >= began + self.order.role.ready_within() {
                return;
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_READY_PAUSE);
        }
        self.group.update(self.place, |status| status.state = State::Ready);
        if !matches!(self.order.role.restart, Restart::UntilDone(_)) {
            return std::future::pending().await;
        }
        let mut answered = self.clock.boot();
        loop {
            match watchdog(answered, self.clock.boot()) {
                Watchdog::GiveUp => return,
                Watchdog::AskAt(at) => self.clock.sleep_until(at).await,
            }
            let asked = self.clock.boot();
            if live.answers().await {
                answered = asked;
            }
        }
    }

    /// Takes note of an exit, then sees to it that the output is kept. Answers what follows from
    /// the exit, which is `known` if this minder ended the process.
    async fn exited(&mut self, exit: Exit, live: Option<&dyn Live>, known: Option<Fate>) -> Fate {
        tracing::info!("{}: {exit}", self.order.slot.key());
        let last_words = self.substrate.last_words(&self.order, STDERR_TAIL_BYTES).await;
        let was_ended = known == Some(Fate::Stopped);
        if !was_ended {
            EXITS.add(1, &[("kind", self.order.slot.group.kind.as_str())]);
        }
        let fate = known.unwrap_or_else(|| after_exit(&self.order.role, &exit));
        let was_started = exit.start_error.is_empty();
        let since = self.clock.boot();
        // The board comes before anything that may take time, because its watchers have to act on
        // the exit.
        self.group.update(self.place, |status| {
            (status.state, status.starts, status.since) = (State::Exited, self.order.start, since);
            (status.exit, status.was_ended, status.last_words) =
                (Some(exit), was_ended, last_words);
            if matches!(fate, Fate::Failed | Fate::NotReady(_)) {
                status.fate = fate.clone();
            }
        });
        match live {
            Some(live) => {
                let shipped = self.shipped().await;
                live.release().await;
                if shipped {
                    self.substrate.forget_output(&self.order).await;
                }
            }
            None if was_started => self.ship(None),
            None => {}
        }
        fate
    }

    /// Starts nothing more: says so, and waits to be asked to end.
    async fn rest(&mut self, fate: Fate) {
        if fate != Fate::Stopped {
            let status = self.group.statuses().get(self.place).cloned();
            let gave_up = fate == Fate::GaveUp;
            self.decide(fate);
            if gave_up {
                self.give_up(status.map(|status| status.last_word()).unwrap_or_default()).await;
            } else {
                let exit = status.and_then(|status| status.exit);
                self.bury(exit.map(|exit| exit.to_string()).unwrap_or_default()).await;
            }
            tokio::select! {
                _ = self.stop_asked() => {}
                () = self.shutdown.begun() => return,
            }
        }
        self.shipped().await;
        self.decide(Fate::Stopped);
    }

    /// Minds a contender that gave up under an earlier lifecycle: nothing is started, and the
    /// record knows of it already.
    pub(super) async fn rest_given_up(self, why: String) -> Result<(), BoxError> {
        self.group.update(self.place, |status| status.last_words.stderr_tail = why);
        self.decide(Fate::GaveUp);
        tokio::select! {
            _ = self.stop_asked() => self.decide(Fate::Stopped),
            () = self.shutdown.begun() => {}
        }
        Ok(())
    }

    /// Keeps why the contender gave up. People have to see it, so the write takes as long as it
    /// takes.
    async fn give_up(&self, why: String) {
        tracing::error!("{}: it gave up and is not started again: {why}", self.order.slot.key());
        let tombstone = self.intent(why, IntentState::GaveUp);
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(5));
        loop {
            match self.record.put(&tombstone, None).await {
                Ok(()) => return,
                Err(RecordError::Away(error)) => {
                    tracing::debug!("a contender's last word waits: {error}")
                }
                Err(error) => {
                    return tracing::error!("{}: no tombstone: {error}", self.order.slot.key());
                }
            }
            tokio::select! {
                () = self.clock.sleep(backoff.next_delay()) => {}
                _ = self.stop_asked() => return,
                () = self.shutdown.begun() => return,
            }
        }
    }

    fn decide(&self, fate: Fate) {
        let since: Boot = self.clock.boot();
        self.group.update(self.place, |status| {
            (status.state, status.fate, status.since) = (State::Exited, fate, since);
        });
    }

    /// Keeps a tombstone, so that a lifecycle that starts now does not start this process again.
    async fn bury(&self, exit: String) {
        let tombstone = self.intent(exit, IntentState::Gone);
        // The write has no fence: what is gone is gone under any leader.
        match timeout(&self.clock, TOMBSTONE_WAIT, self.record.put(&tombstone, None)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("{}: no tombstone: {error}", self.order.slot.key()),
            Err(elapsed) => tracing::warn!("{}: no tombstone: {elapsed}", self.order.slot.key()),
        }
    }

    /// Begins to ship the output of the present start.
    fn ship(&mut self, live: Option<Arc<dyn Live>>) {
        let (substrate, record) = (self.substrate.clone(), self.record.clone());
        let source = LogSource::new(&self.order.slot, self.order.start);
        let origin = Origin::Start(Box::new(self.order.clone()), live);
        let shipping = Shipping { source, origin, substrate, record, clock: self.clock.clone() };
        self.shippings.retain(|shipping| !shipping.is_finished());
        if self.shippings.len() >= SHIPPINGS {
            // The oldest shipping has had its time, and the record has been away for several
            // starts.
            drop(self.shippings.remove(0));
        }
        self.shippings.push(owned("shipping", trace::carry(shipping.run())));
    }

    /// Waits for a while until all output is in the record; `true` if it is. The rest is kept with
    /// the tether's files, and in the outbox when those have to go.
    async fn shipped(&mut self) -> bool {
        let all = futures::future::join_all(self.shippings.iter_mut());
        let Ok(all) = timeout(&self.clock, SHIP_WAIT, all).await else {
            tracing::warn!("{}: its output is not all in the record yet", self.order.slot.key());
            return false;
        };
        self.shippings.clear();
        all.iter().all(|shipped| matches!(shipped, Ok(Shipped::Whole)))
    }
}
