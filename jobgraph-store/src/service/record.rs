//! What leaders and clusters write.

use proto::{ApplicationRef, Digest, EpochFence, Incarnation, IncarnationFence, JobId, api, job, jobgraph};

use super::load::revision_of;
use super::to_its_end::to_its_end;
use super::write::{Extra, Guard, TRIES};
use super::{Service, load, manifest, planted};
use crate::error::Error;
use crate::keys::payload::Use;
use crate::keys::{Kind, fence, generation, head, journal, secrets, unclean};
use crate::model::attempt::MainExit;
use crate::model::checkpoint::Resume;
use crate::model::cluster::Begun;
use crate::model::event::Telling;
use crate::model::{
    Draft, Refusal, attempt, checkpoint, cluster, ending, identity, job as job_model, savepoint,
};
use crate::store::{Commit, Compare, Operation, Read, Transaction};

/// Events of one call.
const MAX_EVENTS: usize = 64;

/// Conditions of one call.
const MAX_CONDITIONS: usize = 16;

/// Artifacts whose payloads are pointed to in one commit.
const ARTIFACTS_AT_ONCE: usize = 32;

/// The largest graph description that is kept, in bytes; of a larger one only the names of the vertices.
const MAX_DESCRIPTION_BYTES: usize = 60 * 1024;

impl Service {
    /// The record of one generation.
    pub async fn read_record(&self, application: &ApplicationRef) -> Result<jobgraph::Record, Error> {
        self.record_of(&self.load(application, None).await?).await
    }

    /// The first write of a leader.
    pub async fn begin_attempt(
        &self,
        fence: &EpochFence,
        holder: &str,
        pid: u32,
        cause: &str,
    ) -> Result<jobgraph::BeginAttemptResponse, Error> {
        let (disposition, loaded) = self
            .write(&fence.application, Guard::Epoch, |draft| attempt::begin(draft, fence, holder, pid, cause))
            .await?;
        let view = self.metadata.read(vec![Read::Key(secrets::key(&fence.application))], None).await?;
        let secrets: secrets::Secrets = load::one(&view, 0)?.unwrap_or_default();
        Ok(jobgraph::BeginAttemptResponse {
            disposition: disposition.into(),
            record: Some(self.record_of(&loaded).await?),
            secret_values: secrets.values.into_iter().collect(),
            // Minted where the key is: on the wire.
            tokens: None,
        })
    }

    /// Pins artifacts whose bytes are in the payloads.
    pub async fn pin_artifacts(
        &self,
        fence: &EpochFence,
        artifacts: &[api::PinnedArtifact],
    ) -> Result<Vec<api::PinnedArtifact>, Error> {
        let digests =
            artifacts.iter().map(|artifact| artifact.digest.parse()).collect::<Result<Vec<Digest>, _>>()?;
        // So many that one commit cannot hold them: references go before the record that needs them. One too many is
        // released at clean, one too few would lose bytes.
        let (last, before) = digests.split_at(digests.len().min(ARTIFACTS_AT_ONCE));
        for digests in before.chunks(ARTIFACTS_AT_ONCE) {
            self.write_with(&fence.application, Guard::Epoch, |draft| {
                draft.facts.check_epoch(fence)?;
                Ok(((), pointing(draft, digests)))
            })
            .await?;
        }
        let pin = self.write_with(&fence.application, Guard::Epoch, |draft| {
            let extra = pointing(draft, last);
            attempt::pin(draft, fence, artifacts)?;
            Ok(((), extra))
        });
        Ok(pin.await?.1.facts.artifacts.pinned)
    }

    /// A new incarnation.
    pub async fn begin_cluster(
        &self,
        fence: &EpochFence,
        request: &jobgraph::BeginClusterRequest,
    ) -> Result<Begun, Error> {
        let begun = self
            .write(&fence.application, Guard::Epoch, |draft| cluster::begin(draft, fence, request))
            .await?;
        Ok(begun.0)
    }

    /// What became of the current incarnation.
    pub async fn record_cluster(
        &self,
        fence: &EpochFence,
        request: &jobgraph::RecordClusterRequest,
    ) -> Result<(), Error> {
        self.write(&fence.application, Guard::Epoch, |draft| cluster::record(draft, fence, request)).await?;
        Ok(())
    }

    /// main() is about to be started.
    pub async fn main_starting(&self, fence: &EpochFence, tether_endpoint: &str) -> Result<(), Error> {
        self.write(&fence.application, Guard::Epoch, |draft| {
            attempt::main_starting(draft, fence, tether_endpoint)
        })
        .await?;
        Ok(())
    }

    /// main() runs.
    pub async fn main_running(&self, fence: &EpochFence, pid: u32) -> Result<(), Error> {
        self.write(&fence.application, Guard::Epoch, |draft| attempt::main_running(draft, fence, pid))
            .await?;
        Ok(())
    }

    /// main() has ended. With `kills` somebody else has killed it so often, and it is executed again.
    pub async fn main_ended(
        &self,
        fence: &EpochFence,
        exit: MainExit,
        stderr_tail: &str,
        kills: u32,
    ) -> Result<(), Error> {
        self.write(&fence.application, Guard::Epoch, |draft| match kills {
            0 => attempt::main_ended(draft, fence, exit.clone(), stderr_tail),
            _ => attempt::main_killed(draft, fence, exit.clone(), stderr_tail, kills),
        })
        .await?;
        Ok(())
    }

    /// Which job a call will be for.
    pub async fn find_job(
        &self,
        fence: &EpochFence,
        request: jobgraph::FindJobRequest,
    ) -> Result<JobId, Error> {
        Ok(identity::find(&self.load(&fence.application, None).await?.facts, fence, request)?)
    }

    /// Keeps a job's graph if its name has none.
    pub async fn put_job_graph(
        &self,
        fence: &EpochFence,
        request: &jobgraph::PutJobGraphRequest,
    ) -> Result<job_model::Put, Error> {
        let described = request.description.clone().map(fitting);
        let put = self.write_with(&fence.application, Guard::Epoch, |draft| {
            let put = job_model::put_graph(draft, fence, request)?;
            let mut extra = Extra::default();
            if let Some(job_model::Made { id, needs }) = &put.made {
                extra.pointers.clone_from(needs);
                let describe = described
                    .as_ref()
                    .map(|described| crate::keys::job::put_graph(&fence.application, *id, described));
                extra.operations.extend(describe);
            }
            Ok((put, extra))
        });
        Ok(put.await?.0)
    }

    /// The job was given to an incarnation.
    pub async fn job_submitted(
        &self,
        fence: &EpochFence,
        id: JobId,
        incarnation: Incarnation,
    ) -> Result<(), Error> {
        self.write(&fence.application, Guard::Epoch, |draft| {
            job_model::submitted(draft, fence, id, incarnation)
        })
        .await?;
        Ok(())
    }

    /// The cluster's word that a job ended.
    pub async fn job_ended(
        &self,
        fence: &IncarnationFence,
        id: JobId,
        end: &job::JobEnd,
    ) -> Result<(bool, job::JobEnd), Error> {
        // Refused before anything is put: whoever is superseded leaves no payload behind.
        self.load(&fence.application, None).await?.facts.check_incarnation(fence)?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.end_job(fence, id, &self.fitting_end(end).await?).await {
                // An old payload with the same bytes was found, and swept before the pointer to it committed.
                Err(Error::Refused(Refusal::PayloadMissing(missing)))
                    if tries < TRIES && !missing.contains(&end.result_digest) => {}
                ended => {
                    let (recorded, stands) = ended?;
                    return Ok((recorded, self.whole_end(stands).await?));
                }
            }
        }
    }

    async fn end_job(
        &self,
        fence: &IncarnationFence,
        id: JobId,
        end: &job::JobEnd,
    ) -> Result<(bool, job::JobEnd), Error> {
        let write = self.write_with(&fence.application, Guard::Incarnation, |draft| {
            let answer = job_model::ended(draft, fence, id, end)?;
            let mut extra = Extra::default();
            if answer.0 {
                // A refusal was answered if the digest is malformed.
                extra.pointers.extend(end.result_digest.parse().ok().map(|digest| (digest, Use::Result)));
                extra.pointers.extend(manifest::pointer(end));
            }
            Ok((answer, extra))
        });
        Ok(write.await?.0)
    }

    /// What a job's cluster resumes from.
    pub async fn read_checkpoints(&self, fence: &IncarnationFence, id: JobId) -> Result<Resume, Error> {
        Ok(checkpoint::resume(&self.load(&fence.application, None).await?.facts, fence, id)?)
    }

    /// Keeps a checkpoint's pointer.
    pub async fn add_checkpoint(
        &self,
        fence: &IncarnationFence,
        id: JobId,
        kept: &job::Checkpoint,
    ) -> Result<(), Error> {
        self.write(&fence.application, Guard::Incarnation, |draft| {
            planted::pointers_fenced_by_epoch(&draft.facts, fence)?;
            checkpoint::add(draft, fence, id, kept)
        })
        .await?;
        Ok(())
    }

    /// Forgets a checkpoint.
    pub async fn remove_checkpoint(
        &self,
        fence: &IncarnationFence,
        id: JobId,
        number: u64,
    ) -> Result<(), Error> {
        self.write(&fence.application, Guard::Incarnation, |draft| {
            checkpoint::remove(draft, fence, id, number)
        })
        .await?;
        Ok(())
    }

    /// Raises the counter of checkpoint ids; the one that stands.
    pub async fn advance_checkpoint_id(
        &self,
        fence: &IncarnationFence,
        id: JobId,
        next: u64,
    ) -> Result<u64, Error> {
        let write = self.write(&fence.application, Guard::Incarnation, |draft| {
            checkpoint::advance(draft, fence, id, next)
        });
        Ok(write.await?.0)
    }

    /// An end that only a leader can know.
    pub async fn job_ended_by_leader(
        &self,
        fence: &EpochFence,
        id: JobId,
        end: &job::JobEnd,
    ) -> Result<(bool, job::JobEnd), Error> {
        let write = self.write(&fence.application, Guard::Epoch, |draft| {
            job_model::ended_by_leader(draft, fence, id, end)
        });
        let (recorded, stands) = write.await?.0;
        Ok((recorded, self.whole_end(stands).await?))
    }

    /// Asks for a savepoint for main(). True: it was asked for before.
    pub async fn ask_for_savepoint(
        &self,
        fence: &EpochFence,
        wish: &api::SavepointWish,
    ) -> Result<bool, Error> {
        let write = self.write(&fence.application, Guard::Epoch, |draft| {
            draft.facts.check_epoch(fence)?;
            savepoint::ask(draft, wish.clone())
        });
        Ok(write.await?.0)
    }

    /// What became of a savepoint: the result that stands, and whether it is this one.
    pub async fn savepoint_settled(
        &self,
        fence: &EpochFence,
        id: JobId,
        result: &job::Savepoint,
    ) -> Result<(bool, job::Savepoint), Error> {
        let write =
            self.write(&fence.application, Guard::Epoch, |draft| savepoint::settle(draft, fence, id, result));
        Ok(write.await?.0)
    }

    /// A committed end's outputs stand at their final names.
    pub async fn published(&self, fence: &EpochFence, id: JobId) -> Result<(), Error> {
        self.write(&fence.application, Guard::Epoch, |draft| job_model::published(draft, fence, id)).await?;
        Ok(())
    }

    /// The application's end.
    pub async fn end(
        &self,
        fence: &EpochFence,
        end: ending::End,
        desired_revision: u64,
    ) -> Result<ending::End, Error> {
        let write = self.write(&fence.application, Guard::Epoch, |draft| {
            ending::end(draft, fence, end.clone(), desired_revision)
        });
        Ok(write.await?.0)
    }

    /// Nothing is left to do: secrets and the place among what is not clean go with the same commit, payloads of artifacts right after it.
    pub async fn mark_clean(&self, fence: &EpochFence, leftovers: &[String]) -> Result<(), Error> {
        let application = &fence.application;
        let (_, loaded) = self
            .write_with(application, Guard::Epoch, |draft| {
                let new = ending::mark_clean(draft, fence, leftovers)?;
                let over = [secrets::key(application), unclean::key(application)];
                let operations = if new { over.map(Operation::Delete).to_vec() } else { Vec::new() };
                Ok(((), Extra { pointers: Vec::new(), operations }))
            })
            .await?;
        self.live.forget(application);
        let (service, facts) = (self.clone(), loaded.facts);
        let released = to_its_end("release", async move { service.release_artifacts(&facts).await });
        if let Err(error) = released.await.flatten() {
            // The periodic sweep does it again.
            tracing::warn!(%error, %application, "payloads of artifacts are not released yet");
        }
        Ok(())
    }

    /// One step of `once(key, …)`: the value that stands, and whether it was there before.
    pub async fn journal(
        &self,
        fence: &EpochFence,
        step: &str,
        value: Option<bytes::Bytes>,
    ) -> Result<(Option<bytes::Bytes>, bool), Error> {
        if step.is_empty() || step.len() > journal::MAX_KEY_BYTES {
            let why = format!(
                "a step's key has 1 to {} bytes; this one has {}",
                journal::MAX_KEY_BYTES,
                step.len()
            );
            return Err(Refusal::RequestInvalid(why).into());
        }
        if let Some(bytes) =
            value.as_ref().map(bytes::Bytes::len).filter(|bytes| *bytes > journal::MAX_VALUE_BYTES)
        {
            return Err(Refusal::JournalValueTooLarge {
                key: step.into(),
                bytes,
                max: journal::MAX_VALUE_BYTES,
            }
            .into());
        }
        let application = &fence.application;
        let attempt_key = fence::attempt_key(&application.id);
        let key = journal::key(application, step);
        for _ in 0..TRIES {
            let reads = vec![
                Read::Key(attempt_key.clone()),
                Read::Key(key.clone()),
                Read::Key(generation::spec_key(application)),
                Read::Key(head::key(&application.id)),
            ];
            let view = self.metadata.read(reads, None).await?;
            if view.answers[2].is_empty() {
                let head: head::Head = load::one(&view, 3)?.unwrap_or_default();
                return Err(load::absent(application, &head).into());
            }
            let attempt: fence::AttemptFence = load::one(&view, 0)?.unwrap_or_default();
            if !attempt.admits(application.generation, fence.epoch) {
                let (epoch, current) = (fence.epoch.get(), attempt.epoch);
                return Err(Refusal::EpochSuperseded {
                    application: application.clone(),
                    epoch,
                    current,
                    holder: attempt.holder,
                }
                .into());
            }
            if let Some(known) = load::one::<journal::JournalEntry>(&view, 1)? {
                return Ok((Some(known.value), true));
            }
            let Some(value) = value.clone() else { return Ok((None, false)) };
            let entry = journal::JournalEntry { value: value.clone(), epoch: fence.epoch.get() };
            let transaction = Transaction {
                compares: vec![
                    Compare { key: attempt_key.clone(), revision: revision_of(&view, 0) },
                    Compare { key: key.clone(), revision: None },
                    // It may be forgotten meanwhile; then nothing of it may come again.
                    Compare { key: generation::spec_key(application), revision: revision_of(&view, 2) },
                ],
                operations: vec![Operation::Put(key.clone(), entry.to_stored())],
            };
            // Each conflict is a step of somebody else: the step is there, or the epoch is superseded.
            if let Commit::Committed(_) = self.commit(transaction).await? {
                return Ok((Some(value), false));
            }
        }
        Err(Error::Contended(application.to_string()))
    }

    /// Adds events to the past, and sets what the leader sees now.
    pub async fn append_events(
        &self,
        fence: &EpochFence,
        events: &[api::Event],
        conditions: &[api::Condition],
    ) -> Result<(), Error> {
        if events.len() > MAX_EVENTS {
            return Err(Refusal::RequestInvalid(format!(
                "{} events; at most {MAX_EVENTS} a call",
                events.len()
            ))
            .into());
        }
        if conditions.len() > MAX_CONDITIONS {
            let text = format!("{} conditions; at most {MAX_CONDITIONS} a call", conditions.len());
            return Err(Refusal::RequestInvalid(text).into());
        }
        let write = self.write(&fence.application, Guard::Epoch, |draft| {
            draft.facts.check_epoch(fence)?;
            for seen in conditions {
                draft.condition(&seen.r#type, seen.status(), &seen.reason, &seen.message);
            }
            for event in events {
                let (at, source) = (event.at, event.source.clone());
                let source = if source.is_empty() { draft.facts.attempt.holder.clone() } else { source };
                draft.tell_from(Telling::of(event.clone()), source, fence.epoch.get());
                if let (Some(told), Some(at)) = (draft.events.last_mut(), at) {
                    told.at = Some(at);
                }
            }
            Ok(())
        });
        write.await?;
        Ok(())
    }

    /// A beat of the leader. False: it is superseded.
    pub async fn beat(&self, fence: &EpochFence, beat: &jobgraph::BeatRequest) -> Result<bool, Error> {
        let (holds, _) = self.confirm_epoch(fence).await?;
        if holds && self.live.beat(&fence.application, fence.epoch.get(), beat) {
            self.forget_if_clean(&fence.application).await?;
        }
        Ok(holds)
    }

    /// A leader was heard of for the first time. It may be the last word of one whose application has become clean meanwhile, and was
    /// forgotten here: nothing would ever take it out of memory again. Asked after it was noted, so that either
    /// this or whoever makes it clean comes last.
    pub(super) async fn forget_if_clean(&self, application: &ApplicationRef) -> Result<(), Error> {
        let view = self.metadata.read(vec![Read::Key(generation::state_key(application))], None).await?;
        let state: Option<generation::GenerationState> = load::one(&view, 0)?;
        if state.is_none_or(|state| state.application().clean) {
            self.live.forget(application);
        }
        Ok(())
    }

    /// Whether this epoch is the one that writes, and which one is.
    pub async fn confirm_epoch(&self, fence: &EpochFence) -> Result<(bool, u64), Error> {
        let view =
            self.metadata.read(vec![Read::Key(fence::attempt_key(&fence.application.id))], None).await?;
        let known: fence::AttemptFence = load::one(&view, 0)?.unwrap_or_default();
        Ok((known.admits(fence.application.generation, fence.epoch), known.epoch))
    }

    /// Whether this incarnation is the current one, and which one is.
    pub async fn confirm_incarnation(&self, fence: &IncarnationFence) -> Result<(bool, u64), Error> {
        let view =
            self.metadata.read(vec![Read::Key(fence::cluster_key(&fence.application.id))], None).await?;
        let known: fence::ClusterFence = load::one(&view, 0)?.unwrap_or_default();
        Ok((known.admits(fence.application.generation, fence.incarnation), known.incarnation))
    }
}

/// Pointers to those of these payloads that no pinned artifact has yet.
fn pointing(draft: &Draft, digests: &[Digest]) -> Extra {
    let pinned = &draft.facts.artifacts.pinned;
    let new = digests.iter().filter(|digest| !pinned.iter().any(|known| known.digest == digest.to_string()));
    Extra { pointers: new.map(|digest| (*digest, Use::Artifact)).collect(), operations: Vec::new() }
}

/// The description as it is kept: what is too large loses its details first.
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
