//! Output that outlived its process, and what becomes of it.

use std::time::Duration;

use chassis::clock::{Clock as _, SystemClock};
use jobgraph_store::store::StoreError;
use lifecycle::record::LogSource;
use lifecycle::substrate::Substrate as _;
use proto::Incarnation;

use crate::laws;
use crate::wire::{Wire, fence, role, within};

/// A cluster of one worker whose last words are in the outbox, because the record does not take
/// any.
async fn torn_down_with_words_left() -> (Wire, LogSource) {
    let wire = Wire::new().await;
    wire.record.backend.set_deaf(true);
    wire.provision(&fence(1), 1, vec![role("worker", "echo last words; sleep 1000")])
        .await
        .unwrap();
    let client = wire.client.clone();
    let teardown =
        tokio::spawn(
            async move { client.teardown(&fence(1), Incarnation(1), Duration::ZERO).await },
        );
    wire.advance_until("it is torn down", async || teardown.is_finished()).await;
    assert_eq!(teardown.await.unwrap().unwrap(), [""; 0]);
    let source = LogSource::new(&laws::order(1, "").slot, 1);
    assert_eq!(wire.record.log(&source).await.0, b"");
    (wire, source)
}

#[tokio::test]
async fn words_that_the_record_did_not_take_in_time_get_there_after_their_process_is_gone_for_good()
{
    let (wire, source) = torn_down_with_words_left().await;
    // The lifecycle that ended the worker dies; the next one knows of nothing but the words.
    let wire = wire.killed_and_started_again();
    wire.record.backend.set_deaf(false);
    wire.advance_until("they are there", async || {
        wire.record.log(&source).await == (b"last words\n".to_vec(), true)
    })
    .await;
    outbox_is_empty(&wire).await;
}

/// Lets time pass until nothing waits to be shipped.
async fn outbox_is_empty(wire: &Wire) {
    within(async {
        while !wire.memory.outbox().await.is_empty() {
            wire.clock.advance(Duration::from_millis(50));
            SystemClock.sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn words_of_an_application_that_the_record_does_not_know_are_dropped_and_refused_ones_are_not()
 {
    let (wire, source) = torn_down_with_words_left().await;
    let why = StoreError::Damaged { file: "record".into(), why: "it was overwritten".into() };
    wire.record.backend.refuse_output(Some(why));
    let refused = || wire.record.backend.outputs_refused();
    let before = refused();
    wire.advance_until("they were refused", async || refused() >= before + 3).await;
    let left = wire.memory.outbox().await;
    assert_eq!(left, std::slice::from_ref(&source), "what refuses them may still be mended");

    // The record is whole again, and has forgotten the application.
    wire.record.forget(1).await;
    wire.record.backend.refuse_output(None);
    outbox_is_empty(&wire).await;
    assert_eq!(wire.record.log(&source).await.0, b"");
}
