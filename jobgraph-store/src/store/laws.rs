//! The laws of [`Metadata`] as tests for any backend. Each law is a function that answers what it
//! found wrong, so that a mutant backend can be shown to be caught by it.
#![allow(clippy::unwrap_used)]

mod commits;
mod history;
mod past;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::clock::{SystemClock, timeout};

use super::{Commit, Compare, Key, Metadata, Operation, Read, Transaction};

pub(crate) use commits::{
    a_commit_is_atomic_and_compared, no_update_is_lost, what_is_too_large_is_refused_and_not_done,
    what_was_answered_survives_a_crash,
};
pub(crate) use history::{every_revision_reads_as_it_was, histories};
pub(crate) use past::{
    a_read_is_of_one_instant_and_the_past_stays, a_watch_has_no_gap_and_no_duplicate,
    what_is_no_longer_kept_is_said, what_was_given_up_is_gone_and_the_rest_untouched,
};

/// What a law found: `Err` says how the backend breaks it.
pub(crate) type Verdict = Result<(), String>;

/// A backend that can be opened again, with all that was durable.
#[async_trait::async_trait]
pub(crate) trait Bed: Send + Sync {
    /// The backend, opened if it is not. It keeps `KEPT` revisions.
    async fn open(&mut self) -> Arc<dyn Metadata>;
    /// Ends the backend as a crash does: what was not durable is gone.
    async fn crash(&mut self);
    /// Whether the backend gives up the past by the number of revisions; one that does not keeps
    /// the past until it is compacted.
    fn keeps_a_number(&self) -> bool {
        true
    }
}

/// How many revisions a backend under test keeps.
pub(crate) const KEPT: u64 = 50;

macro_rules! ensure {
    ($holds:expr, $($text:tt)*) => {
        if !$holds {
            return Err(format!($($text)*));
        }
    };
}
pub(crate) use ensure;

fn key(text: &str) -> Key {
    Key::from(text.to_owned())
}

fn put(text: &str, value: &str) -> Operation {
    Operation::Put(key(text), Bytes::copy_from_slice(value.as_bytes()))
}

fn transaction(compares: &[(&str, Option<u64>)], operations: Vec<Operation>) -> Transaction {
    let compares = compares
        .iter()
        .map(|(text, revision)| Compare { key: key(text), revision: *revision })
        .collect();
    Transaction { compares, operations }
}

async fn committed(store: &dyn Metadata, operations: Vec<Operation>) -> Result<u64, String> {
    match store.commit(transaction(&[], operations)).await {
        Ok(Commit::Committed(revision)) => Ok(revision),
        other => Err(format!("an unconditional commit came to {other:?}")),
    }
}

async fn get(store: &dyn Metadata, text: &str) -> Result<Option<(String, u64)>, String> {
    let view =
        store.read(vec![Read::Key(key(text))], None).await.map_err(|error| error.to_string())?;
    Ok(view.answers[0]
        .first()
        .map(|(_, stored)| (String::from_utf8(stored.value.to_vec()).unwrap(), stored.revision)))
}

/// How long a backend may take to show a revision that it has answered.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

/// Waits until the backend shows a revision that it has answered.
async fn shown(store: &dyn Metadata, revision: u64) -> Verdict {
    let mut revisions = store.revisions();
    let reached = revisions.wait_for(|shown| *shown >= revision);
    let reached = timeout(&SystemClock, SHOWN_WITHIN, reached).await;
    ensure!(reached.is_ok_and(|shown| shown.is_ok()), "revision {revision} is not shown");
    Ok(())
}

/// The names of all laws but the random one.
pub(crate) const ALL: [&str; 8] = [
    "a_commit_is_atomic_and_compared",
    "no_update_is_lost",
    "what_was_answered_survives_a_crash",
    "a_read_is_of_one_instant_and_the_past_stays",
    "a_watch_has_no_gap_and_no_duplicate",
    "what_is_no_longer_kept_is_said",
    "what_was_given_up_is_gone_and_the_rest_untouched",
    "what_is_too_large_is_refused_and_not_done",
];

/// The verdict of one law.
pub(crate) async fn judge(law: &str, bed: &mut dyn Bed) -> Verdict {
    match law {
        "a_commit_is_atomic_and_compared" => a_commit_is_atomic_and_compared(bed).await,
        "no_update_is_lost" => no_update_is_lost(bed).await,
        "what_was_answered_survives_a_crash" => what_was_answered_survives_a_crash(bed).await,
        "a_read_is_of_one_instant_and_the_past_stays" => {
            a_read_is_of_one_instant_and_the_past_stays(bed).await
        }
        "a_watch_has_no_gap_and_no_duplicate" => a_watch_has_no_gap_and_no_duplicate(bed).await,
        "what_is_no_longer_kept_is_said" => what_is_no_longer_kept_is_said(bed).await,
        "what_was_given_up_is_gone_and_the_rest_untouched" => {
            what_was_given_up_is_gone_and_the_rest_untouched(bed).await
        }
        "what_is_too_large_is_refused_and_not_done" => {
            what_is_too_large_is_refused_and_not_done(bed).await
        }
        other => panic!("there is no law {other}"),
    }
}

/// The laws as tests of one backend.
macro_rules! laws_hold {
    ($bed:expr) => {
        $crate::store::laws::laws_hold!($bed, 24);
    };
    ($bed:expr, $cases:expr) => {
        $crate::store::laws::laws_hold!(@each $bed,
            a_commit_is_atomic_and_compared, no_update_is_lost, what_was_answered_survives_a_crash,
            a_read_is_of_one_instant_and_the_past_stays, a_watch_has_no_gap_and_no_duplicate,
            what_is_no_longer_kept_is_said, what_was_given_up_is_gone_and_the_rest_untouched,
            what_is_too_large_is_refused_and_not_done);

        proptest::proptest! {
            #![proptest_config(proptest::test_runner::Config { cases: $cases, ..Default::default() })]
            #[test]
            fn every_revision_reads_as_it_was(history in $crate::store::laws::histories()) {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let mut bed = $bed;
                let law = $crate::store::laws::every_revision_reads_as_it_was(&mut bed, &history);
                let verdict = runtime.block_on(law);
                proptest::prop_assert_eq!(verdict, Ok(()));
            }
        }
    };
    (@each $bed:expr, $($law:ident),*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $law() {
            assert_eq!($crate::store::laws::$law(&mut $bed).await, Ok(()));
        })*
    };
}
pub(crate) use laws_hold;
