//! Watching: a snapshot, its end, changes and bookmarks; and the record of one generation for its
//! leader.

use std::collections::BTreeSet;
use std::time::Duration;

use chassis::failpoint;
use chassis::tasks::{Feed, fed};
use futures::Stream;
use proto::{ApplicationId, ApplicationRef, api, jobgraph};

use super::list::Filter;
use super::{Service, live};
use crate::error::Error;
use crate::keys::generation::spec_key;
use crate::keys::generation_of;
use crate::model::Refusal;

/// How often a watch of one application hears how old the leader's last word is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(1);

/// How many items are on their way to a watcher; the feeder waits for a slower watcher.
const ROOM: usize = 16;

/// How many changes are read at once.
const READ_AHEAD: usize = 256;

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchItem {
    /// The state of one application.
    Application(Box<api::Application>),
    /// The snapshot is complete, as of this revision.
    SnapshotEnd(u64),
    /// No change up to the bookmark's revision is left to tell.
    Bookmark(api::Bookmark),
    /// This generation is gone from the record.
    Forgotten(ApplicationRef),
}

/// What a watch of all applications begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snapshot {
    /// Every generation.
    Whole,
    /// Only the generations that are not clean.
    Unclean,
}

impl Service {
    /// Changes of one application (of its latest generation unless one is named), or of all
    /// applications.
    pub async fn watch(
        &self,
        one: Option<(ApplicationId, u64)>,
        snapshot: Snapshot,
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
            // A revision that is no longer kept is refused at once.
            self.metadata.changes(after_revision, 1).await?;
        }
        let service = self.clone();
        let feeder = |feed| async move { service.feed(one, snapshot, after_revision, &feed).await };
        Ok(fed("watch", ROOM, feeder))
    }

    async fn feed(
        &self,
        one: Option<ApplicationRef>,
        snapshot: Snapshot,
        after: u64,
        feed: &Feed<WatchItem>,
    ) -> Result<(), Error> {
        let mut revisions = self.metadata.revisions();
        let mut seen = after;
        if after == 0 {
            seen = self.snapshot(one.as_ref(), snapshot, feed).await?;
        }
        let mut due = self.clock.boot() + BOOKMARK_EVERY;
        loop {
            let latest = *revisions.borrow_and_update();
            while seen < latest {
                let Some(reached) = self.pass_on(one.as_ref(), seen, latest, feed).await? else {
                    return Ok(());
                };
                seen = reached;
            }
            tokio::select! {
                changed = revisions.changed() => changed.map_err(|_| Error::Unavailable("the record is closed".into()))?,
                () = self.clock.sleep_until(due) => {
                    due = self.clock.boot() + BOOKMARK_EVERY;
                    let bookmark = self.bookmark(one.as_ref(), seen).await?;
                    feed.send(WatchItem::Bookmark(bookmark)).await;
                }
            }
        }
    }

    /// Sends what is so now, and answers the revision of the snapshot.
    async fn snapshot(
        &self,
        one: Option<&ApplicationRef>,
        snapshot: Snapshot,
        feed: &Feed<WatchItem>,
    ) -> Result<u64, Error> {
        let revision = match one {
            Some(application) => {
                let loaded = self.load(application, None).await?;
                feed.send(WatchItem::Application(Box::new(self.show(&loaded)))).await;
                loaded.at
            }
            None => {
                let mut token = String::new();
                let filter = match snapshot {
                    Snapshot::Whole => Filter::default(),
                    Snapshot::Unclean => Filter::unclean(),
                };
                loop {
                    let page = self.list(&filter, super::list::MAX_PAGE, &token).await?;
                    for application in page.applications {
                        failpoint::hit("store.in-snapshot").await;
                        feed.send(WatchItem::Application(Box::new(application))).await;
                    }
                    if page.next.is_empty() {
                        break page.revision;
                    }
                    token = page.next;
                }
            }
        };
        feed.send(WatchItem::SnapshotEnd(revision)).await;
        Ok(revision)
    }

    /// Tells of what changed after `seen`: each application once, as it is at the last revision
    /// that was looked at, which is also the answer. `None`: the watched generation is gone.
    async fn pass_on(
        &self,
        one: Option<&ApplicationRef>,
        seen: u64,
        latest: u64,
        feed: &Feed<WatchItem>,
    ) -> Result<Option<u64>, Error> {
        let changes = self.metadata.changes(seen, READ_AHEAD).await?;
        let reached = changes.last().map_or(latest, |last| last.revision);
        let changed: BTreeSet<ApplicationRef> =
            changes.iter().filter_map(|change| generation_of(&change.key)).collect();
        for application in
            changed.into_iter().filter(|application| one.is_none_or(|one| one == application))
        {
            let loaded = match self.load(&application, Some(reached)).await {
                Ok(loaded) => loaded,
                Err(Error::Refused(Refusal::Forgotten(_))) => {
                    // A forgotten generation goes in several commits; the first one takes its spec.
                    let spec = spec_key(&application);
                    if changes.iter().any(|change| change.key == spec) {
                        feed.send(WatchItem::Forgotten(application)).await;
                    }
                    if one.is_some() {
                        return Ok(None);
                    }
                    continue;
                }
                Err(Error::Refused(Refusal::IdNotFound(_) | Refusal::GenerationNotFound(_))) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            feed.send(WatchItem::Application(Box::new(self.show(&loaded)))).await;
        }
        Ok(Some(reached))
    }

    async fn bookmark(
        &self,
        one: Option<&ApplicationRef>,
        revision: u64,
    ) -> Result<api::Bookmark, Error> {
        let Some(application) = one else {
            return Ok(api::Bookmark { revision, ..api::Bookmark::default() });
        };
        let loaded = self.load(application, None).await?;
        let shown = self.show(&loaded);
        let mut progress =
            if shown.terminal { Vec::new() } else { self.live.progress(application) };
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
        Ok(api::Bookmark { revision, observation: shown.observation, progress, queue: shown.queue })
    }

    /// The record of one generation: the present one, then another after each change. The stream
    /// ends when the generation is clean.
    pub async fn watch_record(
        &self,
        application: &ApplicationRef,
    ) -> Result<impl Stream<Item = Result<jobgraph::Record, Error>> + Send + 'static + use<>, Error>
    {
        self.load(application, None).await?;
        let (service, application) = (self.clone(), application.clone());
        let feeder = |feed| async move { service.feed_record(&application, &feed).await };
        Ok(fed("watch of a record", ROOM, feeder))
    }

    async fn feed_record(
        &self,
        application: &ApplicationRef,
        feed: &Feed<jobgraph::Record>,
    ) -> Result<(), Error> {
        let mut revisions = self.metadata.revisions();
        let mut shown = None;
        loop {
            let seen = *revisions.borrow_and_update();
            let loaded = self.load(application, None).await?;
            if shown != Some(loaded.shown) {
                shown = Some(loaded.shown);
                let record = self.record_of(&loaded).await?;
                feed.send(record).await;
            }
            if loaded.dossier.is_clean() {
                return Ok(());
            }
            self.changed(application, &mut revisions, seen).await?;
        }
    }
}

const _: () = assert!(BOOKMARK_EVERY.as_millis() < live::STALE_AFTER.as_millis());
