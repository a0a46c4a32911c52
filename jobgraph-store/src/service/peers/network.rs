//! The way to the stores of other hosts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chassis::channel;
use chassis::clock::SharedClock;
use chassis::credential::Credential;
use chassis::transport::{Endpoint, SharedTransport};
use client::live::Live;
use proto::jobgraph;

use super::{AskPeer, MOST};

/// Asks by gRPC, over one channel for each store.
pub struct OverNetwork {
    transport: SharedTransport,
    clock: SharedClock,
    credential: Credential,
    channels: Mutex<HashMap<String, Live>>,
}

impl OverNetwork {
    /// The way over this transport, with the deployment's credential.
    pub fn new(transport: SharedTransport, clock: SharedClock, credential: Credential) -> Self {
        Self { transport, clock, credential, channels: Mutex::default() }
    }

    /// The channel to a store; `None` if the text is no endpoint.
    fn channel(&self, named: &str) -> Option<Live> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = channels.get(named) {
            return Some(known.clone());
        }
        // Hosts that come and go would leave a channel each.
        if channels.len() >= 2 * MOST {
            channels.clear();
        }
        let endpoint: Endpoint = named.parse().ok()?;
        let credential = Some(self.credential.clone());
        let channel =
            channel::connect(self.transport.clone(), self.clock.clone(), endpoint, credential);
        let live = Live::new(channel);
        channels.insert(named.to_owned(), live.clone());
        Some(live)
    }
}

#[async_trait]
impl AskPeer for OverNetwork {
    async fn ask(&self, endpoint: &str) -> Option<Vec<jobgraph::ReadLiveResponse>> {
        match self.channel(endpoint)?.read().await {
            Ok(heard) => Some(heard),
            Err(error) => {
                tracing::debug!("the store at {endpoint} does not say what it has heard: {error}");
                None
            }
        }
    }
}
