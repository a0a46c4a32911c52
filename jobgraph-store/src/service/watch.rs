//! Watching: a snapshot, its end, changes, bookmarks; and the record of one generation for its leader.

use std::collections::BTreeSet;
use std::time::Duration;

use chassis::failpoint;
use futures::Stream;
use proto::{ApplicationId, ApplicationRef, api, jobgraph};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::list::Filter;
use super::{Service, live};
use crate::error::Error;
use crate::keys::generation_of;
use crate::model::Refusal;

/// How often a watch of one application hears of its leader.
const BOOKMARK_EVERY: Duration = Duration::from_secs(1);

/// Items on their way to a watcher; a slower one is waited for.
const ROOM: usize = 16;

/// Changes that are read at once.
const READ_AHEAD: usize = 256;

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchItem {
    /// State of one application.
    Application(Box<api::Application>),
    /// The snapshot is complete up to this revision.
    SnapshotEnd(u64),
    /// Nothing newer up to this revision.
    Bookmark(api::Bookmark),
}

type Sender<T> = mpsc::Sender<Result<T, Error>>;

/// Who listens has gone; or the watch ended with an error, which was told.
struct Gone;

async fn tell<T>(sender: &Sender<T>, item: T) -> Result<(), Gone> {
    sender.send(Ok(item)).await.map_err(|_| Gone)
}

impl Service {
    /// Changes of one application (its latest generation unless one is named) or of all.
    pub async fn watch(
        &self,
        one: Option<(ApplicationId, u64)>,
        after_revision: u64,
    ) -> Result<impl Stream<Item = Result<WatchItem, Error>> + Send + 'static + use<>, Error> {
        let one = match one {
            Some((id, generation)) => {
                let application = self.resolve(&id, generation).await?;
                self.load(&application, None).await?;
                Some(application)
            }
            None => None,
        };
        if after_revision > 0 {
            // Refused at once when it is no longer kept.
            self.metadata.changes(after_revision, 1).await?;
        }
        let (sender, receiver) = mpsc::channel(ROOM);
        let service = self.clone();
        tokio::spawn(async move {
            let ended = service.feed(one, after_revision, &sender).await;
            if let Err(Ok(error)) = ended {
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(ReceiverStream::new(receiver))
    }

    async fn feed(
        &self,
        one: Option<ApplicationRef>,
        after: u64,
        sender: &Sender<WatchItem>,
    ) -> Result<(), Result<Error, Gone>> {
        let mut revisions = self.metadata.revisions();
        let mut seen = after;
        if after == 0 {
            seen = self.snapshot(one.as_ref(), sender).await?;
        }
        let mut due = self.clock.boot() + BOOKMARK_EVERY;
        loop {
            let latest = *revisions.borrow_and_update();
            while seen < latest {
                seen = self.pass_on(one.as_ref(), seen, latest, sender).await?;
            }
            tokio::select! {
                () = sender.closed() => return Err(Err(Gone)),
                changed = revisions.changed() => changed.map_err(|_| Ok(Error::Unavailable("the record is closed".into())))?,
                () = self.clock.sleep_until(due) => {
                    due = self.clock.boot() + BOOKMARK_EVERY;
                    let bookmark = self.bookmark(one.as_ref(), seen).await.map_err(Ok)?;
                    tell(sender, WatchItem::Bookmark(bookmark)).await.map_err(Err)?;
                }
            }
        }
    }

    /// What is so now; the revision that it is of.
    async fn snapshot(
        &self,
        one: Option<&ApplicationRef>,
        sender: &Sender<WatchItem>,
    ) -> Result<u64, Result<Error, Gone>> {
        let revision = match one {
            Some(application) => {
                let loaded = self.load(application, None).await.map_err(Ok)?;
                tell(sender, WatchItem::Application(Box::new(self.show(&loaded)))).await.map_err(Err)?;
                loaded.at
            }
            None => {
                let mut token = String::new();
                loop {
                    let page =
                        self.list(&Filter::default(), super::list::MAX_PAGE, &token).await.map_err(Ok)?;
                    for application in page.applications {
                        failpoint::hit("store.in-snapshot").await;
                        tell(sender, WatchItem::Application(Box::new(application))).await.map_err(Err)?;
                    }
                    if page.next.is_empty() {
                        break page.revision;
                    }
                    token = page.next;
                }
            }
        };
        tell(sender, WatchItem::SnapshotEnd(revision)).await.map_err(Err)?;
        Ok(revision)
    }

    /// Tells of what changed after `seen`: each application once, as it is at the last of the revisions that were looked at.
    async fn pass_on(
        &self,
        one: Option<&ApplicationRef>,
        seen: u64,
        latest: u64,
        sender: &Sender<WatchItem>,
    ) -> Result<u64, Result<Error, Gone>> {
        let changes = self.metadata.changes(seen, READ_AHEAD).await.map_err(|error| Ok(error.into()))?;
        let reached = changes.last().map_or(latest, |last| last.revision);
        let changed: BTreeSet<ApplicationRef> =
            changes.iter().filter_map(|change| generation_of(&change.key)).collect();
        for application in changed.into_iter().filter(|application| one.is_none_or(|one| one == application))
        {
            let loaded = match self.load(&application, Some(reached)).await {
                Ok(loaded) => loaded,
                Err(Error::Refused(Refusal::IdNotFound(_) | Refusal::GenerationNotFound(_))) => continue,
                Err(error) => return Err(Ok(error)),
            };
            tell(sender, WatchItem::Application(Box::new(self.show(&loaded)))).await.map_err(Err)?;
        }
        Ok(reached)
    }

    async fn bookmark(&self, one: Option<&ApplicationRef>, revision: u64) -> Result<api::Bookmark, Error> {
        let Some(application) = one else {
            return Ok(api::Bookmark { revision, observation: None, progress: Vec::new() });
        };
        let loaded = self.load(application, None).await?;
        let shown = self.show(&loaded);
        let mut progress = if shown.terminal { Vec::new() } else { self.live.progress(application) };
        for job in shown.jobs.iter().filter(|job| job.end.is_none() && job.checkpoint.is_some()) {
            let (job_id, checkpoint) = (job.job_id.clone(), job.checkpoint.clone());
            match progress.iter_mut().find(|counters| counters.job_id == job_id) {
                Some(counters) => counters.checkpoint = checkpoint,
                None => {
                    let progress_now = job.progress;
                    progress.push(api::JobProgress {
                        job_id,
                        progress: progress_now,
                        checkpoint,
                        last_failure: String::new(),
                    });
                }
            }
        }
        Ok(api::Bookmark { revision, observation: shown.observation, progress })
    }

    /// The record of one generation: as it is, then again after each change. Ends when it is clean.
    pub async fn watch_record(
        &self,
        application: &ApplicationRef,
    ) -> Result<impl Stream<Item = Result<jobgraph::Record, Error>> + Send + 'static + use<>, Error> {
        self.load(application, None).await?;
        let (sender, receiver) = mpsc::channel(ROOM);
        let (service, application) = (self.clone(), application.clone());
        tokio::spawn(async move {
            let ended = service.feed_record(&application, &sender).await;
            if let Err(Ok(error)) = ended {
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(ReceiverStream::new(receiver))
    }

    async fn feed_record(
        &self,
        application: &ApplicationRef,
        sender: &Sender<jobgraph::Record>,
    ) -> Result<(), Result<Error, Gone>> {
        let mut revisions = self.metadata.revisions();
        let mut shown = None;
        loop {
            let seen = *revisions.borrow_and_update();
            let loaded = self.load(application, None).await.map_err(Ok)?;
            if shown != Some(loaded.shown) {
                shown = Some(loaded.shown);
                let record = self.record_of(&loaded).await.map_err(Ok)?;
                tell(sender, record).await.map_err(Err)?;
            }
            if loaded.facts.is_clean() {
                return Ok(());
            }
            tokio::select! {
                () = sender.closed() => return Err(Err(Gone)),
                changed = self.changed(application, &mut revisions, seen) => changed.map_err(Ok)?,
            }
        }
    }
}

const _: () = assert!(BOOKMARK_EVERY.as_millis() < live::STALE_AFTER.as_millis());
