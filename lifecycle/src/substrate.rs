//! Where processes run. An engine describes them, a substrate realises them, and neither knows the other.

pub mod laws;
mod local;
mod memory;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use client::tether::{Chunk, Exit, LastWords};
use futures::stream::BoxStream;

use crate::model::{self, Order, RoleSpec, Scope, Slot};
use crate::record::LogSource;

pub use local::Local;
pub use memory::Memory;

/// What a substrate could not do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SubstrateError(pub String);

/// Output of one start of a process, in order.
pub type Output = BoxStream<'static, Result<Chunk, SubstrateError>>;

/// Where a process serves, and where what keeps it can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// `MAINSPRING_ENDPOINT` of the process.
    pub endpoint: String,
    /// For the record: the tether's endpoint.
    pub keeper: String,
}

/// What became of a process that an earlier lifecycle has started.
#[derive(Clone)]
pub enum Adopted {
    /// It lives, or its end can still be asked for.
    Live(Arc<dyn Live>),
    /// It is gone. How it ended, as far as that is known; nothing of it is left.
    Gone(Exit),
}

/// Starts processes, finds them again, and makes sure that they are gone.
///
/// Laws (see [`laws`]): what `start` has returned is found by `adopt` with the same order until it is released, also by
/// another instance of the substrate; dropping a [`Live`] ends nothing by itself; after `sweep` nothing of the group
/// lives, and nothing else was touched; a process that cannot be started answers an exit with a `start_error`; output is
/// gone only after `forget_output` or `empty_outbox`: `sweep` moves what is left of it to the outbox.
#[async_trait]
pub trait Substrate: Send + Sync + 'static {
    /// Where the process of this order will serve. The same for every caller.
    fn addresses(&self, order: &Order) -> Addresses;

    /// Chooses where the named ports of a group's roles are. All are different and free right now; whether one still is when
    /// its process binds it, that process finds out.
    async fn choose_ports(&self, roles: &[RoleSpec]) -> Result<model::Addresses, SubstrateError>;

    /// Starts the process in its working directory. An error means that nothing was started.
    async fn start(&self, order: &Order) -> Result<Arc<dyn Live>, SubstrateError>;

    /// Finds the process of an earlier `start`, or of one that was cut off in the middle. Bounded.
    async fn adopt(&self, order: &Order) -> Adopted;

    /// What a start has left of its output from an offset on, once it can no longer be asked for it.
    async fn remains(&self, order: &Order, offset: u64) -> Output;

    /// All output of a start is in the record: what is kept of it here goes.
    async fn forget_output(&self, order: &Order);

    /// Output whose process's files had to go before it was in the record: whose it is.
    async fn outbox(&self) -> Vec<LogSource>;

    /// Such output, from an offset on.
    async fn outbox_output(&self, source: &LogSource, offset: u64) -> Output;

    /// It is in the record, or the record knows no such application: it goes.
    async fn empty_outbox(&self, source: &LogSource);

    /// What a start said last; the tail of its stderr has at most `max_bytes`.
    async fn last_words(&self, order: &Order, max_bytes: usize) -> LastWords;

    /// Ends whatever lives of these groups, by force, and removes what they left; answers what could not be ended or
    /// removed, one line each, such as `pid 812 (worker-0)`. Bounded.
    async fn sweep(&self, scope: &Scope) -> Vec<String>;
}

/// A process that was started or adopted.
#[async_trait]
pub trait Live: Send + Sync {
    /// Its process id.
    fn pid(&self) -> u32;

    /// Waits until nothing of it is left. May be awaited by many and again.
    async fn exited(&self) -> Exit;

    /// Asks once whether it is ready, or still answers. Bounded.
    async fn answers(&self) -> bool;

    /// Asks it to end, and ends it by force after `grace`; zero: at once. Returns when nothing of it is left. Bounded.
    async fn end(&self, grace: Duration) -> Exit;

    /// Its output from an offset on, until it has ended.
    async fn output(&self, offset: u64) -> Result<Output, SubstrateError>;

    /// Its exit is known and its output is elsewhere: lets go of it. Only after it has exited.
    async fn release(&self);
}

/// A line of a leak report.
pub(crate) fn leftover(pid: u32, slot: Option<&Slot>) -> String {
    match slot {
        Some(slot) => format!("pid {pid} ({})", slot.name()),
        None => format!("pid {pid}"),
    }
}

/// A line of a leak report.
pub(crate) fn unremoved(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
