//! Tells the record which applications wait for room, so that every verb can show the queue: each
//! second, and when the queue has changed.

use std::time::Duration;

use chassis::BoxError;
use chassis::clock::{Clock as _, SharedClock};
use chassis::telemetry::metrics::Level;
use client::admission::Admission;
use proto::jobgraph::{ReportQueueRequest, WaitingApplication};
use tokio::sync::watch;

use super::reconcile::Queue;

static APPLICATIONS: Level = Level::new(
    "mainspring.applications",
    "Applications that have room on this host, or wait for it",
);

/// How often the record hears of a queue that has not changed. The record stops showing a queue
/// that it has not heard of for 5 s.
const EVERY: Duration = Duration::from_secs(1);

/// How many places of the queue are told. That is more than a person looks at, and keeps the
/// message below 2 MiB.
const MOST_TOLD: usize = 10_000;

/// Reports until it is dropped. A report that fails is not repeated, because the next one replaces
/// it.
pub(crate) async fn report(
    admission: Admission,
    mut queue: watch::Receiver<Queue>,
    clock: SharedClock,
) -> Result<(), BoxError> {
    loop {
        let now = message(&queue.borrow_and_update());
        APPLICATIONS.set(now.running as usize, &[("state", "running")]);
        APPLICATIONS.set(now.length as usize, &[("state", "queued")]);
        if let Err(error) = admission.report(now).await {
            tracing::debug!("the record does not take the queue: {error}");
        }
        tokio::select! {
            // The reconciler has gone. Whether it was meant to go is for the supervision of its own
            // task to say.
            changed = queue.changed() => if changed.is_err() { clock.sleep(EVERY).await },
            () = clock.sleep(EVERY) => {}
        }
    }
}

fn message(queue: &Queue) -> ReportQueueRequest {
    let waiting = queue.waiting.iter().take(MOST_TOLD).map(|one| WaitingApplication {
        application: Some(one.application.clone().into()),
        share: one.share.clone(),
        share_running: number(one.share_running),
    });
    ReportQueueRequest {
        running: number(queue.running),
        max_running: number(queue.max_running),
        waiting: waiting.collect(),
        length: number(queue.waiting.len()),
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
