//! The record as one contender reaches it: the real client, with what leaders were answered.

use std::sync::Arc;

use ::record::{
    Answer, ApplicationEnd, Beats, ClusterRefused, Confirmed, EndRefused, GraphRefused, Holder,
    MainEnd, PinRefused, Record, Records, Standing,
};
use async_trait::async_trait;
use bytes::Bytes;
use chassis::tasks::detached;
use client::record::RecordClient;
use futures::stream::BoxStream;
use proto::job::{Checkpoint, JobEnd, Savepoint};
use proto::{
    ApplicationRef, Epoch, EpochFence, Incarnation, IncarnationFence, JobId, api, jobgraph,
};

use crate::host::At;
use crate::notes;
use crate::world::Deployment;

/// The client of one contender.
pub(crate) struct Tapped {
    pub(crate) of: Arc<Deployment>,
    /// The host of the contender.
    pub(crate) at: At,
    pub(crate) record: RecordClient,
}

impl Tapped {
    /// The highest epoch of which it is known that it has begun, as a write is asked for.
    fn known(&self, fence: &EpochFence) -> Epoch {
        self.of.trace.latest(&fence.application.id)
    }

    /// Notes a write that was taken. `known` is what was known when the write was asked for.
    fn took(&self, what: &str, fence: &EpochFence, known: Epoch, taken: bool) {
        if !taken {
            return;
        }
        let EpochFence { application, epoch } = fence;
        self.of.trace.note(self.at.name, format!("{application}: {what}, epoch {epoch}"));
        if *epoch < known {
            self.of.trace.wrong(format!(
                "{application}: {what} of epoch {epoch} was taken after epoch {known} had begun"
            ));
        }
    }

    /// Begins to write notes beside an attempt.
    fn begin_notes(&self, fence: &EpochFence) {
        if self.of.trace.begins_notes(&fence.application.id, fence.epoch) {
            let (of, at, record) = (self.of.clone(), self.at.clone(), self.record.clone());
            let notes = notes::keep_writing(of, at, record, fence.clone());
            detached("notes", "their leader may be gone, as one that hung is", notes);
        }
    }

    /// Sends a write of an attempt that is over, as a leader does that hung. It has to be refused.
    fn send_late(&self, fence: EpochFence, begun: Epoch) {
        let (of, record) = (self.of.clone(), self.record.clone());
        detached("late write", "its sender is gone", async move {
            let late = api::Event {
                kind: "warning".to_owned(),
                message: "a late write".to_owned(),
                ..api::Event::default()
            };
            if record.append_events(&fence, vec![late], Vec::new()).await.is_ok() {
                let EpochFence { application, epoch } = fence;
                of.trace.wrong(format!(
                    "{application}: a late write of epoch {epoch} was taken after epoch {begun} \
                     had begun"
                ));
            }
        });
    }
}

#[async_trait]
impl Record for Tapped {
    async fn read(&self, application: &ApplicationRef) -> Answer<jobgraph::Record> {
        self.record.read(application).await
    }

    async fn watch(&self, application: &ApplicationRef) -> Answer<Records> {
        self.record.watch(application).await
    }

    async fn begin_attempt(
        &self,
        fence: &EpochFence,
        holder: &Holder,
        cause: &str,
    ) -> Answer<jobgraph::BeginAttemptResponse> {
        let known = self.known(fence);
        let begun = self.record.begin_attempt(fence, holder, cause).await?;
        if begun.disposition() != jobgraph::Disposition::Clean {
            self.took(&format!("{} leads", holder.name), fence, known, true);
            let EpochFence { application, epoch } = fence;
            if let Some(earlier) = self.of.trace.begun(&application.id, *epoch) {
                self.send_late(EpochFence { epoch: earlier, ..fence.clone() }, *epoch);
            }
            self.begin_notes(fence);
        }
        Ok(begun)
    }

    async fn pin_artifacts(
        &self,
        fence: &EpochFence,
        artifacts: Vec<api::PinnedArtifact>,
    ) -> Answer<Vec<api::PinnedArtifact>, PinRefused> {
        let known = self.known(fence);
        let answer = self.record.pin_artifacts(fence, artifacts).await;
        self.took("artifacts", fence, known, answer.is_ok());
        answer
    }

    async fn begin_cluster(
        &self,
        fence: &EpochFence,
        request: jobgraph::BeginClusterRequest,
    ) -> Answer<jobgraph::BeginClusterResponse, ClusterRefused> {
        let known = self.known(fence);
        let answer = self.record.begin_cluster(fence, request).await;
        self.took("a new cluster", fence, known, answer.is_ok());
        answer
    }

    async fn record_cluster(
        &self,
        fence: &EpochFence,
        request: jobgraph::RecordClusterRequest,
    ) -> Answer<()> {
        let known = self.known(fence);
        let answer = self.record.record_cluster(fence, request).await;
        self.took("the cluster", fence, known, answer.is_ok());
        answer
    }

    async fn main_starting(&self, fence: &EpochFence, tether_endpoint: &str) -> Answer<()> {
        let known = self.known(fence);
        let answer = self.record.main_starting(fence, tether_endpoint).await;
        self.took("main() starts", fence, known, answer.is_ok());
        answer
    }

    async fn main_running(&self, fence: &EpochFence, pid: u32) -> Answer<()> {
        let known = self.known(fence);
        let answer = self.record.main_running(fence, pid).await;
        self.took("main() runs", fence, known, answer.is_ok());
        answer
    }

    async fn main_ended(&self, fence: &EpochFence, end: MainEnd) -> Answer<()> {
        let known = self.known(fence);
        let answer = self.record.main_ended(fence, end).await;
        self.took("main() has ended", fence, known, answer.is_ok());
        answer
    }

    async fn find_job(
        &self,
        fence: &EpochFence,
        request: jobgraph::FindJobRequest,
    ) -> Answer<JobId> {
        self.record.find_job(fence, request).await
    }

    async fn put_job_graph(
        &self,
        fence: &EpochFence,
        request: jobgraph::PutJobGraphRequest,
    ) -> Answer<jobgraph::PutJobGraphResponse, GraphRefused> {
        let known = self.known(fence);
        let answer = self.record.put_job_graph(fence, request).await;
        self.took("a job graph", fence, known, answer.is_ok());
        answer
    }

    async fn job_submitted(
        &self,
        fence: &EpochFence,
        job: JobId,
        incarnation: Incarnation,
    ) -> Answer<()> {
        let known = self.known(fence);
        let answer = self.record.job_submitted(fence, job, incarnation).await;
        self.took("a submitted job", fence, known, answer.is_ok());
        answer
    }

    async fn job_ended(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        end: JobEnd,
    ) -> Answer<Standing<JobEnd>> {
        self.record.job_ended(fence, job, end).await
    }

    async fn leader_job_ended(
        &self,
        fence: &EpochFence,
        job: JobId,
        end: JobEnd,
    ) -> Answer<Standing<JobEnd>> {
        let known = self.known(fence);
        let answer = self.record.leader_job_ended(fence, job, end).await;
        self.took("a job's end", fence, known, answer.is_ok());
        answer
    }

    async fn read_checkpoints(
        &self,
        fence: &IncarnationFence,
        job: JobId,
    ) -> Answer<jobgraph::ReadCheckpointsResponse> {
        self.record.read_checkpoints(fence, job).await
    }

    async fn add_checkpoint(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        checkpoint: Checkpoint,
    ) -> Answer<()> {
        self.record.add_checkpoint(fence, job, checkpoint).await
    }

    async fn remove_checkpoint(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        checkpoint_id: u64,
    ) -> Answer<()> {
        self.record.remove_checkpoint(fence, job, checkpoint_id).await
    }

    async fn advance_checkpoint_id(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        next_checkpoint_id: u64,
    ) -> Answer<u64> {
        self.record.advance_checkpoint_id(fence, job, next_checkpoint_id).await
    }

    async fn request_savepoint(
        &self,
        fence: &EpochFence,
        wish: api::SavepointWish,
    ) -> Answer<bool> {
        self.record.request_savepoint(fence, wish).await
    }

    async fn savepoint_settled(
        &self,
        fence: &EpochFence,
        job: JobId,
        savepoint: Savepoint,
    ) -> Answer<Standing<Savepoint>> {
        self.record.savepoint_settled(fence, job, savepoint).await
    }

    async fn published(&self, fence: &EpochFence, job: JobId) -> Answer<()> {
        let known = self.known(fence);
        let answer = self.record.published(fence, job).await;
        self.took("a published job", fence, known, answer.is_ok());
        answer
    }

    async fn end(
        &self,
        fence: &EpochFence,
        end: ApplicationEnd,
        desired_revision: u64,
    ) -> Answer<ApplicationEnd, EndRefused> {
        let known = self.known(fence);
        let answer = self.record.end(fence, end, desired_revision).await;
        self.took("the end", fence, known, answer.is_ok());
        answer
    }

    async fn mark_clean(&self, fence: &EpochFence, leftovers: Vec<String>) -> Answer<()> {
        let known = self.known(fence);
        let answer = self.record.mark_clean(fence, leftovers).await;
        self.took("clean", fence, known, answer.is_ok());
        if answer.is_ok() {
            self.of.trace.clean(&fence.application.id);
        }
        answer
    }

    async fn journal(
        &self,
        fence: &EpochFence,
        key: &str,
        value: Option<Bytes>,
    ) -> Answer<jobgraph::JournalResponse> {
        self.record.journal(fence, key, value).await
    }

    async fn append_events(
        &self,
        fence: &EpochFence,
        events: Vec<api::Event>,
        conditions: Vec<api::Condition>,
    ) -> Answer<()> {
        let known = self.known(fence);
        let answer = self.record.append_events(fence, events, conditions).await;
        self.took("events", fence, known, answer.is_ok());
        answer
    }

    async fn beat(
        &self,
        fence: &EpochFence,
        beats: BoxStream<'static, jobgraph::BeatRequest>,
    ) -> Answer<Beats> {
        self.record.beat(fence, beats).await
    }

    async fn confirm_epoch(&self, fence: &EpochFence) -> Answer<Confirmed> {
        self.record.confirm_epoch(fence).await
    }

    async fn confirm_incarnation(&self, fence: &IncarnationFence) -> Answer<Confirmed> {
        self.record.confirm_incarnation(fence).await
    }
}
