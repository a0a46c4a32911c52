//! Bringing a process's output into the record: from where the record has it, until all of it is there. Never in the way of
//! the process, because its tether keeps what is not taken.

use std::sync::Arc;
use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, SharedClock};
use client::tether::Chunk;
use futures::StreamExt as _;

use crate::model::Order;
use crate::record::{Log, LogBatch, LogSource, Record, RecordError};
use crate::substrate::{Live, Output, Substrate, SubstrateError};

/// Chunks that go into one batch, at most: with 64 KiB each a batch stays below a message's limit.
const CHUNKS_PER_BATCH: usize = 16;

/// Ships the output of one start.
pub(super) struct Shipping {
    pub(super) order: Order,
    /// `None` when only what it left is there.
    pub(super) live: Option<Arc<dyn Live>>,
    pub(super) substrate: Arc<dyn Substrate>,
    pub(super) record: Arc<dyn Record>,
    pub(super) clock: SharedClock,
}

/// Why a try ended before all was shipped.
enum Broken {
    Record(RecordError),
    LogClosed,
    Output(SubstrateError),
}

impl Shipping {
    /// Runs until all output is durable, or until the record refuses it for good.
    pub(super) async fn run(self) {
        let source = LogSource::new(&self.order.slot, self.order.start);
        let key = self.order.slot.key();
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        let mut live = self.live.clone();
        loop {
            match self.ship(&source, live.as_ref(), &mut backoff).await {
                Ok(()) => return,
                Err(Broken::Record(RecordError::Refused(why))) => {
                    tracing::warn!("{key}: its output is not kept: {why}");
                    return;
                }
                Err(Broken::Record(error)) => tracing::debug!("{key}: output waits: {error}"),
                Err(Broken::LogClosed) => tracing::debug!("{key}: output waits: the log was closed"),
                Err(Broken::Output(error)) => {
                    tracing::debug!("{key}: {error}");
                    // Its keeper is gone. What it kept is still there, and nothing more is coming.
                    live = None;
                }
            }
            self.clock.sleep(backoff.next_delay()).await;
        }
    }

    async fn ship(
        &self,
        source: &LogSource,
        live: Option<&Arc<dyn Live>>,
        backoff: &mut Backoff,
    ) -> Result<(), Broken> {
        let mut log = self.record.open_log(source).await.map_err(Broken::Record)?;
        let offset = *log.acknowledged.borrow_and_update();
        let output: Output = match live {
            Some(live) => live.output(offset).await.map_err(Broken::Output)?,
            None => self.substrate.remains(&self.order, offset).await,
        };
        let mut batches = output.ready_chunks(CHUNKS_PER_BATCH);
        let mut sent = offset;
        while let Some(chunks) = next_batch(&mut batches, &mut log).await? {
            let chunks: Vec<Chunk> = chunks.into_iter().collect::<Result<_, _>>().map_err(Broken::Output)?;
            sent = chunks.last().map_or(sent, |chunk| chunk.next_offset);
            log.batches.send(LogBatch { chunks, complete: false }).await.map_err(|_| Broken::LogClosed)?;
            backoff.reset();
        }
        let complete = LogBatch { chunks: Vec::new(), complete: true };
        log.batches.send(complete).await.map_err(|_| Broken::LogClosed)?;
        log.acknowledged.wait_for(|durable| *durable >= sent).await.map_err(|_| Broken::LogClosed)?;
        Ok(())
    }
}

/// What is there of the output; `None` at its end. A log that breaks meanwhile is an error also while nothing is said.
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
