//! The seam: who leads an application, since which epoch. Backends: [`embedded`] (one elector process with a small
//! data base of its own) and [`memory`] (the same, forgetting at the end of the process).

pub mod embedded;
pub mod ledger;
pub mod lock;
pub mod memory;
pub mod single;

use async_trait::async_trait;
use proto::{ApplicationId, EpochFence};

use crate::error::Error;
use crate::model::{Cause, Enter, Standing, View};

/// Campaigns for the leadership of applications.
///
/// Laws:
/// 1. At any moment at most one holder of an application is within its lease, counted from the *sending* of its last
///    renewal that succeeded.
/// 2. Epochs of one application only grow: across holders, generations, and the end of the elector at any moment.
///    An epoch granted is above the entry's `at_least`.
/// 3. Nothing renews a lease but [`Campaign::renew`]. A holder that is silent for a lease has lost, its stream open or not.
/// 4. The same holder may go on with its epoch on another stream within its lease, also after a restart of the elector;
///    after the lease it is refused.
/// 5. Whoever resigned is succeeded at once, and stays resigned after a restart.
/// 6. A lease ends early only when this elector saw the holder's stream break *and* the holder's lock is free.
/// 7. Who waits is granted in the order of entering.
#[async_trait]
pub trait Election: Send + Sync + 'static {
    /// Enters a campaign. What it leads to comes out of [`Campaign::next`].
    async fn enter(&self, enter: Enter) -> Result<Box<dyn Campaign>, Error>;

    /// The leadership of one application and its changes.
    async fn observe(&self, application: &ApplicationId) -> Result<Box<dyn Observation>, Error>;

    /// Gives a leadership up, durable when this returns. `false`: the holder does not hold this epoch (any more).
    async fn resign(&self, fence: &EpochFence, holder: &str) -> Result<bool, Error>;
}

/// One entry into a campaign. Dropping it is what the elector sees as the break of the holder's stream.
#[async_trait]
pub trait Campaign: Send {
    /// What this entry is: at once at the first call, then whenever it changes. Cancel safe.
    async fn next(&mut self) -> Result<Standing, Error>;

    /// Renews the lease for a leader, in answer to its own message. The inner `Err`: it leads no more.
    async fn renew(&mut self) -> Result<Result<(), Cause>, Error>;

    /// Lets go without a break: the elector itself is ending, which says nothing about the holder.
    fn leave_open(self: Box<Self>);
}

/// One look at an application's leadership.
#[async_trait]
pub trait Observation: Send {
    /// What is so: at once at the first call, then whenever it changes. Cancel safe.
    async fn next(&mut self) -> Result<View, Error>;
}

#[cfg(test)]
mod laws;
