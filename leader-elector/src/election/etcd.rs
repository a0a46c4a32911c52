//! The election on etcd: any number of electors, each of them stateless, over one key per
//! application.
//!
//! The leader's key is created, if it is absent, under a lease, in one transaction with the counter
//! of epochs (`etcd/board.rs`). The lease is renewed only in answer to the holder's own renewals, as
//! everywhere; who leads is what etcd says, whichever elector asks. A holder goes on with its epoch
//! through any elector, because the key tells the lease.

mod board;
mod campaign;
mod desk;
mod give_back;
mod keys;
mod observation;
mod probe;
mod seats;

use std::sync::Arc;
use std::time::Duration;

use ::etcd::{Error as EtcdError, Etcd};
use async_trait::async_trait;
use chassis::clock::SharedClock;
use chassis::tasks::{OwnedTask, owned};
use proto::{ApplicationId, EpochFence};
use tokio::sync::mpsc;

use super::lock::Locks;
use super::{Campaign, Election, Observation};
use crate::error::Error;
use crate::model::{Cause, Enter};
use board::Board;
use campaign::{Abandoned, EtcdCampaign};
use desk::Desks;
use give_back::ABANDONED;
use observation::EtcdObservation;

/// How long a call goes from member to member. An election of etcd's own leader takes one to two
/// seconds.
const PATIENCE: Duration = Duration::from_secs(8);

/// An elector on etcd.
pub struct EtcdElection {
    shared: Arc<Shared>,
    /// Looks at locks for as long as the elector is there.
    _probe: OwnedTask<()>,
    /// Gives seats back for as long as the elector is there.
    _give_back: OwnedTask<()>,
}

/// What all campaigns of one elector have in common.
struct Shared {
    etcd: Etcd,
    board: Board,
    desks: Desks,
    /// Where an entry that goes leaves the seat that is being taken for it.
    abandoned: mpsc::Sender<Abandoned>,
    locks: Arc<dyn Locks>,
    clock: SharedClock,
    lease: Duration,
}

impl EtcdElection {
    /// An elector over the keys below `prefix`. `lease` is how long a silent holder keeps its
    /// leadership; etcd may grant more. The etcd client is this elector's alone, so that no other
    /// traffic stands before a renewal.
    pub async fn open(
        etcd: Etcd,
        prefix: &str,
        locks: Arc<dyn Locks>,
        clock: SharedClock,
        lease: Duration,
    ) -> Result<Self, Error> {
        let board = Board::open(etcd.clone(), prefix).await?;
        let desks = Desks::default();
        let (abandoned, left) = mpsc::channel(ABANDONED);
        let shared = Arc::new(Shared { etcd, board, desks, abandoned, locks, clock, lease });
        let probe = owned("election-probe", probe::keep_probing(shared.clone()));
        let give_back = owned("election-give-back", give_back::keep_giving(shared.clone(), left));
        Ok(Self { shared, _probe: probe, _give_back: give_back })
    }
}

#[async_trait]
impl Election for EtcdElection {
    async fn enter(&self, enter: Enter) -> Result<Box<dyn Campaign>, Error> {
        Ok(Box::new(EtcdCampaign::enter(self.shared.clone(), enter).await?))
    }

    async fn observe(&self, application: &ApplicationId) -> Result<Box<dyn Observation>, Error> {
        Ok(Box::new(EtcdObservation::of(self.shared.clone(), application.clone())))
    }

    async fn resign(&self, fence: &EpochFence, holder: &str) -> Result<bool, Error> {
        let id = &fence.application.id;
        let seat = self.shared.board.look(id, PATIENCE).await?;
        let Some(led) =
            seat.leader.filter(|led| led.term.epoch == fence.epoch && led.term.holder == holder)
        else {
            return Ok(false);
        };
        self.shared.board.end(id, &led, Cause::Resigned).await
    }
}

/// Nothing of what etcd refuses is the caller's doing.
impl From<EtcdError> for Error {
    fn from(error: EtcdError) -> Self {
        let full = matches!(error, EtcdError::Full(_));
        Self::Etcd { why: error.to_string(), full }
    }
}
