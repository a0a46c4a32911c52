//! What leaders and clusters write. [`Record`] is the conversation, and the service is the
//! implementation that keeps it; the other one is the client, which relays it.

mod clean;
mod ends;
mod signs;
mod steps;
mod telling;

use ::record::{
    Answer, ApplicationEnd, Beats, ClusterRefused, Confirmed, EndRefused, GraphRefused, Holder,
    MainEnd, PinRefused, Record, Records, Standing,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::{
    ApplicationRef, Digest, EpochFence, Incarnation, IncarnationFence, JobId, api, job, jobgraph,
};

pub(super) use steps::Leader;

use super::write::{Extra, Guard};
use super::{Service, load, planted};
use crate::error::Error;
use crate::keys::payload::Use;
use crate::keys::secrets;
use crate::model::{
    Draft, attempt, checkpoint, cluster, ending, identity, job as job_model, savepoint,
};
use crate::store::Read;

/// How many artifacts' payloads are pointed to in one commit.
const ARTIFACTS_AT_ONCE: usize = 32;

/// The largest graph description that is kept, in bytes; a larger one loses its details, then more.
const MAX_DESCRIPTION_BYTES: usize = 60 * 1024;

#[async_trait]
impl Record for Service {
    async fn read(&self, application: &ApplicationRef) -> Answer<jobgraph::Record> {
        Ok(self.record_of(&self.load(application, None).await?).await?)
    }

    async fn watch(&self, application: &ApplicationRef) -> Answer<Records> {
        let records = self.watch_record(application).await?;
        Ok(records.map(|record| Ok(record?)).boxed())
    }

    async fn begin_attempt(
        &self,
        fence: &EpochFence,
        holder: &Holder,
        cause: &str,
    ) -> Answer<jobgraph::BeginAttemptResponse> {
        let (disposition, loaded) = self
            .write(&fence.application, Guard::Epoch, |draft| {
                attempt::begin(draft, fence, holder, cause)
            })
            .await?;
        let read =
            self.metadata.read(vec![Read::Key(secrets::key(&fence.application))], None).await;
        let view = read.map_err(Error::from)?;
        let secrets: secrets::Secrets = load::one(&view, 0)?.unwrap_or_default();
        Ok(jobgraph::BeginAttemptResponse {
            disposition: disposition.into(),
            record: Some(self.record_of(&loaded).await?),
            secret_values: secrets.values.into_iter().collect(),
            // Tokens are minted where the key is: on the wire.
            tokens: None,
        })
    }

    async fn pin_artifacts(
        &self,
        fence: &EpochFence,
        artifacts: Vec<api::PinnedArtifact>,
    ) -> Answer<Vec<api::PinnedArtifact>, PinRefused> {
        let digests = artifacts.iter().map(|artifact| artifact.digest.parse());
        let digests = digests.collect::<Result<Vec<Digest>, _>>().map_err(Error::from)?;
        // There may be more artifacts than one commit can hold, so references go before the record
        // that needs them. A reference too many is released at clean; a reference too few would
        // lose bytes.
        let (last, before) = digests.split_at(digests.len().min(ARTIFACTS_AT_ONCE));
        for digests in before.chunks(ARTIFACTS_AT_ONCE) {
            self.write_with(&fence.application, Guard::Epoch, |draft| {
                draft.dossier.check_epoch(fence)?;
                Ok(((), pointing(draft, digests)))
            })
            .await?;
        }
        let pin = self.write_with(&fence.application, Guard::Epoch, |draft| {
            let extra = pointing(draft, last);
            attempt::pin(draft, fence, &artifacts)?;
            Ok(((), extra))
        });
        Ok(pin.await?.1.dossier.artifacts.pinned)
    }

    async fn begin_cluster(
        &self,
        fence: &EpochFence,
        request: jobgraph::BeginClusterRequest,
    ) -> Answer<jobgraph::BeginClusterResponse, ClusterRefused> {
        let begin = self.write(&fence.application, Guard::Epoch, |draft| {
            cluster::begin(draft, fence, &request)
        });
        Ok(begin.await?.0)
    }

    async fn record_cluster(
        &self,
        fence: &EpochFence,
        request: jobgraph::RecordClusterRequest,
    ) -> Answer<()> {
        self.write(&fence.application, Guard::Epoch, |draft| {
            cluster::record(draft, fence, &request)
        })
        .await?;
        Ok(())
    }

    async fn main_starting(&self, fence: &EpochFence, tether_endpoint: &str) -> Answer<()> {
        self.write(&fence.application, Guard::Epoch, |draft| {
            attempt::main_starting(draft, fence, tether_endpoint)
        })
        .await?;
        Ok(())
    }

    async fn main_running(&self, fence: &EpochFence, pid: u32) -> Answer<()> {
        self.write(&fence.application, Guard::Epoch, |draft| {
            attempt::main_running(draft, fence, pid)
        })
        .await?;
        Ok(())
    }

    async fn main_ended(&self, fence: &EpochFence, end: MainEnd) -> Answer<()> {
        self.write(&fence.application, Guard::Epoch, |draft| match end.kills {
            0 => attempt::main_ended(draft, fence, &end.exit, &end.stderr_tail),
            kills => attempt::main_killed(draft, fence, &end.exit, &end.stderr_tail, kills),
        })
        .await?;
        Ok(())
    }

    async fn find_job(
        &self,
        fence: &EpochFence,
        request: jobgraph::FindJobRequest,
    ) -> Answer<JobId> {
        let found =
            identity::find(&self.load(&fence.application, None).await?.dossier, fence, request);
        Ok(found.map_err(Error::from)?)
    }

    async fn put_job_graph(
        &self,
        fence: &EpochFence,
        request: jobgraph::PutJobGraphRequest,
    ) -> Answer<jobgraph::PutJobGraphResponse, GraphRefused> {
        let described = request.description.clone().map(fitting);
        let put = self.write_with(&fence.application, Guard::Epoch, |draft| {
            let put = job_model::put_graph(draft, fence, &request)?;
            let mut extra = Extra::default();
            if let Some(job_model::Made { id, needs }) = &put.made {
                extra.pointers.clone_from(needs);
                let describe = described.as_ref().map(|described| {
                    crate::keys::job::put_graph(&fence.application, *id, described)
                });
                extra.operations.extend(describe);
            }
            Ok((put, extra))
        });
        let job_model::Put { job, found, diverged, by_position, .. } = put.await?.0;
        Ok(jobgraph::PutJobGraphResponse { job: Some(job), found, diverged, by_position })
    }

    async fn job_submitted(
        &self,
        fence: &EpochFence,
        job: JobId,
        incarnation: Incarnation,
    ) -> Answer<()> {
        self.write(&fence.application, Guard::Epoch, |draft| {
            job_model::submitted(draft, fence, job, incarnation)
        })
        .await?;
        Ok(())
    }

    async fn job_ended(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        end: job::JobEnd,
    ) -> Answer<Standing<job::JobEnd>> {
        let (recorded, stands) = self.job_ended_by_cluster(fence, job, &end).await?;
        Ok(Standing { recorded, stands })
    }

    async fn leader_job_ended(
        &self,
        fence: &EpochFence,
        job: JobId,
        end: job::JobEnd,
    ) -> Answer<Standing<job::JobEnd>> {
        let write = self.write(&fence.application, Guard::Epoch, |draft| {
            job_model::ended_by_leader(draft, fence, job, &end)
        });
        let (recorded, stands) = write.await?.0;
        Ok(Standing { recorded, stands: self.whole_end(stands).await? })
    }

    async fn read_checkpoints(
        &self,
        fence: &IncarnationFence,
        job: JobId,
    ) -> Answer<jobgraph::ReadCheckpointsResponse> {
        let resume =
            checkpoint::resume(&self.load(&fence.application, None).await?.dossier, fence, job);
        Ok(resume.map_err(Error::from)?)
    }

    async fn add_checkpoint(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        checkpoint: job::Checkpoint,
    ) -> Answer<()> {
        self.write(&fence.application, Guard::Incarnation, |draft| {
            planted::pointers_fenced_by_epoch(&draft.dossier, fence)?;
            checkpoint::add(draft, fence, job, &checkpoint)
        })
        .await?;
        Ok(())
    }

    async fn remove_checkpoint(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        checkpoint_id: u64,
    ) -> Answer<()> {
        self.write(&fence.application, Guard::Incarnation, |draft| {
            checkpoint::remove(draft, fence, job, checkpoint_id)
        })
        .await?;
        Ok(())
    }

    async fn advance_checkpoint_id(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        next_checkpoint_id: u64,
    ) -> Answer<u64> {
        let write = self.write(&fence.application, Guard::Incarnation, |draft| {
            checkpoint::advance(draft, fence, job, next_checkpoint_id)
        });
        Ok(write.await?.0)
    }

    async fn request_savepoint(
        &self,
        fence: &EpochFence,
        wish: api::SavepointWish,
    ) -> Answer<bool> {
        let write = self.write(&fence.application, Guard::Epoch, |draft| {
            draft.dossier.check_epoch(fence)?;
            savepoint::ask(draft, wish.clone())
        });
        Ok(write.await?.0)
    }

    async fn savepoint_settled(
        &self,
        fence: &EpochFence,
        job: JobId,
        savepoint: job::Savepoint,
    ) -> Answer<Standing<job::Savepoint>> {
        let write = self.write(&fence.application, Guard::Epoch, |draft| {
            savepoint::settle(draft, fence, job, &savepoint)
        });
        let (recorded, stands) = write.await?.0;
        Ok(Standing { recorded, stands })
    }

    async fn published(&self, fence: &EpochFence, job: JobId) -> Answer<()> {
        self.write(&fence.application, Guard::Epoch, |draft| {
            job_model::published(draft, fence, job)
        })
        .await?;
        Ok(())
    }

    async fn end(
        &self,
        fence: &EpochFence,
        end: ApplicationEnd,
        desired_revision: u64,
    ) -> Answer<ApplicationEnd, EndRefused> {
        let write = self.write(&fence.application, Guard::Epoch, |draft| {
            ending::end(draft, fence, end.clone(), desired_revision)
        });
        Ok(write.await?.0)
    }

    async fn mark_clean(&self, fence: &EpochFence, leftovers: Vec<String>) -> Answer<()> {
        Ok(self.clean(fence, &leftovers).await?)
    }

    async fn journal(
        &self,
        fence: &EpochFence,
        key: &str,
        value: Option<Bytes>,
    ) -> Answer<jobgraph::JournalResponse> {
        let (value, found) = self.step(fence, key, value).await?;
        Ok(jobgraph::JournalResponse { value, found })
    }

    async fn append_events(
        &self,
        fence: &EpochFence,
        events: Vec<api::Event>,
        conditions: Vec<api::Condition>,
    ) -> Answer<()> {
        Ok(self.append(fence, &events, &conditions).await?)
    }

    async fn beat(
        &self,
        fence: &EpochFence,
        beats: BoxStream<'static, jobgraph::BeatRequest>,
    ) -> Answer<Beats> {
        let (service, fence) = (self.clone(), fence.clone());
        let heard = beats.then(move |beat| {
            let (service, fence) = (service.clone(), fence.clone());
            async move { Ok(service.heard(&fence, &beat).await?) }
        });
        Ok(heard.boxed())
    }

    async fn confirm_epoch(&self, fence: &EpochFence) -> Answer<Confirmed> {
        Ok(self.epoch_holds(fence).await?)
    }

    async fn confirm_incarnation(&self, fence: &IncarnationFence) -> Answer<Confirmed> {
        Ok(self.incarnation_holds(fence).await?)
    }
}

/// Pointers to those of these payloads that no pinned artifact has yet.
fn pointing(draft: &Draft, digests: &[Digest]) -> Extra {
    let pinned = &draft.dossier.artifacts.pinned;
    let new = digests
        .iter()
        .filter(|digest| !pinned.iter().any(|known| known.digest == digest.to_string()));
    let pointers = new.map(|digest| (*digest, Use::Artifact)).collect();
    Extra { pointers, ..Extra::default() }
}

/// The description as it is kept: one that is too large loses details first, then the statement,
/// then everything.
fn fitting(mut description: api::GraphDescription) -> api::GraphDescription {
    use prost::Message as _;
    if description.encoded_len() > MAX_DESCRIPTION_BYTES {
        description.vertices.iter_mut().for_each(|vertex| vertex.detail.clear());
    }
    if description.encoded_len() > MAX_DESCRIPTION_BYTES {
        description.statement.clear();
    }
    if description.encoded_len() > MAX_DESCRIPTION_BYTES {
        description = api::GraphDescription::default();
    }
    description
}

#[cfg(test)]
mod tests;
