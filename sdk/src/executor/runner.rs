//! The runner that started this process, over `ExecutionService`. Calls wait for as long as the
//! runner is away.

use async_trait::async_trait;
use bytes::Bytes;
use client::execution::{Accepted, ExecuteCall, ExecuteEvent, Execution};
use futures::TryStreamExt as _;
use proto::JobId;

use super::{Ended, Executor, Refusal};

/// The runner of this process's main().
pub(crate) struct Runner {
    execution: Execution,
}

impl Runner {
    pub(crate) fn new(execution: Execution) -> Self {
        Self { execution }
    }
}

#[async_trait]
impl Executor for Runner {
    async fn execute(&self, call: ExecuteCall) -> Result<Ended, Refusal> {
        let mut running = self.execution.execute(call);
        let mut accepted = Accepted::default();
        while let Some(event) = running.next().await {
            match event? {
                ExecuteEvent::Accepted(answer) => {
                    if !answer.warning.is_empty() {
                        eprintln!("warning: job {}: {}", answer.name, answer.warning);
                    }
                    accepted = answer;
                }
                ExecuteEvent::Progress(_) => {}
                ExecuteEvent::Ended(end) => return Ok(Ended { accepted, end }),
            }
        }
        Err(Refusal {
            reason: None,
            message: "the runner closed the call without an end".to_owned(),
        })
    }

    async fn rows(&self, job: JobId) -> Result<Bytes, Refusal> {
        let chunks =
            self.execution.read_result(job).try_fold(Vec::new(), |mut all, chunk| async move {
                all.extend_from_slice(&chunk);
                Ok(all)
            });
        Ok(chunks.await?.into())
    }

    async fn journal_get(&self, key: &str) -> Result<Option<Bytes>, Refusal> {
        Ok(self.execution.journal_get(key).await?)
    }

    async fn journal_put(&self, key: &str, value: Bytes) -> Result<Bytes, Refusal> {
        Ok(self.execution.journal_put(key, value).await?.0)
    }

    async fn finish(&self, _: bool) -> Option<Ended> {
        // The runner sees how this process exits, and does what follows from that.
        None
    }
}
