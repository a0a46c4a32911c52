//! What an attempt listens to all the time, each as a task that ends with the attempt.

pub(super) mod deaths;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chassis::clock::Clock as _;
use chassis::tasks::Shutdown;
use client::election::Lease;
use futures::future::BoxFuture;
use futures::{StreamExt as _, stream};
use proto::engine::EngineJobState;
use proto::{Incarnation, JobId, api, jobgraph};

use super::leading;
use super::retry::backoff;
use super::shared::Shared;
use crate::model::{Fact, Leave};
use crate::ports::substrate::{ClusterNews, note_deaths};
use crate::ports::view;

/// The pause between two beats.
const BEAT: Duration = Duration::from_millis(500);

/// How often the wall clock is read again while a deadline is far, because the clock may have been
/// set.
const WALL_CHECK: Duration = Duration::from_secs(5);

/// A task of the attempt and its name.
pub(super) type Watcher = (&'static str, BoxFuture<'static, ()>);

/// Everything that is listened to from the beginning of the attempt.
pub(super) fn all(shared: &Arc<Shared>, shutdown: Shutdown) -> Vec<Watcher> {
    vec![
        ("watch of the record", Box::pin(record(shared.clone()))),
        ("watch of the lease", Box::pin(lease(shared.clone()))),
        ("deadline", Box::pin(deadline(shared.clone()))),
        ("beats", Box::pin(beats(shared.clone()))),
        ("deaths", Box::pin(deaths::told(shared.clone()))),
        ("shutdown", Box::pin(asked_to_end(shared.clone(), shutdown))),
    ]
}

/// What is listened to while an incarnation is live. Only an incarnation of this host is ever
/// adopted, so this host's lifecycle knows its processes.
pub(super) fn of_cluster(shared: &Arc<Shared>, incarnation: Incarnation) -> Vec<Watcher> {
    let (watched, gone) = (shared.clone(), shared.clone());
    let cluster = Box::pin(async move {
        tokio::select! {
            () = cluster(watched.clone(), incarnation) => {}
            () = not_live(&watched, incarnation) => {}
        }
    });
    let jobs = Box::pin(async move {
        tokio::select! {
            () = progress(gone.clone(), incarnation) => {}
            () = not_live(&gone, incarnation) => {}
        }
    });
    vec![("watch of the cluster", cluster), ("watch of jobs", jobs)]
}

async fn not_live(shared: &Shared, incarnation: Incarnation) {
    let mut live = shared.live.subscribe();
    // An error means that the attempt is gone, whose incarnation this task watched.
    let _ = live.wait_for(|now| *now != Some(incarnation)).await;
}

async fn asked_to_end(shared: Arc<Shared>, shutdown: Shutdown) {
    shutdown.begun().await;
    shared.tell(Fact::Leave(Leave::Shutdown)).await;
}

/// Tells the record's changes. This stream, and not the cluster, is the truth about the ends of
/// jobs.
async fn record(shared: Arc<Shared>) {
    let mut backoff = backoff();
    loop {
        match shared.ports.record.watch(shared.application()).await {
            Ok(mut changes) => {
                while let Some(change) = changes.next().await {
                    let Ok(record) = change.inspect_err(|error| {
                        tracing::debug!("the watch of the record broke: {error}")
                    }) else {
                        break;
                    };
                    backoff.reset();
                    let record = Arc::new(record);
                    shared.keep_record(&record);
                    match shared.ports.recorded(&record) {
                        Ok(record) => shared.tell(Fact::Record(Box::new(record))).await,
                        Err(error) => {
                            tracing::error!("the record cannot be read by this build: {error}")
                        }
                    }
                }
            }
            Err(error) => tracing::debug!("the record cannot be watched: {error}"),
        }
        shared.ports.clock.sleep(backoff.next_delay()).await;
    }
}

/// Tells when the lease's deadline passes and when the lease is confirmed again. Past the deadline
/// nothing is begun; main() is frozen by its tether, which knows the same deadline.
async fn lease(shared: Arc<Shared>) {
    let mut lease = shared.lease.clone();
    let mut suspended = false;
    loop {
        let now = lease.borrow_and_update().clone();
        let until = match now {
            Lease::Until(until) => until,
            Lease::Lost(cause) => return shared.tell(Fact::Leave(Leave::LeaseLost(cause))).await,
        };
        if shared.ports.clock.boot() < until && suspended {
            suspended = false;
            tracing::info!("the lease is confirmed again");
            shared.tell(Fact::Suspended(false)).await;
        }
        tokio::select! {
            changed = lease.changed() => {
                if changed.is_err() {
                    let cause = "the campaign has ended".to_owned();
                    return shared.tell(Fact::Leave(Leave::LeaseLost(cause))).await;
                }
            }
            () = shared.ports.clock.sleep_until(until), if !suspended => {
                suspended = true;
                tracing::warn!("the lease's deadline passed without a confirmation: acting stops");
                shared.tell(Fact::Suspended(true)).await;
            }
        }
    }
}

/// Tells when the application's deadline passes, which is an instant of the wall clock.
async fn deadline(shared: Arc<Shared>) {
    let deadline =
        shared.record.borrow().application.as_ref().and_then(|application| application.deadline_at);
    let Some(deadline) = deadline.and_then(|at| SystemTime::try_from(at).ok()) else { return };
    while let Ok(left) = deadline.duration_since(shared.ports.clock.wall()) {
        if left.is_zero() {
            break;
        }
        shared.ports.clock.sleep(left.min(WALL_CHECK)).await;
    }
    shared.tell(Fact::DeadlinePassed).await;
}

/// Sends the leader's sign of life with the progress of its jobs, and tells when the epoch does not
/// hold any more.
async fn beats(shared: Arc<Shared>) {
    let mut backoff = backoff();
    loop {
        let beats = stream::unfold((shared.clone(), true), |(shared, first)| async move {
            if !first {
                shared.ports.clock.sleep(BEAT).await;
            }
            let beat = jobgraph::BeatRequest {
                fence: None,
                source: shared.holder.clone(),
                progress: shared
                    .progress
                    .borrow()
                    .iter()
                    .map(|(job, progress)| api::JobProgress {
                        job_id: job.to_string(),
                        progress: Some(*progress),
                        checkpoint: None,
                        last_failure: shared
                            .failures
                            .borrow()
                            .get(job)
                            .cloned()
                            .unwrap_or_default(),
                    })
                    .collect(),
                activity: shared.activity.borrow().clone(),
                standbys: shared.standbys.borrow().clone(),
            };
            Some((beat, (shared, false)))
        });
        match leading::beat(&shared.ports, &shared.fence, beats.boxed()).await {
            Err(error) if error.is_superseded() => {
                return shared.tell(Fact::Leave(Leave::Superseded)).await;
            }
            Err(error) => tracing::debug!("the beat broke: {error}"),
            Ok(()) => {}
        }
        shared.ports.clock.sleep(backoff.next_delay()).await;
    }
}

/// Tells what the substrate says of the cluster's processes.
async fn cluster(shared: Arc<Shared>, incarnation: Incarnation) {
    let mut backoff = backoff();
    loop {
        match shared.ports.substrate.watch(shared.application(), incarnation).await {
            Ok(mut news) => {
                while let Some(Ok(news)) = news.next().await {
                    backoff.reset();
                    match news {
                        ClusterNews::Failed(message) => {
                            return shared.tell(Fact::ClusterDied { incarnation, message }).await;
                        }
                        ClusterNews::Lives(died) => note_deaths(&shared.deaths, incarnation, died),
                    }
                }
            }
            Err(error) => tracing::debug!("incarnation {incarnation} cannot be watched: {error}"),
        }
        shared.ports.clock.sleep(backoff.next_delay()).await;
    }
}

/// Tells why a job was restarted, by its engine or after its cluster lost it: with every beat, and
/// as an event where the text is another one than before. Two causes may take turns for weeks, so
/// of a loop that goes on not every restart is an event.
async fn restarted(shared: &Shared, job: JobId, failure: &str) {
    shared.failures.send_modify(|all| drop(all.insert(job, failure.to_owned())));
    if !shared.tells_restart(job, failure) {
        return;
    }
    let name = shared.job(job).map_or_else(|| job.to_string(), |job| job.name);
    tracing::warn!("job {name:?} is restarted by its engine: {failure}");
    let event = api::Event {
        kind: "restart".to_owned(),
        message: format!("{name}: restarted: {failure}"),
        source: shared.holder.clone(),
        job_id: job.to_string(),
        attributes: [("name".to_owned(), name)].into(),
        ..api::Event::default()
    };
    let tell = || shared.ports.record.append_events(&shared.fence, vec![event.clone()], Vec::new());
    if let Err(error) = shared.patiently("tell of a restart", tell).await {
        tracing::debug!("not recorded: {error}");
    }
}

/// Passes on the counters of running jobs, for beats and for execute(), and tells which jobs the
/// engine has restarted or the cluster has lost.
async fn progress(shared: Arc<Shared>, incarnation: Incarnation) {
    let mut backoff = backoff();
    loop {
        match shared.ports.jobs.watch(incarnation).await {
            Ok(mut jobs) => {
                while let Some(Ok(status)) = jobs.next().await {
                    backoff.reset();
                    let (Ok(job), Some(progress)) = (status.job_id.parse(), status.progress) else {
                        continue;
                    };
                    shared
                        .progress
                        .send_if_modified(|all| all.insert(job, progress) != Some(progress));
                    if status.state() == EngineJobState::Lost {
                        if !view::lost_is_final(&shared.spec) {
                            restarted(
                                &shared,
                                job,
                                "its cluster has lost it; it is submitted again",
                            )
                            .await;
                        }
                        shared.tell(Fact::JobDenied { job, incarnation }).await;
                    }
                    if !status.last_failure.is_empty() {
                        restarted(&shared, job, &status.last_failure).await;
                    }
                }
            }
            Err(error) => {
                tracing::debug!("jobs of incarnation {incarnation} cannot be watched: {error}")
            }
        }
        shared.ports.clock.sleep(backoff.next_delay()).await;
    }
}
