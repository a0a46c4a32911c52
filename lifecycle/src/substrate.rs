//! Where processes run. An engine describes processes, a substrate realises them, and neither knows
//! the other.

mod local;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use client::tether::{Chunk, Exit, LastWords};
use futures::stream::BoxStream;
use proto::ApplicationRef;

use crate::model::{self, Order, RoleSpec, Scope, Slot};
use crate::record::LogSource;

pub use local::Local;

/// What a substrate could not do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SubstrateError(pub String);

/// Output of one start of a process, in order.
pub type Output = BoxStream<'static, Result<Chunk, SubstrateError>>;

/// Where a process serves, and where its keeper can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The endpoint of the process, its `MAINSPRING_ENDPOINT`.
    pub endpoint: String,
    /// The endpoint of the process's tether, for the record.
    pub keeper: String,
}

/// What became of a process that an earlier lifecycle has started.
#[derive(Clone)]
pub enum Adopted {
    /// The process lives, or its end can still be asked for.
    Live(Arc<dyn Live>),
    /// The process is gone and nothing of it is left. The exit says how it ended, as far as that is
    /// known.
    Gone(Exit),
}

/// What a sweep could not do, one line each; empty when all is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// The processes that live on, such as `pid 812 (worker-0)`, or why they cannot be found.
    pub alive: Vec<String>,
    /// The files that are still there, each with the reason.
    pub files: Vec<String>,
}

impl Leftovers {
    /// All lines, as people are told them.
    pub fn lines(self) -> Vec<String> {
        let Self { mut alive, files } = self;
        alive.extend(files);
        alive
    }
}

/// Starts processes, finds them again, and makes sure that they are gone.
///
/// The minders of lifecycle call the substrate, one minder per process. A lifecycle can be killed
/// at any moment, and two of them may live side by side for a while: so a process has to outlive
/// the handle that started it, every call has to be safe to repeat, and a process is known by its
/// [`Slot`] and start alone. The substrate does not decide: which process is to run, and what
/// follows from an exit, is lifecycle's to say.
///
/// Laws, which `tests/support/laws.rs` states as tests for any substrate: what `start` has returned
/// is found by `adopt` with the same order until it is released, also by another instance of the
/// substrate; dropping a [`Live`] ends nothing by itself; after `sweep` nothing of the group lives,
/// and nothing else was touched; a process that cannot be started answers an exit with a
/// `start_error`; output is gone only after `forget_output` or `empty_outbox`: `sweep` moves what
/// is left of it to the outbox.
#[async_trait]
pub trait Substrate: Send + Sync + 'static {
    /// Where the process of this order will serve: the same for every caller.
    fn addresses(&self, order: &Order) -> Addresses;

    /// Chooses where the named ports of a group's roles are. All ports are different and free right
    /// now; a process finds out when it binds its port whether the port still is.
    async fn choose_ports(&self, roles: &[RoleSpec]) -> Result<model::Addresses, SubstrateError>;

    /// Starts the process in its working directory. An error means that nothing was started.
    async fn start(&self, order: &Order) -> Result<Arc<dyn Live>, SubstrateError>;

    /// Finds the process of an earlier `start`, or of a start that was cut off in the middle.
    /// Bounded.
    async fn adopt(&self, order: &Order) -> Adopted;

    /// The output that a start has left, from an offset on, once the process cannot be asked for it
    /// any more.
    async fn remains(&self, order: &Order, offset: u64) -> Output;

    /// Removes what is kept of a start's output, all of which is in the record.
    async fn forget_output(&self, order: &Order);

    /// The sources whose output is in the outbox: their processes' files had to go before the
    /// output was in the record.
    async fn outbox(&self) -> Vec<LogSource>;

    /// The output of a source in the outbox, from an offset on.
    async fn outbox_output(&self, source: &LogSource, offset: u64) -> Output;

    /// Removes a source from the outbox, because its output is in the record, or the record knows
    /// no such application.
    async fn empty_outbox(&self, source: &LogSource);

    /// What a start said last. The tail of its stderr has at most `max_bytes`.
    async fn last_words(&self, order: &Order, max_bytes: usize) -> LastWords;

    /// The generations that have a work directory here. A substrate on which no runner starts a
    /// main() has none.
    async fn generations(&self) -> Vec<ApplicationRef> {
        Vec::new()
    }

    /// Ends by force what lives of these groups, and removes what they left. Answers what could not
    /// be ended or removed. Bounded.
    async fn sweep(&self, scope: &Scope) -> Leftovers;
}

/// A process that was started or adopted.
///
/// A minder holds one for as long as it minds the process. Dropping a handle ends nothing by
/// itself: the process waits for the next lifecycle, for as long as the substrate lets it.
#[async_trait]
pub trait Live: Send + Sync {
    /// The process id.
    fn pid(&self) -> u32;

    /// Waits until nothing of the process is left. Many callers may wait, and any of them again.
    async fn exited(&self) -> Exit;

    /// Asks once whether the process is ready, or still answers. Bounded.
    async fn answers(&self) -> bool;

    /// Asks the process to end, and ends it by force after `grace`; zero: at once. Returns when
    /// nothing of the process is left. Bounded.
    async fn end(&self, grace: Duration) -> Exit;

    /// The output of the process from an offset on, until the process has ended.
    async fn output(&self, offset: u64) -> Result<Output, SubstrateError>;

    /// Lets go of a process that has exited: its exit is known and its output is elsewhere.
    async fn release(&self);
}

/// The line of a leak report for a process.
pub(crate) fn leftover(pid: u32, slot: Option<&Slot>) -> String {
    match slot {
        Some(slot) => format!("pid {pid} ({})", slot.name()),
        None => format!("pid {pid}"),
    }
}

/// The line of a leak report for a file.
pub(crate) fn unremoved(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
