//! What main() may ask of its runner: `execute()` as a journalled step, and what goes with it.

mod calls;
mod entry;
mod execute;
mod follow;
mod savepoints;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::stream::BoxStream;
use proto::{Digest, JobId, Reason, api, jobgraph, runner};

use super::shared::Shared;
use crate::error::PortError;
use crate::model::Fact;
use crate::ports::PortResult;
use calls::Calls;

pub use client::execution::MAX_GRAPH_BYTES;
pub use entry::Entered;
pub use execute::{Answer, Call};

/// What the runner of one attempt does for its main(), which asks by `ExecutionService`; cheap to
/// clone. Each job gets an id that stays the same when main() is executed again, so that a repeated
/// `execute()` finds the job of the earlier one.
#[derive(Clone)]
pub struct MainService {
    shared: Arc<Shared>,
    calls: Arc<Mutex<Calls>>,
}

impl MainService {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, calls: Arc::default() }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn equal_names_allowed(&self) -> bool {
        self.shared.engine.get().is_some_and(|engine| engine.equal_job_names)
    }

    /// Asks a job to end.
    pub async fn cancel_job(&self, job: JobId, reason: String) -> PortResult<()> {
        self.known(job).await?;
        let reason = if reason.is_empty() { "main() cancelled it".to_owned() } else { reason };
        self.shared.tell(Fact::CancelWanted { job, reason }).await;
        Ok(())
    }

    /// Keeps bytes by digest; answers whether they were there before.
    pub async fn put_payload(
        &self,
        digest: Digest,
        size_bytes: u64,
        chunks: BoxStream<'static, Bytes>,
    ) -> PortResult<bool> {
        let present = self.shared.ports.payloads.present(&[digest]).await?;
        if present.contains(&digest) {
            return Ok(true);
        }
        self.shared.ports.payloads.put_stream(digest, size_bytes, chunks).await
    }

    /// The rows that an ended job brought back.
    pub async fn read_result(
        &self,
        job: JobId,
    ) -> PortResult<BoxStream<'static, PortResult<Bytes>>> {
        let mut known = self.known(job).await?;
        if known.end.is_none() {
            self.shared.refresh().await?;
            known = self.known(job).await?;
        }
        let end = known.end.ok_or_else(|| {
            PortError::refused(
                Reason::ResultNotReady,
                format!("job {:?} ({job}) has not ended yet", known.name),
            )
        })?;
        if end.result_digest.is_empty() {
            let text = format!("job {:?} ({job}) brought back no rows", known.name);
            return Err(PortError::refused(Reason::ResultNone, text));
        }
        let digest = end.result_digest.parse::<Digest>();
        let digest =
            digest.map_err(|error| PortError::refused(Reason::IdMalformed, error.to_string()))?;
        self.shared.patiently("read a result", || self.shared.ports.payloads.get(digest)).await
    }

    /// One `once` step: reads the value of its key, or keeps this value if there is none.
    pub async fn journal(
        &self,
        key: &str,
        value: Option<Bytes>,
    ) -> PortResult<jobgraph::JournalResponse> {
        let shared = &self.shared;
        shared
            .patiently("keep a once() value", || {
                shared.ports.record.journal(&shared.fence, key, value.clone())
            })
            .await
    }

    /// The cluster that takes this leader's calls, if there is one. The addresses of a cluster that
    /// an earlier leader provisioned come from the record.
    pub fn cluster(&self) -> runner::GetClusterResponse {
        let Some(incarnation) = *self.shared.live.borrow() else {
            return runner::GetClusterResponse::default();
        };
        let addresses = match self.shared.ready(incarnation) {
            Some(ready) => ready.addresses.into_iter().collect(),
            None => {
                let record = self.shared.record.borrow();
                let recorded = record.application.as_ref().and_then(|known| known.cluster.as_ref());
                let recorded = recorded.filter(|cluster| cluster.incarnation == incarnation.get());
                recorded.map(|cluster| cluster.addresses.clone()).unwrap_or_default()
            }
        };
        runner::GetClusterResponse { incarnation: incarnation.get(), addresses }
    }

    /// Which attempt this is.
    pub fn attempt(&self) -> runner::GetAttemptResponse {
        let fence = &self.shared.fence;
        let executions = self
            .shared
            .record
            .borrow()
            .application
            .as_ref()
            .and_then(|a| a.main.as_ref())
            .map_or(0, |m| m.executions);
        runner::GetAttemptResponse {
            application_id: fence.application.id.to_string(),
            generation: fence.application.generation.get(),
            epoch: fence.epoch.get(),
            re_execution: executions > 1,
            output_directory: self.shared.output_directory().to_string_lossy().into_owned(),
        }
    }

    /// The id of the job with this name.
    #[cfg(test)]
    pub(super) fn job_id(&self, name: &str, occurrence: u32) -> JobId {
        let record = self.shared.record.borrow();
        let uid = record.application.as_ref().map_or("", |application| &application.uid);
        JobId::derive(self.shared.application(), uid, name, occurrence)
    }

    fn check_open(&self) -> PortResult<()> {
        if *self.shared.accepting.borrow() {
            return Ok(());
        }
        let text = format!("{} is ending and takes no further job", self.shared.application());
        Err(PortError::refused(Reason::ApplicationEnding, text))
    }

    /// The job as it is recorded. The record is read anew for a job that is not known, because a
    /// program may ask for a job as soon as it was told the id.
    async fn known(&self, job: JobId) -> PortResult<api::Job> {
        if self.shared.job(job).is_none() {
            self.shared.refresh().await?;
        }
        self.shared.job(job).ok_or_else(|| {
            let text = format!("{} has no job {job}", self.shared.application());
            PortError::refused(Reason::JobNotFound, text)
        })
    }
}
