//! Has contenders kept for every application that is not clean, and ended for those that are: watch the record, compare,
//! ask lifecycle, again and again. Nothing is remembered over a restart, because the record says it all.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chassis::BoxError;
use chassis::backoff::Backoff;
use chassis::clock::{Boot, Clock as _, SharedClock};
use chassis::failpoint;
use chassis::telemetry::trace;
use client::error::CallError;
use futures::StreamExt as _;
use proto::ApplicationRef;
use proto::api::{Application, watch_response::Item};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::contenders::Contenders;
use crate::api::Api;

/// Everything is asked for again this often: a lifecycle that lost its record learns of its work.
const RESYNC: Duration = Duration::from_secs(20);

/// What the reconciler knows to be going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Work {
    /// The record was read to the end of its snapshot.
    pub(crate) known: bool,
    /// Applications that are not clean, or whose contenders are not gone yet.
    pub(crate) applications: usize,
    /// Applications that were seen to become clean, ever.
    pub(crate) finished: u64,
}

/// One application that something is to be done for.
#[derive(Debug)]
struct Entry {
    clean: bool,
    count: u32,
    /// What somebody asked of it last: a new wish is worth another try of contenders that gave up.
    wish: u64,
    /// The trace of its Submit.
    traceparent: String,
    /// Lifecycle was asked once; what repeats that is no part of the application's trace.
    asked: bool,
    /// Lifecycle confirmed what is wanted; with `clean` this removes the entry.
    done: bool,
    /// A call is under way.
    asking: bool,
    /// Not before.
    retry_at: Boot,
    backoff: Backoff,
}

/// What lifecycle said to a call.
struct Answered {
    key: ApplicationRef,
    /// The call was to end contenders, not to keep them.
    clean: bool,
    /// What was wished for when the call was made.
    wish: u64,
    answer: Result<Vec<String>, CallError>,
}

/// Reconciles until it is dropped.
pub(crate) struct Reconciler {
    api: Api,
    contenders: Contenders,
    clock: SharedClock,
    work: watch::Sender<Work>,
    entries: HashMap<ApplicationRef, Entry>,
    calls: JoinSet<Answered>,
    /// Clean applications of a snapshot that lifecycle may still know.
    finished: u64,
}

impl Reconciler {
    pub(crate) fn new(
        api: Api,
        contenders: Contenders,
        clock: SharedClock,
        work: watch::Sender<Work>,
    ) -> Self {
        Self { api, contenders, clock, work, entries: HashMap::new(), calls: JoinSet::new(), finished: 0 }
    }

    /// Never returns by itself: what fails is tried again.
    pub(crate) async fn run(mut self) -> Result<(), BoxError> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        loop {
            match self.follow().await {
                Ok(()) => backoff.reset(),
                Err(error) => tracing::warn!("the record cannot be watched: {error}"),
            }
            self.clock.sleep(backoff.next_delay()).await;
        }
    }

    /// One watch, from its snapshot until it breaks.
    async fn follow(&mut self) -> Result<(), CallError> {
        let mut watch = self.api.watch(None, 0).await?;
        let mut snapshot: Option<HashSet<ApplicationRef>> = Some(HashSet::new());
        let mut resync_at = self.clock.boot() + RESYNC;
        loop {
            let wake_at = self.next_wake(resync_at);
            let clock = self.clock.clone();
            tokio::select! {
                item = watch.next() => match item.transpose()? {
                    Some(Item::Application(application)) => self.note(application, snapshot.as_mut()),
                    Some(Item::SnapshotEnd(_)) => self.snapshot_ended(snapshot.take()).await,
                    Some(Item::Bookmark(_)) => {}
                    None => return Ok(()),
                },
                Some(Ok(answered)) = self.calls.join_next() => self.answered(answered),
                () = clock.sleep_until(wake_at) => if clock.boot() >= resync_at {
                    resync_at = clock.boot() + RESYNC;
                    self.entries.values_mut().for_each(|entry| entry.done = false);
                },
            }
            if snapshot.is_none() {
                self.ask();
                self.publish();
            }
        }
    }

    fn note(&mut self, application: Application, snapshot: Option<&mut HashSet<ApplicationRef>>) {
        let Ok(id) = application.application_id.parse() else { return };
        let key = ApplicationRef { id, generation: proto::Generation(application.generation) };
        if let Some(seen) = snapshot {
            seen.insert(key.clone());
            if application.clean && !self.entries.contains_key(&key) {
                return;
            }
        }
        let count = application.spec.as_ref().map_or(1, |spec| spec.contenders.max(1));
        let wish = application.desired.as_ref().map_or(0, |desired| desired.revision);
        let now = self.clock.boot();
        let entry = self.entries.entry(key).or_insert_with(|| Entry {
            clean: false,
            count,
            wish,
            traceparent: application.traceparent.clone(),
            asked: false,
            done: false,
            asking: false,
            retry_at: now,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
        });
        if std::mem::replace(&mut entry.wish, wish) != wish {
            entry.done = false;
            entry.retry_at = now;
        }
        if application.clean && !entry.clean {
            entry.clean = true;
            entry.done = false;
            entry.retry_at = now;
            self.finished += 1;
        }
    }

    /// Applications that the record no longer holds, or holds as clean, may have left contenders behind while nobody looked.
    async fn snapshot_ended(&mut self, snapshot: Option<HashSet<ApplicationRef>>) {
        let Some(seen) = snapshot else { return };
        self.entries.retain(|key, _| seen.contains(key));
        match self.contenders.known().await {
            Ok(known) => {
                let now = self.clock.boot();
                for key in known.into_iter().filter(|key| seen.contains(key)) {
                    self.entries.entry(key).or_insert_with(|| Entry {
                        clean: true,
                        count: 0,
                        wish: 0,
                        traceparent: String::new(),
                        asked: false,
                        done: false,
                        asking: false,
                        retry_at: now,
                        backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
                    });
                }
            }
            Err(error) => tracing::warn!("lifecycle does not tell its processes: {error}"),
        }
    }

    /// Calls lifecycle for every entry that needs it and whose time has come.
    fn ask(&mut self) {
        let now = self.clock.boot();
        for (key, entry) in &mut self.entries {
            if entry.done || entry.asking || entry.retry_at > now {
                continue;
            }
            entry.asking = true;
            let (key, clean, count, wish) = (key.clone(), entry.clean, entry.count, entry.wish);
            let (contenders, traceparent) = (self.contenders.clone(), entry.traceparent.clone());
            let first = !std::mem::replace(&mut entry.asked, true);
            let call = async move {
                let answer = if clean {
                    failpoint::hit("up.before-teardown").await;
                    contenders.end(&key).await
                } else {
                    contenders.keep(&key, count, wish, traceparent).await.map(|()| Vec::new())
                };
                Answered { key, clean, wish, answer }
            };
            let of_the_run = if clean || first { entry.traceparent.as_str() } else { "" };
            self.calls.spawn(trace::carry_from(of_the_run, call));
        }
    }

    fn answered(&mut self, Answered { key, clean, wish, answer }: Answered) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.asking = false;
        match answer {
            Ok(leftovers) => {
                for leftover in leftovers {
                    tracing::warn!(application = %key, "left over: {leftover}");
                }
                entry.backoff.reset();
                // It may have become clean while contenders were asked for: then that is still to be done.
                if clean {
                    self.entries.remove(&key);
                } else if !entry.clean && entry.wish == wish {
                    entry.done = true;
                }
            }
            Err(error) => {
                tracing::warn!(application = %key, clean, "lifecycle refused contenders: {error}");
                entry.retry_at = self.clock.boot() + entry.backoff.next_delay();
            }
        }
    }

    fn next_wake(&self, resync_at: Boot) -> Boot {
        let waiting = self.entries.values().filter(|entry| !entry.done && !entry.asking);
        waiting.map(|entry| entry.retry_at).chain([resync_at]).min().unwrap_or(resync_at)
    }

    fn publish(&self) {
        let now = Work { known: true, applications: self.entries.len(), finished: self.finished };
        self.work.send_if_modified(|work| std::mem::replace(work, now) != now);
    }
}
