//! Notes that are written beside each leader with the leader's epoch, two at a time, as a leader
//! complains. What is in the past in the end tells of each of them whether it was written, and how
//! often.

use std::sync::Arc;
use std::time::Duration;

use ::record::{Error, Record as _};
use chassis::clock::Clock as _;
use client::record::RecordClient;
use proto::{EpochFence, api};

use crate::host::At;
use crate::world::Deployment;

/// What the text of a note begins with.
pub(crate) const NOTE: &str = "note ";

/// The pause between two pairs.
const EVERY: Duration = Duration::from_millis(1_500);

/// How many pairs one leader writes at most.
const PAIRS: usize = 40;

/// Writes notes until the record takes none of this epoch any more. Each is sent once: an answer
/// that is lost leaves open whether its note is written.
pub(crate) async fn keep_writing(
    of: Arc<Deployment>,
    at: At,
    record: RecordClient,
    fence: EpochFence,
) {
    for pair in 0..PAIRS {
        at.clock.sleep(EVERY).await;
        if of.trace.is_clean(&fence.application.id) {
            return;
        }
        let note = |number: usize| write(&of, &at, &record, &fence, 2 * pair + number);
        let (one, other) = futures::future::join(note(0), note(1)).await;
        if !one || !other {
            return;
        }
    }
}

/// Writes one note. `false`: the epoch is over.
async fn write(
    of: &Deployment,
    at: &At,
    record: &RecordClient,
    fence: &EpochFence,
    number: usize,
) -> bool {
    let EpochFence { application, epoch } = fence;
    let text = format!("{NOTE}{number} of epoch {epoch}");
    let note =
        api::Event { kind: "warning".to_owned(), message: text.clone(), ..api::Event::default() };
    let known = of.trace.latest(&application.id);
    match record.append_events(fence, vec![note], Vec::new()).await {
        Ok(()) => {
            if *epoch < known {
                let what = format!("{application}: {text} was taken after epoch {known} had begun");
                of.trace.wrong(what);
            }
            of.trace.noted(&application.id, at.name, text);
            true
        }
        Err(Error::Away(_)) => true,
        Err(_) => false,
    }
}
