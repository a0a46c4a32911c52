//! The processes that are minded together, and what is known of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use chassis::clock::Boot;
use tokio::sync::watch;

use crate::model::{Addresses, GroupId, Phase, Slot, Status, phase};

/// A group under way. What is known of its processes is one value that every caller can watch.
pub(crate) struct Group {
    /// The id of the group.
    pub(crate) id: GroupId,
    board: watch::Sender<Vec<Status>>,
    slots: Mutex<Vec<Slot>>,
    stop: watch::Sender<Option<Duration>>,
    addresses: OnceLock<Addresses>,
    /// When the record was last asked with the answer that the group is to live, in nanoseconds of
    /// boot time.
    confirmed: AtomicU64,
}

impl Group {
    /// A group without processes yet, which the record has confirmed by now.
    pub(super) fn new(id: GroupId, now: Boot) -> Self {
        Self {
            id,
            board: watch::Sender::new(Vec::new()),
            slots: Mutex::default(),
            stop: watch::Sender::new(None),
            addresses: OnceLock::new(),
            confirmed: AtomicU64::new(now.as_nanos()),
        }
    }

    /// Notes that the record has confirmed the group when it was asked at this instant: what
    /// happened after the question is not known.
    pub(super) fn confirm(&self, asked: Boot) {
        self.confirmed.fetch_max(asked.as_nanos(), Ordering::Relaxed);
    }

    /// The instant up to which the group is known to be wanted.
    pub(super) fn confirmed(&self) -> Boot {
        Boot::from_nanos(self.confirmed.load(Ordering::Relaxed))
    }

    /// Whether the outputs of the cluster are visible as they are written.
    pub(super) fn is_ungated(&self) -> bool {
        self.board.borrow().iter().any(|status| status.ungated)
    }

    /// Where the group's named ports are; empty before they were chosen.
    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses.get().cloned().unwrap_or_default()
    }

    /// Keeps where the group's ports are, unless that was chosen before.
    pub(super) fn keep_addresses(&self, addresses: Addresses) {
        let _ = self.addresses.set(addresses);
    }

    /// What is known of the group's processes, now and from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<Vec<Status>> {
        self.board.subscribe()
    }

    /// What is known of the group's processes now.
    pub(crate) fn statuses(&self) -> Vec<Status> {
        self.board.borrow().clone()
    }

    /// Adds a process, unless it is there, and answers its place on the board.
    pub(super) fn add(&self, slot: &Slot, status: Status) -> Option<usize> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.contains(slot) {
            return None;
        }
        slots.push(slot.clone());
        self.board.send_modify(|statuses| statuses.push(status));
        Some(slots.len() - 1)
    }

    pub(super) fn update(&self, place: usize, change: impl FnOnce(&mut Status)) {
        self.board.send_modify(|statuses| {
            if let Some(status) = statuses.get_mut(place) {
                change(status);
            }
        });
    }

    /// Asks all processes of the group to end. The shortest grace that was asked for counts.
    pub(super) fn stop(&self, grace: Duration) {
        self.stop
            .send_modify(|asked| *asked = Some(asked.map_or(grace, |earlier| earlier.min(grace))));
    }

    /// Whether the group is asked to end, and with which grace.
    pub(super) fn stop_asked(&self) -> watch::Receiver<Option<Duration>> {
        self.stop.subscribe()
    }

    /// Waits until nothing of the group is minded any more.
    pub(super) async fn gone(&self) {
        let mut board = self.board.subscribe();
        // Waiting cannot fail: the sender lives in `self`.
        let _ = board.wait_for(|statuses| phase(statuses) == Phase::Gone).await;
    }
}
