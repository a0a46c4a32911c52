//! Bringing a process's output into the record: from where the record has it, until all of it is
//! there. Shipping is never in the way of the process, because the process's tether keeps what is
//! not taken.

use std::sync::Arc;
use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, SharedClock};
use client::tether::Chunk;
use futures::StreamExt as _;

use crate::model::Order;
use crate::record::{COMPLETE, Log, LogBatch, LogSource, RecordError, Store};
use crate::substrate::{Live, Output, Substrate, SubstrateError};

/// How many chunks go into one batch, at most: with 64 KiB each, a batch stays below a message's
/// limit.
const CHUNKS_PER_BATCH: usize = 16;

/// Where output comes from.
pub(super) enum Origin {
    /// One start of a process. Without a living process only what it left is there.
    Start(Box<Order>, Option<Arc<dyn Live>>),
    /// The outbox, where output is that outlived its process's files.
    Outbox,
}

/// Ships the output of one source.
pub(super) struct Shipping {
    pub(super) source: LogSource,
    pub(super) origin: Origin,
    pub(super) substrate: Arc<dyn Substrate>,
    pub(super) record: Store,
    pub(super) clock: SharedClock,
}

/// Why a try ended before all was shipped.
enum Broken {
    Record(RecordError),
    LogClosed,
    Output(SubstrateError),
}

/// What came of shipping a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shipped {
    /// All of the output is durable.
    Whole,
    /// The record knows no such application, so the output will not be asked for.
    Unwanted,
    /// The record refuses the output, and would refuse it again.
    Refused,
}

impl Shipping {
    /// Runs until all output is durable, or until the record refuses it for good.
    pub(super) async fn run(self) -> Shipped {
        let source = &self.source;
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        loop {
            match self.ship(&mut backoff).await {
                Ok(()) => return Shipped::Whole,
                Err(Broken::Record(RecordError::Refused(why))) => {
                    tracing::warn!("{source}: its output is not taken: {why}");
                    return Shipped::Refused;
                }
                Err(Broken::Record(RecordError::Unknown(why))) => {
                    tracing::warn!("{source}: its output is not kept: {why}");
                    return Shipped::Unwanted;
                }
                Err(Broken::Record(error)) => tracing::debug!("{source}: output waits: {error}"),
                Err(Broken::LogClosed) => {
                    tracing::debug!("{source}: output waits: the log was closed")
                }
                // A keeper that is gone has left what it kept, and its process's exit is known in a
                // moment. Only then is it certain that nothing more is coming.
                Err(Broken::Output(error)) => tracing::debug!("{source}: {error}"),
            }
            self.clock.sleep(backoff.next_delay()).await;
        }
    }

    async fn output(&self, offset: u64) -> Result<Output, Broken> {
        Ok(match &self.origin {
            Origin::Start(_, Some(live)) => live.output(offset).await.map_err(Broken::Output)?,
            Origin::Start(order, None) => self.substrate.remains(order, offset).await,
            Origin::Outbox => self.substrate.outbox_output(&self.source, offset).await,
        })
    }

    async fn ship(&self, backoff: &mut Backoff) -> Result<(), Broken> {
        let mut log = self.record.open_log(&self.source).await.map_err(Broken::Record)?;
        let offset = *log.acknowledged.borrow_and_update();
        let output = self.output(offset).await?;
        let mut batches = output.ready_chunks(CHUNKS_PER_BATCH);
        while let Some(chunks) = next_batch(&mut batches, &mut log).await? {
            let chunks: Vec<Chunk> =
                chunks.into_iter().collect::<Result<_, _>>().map_err(Broken::Output)?;
            log.batches
                .send(LogBatch { chunks, complete: false })
                .await
                .map_err(|_| Broken::LogClosed)?;
            backoff.reset();
        }
        let complete = LogBatch { chunks: Vec::new(), complete: true };
        log.batches.send(complete).await.map_err(|_| Broken::LogClosed)?;
        log.acknowledged
            .wait_for(|durable| *durable == COMPLETE)
            .await
            .map_err(|_| Broken::LogClosed)?;
        Ok(())
    }
}

/// The next output that is there; `None` at its end. A log that breaks is an error, also while the
/// process says nothing.
async fn next_batch<S>(batches: &mut S, log: &mut Log) -> Result<Option<S::Item>, Broken>
where
    S: futures::Stream + Unpin,
{
    loop {
        tokio::select! {
            batch = batches.next() => return Ok(batch),
            acknowledged = log.acknowledged.changed() => {
                if acknowledged.is_err() {
                    return Err(Broken::LogClosed);
                }
            }
        }
    }
}
