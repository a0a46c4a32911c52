//! What the stores of other hosts have heard of their leaders, and their queues. Each store asks
//! the others, so that an answer about an application is the same on every host.

mod network;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chassis::clock::{Boot, Clock as _, timeout};
use futures::future::join_all;
use proto::{Place, jobgraph};

use super::Service;
use crate::error::Error;
use crate::keys::{Kind as _, peer};
use crate::store::{Operation, Read, Transaction};

pub use network::OverNetwork;

/// How often the record is asked which stores there are.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How often the peers are asked: leaders beat twice a second, and are stale after two seconds.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// How long one peer is waited for.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// How long a peer that did not answer is left alone.
const REST: Duration = Duration::from_secs(5);

/// How many peers are asked.
const MOST: usize = 64;

/// The way to the stores of other hosts.
#[async_trait]
pub trait AskPeer: Send + Sync {
    /// What the store at this endpoint has heard itself. `None`: it does not say.
    async fn ask(&self, endpoint: &str) -> Option<Vec<jobgraph::ReadLiveResponse>>;
}

/// The stores of the other hosts, as the record says.
#[derive(Clone, Default)]
pub(crate) struct Peers(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    looked_at: Option<Boot>,
    /// Each endpoint, with the instant from which on it is asked.
    ask_from: HashMap<String, Boot>,
}

impl Peers {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_due(&self, now: Boot) -> bool {
        let looked_at = self.known().looked_at;
        looked_at.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_EVERY)
    }

    fn note(&self, now: Boot, endpoints: Vec<String>) {
        let mut known = self.known();
        let before = std::mem::take(&mut known.ask_from);
        let since = |endpoint: String| {
            let from = before.get(&endpoint).copied().unwrap_or(now);
            (endpoint, from)
        };
        known.ask_from = endpoints.into_iter().map(since).collect();
        known.looked_at = Some(now);
    }

    fn to_ask(&self, now: Boot) -> Vec<String> {
        let known = self.known();
        let due = known.ask_from.iter().filter(|(_, from)| **from <= now);
        due.map(|(endpoint, _)| endpoint.clone()).collect()
    }

    fn rests(&self, endpoint: &str, until: Boot) {
        if let Some(from) = self.known().ask_from.get_mut(endpoint) {
            *from = until;
        }
    }
}

impl Service {
    /// Says in the record where other hosts reach this store.
    pub async fn introduce(&self, endpoint: &str) -> Result<(), Error> {
        let Some(place) = &self.place else { return Ok(()) };
        let own = peer::Peer { place: Some(place.clone().into()), endpoint: endpoint.to_owned() };
        let operations = vec![Operation::Put(peer::key(place.uid()), own.to_stored())];
        self.commit(Transaction { compares: Vec::new(), operations }).await?;
        Ok(())
    }

    /// Says in the record that this store cannot be reached any more.
    pub async fn withdraw(&self) -> Result<(), Error> {
        let Some(place) = &self.place else { return Ok(()) };
        let operations = vec![Operation::Delete(peer::key(place.uid()))];
        self.commit(Transaction { compares: Vec::new(), operations }).await?;
        Ok(())
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
        if self.peers.is_due(self.clock.boot())
            && let Err(error) = self.look_for_peers().await
        {
            tracing::debug!(%error, "the record does not say which stores there are");
        }
        let endpoints = self.peers.to_ask(self.clock.boot());
        let asked = endpoints.iter().map(async |endpoint| {
            let began = self.clock.boot();
            let heard = timeout(&self.clock, ASK_WITHIN, way.ask(endpoint)).await.ok().flatten();
            (endpoint, began, heard)
        });
        let mut queues = HashMap::new();
        for (endpoint, began, heard) in join_all(asked).await {
            let Some(heard) = heard else {
                self.peers.rests(endpoint, self.clock.boot() + REST);
                continue;
            };
            for part in heard {
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

    async fn look_for_peers(&self) -> Result<(), Error> {
        let own = self.place.as_ref().map(Place::uid);
        let view = self.metadata.read(vec![Read::all(peer::prefix())], None).await?;
        let mut endpoints = Vec::new();
        for (_, stored) in view.answers.iter().flatten().take(MOST) {
            let peer::Peer { place, endpoint } = peer::Peer::from_stored(&stored.value)?;
            if Place::read(place)?.is_some_and(|place| Some(place.uid()) != own) {
                endpoints.push(endpoint);
            }
        }
        self.peers.note(self.clock.boot(), endpoints);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
