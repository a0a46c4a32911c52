//! A process of this machine that is owned through its tether.

use std::time::Duration;

use async_trait::async_trait;
use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, timeout};
use chassis::tasks::{self, OwnedTask};
use chassis::transport::Endpoint;
use client::tether::{Exit, Owned, Tether, TetherEvent};
use futures::StreamExt as _;
use proto::Reason;
use tokio::sync::watch;

use super::probe::Prober;
use super::{CLAIM_TIMEOUT, KILL_TIMEOUT, Live, Local, Output, SubstrateError};
use crate::model::Order;
use crate::substrate::Substrate as _;

/// How often to try to own a tether again before it is taken for dead.
const RECLAIMS: u32 = 4;

/// A process under a tether that this lifecycle owns. Dropping this value gives the ownership up,
/// and the grace begins to run.
pub(super) struct LocalLive {
    pid: u32,
    tether: Tether,
    exit: watch::Receiver<Option<Exit>>,
    prober: Prober,
    local: Local,
    order: Order,
    _watch: OwnedTask<()>,
}

impl LocalLive {
    pub(super) fn new(local: Local, order: Order, pid: u32, tether: Tether, owned: Owned) -> Self {
        let (known, exit) = watch::channel(None);
        let watching = watch_exit(local.clone(), order.clone(), tether.clone(), owned, known);
        let endpoint = Endpoint::Unix(local.place(&order.slot).socket());
        let prober =
            Prober::new(&order.role, endpoint, local.transport.clone(), local.clock.clone());
        let watch = tasks::owned("watch of a process", watching);
        Self { pid, tether, exit, prober, local, order, _watch: watch }
    }
}

/// Waits for the exit, through another claim if the connection breaks. A tether that is gone leaves
/// an exit file at best.
async fn watch_exit(
    local: Local,
    order: Order,
    tether: Tether,
    mut owned: Owned,
    known: watch::Sender<Option<Exit>>,
) {
    let key = order.slot.key();
    let mut backoff = new_backoff();
    let mut claims = 0;
    while claims < RECLAIMS {
        match owned.next().await {
            Ok(Some(TetherEvent::Exited(exit))) => {
                known.send_replace(Some(exit));
                // The tether stays for as long as it is owned: until it is released.
                return std::future::pending().await;
            }
            Ok(Some(_)) => {
                (claims, backoff) = (0, new_backoff());
                continue;
            }
            Ok(None) => tracing::warn!("{key}: its tether left"),
            Err(error) if error.reason() == Some(Reason::TetherReplaced) => {
                // Another lifecycle minds the process now, and says what becomes of it.
                tracing::error!("{key}: another lifecycle has taken it over");
                return std::future::pending().await;
            }
            Err(error) => tracing::warn!("{key}: its tether is out of reach: {error}"),
        }
        while claims < RECLAIMS {
            claims += 1;
            match timeout(&local.clock, CLAIM_TIMEOUT, tether.own(true, None)).await {
                Ok(Ok(again)) => {
                    owned = again;
                    break;
                }
                Ok(Err(_)) | Err(_) => local.clock.sleep(backoff.next_delay()).await,
            }
        }
    }
    let exit = local.exit_without_tether(&order).await;
    known.send_replace(Some(exit));
}

/// The waits between claims are short, because the tether may be counting its grace.
fn new_backoff() -> Backoff {
    Backoff::new(Duration::from_millis(20), Duration::from_millis(500))
}

#[async_trait]
impl Live for LocalLive {
    fn pid(&self) -> u32 {
        self.pid
    }

    async fn exited(&self) -> Exit {
        let mut known = self.exit.clone();
        let exit = known.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        match exit {
            Some(exit) => exit,
            // The watch ended without an exit, which happens only in a shutdown.
            None => std::future::pending().await,
        }
    }

    async fn answers(&self) -> bool {
        self.exit.borrow().is_none() && self.prober.ask().await
    }

    async fn end(&self, grace: Duration) -> Exit {
        let asked = timeout(&self.local.clock, grace + KILL_TIMEOUT, self.tether.end(grace)).await;
        if let Ok(Ok(exit)) = asked {
            return exit;
        }
        if let Some(exit) = self.exit.borrow().clone() {
            return exit;
        }
        // The tether is gone or hangs.
        self.local.exit_without_tether(&self.order).await
    }

    async fn output(&self, offset: u64) -> Result<Output, SubstrateError> {
        match self.tether.read_output(offset, true).await {
            Ok(output) => {
                let chunks = futures::stream::try_unfold(output, |mut output| async {
                    let chunk =
                        output.next().await.map_err(|error| SubstrateError(error.to_string()))?;
                    Ok(chunk.map(|chunk| (chunk, output)))
                });
                Ok(chunks.boxed())
            }
            Err(_) if self.exit.borrow().is_some() => {
                Ok(self.local.remains(&self.order, offset).await)
            }
            Err(error) => Err(SubstrateError(error.to_string())),
        }
    }

    async fn release(&self) {
        // A tether that does not hear this leaves by itself once no owner is connected.
        if let Err(error) = self.tether.release().await {
            tracing::debug!("{}: not released: {error}", self.order.slot.key());
        }
    }
}
