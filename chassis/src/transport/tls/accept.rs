//! The server's half: handshakes beside each other, so that a slow client keeps no other out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, FuturesUnordered};
use tokio_rustls::TlsAcceptor;

use super::super::{BoxedIo, Incoming};
use super::explain::of_client;
use super::kept::Kept;
use crate::clock::{Boot, SharedClock, timeout};

/// How long a client may take for its part of a handshake.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(5);

/// How many handshakes are under way at once; further connections wait in the system's queue.
const HANDSHAKES: usize = 256;

/// How often a refused connection is told of, at most: strangers are not to fill the log.
const TELL: Duration = Duration::from_secs(10);

/// The same endpoint, whose connections have shown a certificate of the deployment.
pub(super) fn guarded(incoming: Incoming, kept: Arc<Kept>, clock: SharedClock) -> Incoming {
    let endpoint = incoming.endpoint().clone();
    let door = Door { incoming, under_way: FuturesUnordered::new(), kept, clock, told: None };
    let connections = stream::unfold(door, |mut door| async move {
        let connection = door.connection().await?;
        Some((connection, door))
    });
    Incoming::new(endpoint, connections)
}

struct Door {
    incoming: Incoming,
    under_way: FuturesUnordered<BoxFuture<'static, io::Result<BoxedIo>>>,
    kept: Arc<Kept>,
    clock: SharedClock,
    /// When a refusal was told of last.
    told: Option<Boot>,
}

impl Door {
    /// The next connection whose handshake is done; `None` when the endpoint listens no more. A
    /// connection that is refused is no error of the endpoint.
    async fn connection(&mut self) -> Option<io::Result<BoxedIo>> {
        loop {
            tokio::select! {
                biased;
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => match done {
                    Ok(connection) => return Some(Ok(connection)),
                    Err(error) => self.tell(&error),
                },
                accepted = self.incoming.next(), if self.under_way.len() < HANDSHAKES => {
                    match accepted? {
                        Ok(io) => self.under_way.push(self.handshake(io)),
                        Err(error) => return Some(Err(error)),
                    }
                }
            }
        }
    }

    fn handshake(&self, io: BoxedIo) -> BoxFuture<'static, io::Result<BoxedIo>> {
        let (kept, clock) = (self.kept.clone(), self.clock.clone());
        Box::pin(async move {
            let acceptor = TlsAcceptor::from(kept.now().for_server()?.clone());
            match timeout(&clock, HANDSHAKE, acceptor.accept(io)).await {
                Ok(accepted) => accepted.map(BoxedIo::new),
                Err(elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)),
            }
        })
    }

    fn tell(&mut self, error: &io::Error) {
        let endpoint = self.incoming.endpoint();
        let Some(why) = of_client(error) else {
            return tracing::debug!("{endpoint}: a connection ended in its handshake: {error}");
        };
        let now = self.clock.boot();
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < TELL) {
            return tracing::debug!("{endpoint} refuses a connection: {why}");
        }
        self.told = Some(now);
        tracing::warn!("{endpoint} refuses a connection: {why}");
    }
}
