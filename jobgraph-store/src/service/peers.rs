//! What the stores of other hosts have heard of their leaders, and their queues. Each store asks
//! the others, so that an answer about an application is the same on every host.

mod network;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chassis::clock::{Boot, Clock as _, SharedClock, timeout};
use futures::future::join_all;
use proto::{Place, jobgraph};

use super::Service;

pub use network::OverNetwork;

/// How long a list of peers is used. The host repeats it every second.
const FRESH_FOR: Duration = Duration::from_secs(10);

/// How often the peers are asked: leaders beat twice a second, and are stale after two seconds.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// How long one peer is waited for.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// How many peers are asked.
const MOST: usize = 64;

/// The way to the stores of other hosts.
#[async_trait]
pub trait AskPeer: Send + Sync {
    /// What the store at this endpoint has heard itself. `None`: it does not say.
    async fn ask(&self, endpoint: &str) -> Option<Vec<jobgraph::ReadLiveResponse>>;
}

/// The stores of the other hosts, as this host says.
#[derive(Clone, Default)]
pub(crate) struct Peers(Arc<Mutex<Option<Reported>>>);

struct Reported {
    at: Boot,
    endpoints: Vec<String>,
}

impl Peers {
    fn reported(&self) -> MutexGuard<'_, Option<Reported>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, now: Boot) -> Vec<String> {
        let reported = self.reported();
        let fresh = reported.as_ref().filter(|of| now.saturating_duration_since(of.at) < FRESH_FOR);
        fresh.map(|of| of.endpoints.clone()).unwrap_or_default()
    }
}

impl Service {
    /// Takes a list of peers in place of the one before. This host's own store is left out.
    pub fn report_peers(&self, peers: Vec<jobgraph::Peer>) {
        let own = self.place.as_ref().map(Place::uid);
        let is_other = |peer: &jobgraph::Peer| {
            let place = Place::read(peer.place.clone()).ok().flatten();
            !peer.store_endpoint.is_empty() && place.is_some_and(|place| Some(place.uid()) != own)
        };
        let others = peers.into_iter().filter(is_other).take(MOST);
        let endpoints = others.map(|peer| peer.store_endpoint).collect();
        *self.peers.reported() = Some(Reported { at: self.clock.boot(), endpoints });
    }

    /// What this store has heard itself.
    pub fn read_live(&self) -> (Vec<jobgraph::HeardLeader>, Option<jobgraph::ReportQueueRequest>) {
        (self.live.of_own_leaders(), self.queue.of_own_host())
    }

    /// Asks the peers again and again.
    pub async fn follow_peers(&self, way: &dyn AskPeer) {
        loop {
            self.clock.sleep(ASK_EVERY).await;
            self.ask_peers(way).await;
        }
    }

    /// Asks each peer once.
    pub(crate) async fn ask_peers(&self, way: &dyn AskPeer) {
        let endpoints = self.peers.at(self.clock.boot());
        let asked = endpoints.iter().map(async |endpoint| {
            let began = self.clock.boot();
            let heard = timeout(&self.clock, ASK_WITHIN, way.ask(endpoint)).await.ok().flatten();
            (endpoint, began, heard)
        });
        let mut queues = HashMap::new();
        for (endpoint, began, heard) in join_all(asked).await {
            for part in heard.into_iter().flatten() {
                for leader in part.leaders {
                    self.live.heard_elsewhere(leader, began);
                }
                if let Some(queue) = part.queue {
                    queues.insert(endpoint.clone(), queue);
                }
            }
        }
        self.queue.report_of_others(queues);
    }
}

#[cfg(test)]
mod tests;
