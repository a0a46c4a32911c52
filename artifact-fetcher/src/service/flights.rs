//! Transfers that are under way, so that two callers that want the same bytes share one transfer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::Digest;
use tokio::sync::watch;

use super::Inner;
use super::transfer::{self, Progress};
use crate::cache::Kept;
use crate::error::FetchError;
use crate::model::Location;

/// How long a transfer goes on when its last caller has left. The time is longer than a contender
/// takes from being elected to asking for what it was warming up, and than the next contender takes
/// to lead when the leader has died: both go on with the transfer.
const LINGER: Duration = Duration::from_secs(10);

/// What one transfer brings: the address and the expected digest.
pub(super) type Key = (Location, Option<Digest>);

/// How far a transfer is, or how it ended.
#[derive(Debug, Clone)]
pub(super) enum State {
    Moving(Progress),
    Done(Result<Kept, FetchError>),
}

/// The transfers under way.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<Key, Arc<watch::Sender<State>>>>);

/// A caller's seat in a transfer. When all seats are given up and no caller takes one for a while,
/// the transfer is given up too.
pub(super) struct Seat {
    pub(super) state: watch::Receiver<State>,
    /// Whether the transfer answers exactly what this caller asked.
    pub(super) own: bool,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<watch::Sender<State>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a transfer without callers; `false` if a caller has come meanwhile.
    fn abandon(&self, key: &Key, state: &watch::Sender<State>) -> bool {
        let mut flights = self.lock();
        let nobody = state.receiver_count() == 0;
        if nobody {
            flights.remove(key);
        }
        nobody
    }
}

impl Inner {
    /// Takes a seat in a transfer that brings these bytes: from the same address, or (unless
    /// `own_only`) with the same digest from elsewhere, or from the same address with another
    /// expectation. Begins a transfer if there is none.
    pub(super) fn board(self: &Arc<Self>, key: Key, own_only: bool) -> Seat {
        let mut flights = self.flights.lock();
        if let Some(state) = flights.get(&key) {
            return Seat { state: state.subscribe(), own: true };
        }
        let brings = |other: &Key| {
            let same_address = other.0 == key.0 && (other.1.is_none() || key.1.is_none());
            let same_bytes = key.1.is_some() && other.1 == key.1;
            same_address || same_bytes
        };
        if !own_only && let Some((_, state)) = flights.iter().find(|(other, _)| brings(other)) {
            return Seat { state: state.subscribe(), own: false };
        }
        let (sender, state) = watch::channel(State::Moving(Progress::default()));
        let sender = Arc::new(sender);
        flights.insert(key.clone(), sender.clone());
        drop(flights);
        let inner = self.clone();
        self.tasks.spawn_job(format!("fetch {}", key.0), async move {
            inner.fly(&key, &sender).await;
            Ok::<(), std::convert::Infallible>(())
        });
        Seat { state, own: true }
    }

    /// Runs one transfer to its end, until it has had no caller for a while, or until the process
    /// ends.
    async fn fly(&self, key: &Key, state: &watch::Sender<State>) {
        let abandoned = async {
            loop {
                state.closed().await;
                self.clock.sleep(LINGER).await;
                if self.flights.abandon(key, state) {
                    return;
                }
            }
        };
        let tell = |progress| {
            state.send_replace(State::Moving(progress));
        };
        let outcome = tokio::select! {
            outcome = transfer::run(self, &key.0, key.1, &tell) => outcome,
            () = abandoned => return tracing::debug!("no caller waits for {} any more", key.0),
            () = self.tasks.shutdown().begun() => Err(FetchError::GoingDown),
        };
        self.flights.lock().remove(key);
        state.send_replace(State::Done(outcome));
    }
}
