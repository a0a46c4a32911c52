//! What a leader waits for before it begins a cluster while the present one is on another host.

use std::sync::Arc;
use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::Clock as _;
use proto::{Incarnation, Reason, engine};

use super::{Complaint, complain};
use crate::ports::PortResult;
use crate::service::shared::Shared;

/// The pauses, shortest and longest, before the record is asked again whether the other host has
/// ended the cluster. Its lifecycle looks every 5 s at what it has to end.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));

/// How long the other host may take before people are told of the wait: two of its looks and the
/// end of a cluster, so that an ordinary take-over is not told.
const TELL_AFTER: Duration = Duration::from_secs(15);

/// Where no fence holds outputs back, waits until nothing of the present cluster lives on the other
/// host that has it: until that host has said so, or a person gave that host up, or so much time
/// has passed that the host has ended the cluster by itself.
///
/// The time counts from the beginning of this attempt. Since then the record tells the other host
/// that the application is led elsewhere, and takes no intent of an earlier leader: the last word
/// by which the cluster may live there is older.
pub(super) async fn until_released(shared: &Arc<Shared>) -> PortResult<()> {
    let plan = shared.described.get().map(|(plan, _)| plan);
    if plan.is_none_or(|plan| plan.commit() != engine::Commit::None) {
        return Ok(());
    }
    let (clock, at_most) = (&shared.ports.clock, shared.ports.successor_waits);
    let (until, tell_at) = (shared.since + at_most, shared.since + TELL_AFTER);
    let mut pauses = Backoff::new(AGAIN.0, AGAIN.1);
    loop {
        // No watch tells of a host that has ended what it ran.
        let wire = shared.refresh().await?;
        let record = shared.ports.recorded(&wire)?;
        let Some(host) = record.runs_elsewhere() else { return Ok(()) };
        let (incarnation, now) = (record.cluster.incarnation, clock.boot());
        if now >= until {
            tracing::warn!(
                "incarnation {incarnation} is over: host {host} had {at_most:?} to end it"
            );
            return Ok(());
        }
        if now >= tell_at {
            let text = held(incarnation, host, at_most);
            let (condition, kind, reason) = ("ClusterReady", "warning", Reason::PlacesNotReleased);
            complain(shared, Complaint { condition, kind, reason, text, job: None }).await;
        }
        clock.sleep(pauses.next_delay().min(until.saturating_duration_since(now))).await;
    }
}

/// What the next cluster waits for, and the ways out.
fn held(incarnation: Incarnation, host: &str, at_most: Duration) -> String {
    format!(
        "the next cluster waits until host {host} has ended incarnation {incarnation}, whose \
         outputs are visible as they are written, and at most {} s; help: start host {host} again, \
         or wait; if it never comes back: mainspring host give-up {host}",
        at_most.as_secs()
    )
}
