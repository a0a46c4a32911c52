//! The way to the stores of other hosts.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chassis::channel;
use chassis::clock::SharedClock;
use chassis::credential::Credential;
use chassis::transport::{Endpoint, SharedTransport};
use client::live::Live;
use proto::{Reason, jobgraph};

use super::{AskPeer, MOST};

/// Asks by gRPC, over one channel for each store.
pub struct OverNetwork {
    transport: SharedTransport,
    clock: SharedClock,
    credential: Credential,
    channels: Mutex<HashMap<String, Live>>,
    /// The stores of which it was told that TLS keeps them apart from this one.
    untrusted: Mutex<HashSet<String>>,
}

impl OverNetwork {
    /// The way over this transport, with the deployment's credential.
    pub fn new(transport: SharedTransport, clock: SharedClock, credential: Credential) -> Self {
        Self {
            transport,
            clock,
            credential,
            channels: Mutex::default(),
            untrusted: Mutex::default(),
        }
    }

    /// The channel to a store, which is kept only once an answer came over it; `None` if the text is
    /// no endpoint. Over a connection that a network has dropped things on, TCP asks again after
    /// longer and longer pauses, for minutes after the network is whole again. A new connection
    /// comes about at once.
    fn channel(&self, named: &str) -> Option<Live> {
        let known = locked(&self.channels).remove(named);
        if known.is_some() {
            return known;
        }
        let endpoint: Endpoint = named.parse().ok()?;
        let credential = Some(self.credential.clone());
        let channel =
            channel::connect(self.transport.clone(), self.clock.clone(), endpoint, credential);
        Some(Live::new(channel))
    }

    fn keep(&self, named: &str, channel: Live) {
        let mut channels = locked(&self.channels);
        // Hosts that come and go would leave a channel each.
        if channels.len() >= 2 * MOST {
            channels.clear();
        }
        channels.insert(named.to_owned(), channel);
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl AskPeer for OverNetwork {
    async fn ask(&self, endpoint: &str) -> Option<Vec<jobgraph::ReadLiveResponse>> {
        let channel = self.channel(endpoint)?;
        match channel.read().await {
            Ok(heard) => {
                self.keep(endpoint, channel);
                locked(&self.untrusted).remove(endpoint);
                Some(heard)
            }
            Err(error) if error.reason() == Some(Reason::CertificateInvalid) => {
                if locked(&self.untrusted).insert(endpoint.to_owned()) {
                    tracing::warn!("leaders of another host look silent here: {error}");
                }
                None
            }
            Err(error) => {
                tracing::debug!("the store at {endpoint} does not say what it has heard: {error}");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use chassis::clock::{SystemClock, timeout};
    use chassis::transport::OsTransport;
    use tokio::net::TcpListener;

    use super::*;

    /// A store whose answers the network drops takes connections, and is silent on them.
    #[tokio::test]
    #[allow(clippy::disallowed_methods, reason = "the test is a store that says nothing")]
    async fn a_store_that_did_not_answer_is_asked_over_another_connection() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("tcp://{}", silent.local_addr().unwrap());
        let clock: SharedClock = Arc::new(SystemClock);
        let credential = Credential::new("deployment").unwrap();
        let way = OverNetwork::new(Arc::new(OsTransport), clock.clone(), credential);
        let mut taken = Vec::new();
        for _ in 0..2 {
            let asked = timeout(&clock, Duration::from_millis(200), way.ask(&endpoint));
            let accepted = timeout(&clock, Duration::from_secs(20), silent.accept());
            let (asked, accepted) = tokio::join!(asked, accepted);
            assert!(asked.is_err(), "it answered: {asked:?}");
            taken.push(accepted.expect("it is asked over a new connection").unwrap());
        }
    }
}
