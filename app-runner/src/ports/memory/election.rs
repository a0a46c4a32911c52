//! An elector that grants an epoch to the next contender while no lease is held.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chassis::clock::{Boot, Clock as _};
use client::election::Lease;
use futures::{StreamExt as _, stream};
use proto::{ApplicationRef, Epoch};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::World;
use crate::ports::PortResult;
use crate::ports::election::{Election, Leadership, Turns};

impl World {
    /// Takes the leadership away, as an elector does that got no renewal.
    pub fn lose_lease(&self) {
        if let Some((_, lease)) = self.lock().lease.take() {
            lease.send_replace(Lease::Lost("lease expired".to_owned()));
        }
    }

    /// Says until when the leader may act. An instant that has passed stands for an elector that is
    /// away.
    pub fn confirm_until(&self, until: Boot) {
        if let Some((_, lease)) = &self.lock().lease {
            lease.send_replace(Lease::Until(until));
        }
    }

    /// The epochs that were granted, in order.
    pub fn granted(&self) -> Vec<Epoch> {
        self.lock().granted.clone()
    }

    /// Waits until the leader's loop has turned for a renewal.
    pub async fn turned(&self) {
        let due = self.lock().due.clone();
        let Some(due) = due else { return std::future::pending().await };
        // The channel has room for one renewal, so a second finds room when the first was taken.
        if due.send(()).await.is_err() || due.reserve().await.is_err() {
            std::future::pending().await
        }
    }
}

#[async_trait]
impl Election for World {
    async fn campaign(
        &self,
        _application: &ApplicationRef,
        at_least: Epoch,
    ) -> PortResult<Box<dyn Leadership>> {
        loop {
            let free = {
                let mut state = self.lock();
                let free = state.lease.as_ref().is_none_or(|(_, lease)| lease.is_closed());
                if free {
                    let last = state.granted.last().copied().unwrap_or_default();
                    let epoch = Epoch(last.max(at_least).get() + 1);
                    state.granted.push(epoch);
                    let (sender, lease) =
                        watch::channel(Lease::Until(self.clock.boot() + Duration::from_secs(3600)));
                    state.lease = Some((epoch, sender));
                    let (due, turns) = mpsc::channel(1);
                    state.due = Some(due);
                    let turns = Mutex::new(Some(turns));
                    return Ok(Box::new(Granted { world: self.clone(), epoch, lease, turns }));
                }
                free
            };
            debug_assert!(!free);
            self.clock.sleep(Duration::from_millis(1)).await;
        }
    }
}

/// An epoch that was granted to a contender.
struct Granted {
    world: World,
    epoch: Epoch,
    lease: watch::Receiver<Lease>,
    turns: Mutex<Option<mpsc::Receiver<()>>>,
}

#[async_trait]
impl Leadership for Granted {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn cause(&self) -> String {
        String::new()
    }

    fn lease(&self) -> watch::Receiver<Lease> {
        self.lease.clone()
    }

    fn standbys(&self) -> watch::Receiver<Vec<String>> {
        watch::channel(vec!["runner-9".to_owned()]).1
    }

    fn turns(&self) -> Turns {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner).take();
        // If a second loop asks for turns, it gets none.
        turns.map_or_else(|| stream::pending().boxed(), |turns| ReceiverStream::new(turns).boxed())
    }

    async fn resign(&self) {
        self.end();
    }
}

impl Granted {
    fn end(&self) {
        let mut state = self.world.lock();
        if state.lease.as_ref().is_some_and(|(epoch, _)| *epoch == self.epoch) {
            state.lease = None;
        }
    }
}

/// A leadership that is dropped is not renewed any more. Here it ends at once instead of running
/// out.
impl Drop for Granted {
    fn drop(&mut self) {
        self.end();
    }
}
