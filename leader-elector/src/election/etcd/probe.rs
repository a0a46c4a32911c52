//! Holders whose streams broke here: a leadership ends before its lease does if the holder's lock
//! is free.

use std::sync::Arc;
use std::time::Duration;

use ::etcd::Lease;
use chassis::clock::Clock as _;
use chassis::failpoint;
use proto::ApplicationId;

use super::Shared;
use super::desk::Broken;
use crate::error::Error;
use crate::model::Cause;

/// How often the elector looks at the locks of holders whose streams broke.
const PROBE_EVERY: Duration = Duration::from_millis(25);

/// The pause after etcd did not end a leadership.
const PAUSE: Duration = Duration::from_millis(500);

/// Ends such leaderships, for as long as the elector is there. The contenders that wait may all be
/// at other electors, and this one alone saw the break.
pub(super) async fn keep_probing(shared: Arc<Shared>) {
    let mut changes = shared.desks.changes();
    loop {
        changes.borrow_and_update();
        let broken = shared.desks.broken();
        if broken.is_empty() {
            // Waiting cannot fail: the sender is in `shared`.
            let _ = changes.changed().await;
            continue;
        }
        let mut pause = PROBE_EVERY;
        for (application, broken) in broken {
            if let Err(error) = probe(&shared, &application, &broken).await {
                tracing::debug!(%error, "a holder that is gone keeps its lease for now");
                pause = PAUSE;
            }
        }
        shared.clock.sleep(pause).await;
    }
}

async fn probe(shared: &Shared, application: &ApplicationId, broken: &Broken) -> Result<(), Error> {
    let (seat, at) = shared.board.seat(application);
    match seat?.leader {
        Some(led) if led.term.epoch == broken.epoch => {
            // The holder may have resumed here since the break.
            let is_back = !shared.desks.is_broken(application, broken);
            // A test plants the bug to see that it would be noticed.
            if !is_back && failpoint::is_planted("elector.renews-by-itself") {
                Lease::of(&shared.etcd, led.lease).renew(shared.lease).await?;
                return Ok(());
            }
            if is_back || !shared.locks.is_free(&broken.lock) {
                return Ok(());
            }
            shared.board.end(application, &led, Cause::ProcessGone).await?;
        }
        // The board has heard of the grant, so it has heard of its end.
        _ if at >= broken.revision => shared.desks.forget(application, broken),
        _ => {}
    }
    Ok(())
}
