//! The seam: who leads an application, since which epoch.
//!
//! The backends differ only in where grants are kept: [`embedded`] is one elector process with a
//! small database of its own, and [`mod@etcd`] is any number of electors over one etcd. Tests have
//! the embedded one without a disk, too.

pub mod embedded;
pub mod etcd;
pub mod ledger;
pub mod lock;
#[cfg(test)]
pub(crate) mod memory;
pub mod single;
pub mod standbys;

use async_trait::async_trait;
use proto::{ApplicationId, EpochFence};

use crate::error::Error;
use crate::model::{Cause, Enter, Position, View};

/// Campaigns for the leadership of applications.
///
/// The service calls this trait once per contender and once per observer; a backend decides who
/// leads, and has every grant written down before the contender learns of it. The laws are what a
/// leader's fence rests on: the record refuses an older epoch, so an election is safe as long as
/// epochs only grow, and useful as long as one contender at a time believes that it leads.
///
/// Laws:
/// 1. At any moment at most one holder of an application is within its lease, counted from the
///    *sending* of the last renewal that succeeded.
/// 2. Epochs of one application only grow: across holders, across generations, and when the elector
///    ends at any moment. A granted epoch is above the entry's `at_least`.
/// 3. Nothing renews a lease but [`Campaign::renew`]. A holder that is silent for a lease has lost
///    the leadership, whether its stream is open or not.
/// 4. The same holder may go on with its epoch on another stream within its lease, also after a
///    restart of the elector; after the lease the elector refuses.
/// 5. A holder that resigned is succeeded at once, and stays resigned after a restart.
/// 6. A lease ends early only when this elector saw the holder's stream break *and* the holder's
///    lock is free.
/// 7. Standbys are granted in the order in which they entered.
#[async_trait]
pub trait Election: Send + Sync + 'static {
    /// Enters a campaign. [`Campaign::next`] tells what the entry leads to.
    async fn enter(&self, enter: Enter) -> Result<Box<dyn Campaign>, Error>;

    /// Opens a look at the leadership of one application and at its changes.
    async fn observe(&self, application: &ApplicationId) -> Result<Box<dyn Observation>, Error>;

    /// Gives a leadership up; the resignation is durable when this returns. `false`: the holder
    /// does not hold this epoch, or holds it no more.
    async fn resign(&self, fence: &EpochFence, holder: &str) -> Result<bool, Error>;
}

/// One contender's entry into a campaign.
///
/// The service holds one campaign per open stream. To drop the campaign is how the service says
/// that the holder's stream broke; [`leave_open`](Self::leave_open) is the other way to part.
#[async_trait]
pub trait Campaign: Send {
    /// The position of this entry: at once at the first call, then whenever it changes. Cancel
    /// safe.
    async fn next(&mut self) -> Result<Position, Error>;

    /// Renews the lease of a leader, in answer to the leader's own message. The inner `Err` says
    /// why the entry leads no more.
    async fn renew(&mut self) -> Result<Result<(), Cause>, Error>;

    /// Lets go of the entry without a break: the elector itself is ending, which says nothing about
    /// the holder.
    fn leave_open(self: Box<Self>);
}

/// One observer's look at an application's leadership.
#[async_trait]
pub trait Observation: Send {
    /// The present view: at once at the first call, then whenever it changes. Cancel safe.
    async fn next(&mut self) -> Result<View, Error>;
}

#[cfg(test)]
pub(crate) mod laws;
