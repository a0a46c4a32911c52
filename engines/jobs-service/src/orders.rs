//! Which leader may give orders: the one of a single epoch, which the record has confirmed.

use std::sync::{Arc, Mutex, PoisonError};

use proto::{Epoch, EpochFence, Incarnation, IncarnationFence};
use tokio::sync::watch;

/// Why an order is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The order is for another application or another incarnation of its cluster.
    #[error("this is the cluster of {ours}, the call is for {theirs}")]
    NotHere {
        /// The cluster that this is.
        ours: String,
        /// The cluster that was meant.
        theirs: String,
    },
    /// No leader of this epoch has adopted the cluster since this process started.
    #[error("epoch {0} has not adopted this cluster: Adopt comes first")]
    NotAdopted(Epoch),
    /// A later leader gives the orders.
    #[error("epoch {theirs} is superseded by {ours}")]
    Superseded {
        /// The epoch that gives orders.
        ours: Epoch,
        /// The epoch of the caller.
        theirs: Epoch,
    },
    /// The record says that this epoch does not lead.
    #[error("the record does not know epoch {0} as the leader")]
    NotLeader(Epoch),
}

/// The epoch whose orders are taken in this process, and the sign of change that its watchers wait
/// for. Clones are the same.
///
/// The epoch only ever grows, and lives in this process alone: after a start no leader is obeyed
/// until it has adopted the cluster, which it may do only once the record has confirmed its epoch.
/// Therefore a superseded leader cannot give orders to a cluster that its successor has adopted.
#[derive(Clone)]
pub struct Orders(Arc<Inner>);

struct Inner {
    fence: IncarnationFence,
    epoch: Mutex<Option<Epoch>>,
    changes: watch::Sender<u64>,
}

impl Orders {
    /// Orders that no leader may give yet, for this cluster.
    pub fn new(fence: IncarnationFence) -> Self {
        Self(Arc::new(Inner { fence, epoch: Mutex::default(), changes: watch::Sender::default() }))
    }

    /// The cluster that this is.
    pub fn fence(&self) -> &IncarnationFence {
        &self.0.fence
    }

    /// Whether this leader may take over here, as far as this process knows without asking the
    /// record.
    pub fn may_adopt(&self, fence: &EpochFence, incarnation: Incarnation) -> Result<(), NotTaken> {
        let own = &self.0.fence;
        if fence.application != own.application || incarnation != own.incarnation {
            return Err(NotTaken::NotHere {
                ours: format!("{} incarnation {}", own.application, own.incarnation),
                theirs: format!("{} incarnation {incarnation}", fence.application),
            });
        }
        self.not_superseded(fence.epoch)
    }

    /// Takes orders from this epoch from now on, unless a later epoch has adopted the cluster in
    /// the meantime.
    pub fn adopt(&self, epoch: Epoch) -> Result<(), NotTaken> {
        {
            let mut standing = self.0.epoch.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(ours) = standing.filter(|ours| *ours > epoch) {
                return Err(NotTaken::Superseded { ours, theirs: epoch });
            }
            *standing = Some(epoch);
        }
        self.changed();
        Ok(())
    }

    /// Lets an order pass if its epoch is the one that adopted this cluster.
    pub fn check(&self, fence: &EpochFence) -> Result<(), NotTaken> {
        let own = &self.0.fence.application;
        if fence.application != *own {
            return Err(NotTaken::NotHere {
                ours: own.to_string(),
                theirs: fence.application.to_string(),
            });
        }
        self.not_superseded(fence.epoch)?;
        match self.epoch() {
            Some(ours) if ours == fence.epoch => Ok(()),
            _ => Err(NotTaken::NotAdopted(fence.epoch)),
        }
    }

    /// Whether no later leader has taken over. An order that has waited asks again before it acts.
    pub fn not_superseded(&self, theirs: Epoch) -> Result<(), NotTaken> {
        match self.epoch() {
            Some(ours) if ours > theirs => Err(NotTaken::Superseded { ours, theirs }),
            _ => Ok(()),
        }
    }

    /// Tells the watchers that a job or the epoch has changed.
    pub fn changed(&self) {
        self.0.changes.send_modify(|revision| *revision += 1);
    }

    /// A number that moves with each change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    fn epoch(&self) -> Option<Epoch> {
        *self.0.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proto::{ApplicationRef, Generation};

    use super::*;

    fn application(id: &str) -> ApplicationRef {
        ApplicationRef { id: id.parse().unwrap(), generation: Generation(1) }
    }

    fn orders() -> Orders {
        Orders::new(IncarnationFence {
            application: application("orders"),
            incarnation: Incarnation(5),
        })
    }

    fn leader(id: &str, epoch: u64) -> EpochFence {
        EpochFence { application: application(id), epoch: Epoch(epoch) }
    }

    #[test]
    fn the_latest_leader_that_adopted_gives_orders_and_nobody_else() {
        let orders = orders();
        assert_eq!(orders.check(&leader("orders", 3)), Err(NotTaken::NotAdopted(Epoch(3))));
        orders.adopt(Epoch(3)).unwrap();
        assert_eq!(orders.check(&leader("orders", 3)), Ok(()));
        assert_eq!(orders.check(&leader("orders", 4)), Err(NotTaken::NotAdopted(Epoch(4))));

        orders.adopt(Epoch(4)).unwrap();
        let superseded = NotTaken::Superseded { ours: Epoch(4), theirs: Epoch(3) };
        assert_eq!(orders.adopt(Epoch(3)).as_ref(), Err(&superseded));
        assert_eq!(
            orders.may_adopt(&leader("orders", 3), Incarnation(5)).as_ref(),
            Err(&superseded)
        );
        assert_eq!(orders.check(&leader("orders", 3)), Err(superseded));
    }

    #[test]
    fn another_cluster_is_not_this_one() {
        let orders = orders();
        orders.adopt(Epoch(3)).unwrap();
        let elsewhere = |taken| matches!(taken, Err(NotTaken::NotHere { .. }));
        assert!(elsewhere(orders.check(&leader("payments", 3))));
        assert!(elsewhere(orders.may_adopt(&leader("payments", 3), Incarnation(5))));
        assert!(elsewhere(orders.may_adopt(&leader("orders", 3), Incarnation(6))));
    }
}
