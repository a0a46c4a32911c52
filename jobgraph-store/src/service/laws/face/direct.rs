//! The service itself is asked: no wire between.

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use proto::{
    ApplicationRef, Digest, EpochFence, Incarnation, IncarnationFence, JobId, Reason, TriggerId, api, job,
    jobgraph,
};

use super::{Answer, Face, event, ready, savepoint};
use crate::error::Error;
use crate::model::attempt::MainExit;
use crate::model::ending::End;
use crate::service::Service;

/// The service.
pub(crate) struct Direct(pub(crate) Service);

fn why(error: Error) -> Reason {
    proto::problem::reason(&tonic::Status::from(error)).expect("every refusal has a reason")
}

#[async_trait]
impl Face for Direct {
    async fn submit(&self, request: api::SubmitRequest) -> Answer<api::SubmitResponse> {
        let submitted = self.0.submit(request).await.map_err(why)?;
        let (application, accepted_earlier, existing) =
            (Some(submitted.application), submitted.accepted_earlier, submitted.existing);
        Ok(api::SubmitResponse { application, accepted_earlier, existing })
    }

    async fn get(&self, application: &ApplicationRef) -> Answer<api::Application> {
        self.0.get(&application.id, application.generation.get()).await.map_err(why)
    }

    async fn list(&self, request: api::ListRequest) -> Answer<api::ListResponse> {
        let filter = crate::service::list::Filter {
            labels: request.labels.clone(),
            latest_only: request.latest_only,
            phases: request.phases().collect(),
            application: request.application_id.parse().ok(),
            ..Default::default()
        };
        let page =
            self.0.list(&filter, request.page_size as usize, &request.page_token).await.map_err(why)?;
        Ok(api::ListResponse {
            applications: page.applications,
            next_page_token: page.next,
            revision: page.revision,
        })
    }

    async fn cancel(&self, application: &ApplicationRef) -> Answer<bool> {
        let cancel = self.0.cancel(&application.id, application.generation.get(), "enough", "me@here");
        Ok(cancel.await.map_err(why)?.1)
    }

    async fn abandon(&self, application: &ApplicationRef) -> Answer<()> {
        self.0
            .abandon(&application.id, application.generation.get(), "enough", "me@here")
            .await
            .map_err(why)?;
        Ok(())
    }

    async fn forget(&self, application: &ApplicationRef, seen_revision: u64) -> Answer<bool> {
        let (id, generation) = (&application.id, application.generation.get());
        Ok(self.0.forget(id, generation, seen_revision, false).await.map_err(why)?.earlier)
    }

    async fn events(&self, application: &ApplicationRef) -> Answer<Vec<api::Event>> {
        let events =
            self.0.events(&application.id, application.generation.get(), 0, false).await.map_err(why)?;
        events.try_collect().await.map_err(why)
    }

    async fn begin_attempt(
        &self,
        fence: &EpochFence,
        holder: &str,
    ) -> Answer<jobgraph::BeginAttemptResponse> {
        self.0.begin_attempt(fence, holder, 1, "").await.map_err(why)
    }

    async fn pin(
        &self,
        fence: &EpochFence,
        artifacts: Vec<api::PinnedArtifact>,
    ) -> Answer<Vec<api::PinnedArtifact>> {
        self.0.pin_artifacts(fence, &artifacts).await.map_err(why)
    }

    async fn begin_cluster(
        &self,
        fence: &EpochFence,
        request_id: &str,
    ) -> Answer<jobgraph::BeginClusterResponse> {
        let request = jobgraph::BeginClusterRequest { request_id: request_id.into(), ..Default::default() };
        let begun = self.0.begin_cluster(fence, &request).await.map_err(why)?;
        Ok(jobgraph::BeginClusterResponse {
            jobs_token: String::new(),
            incarnation: begun.incarnation.get(),
            barren_incarnations: begun.barren,
        })
    }

    async fn cluster_ready(&self, fence: &EpochFence, incarnation: Incarnation) -> Answer<()> {
        self.0.record_cluster(fence, &ready(incarnation)).await.map_err(why)
    }

    async fn main_starting(&self, fence: &EpochFence, tether: &str) -> Answer<()> {
        self.0.main_starting(fence, tether).await.map_err(why)
    }

    async fn main_running(&self, fence: &EpochFence, pid: u32) -> Answer<()> {
        self.0.main_running(fence, pid).await.map_err(why)
    }

    async fn main_ended(&self, fence: &EpochFence, code: i32) -> Answer<()> {
        self.0
            .main_ended(fence, MainExit { code: Some(code), ..MainExit::default() }, "", 0)
            .await
            .map_err(why)
    }

    async fn put_graph(
        &self,
        fence: &EpochFence,
        request: jobgraph::PutJobGraphRequest,
    ) -> Answer<jobgraph::PutJobGraphResponse> {
        let put = self.0.put_job_graph(fence, &request).await.map_err(why)?;
        Ok(jobgraph::PutJobGraphResponse {
            job: Some(put.job),
            found: put.found,
            diverged: put.diverged,
            by_position: put.by_position,
        })
    }

    async fn submitted(&self, fence: &EpochFence, job: JobId, incarnation: Incarnation) -> Answer<()> {
        self.0.job_submitted(fence, job, incarnation).await.map_err(why)
    }

    async fn job_ended(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        end: job::JobEnd,
    ) -> Answer<(bool, job::JobEnd)> {
        self.0.job_ended(fence, job, &end).await.map_err(why)
    }

    async fn leader_ended(
        &self,
        fence: &EpochFence,
        job: JobId,
        end: job::JobEnd,
    ) -> Answer<(bool, job::JobEnd)> {
        self.0.job_ended_by_leader(fence, job, &end).await.map_err(why)
    }

    async fn checkpoints(
        &self,
        fence: &IncarnationFence,
        job: JobId,
    ) -> Answer<(bool, Vec<job::Checkpoint>, u64)> {
        let resume = self.0.read_checkpoints(fence, job).await.map_err(why)?;
        Ok((resume.ended, resume.checkpoints, resume.next_id))
    }

    async fn add_checkpoint(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        kept: job::Checkpoint,
    ) -> Answer<()> {
        self.0.add_checkpoint(fence, job, &kept).await.map_err(why)
    }

    async fn remove_checkpoint(&self, fence: &IncarnationFence, job: JobId, id: u64) -> Answer<()> {
        self.0.remove_checkpoint(fence, job, id).await.map_err(why)
    }

    async fn advance_checkpoint_id(&self, fence: &IncarnationFence, job: JobId, next: u64) -> Answer<u64> {
        self.0.advance_checkpoint_id(fence, job, next).await.map_err(why)
    }

    async fn ask_for_savepoints(
        &self,
        application: &ApplicationRef,
        request_id: &str,
        job: &str,
        stop: bool,
    ) -> Answer<bool> {
        let (request_id, job) = (request_id.to_owned(), job.to_owned());
        let wish = api::SavepointWish { request_id, job, stop, ..Default::default() };
        let asked = self.0.ask_for_savepoints(&application.id, application.generation.get(), &wish);
        Ok(asked.await.map_err(why)?.1)
    }

    async fn ask_at(&self, application: &ApplicationRef, request_id: &str, directory: &str) -> Answer<bool> {
        let (request_id, directory) = (request_id.to_owned(), directory.to_owned());
        let wish = api::SavepointWish { request_id, directory, ..Default::default() };
        let asked = self.0.ask_for_savepoints(&application.id, application.generation.get(), &wish);
        Ok(asked.await.map_err(why)?.1)
    }

    async fn savepoint_settled(
        &self,
        fence: &EpochFence,
        job: JobId,
        trigger: TriggerId,
        pointer: &str,
    ) -> Answer<(bool, String)> {
        let settled = self.0.savepoint_settled(fence, job, &savepoint(trigger, pointer)).await;
        let (recorded, stands) = settled.map_err(why)?;
        Ok((recorded, stands.pointer))
    }

    async fn stopping(&self, fence: &IncarnationFence, job: JobId) -> Answer<String> {
        let resume = self.0.read_checkpoints(fence, job).await.map_err(why)?;
        Ok(resume.stopping.map(|trigger| trigger.to_string()).unwrap_or_default())
    }

    async fn published(&self, fence: &EpochFence, job: JobId) -> Answer<()> {
        self.0.published(fence, job).await.map_err(why)
    }

    async fn end(&self, fence: &EpochFence, outcome: api::Outcome, desired: u64) -> Answer<api::Outcome> {
        let end = End { outcome, reason: String::new(), message: String::new() };
        Ok(self.0.end(fence, end, desired).await.map_err(why)?.outcome)
    }

    async fn mark_clean(&self, fence: &EpochFence) -> Answer<()> {
        self.0.mark_clean(fence, &[]).await.map_err(why)
    }

    async fn journal(
        &self,
        fence: &EpochFence,
        key: &str,
        value: Option<Bytes>,
    ) -> Answer<(Option<Bytes>, bool)> {
        self.0.journal(fence, key, value).await.map_err(why)
    }

    async fn append_event(&self, fence: &EpochFence, message: &str) -> Answer<()> {
        self.0.append_events(fence, &[event(message)], &[]).await.map_err(why)
    }

    async fn put_payload(&self, bytes: Bytes) -> Answer<bool> {
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        let found = self.0.put_payload(digest, size, futures::stream::iter([Ok::<_, Error>(bytes)]));
        found.await.map_err(why)
    }

    async fn read_payload(&self, digest: Digest) -> Answer<Bytes> {
        let parts = self.0.get_payload(digest, 0).await.map_err(why)?;
        let parts: Vec<Bytes> = parts.try_collect().await.map_err(|error| why(error.into()))?;
        Ok(parts.concat().into())
    }
}
