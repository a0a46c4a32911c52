//! What the stores of other hosts have heard of their leaders, and their queues. Each store asks
//! the others, so that an answer about an application is the same on every host.

mod network;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chassis::clock::{Boot, Clock as _, timeout};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
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

/// How long a peer that did not answer is left alone, for each time in a row, up to so many times.
const REST: Duration = Duration::from_secs(5);
const MOST_RESTS: u32 = 12;

/// How many peers are asked at once.
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
    /// By endpoint.
    peers: BTreeMap<String, Asked>,
}

/// When a peer is asked again.
#[derive(Debug, Clone, Copy)]
struct Asked {
    from: Boot,
    /// How often in a row the peer did not answer.
    silences: u32,
    /// The commit by which the peer's store said where it is: another commit is of a new process.
    revision: u64,
}

impl Peers {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_due(&self, now: Boot) -> bool {
        let looked_at = self.known().looked_at;
        looked_at.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_EVERY)
    }

    fn note(&self, now: Boot, found: Vec<(String, u64)>) {
        let mut known = self.known();
        let before = std::mem::take(&mut known.peers);
        let asked = |(endpoint, revision): (String, u64)| {
            let earlier = before.get(&endpoint).filter(|asked| asked.revision == revision);
            let new = Asked { from: now, silences: 0, revision };
            let asked = earlier.copied().unwrap_or(new);
            (endpoint, asked)
        };
        known.peers = found.into_iter().map(asked).collect();
        known.looked_at = Some(now);
    }

    /// The peers that are due, those first that have waited longest. None of them is due again
    /// before it has answered, or was silent for too long.
    fn to_ask(&self, now: Boot) -> Vec<String> {
        let mut known = self.known();
        let mut due: Vec<_> =
            known.peers.iter_mut().filter(|(_, asked)| asked.from <= now).collect();
        due.sort_by_key(|(_, asked)| asked.from);
        let due = due.into_iter().take(MOST).map(|(endpoint, asked)| {
            asked.from = now + ASK_WITHIN;
            endpoint.clone()
        });
        due.collect()
    }

    fn answered(&self, endpoint: &str, now: Boot, has_answered: bool) {
        let mut known = self.known();
        let Some(asked) = known.peers.get_mut(endpoint) else { return };
        asked.silences = if has_answered { 0 } else { (asked.silences + 1).min(MOST_RESTS) };
        asked.from = now + REST * asked.silences;
    }
}

impl Service {
    /// Says in the record where other hosts reach this store.
    pub(crate) async fn introduce(&self, endpoint: &str) -> Result<(), Error> {
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

    /// Says where other hosts reach this store, and asks the peers again and again. A record that
    /// has no room for this word is told later, and answers questions until then.
    pub async fn follow_peers(&self, way: &dyn AskPeer, own: &str) {
        let mut under_way = FuturesUnordered::new();
        let mut is_known = false;
        let mut next = self.clock.boot() + ASK_EVERY;
        loop {
            tokio::select! {
                () = self.clock.sleep_until(next) => {}
                // An answer counts when it comes: a peer that is gone makes no other one wait.
                Some(()) = under_way.next() => continue,
            }
            if self.peers.is_due(self.clock.boot())
                && let Err(error) = self.look_for_peers(&mut is_known, own).await
            {
                tracing::debug!(%error, "the record does not say which stores there are");
            }
            let due = self.peers.to_ask(self.clock.boot());
            under_way.extend(due.into_iter().map(|endpoint| self.ask_peer(way, endpoint)));
            next = self.clock.boot() + ASK_EVERY;
        }
    }

    /// Asks one peer.
    async fn ask_peer(&self, way: &dyn AskPeer, endpoint: String) {
        let began = self.clock.boot();
        let heard = timeout(&self.clock, ASK_WITHIN, way.ask(&endpoint)).await.ok().flatten();
        self.peers.answered(&endpoint, self.clock.boot(), heard.is_some());
        let mut queue = None;
        for part in heard.into_iter().flatten() {
            for leader in part.leaders {
                self.live.heard_elsewhere(leader, began);
            }
            queue = part.queue.or(queue);
        }
        self.queue.report_of_others(queue.map(|queue| (endpoint, queue)));
    }

    /// Reads which stores there are. A store that the record does not know, because it has just
    /// begun, or because its host was given up, says where it is.
    async fn look_for_peers(&self, is_known: &mut bool, own: &str) -> Result<(), Error> {
        let uid = self.place.as_ref().map(Place::uid);
        let view = self.metadata.read(vec![Read::all(peer::prefix())], None).await?;
        let (mut found, mut is_there) = (Vec::new(), false);
        for (_, stored) in view.answers.iter().flatten() {
            let peer::Peer { place, endpoint } = peer::Peer::from_stored(&stored.value)?;
            match Place::read(place)? {
                Some(place) if Some(place.uid()) == uid => is_there = endpoint == own,
                Some(_) => found.push((endpoint, stored.revision)),
                None => {}
            }
        }
        self.peers.note(self.clock.boot(), found);
        if !is_there || !*is_known {
            self.introduce(own).await?;
            *is_known = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
