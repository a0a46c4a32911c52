//! Seats that are taken for entries which have gone meanwhile.
//!
//! Once a seat is being taken, etcd may have given it, whether the answer is waited for or not. So
//! the taking goes on without its entry, and what came of it is given back; otherwise no contender
//! could lead before the lease of a leader that does not exist has run out.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Shared;
use super::board::Take;
use super::campaign::Abandoned;
use crate::model::Cause;

/// How many seats may be on their way back. Beyond that a seat is free when its lease has run out.
pub(super) const ABANDONED: usize = 1_024;

/// Gives such seats back, for as long as the elector is there.
pub(super) async fn keep_giving(shared: Arc<Shared>, mut abandoned: mpsc::Receiver<Abandoned>) {
    while let Some(Abandoned { application, taking }) = abandoned.recv().await {
        let Ok(Ok(Take::Taken(leads))) = taking.await else { continue };
        // No contender has heard of the epoch, so nothing is done under it.
        if let Err(error) = shared.board.end(&application, leads.led(), Cause::Resigned).await {
            tracing::debug!(%error, %application, "a seat without a holder is left to its lease");
        }
    }
}
