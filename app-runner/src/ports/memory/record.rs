//! The real record as one runner is given it. The writes of leaders are noted, and a test may have
//! a write refused or the news of writes held back. Tokens are minted here, as a store's server
//! does, because the service itself has no key.

use ::record::{
    Answer, ApplicationEnd, Beats, ClusterRefused, Confirmed, EndRefused, GraphRefused, Holder,
    MainEnd, PinRefused, Record, Records, Refused, Standing,
};
use async_trait::async_trait;
use bytes::Bytes;
use chassis::credential::Principal;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::job::{Checkpoint, JobEnd, Savepoint};
use proto::{ApplicationRef, EpochFence, Incarnation, IncarnationFence, JobId, api, jobgraph};

use super::World;

pub(super) struct Tapped(pub(super) World);

impl Tapped {
    /// Refuses the write that a test wants refused.
    fn admit<R: Refused>(&self) -> Answer<(), R> {
        match self.0.lock().refuse_write.take() {
            Some(problem) => Err(problem.into()),
            None => Ok(()),
        }
    }

    fn note(&self, what: impl Into<String>) {
        self.0.lock().note(what);
    }

    fn tokens(&self, fence: &EpochFence) -> jobgraph::AttemptTokens {
        let ApplicationRef { id, generation } = &fence.application;
        let attempt = Principal::Attempt {
            application: id.to_string(),
            generation: generation.get(),
            epoch: fence.epoch.get(),
        };
        // No service in these tests demands the other tokens.
        let other = || "other".to_owned();
        jobgraph::AttemptTokens {
            execution: self.0.key.mint(&attempt).expose().to_owned(),
            main_tether: other(),
            describe: other(),
            describe_tether: other(),
            jobs: other(),
        }
    }
}

#[async_trait]
impl Record for Tapped {
    async fn read(&self, application: &ApplicationRef) -> Answer<jobgraph::Record> {
        self.0.store.read(application).await
    }

    async fn watch(&self, application: &ApplicationRef) -> Answer<Records> {
        let records = Record::watch(&self.0.store, application).await?;
        let held = self.0.news_held.subscribe();
        let told = move |record| {
            let mut held = held.clone();
            async move {
                // The channel's sender lives in the world, so the wait cannot fail.
                let _ = held.wait_for(|held| !held).await;
                record
            }
        };
        Ok(records.then(told).boxed())
    }

    async fn begin_attempt(
        &self,
        fence: &EpochFence,
        holder: &Holder,
        cause: &str,
    ) -> Answer<jobgraph::BeginAttemptResponse> {
        let mut begun = self.0.store.begin_attempt(fence, holder, cause).await?;
        if begun.disposition() != jobgraph::Disposition::Clean {
            begun.tokens = Some(self.tokens(fence));
            self.note(format!("lead {} {cause}", holder.name).trim_end());
        }
        Ok(begun)
    }

    async fn pin_artifacts(
        &self,
        fence: &EpochFence,
        artifacts: Vec<api::PinnedArtifact>,
    ) -> Answer<Vec<api::PinnedArtifact>, PinRefused> {
        self.admit()?;
        self.0.store.pin_artifacts(fence, artifacts).await
    }

    async fn begin_cluster(
        &self,
        fence: &EpochFence,
        request: jobgraph::BeginClusterRequest,
    ) -> Answer<jobgraph::BeginClusterResponse, ClusterRefused> {
        self.admit()?;
        let begun = self.0.store.begin_cluster(fence, request).await?;
        Ok(jobgraph::BeginClusterResponse { jobs_token: "jobs".to_owned(), ..begun })
    }

    async fn record_cluster(
        &self,
        fence: &EpochFence,
        request: jobgraph::RecordClusterRequest,
    ) -> Answer<()> {
        self.admit()?;
        self.0.store.record_cluster(fence, request).await
    }

    async fn main_starting(&self, fence: &EpochFence, tether_endpoint: &str) -> Answer<()> {
        self.admit()?;
        self.0.store.main_starting(fence, tether_endpoint).await
    }

    async fn main_running(&self, fence: &EpochFence, pid: u32) -> Answer<()> {
        self.admit()?;
        self.0.store.main_running(fence, pid).await
    }

    async fn main_ended(&self, fence: &EpochFence, end: MainEnd) -> Answer<()> {
        self.admit()?;
        self.0.store.main_ended(fence, end).await
    }

    async fn find_job(
        &self,
        fence: &EpochFence,
        request: jobgraph::FindJobRequest,
    ) -> Answer<JobId> {
        self.0.store.find_job(fence, request).await
    }

    async fn put_job_graph(
        &self,
        fence: &EpochFence,
        request: jobgraph::PutJobGraphRequest,
    ) -> Answer<jobgraph::PutJobGraphResponse, GraphRefused> {
        self.admit()?;
        self.0.store.put_job_graph(fence, request).await
    }

    async fn job_submitted(
        &self,
        fence: &EpochFence,
        job: JobId,
        incarnation: Incarnation,
    ) -> Answer<()> {
        self.admit()?;
        self.0.store.job_submitted(fence, job, incarnation).await
    }

    async fn job_ended(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        end: JobEnd,
    ) -> Answer<Standing<JobEnd>> {
        self.0.store.job_ended(fence, job, end).await
    }

    async fn leader_job_ended(
        &self,
        fence: &EpochFence,
        job: JobId,
        end: JobEnd,
    ) -> Answer<Standing<JobEnd>> {
        self.admit()?;
        self.0.store.leader_job_ended(fence, job, end).await
    }

    async fn read_checkpoints(
        &self,
        fence: &IncarnationFence,
        job: JobId,
    ) -> Answer<jobgraph::ReadCheckpointsResponse> {
        self.0.store.read_checkpoints(fence, job).await
    }

    async fn add_checkpoint(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        checkpoint: Checkpoint,
    ) -> Answer<()> {
        self.0.store.add_checkpoint(fence, job, checkpoint).await
    }

    async fn remove_checkpoint(&self, fence: &IncarnationFence, job: JobId, id: u64) -> Answer<()> {
        self.0.store.remove_checkpoint(fence, job, id).await
    }

    async fn advance_checkpoint_id(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        next: u64,
    ) -> Answer<u64> {
        self.0.store.advance_checkpoint_id(fence, job, next).await
    }

    async fn request_savepoint(
        &self,
        fence: &EpochFence,
        wish: api::SavepointWish,
    ) -> Answer<bool> {
        self.admit()?;
        self.0.store.request_savepoint(fence, wish).await
    }

    async fn savepoint_settled(
        &self,
        fence: &EpochFence,
        job: JobId,
        savepoint: Savepoint,
    ) -> Answer<Standing<Savepoint>> {
        self.admit()?;
        self.0.store.savepoint_settled(fence, job, savepoint).await
    }

    async fn published(&self, fence: &EpochFence, job: JobId) -> Answer<()> {
        self.admit()?;
        self.0.store.published(fence, job).await
    }

    async fn end(
        &self,
        fence: &EpochFence,
        end: ApplicationEnd,
        desired_revision: u64,
    ) -> Answer<ApplicationEnd, EndRefused> {
        self.admit()?;
        let stands = self.0.store.end(fence, end, desired_revision).await?;
        self.note(format!("end {:?}", stands.outcome));
        Ok(stands)
    }

    async fn mark_clean(&self, fence: &EpochFence, leftovers: Vec<String>) -> Answer<()> {
        self.admit()?;
        self.0.store.mark_clean(fence, leftovers).await?;
        self.note("clean");
        Ok(())
    }

    async fn journal(
        &self,
        fence: &EpochFence,
        key: &str,
        value: Option<Bytes>,
    ) -> Answer<jobgraph::JournalResponse> {
        self.admit()?;
        self.0.store.journal(fence, key, value).await
    }

    async fn append_events(
        &self,
        fence: &EpochFence,
        events: Vec<api::Event>,
        conditions: Vec<api::Condition>,
    ) -> Answer<()> {
        self.admit()?;
        for condition in &conditions {
            self.note(format!("{} {}", condition.r#type, condition.status().as_str_name()));
        }
        for event in &events {
            self.note(format!("told {}: {}", event.kind, event.message));
        }
        self.0.store.append_events(fence, events, conditions).await
    }

    async fn beat(
        &self,
        fence: &EpochFence,
        beats: BoxStream<'static, jobgraph::BeatRequest>,
    ) -> Answer<Beats> {
        self.0.store.beat(fence, beats).await
    }

    async fn confirm_epoch(&self, fence: &EpochFence) -> Answer<Confirmed> {
        self.0.store.confirm_epoch(fence).await
    }

    async fn confirm_incarnation(&self, fence: &IncarnationFence) -> Answer<Confirmed> {
        self.0.store.confirm_incarnation(fence).await
    }
}
