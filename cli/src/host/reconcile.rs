//! Has contenders kept for every application that is not clean, and ended for those that are clean:
//! the reconciler watches the record, compares, asks lifecycle, again and again. Of several hosts
//! each keeps its share of them ([`rendezvous`]). The reconciler remembers nothing over a restart,
//! because the record says it all, and lifecycle what is here.

pub(super) mod admission;
mod agenda;
mod company;
mod rendezvous;
mod tenancy;

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::Duration;

use chassis::BoxError;
use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, SharedClock, timeout};
use chassis::failpoint;
use chassis::tasks::Pulse;
use chassis::telemetry::trace;
use client::error::CallError;
use futures::{Stream, StreamExt as _};
use proto::api::watch_response::Item;
use proto::{ApplicationRef, Code, Reason};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use self::admission::Terms;
pub(super) use self::agenda::Queue;
use self::agenda::{Agenda, Question};
pub(super) use self::company::Company;
use self::tenancy::Moment;
use super::contenders::Contenders;
use crate::api::{Api, is_forgotten};
use crate::application::Named;

/// How often everything is asked for again, so that a lifecycle that lost its own record learns of
/// its work.
const RESYNC: Duration = Duration::from_secs(20);

/// How long a watch may be silent before it is opened anew: even an idle record sends a bookmark
/// every second.
const SILENCE: Duration = Duration::from_secs(10);

/// The longest that the loop waits for anything, so that each turn is a sign of life.
const TURN: Duration = Duration::from_secs(1);

/// How often the queue is looked at: applications that wait can wait that long, and a queue of
/// thousands takes a moment to put in order.
const QUEUE_EVERY: Duration = Duration::from_millis(500);

/// How many seconds without a turn end the process.
const HANGS_AFTER_SECONDS: u32 = 10;

/// What the reconciler knows to be going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Work {
    /// Whether the record was read to the end of its snapshot.
    pub(crate) known: bool,
    /// How many applications are not clean, or have contenders that are not gone yet.
    pub(crate) applications: usize,
    /// How many applications were seen to become clean since the start.
    pub(crate) finished: u64,
}

type Answered = (Question, Result<Vec<String>, CallError>);

/// A loop between the record and lifecycle. The loop holds the clients of both; [`Agenda`] decides
/// what is asked of lifecycle and when, and does no I/O.
pub(crate) struct Reconciler {
    api: Api,
    contenders: Contenders,
    clock: SharedClock,
    pulse: Pulse,
    work: watch::Sender<Work>,
    queue: watch::Sender<Queue>,
    /// The other hosts, where this is one of several.
    company: Option<Company>,
    agenda: Agenda,
    calls: JoinSet<Answered>,
}

impl Reconciler {
    /// Starts the watchdog too, which ends the process when the reconciler hangs from here on.
    pub(crate) fn new(
        api: Api,
        contenders: Contenders,
        clock: SharedClock,
        terms: Terms,
        company: Option<Company>,
        work: watch::Sender<Work>,
        queue: watch::Sender<Queue>,
    ) -> io::Result<Self> {
        let pulse = Pulse::watched("reconcile", HANGS_AFTER_SECONDS)?;
        let (mut agenda, calls) = (Agenda::new(terms), JoinSet::new());
        if let Some(company) = &company {
            agenda.hosts(company.live().clone(), clock.boot());
        }
        Ok(Self { api, contenders, clock, pulse, work, queue, company, agenda, calls })
    }

    /// Reconciles until it is dropped. The loop returns only when one of its own calls panics;
    /// every other failure is tried again.
    pub(crate) async fn run(mut self) -> Result<(), BoxError> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        loop {
            match self.follow().await {
                Ok(()) => backoff.reset(),
                Err(Broke::Away(error)) => tracing::warn!("the record cannot be followed: {error}"),
                Err(Broke::Panicked(error)) => return Err(error.into()),
            }
            self.pulse.during(&self.clock, self.clock.sleep(backoff.next_delay())).await;
        }
    }

    /// Follows one watch, from its snapshot until the watch breaks.
    async fn follow(&mut self) -> Result<(), Broke> {
        let (pulse, clock) = (self.pulse.clone(), self.clock.clone());
        let mut watch = pulse.during(&clock, self.api.watch_unclean()).await?;
        self.look_at_hosts();
        // Lifecycle is asked for nothing before the snapshot is whole, because applications that a
        // part of the snapshot lacks look as if they were gone.
        let seen = self.read_snapshot(&mut watch).await?;
        let known = match pulse.during(&clock, self.contenders.known()).await {
            Ok(known) => known,
            // One of several hosts may have more contenders than are its share now. To ask for its
            // share without knowing of them would end them.
            Err(error) if self.company.is_some() => return Err(error.into()),
            Err(error) => {
                tracing::warn!("lifecycle does not tell its processes: {error}");
                HashMap::new()
            }
        };
        self.agenda.have_contenders(&known, clock.boot());
        let left_behind = self.left_behind(&seen, known.into_keys().collect()).await?;
        self.agenda.snapshot_ended(&seen, left_behind, clock.boot());
        drop(seen);
        let mut resync_at = clock.boot() + RESYNC;
        let mut silent_at = clock.boot() + SILENCE;
        let mut queue_at = clock.boot();
        loop {
            pulse.beat();
            failpoint::hit("up.reconciling").await;
            self.look_at_hosts();
            self.ask();
            self.publish();
            let now = clock.boot();
            if now >= queue_at {
                queue_at = now + QUEUE_EVERY;
                self.publish_queue();
            }
            if now >= silent_at {
                return Err(silence());
            }
            if now >= resync_at {
                resync_at = now + RESYNC;
                self.agenda.doubt();
            }
            let wake_at = self.agenda.next_due().unwrap_or(resync_at).min(now + TURN).min(queue_at);
            tokio::select! {
                item = watch.next() => {
                    silent_at = clock.boot() + SILENCE;
                    match item.transpose()? {
                        Some(Item::Application(application)) => self.agenda.note(&application, self.moment()),
                        Some(Item::SnapshotEnd(_) | Item::Bookmark(_) | Item::Forgotten(_)) => {}
                        None => return Ok(()),
                    }
                },
                Some(answered) = self.calls.join_next() => self.answered(answered?),
                () = clock.sleep_until(wake_at) => {}
            }
        }
    }

    /// The applications that this host or lifecycle knows, that the snapshot does not show, and
    /// that the record says are over, being clean or forgotten. An application that the record
    /// never held belongs to another record and is left alone.
    async fn left_behind(
        &self,
        seen: &HashSet<ApplicationRef>,
        mut known: HashSet<ApplicationRef>,
    ) -> Result<Vec<ApplicationRef>, Broke> {
        known.extend(self.agenda.known());
        let mut over = Vec::new();
        for application in known.into_iter().filter(|known| !seen.contains(known)) {
            let named = Named::exactly(application.id.clone(), application.generation.get());
            match self.pulse.during(&self.clock, self.api.get(&named)).await {
                Ok(shown) if shown.clean => over.push(application),
                // The application was submitted after the snapshot, and the watch will tell of it.
                Ok(_) => {}
                Err(error) if is_forgotten(&error) => over.push(application),
                Err(error) if error.reason() == Some(Reason::ApplicationNotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(over)
    }

    /// Reads the snapshot to its end, and answers the applications in it that are not clean.
    async fn read_snapshot(
        &mut self,
        watch: &mut (impl Stream<Item = Result<Item, CallError>> + Unpin),
    ) -> Result<HashSet<ApplicationRef>, Broke> {
        let mut seen = HashSet::new();
        loop {
            let item = timeout(&self.clock, SILENCE, watch.next());
            match self.pulse.during(&self.clock, item).await.map_err(|_| silence())?.transpose()? {
                Some(Item::Application(application)) => {
                    let moment = self.moment();
                    seen.extend(self.agenda.see(&application, moment));
                }
                Some(Item::SnapshotEnd(_)) => return Ok(seen),
                Some(Item::Bookmark(_) | Item::Forgotten(_)) => {}
                None => {
                    let ended = "the watch ended in its snapshot";
                    return Err(CallError::new(Code::Unavailable, ended).into());
                }
            }
        }
    }

    /// Takes in which hosts are there, at each turn of the loop.
    fn look_at_hosts(&mut self) {
        let now = self.clock.boot();
        let Some(company) = &mut self.company else { return };
        if company.look() {
            tracing::info!(others = company.live().others(), "the hosts of the deployment changed");
            self.agenda.hosts(company.live().clone(), now);
        }
    }

    /// Calls lifecycle for every application that needs a call and whose time has come.
    fn ask(&mut self) {
        for ask in self.agenda.due(self.clock.boot()) {
            let contenders = self.contenders.clone();
            let trace_of = if ask.traced { ask.traceparent.clone() } else { String::new() };
            let call = async move {
                let Question { application, clean, count, wish, traceparent, .. } = &ask;
                let answer = if *clean {
                    failpoint::hit("up.before-teardown").await;
                    contenders.end(application).await
                } else {
                    contenders
                        .keep(application, *count, *wish, traceparent.clone())
                        .await
                        .map(|()| Vec::new())
                };
                (ask, answer)
            };
            self.calls.spawn(trace::carry_from(&trace_of, call));
        }
    }

    fn answered(&mut self, (ask, answer): Answered) {
        let (application, clean) = (&ask.application, ask.clean);
        match &answer {
            Ok(leftovers) => {
                for leftover in leftovers {
                    tracing::warn!(%application, "left over: {leftover}");
                }
            }
            Err(error) => {
                tracing::warn!(%application, clean, "lifecycle refused contenders: {error}")
            }
        }
        self.agenda.answered(&ask, answer.is_ok(), self.clock.boot());
    }

    fn publish(&self) {
        let now = self.agenda.work();
        self.work.send_if_modified(|work| std::mem::replace(work, now) != now);
    }

    fn publish_queue(&self) {
        let mut now = self.agenda.queue(self.clock.boot());
        self.queue.send_if_modified(|queue| {
            std::mem::swap(queue, &mut now);
            *queue != now
        });
    }

    fn moment(&self) -> Moment {
        Moment { boot: self.clock.boot(), wall: self.clock.wall() }
    }
}

/// Why a watch is over.
enum Broke {
    Away(CallError),
    Panicked(JoinError),
}

impl From<CallError> for Broke {
    fn from(error: CallError) -> Self {
        Self::Away(error)
    }
}

impl From<JoinError> for Broke {
    fn from(error: JoinError) -> Self {
        Self::Panicked(error)
    }
}

fn silence() -> Broke {
    CallError::new(Code::DeadlineExceeded, format!("nothing was told for {SILENCE:?}")).into()
}

#[cfg(test)]
mod tests;
