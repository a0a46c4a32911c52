//! The record, with its epoch fence.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::{ApplicationRef, EpochFence, Incarnation, JobId, Reason, api, job, jobgraph};
use tokio_stream::wrappers::WatchStream;

use super::World;
use crate::error::{PortError, PortErrorKind};
use crate::model::{Failure, MainExit, Outcome};
use crate::ports::engine::EngineInfo;
use crate::ports::record::{Beat, Begun, Disposition, RecordStore};
use crate::ports::substrate::ReadyCluster;
use crate::ports::{PortResult, view};

#[async_trait]
impl RecordStore for World {
    async fn read(&self, _application: &ApplicationRef) -> PortResult<Arc<jobgraph::Record>> {
        Ok(self.record())
    }

    async fn watch(
        &self,
        _application: &ApplicationRef,
    ) -> PortResult<BoxStream<'static, PortResult<Arc<jobgraph::Record>>>> {
        let held = self.news_held.subscribe();
        let told = move |record| {
            let mut held = held.clone();
            async move {
                // Its sender is in the world.
                let _ = held.wait_for(|held| !held).await;
                Ok(record)
            }
        };
        Ok(WatchStream::new(self.changes.subscribe()).then(told).boxed())
    }

    async fn begin_attempt(&self, fence: &EpochFence, holder: &str, cause: &str) -> PortResult<Begun> {
        if self.record().application.as_ref().is_some_and(|known| known.clean) {
            let record = self.record();
            return Ok(Begun { disposition: Disposition::Clean, record, secrets: Default::default() });
        }
        let current = self.lock().epoch;
        if fence.epoch <= current {
            let mut error = PortError::refused(Reason::EpochSuperseded, format!("epoch {current} has begun"));
            error.kind = PortErrorKind::Superseded(current);
            return Err(error);
        }
        self.write(|state| {
            state.epoch = fence.epoch;
            state.note(format!("lead {holder} {cause}").trim_end().to_owned());
        });
        Ok(Begun { disposition: Disposition::Open, record: self.record(), secrets: Default::default() })
    }

    async fn pin_artifacts(
        &self,
        fence: &EpochFence,
        artifacts: Vec<api::PinnedArtifact>,
    ) -> PortResult<Vec<api::PinnedArtifact>> {
        self.fenced(fence, |state| {
            let pinned = &mut state.application().artifacts;
            if pinned.is_empty() {
                *pinned = artifacts;
            }
            Ok(pinned.clone())
        })
    }

    async fn reach_jobs(&self, fence: &EpochFence, _: &str, _: Incarnation) -> PortResult<()> {
        self.fenced(fence, |_| Ok(()))
    }

    async fn begin_cluster(
        &self,
        fence: &EpochFence,
        request_id: &str,
        _cause: &str,
        _engine: &EngineInfo,
    ) -> PortResult<Incarnation> {
        self.fenced(fence, |state| {
            let again = state.record.cluster_request_id == request_id;
            request_id.clone_into(&mut state.record.cluster_request_id);
            let cluster = state.application().cluster.get_or_insert_default();
            if !again {
                cluster.incarnation += 1;
                cluster.set_state(api::ClusterState::Starting);
                cluster.barren_incarnations += 1;
            }
            if cluster.barren_incarnations > 3 {
                return Err(PortError::refused(
                    Reason::ClusterKeepsDying,
                    "three incarnations died without a job's end",
                ));
            }
            Ok(Incarnation(cluster.incarnation))
        })
    }

    async fn record_cluster_ready(
        &self,
        fence: &EpochFence,
        _incarnation: Incarnation,
        cluster: &ReadyCluster,
    ) -> PortResult<()> {
        self.fenced(fence, |state| {
            state.record.jobs_endpoint.clone_from(&cluster.jobs_endpoint);
            state.application().cluster.get_or_insert_default().set_state(api::ClusterState::Ready);
            Ok(())
        })
    }

    async fn record_cluster_gone(
        &self,
        fence: &EpochFence,
        _incarnation: Incarnation,
        _message: &str,
    ) -> PortResult<()> {
        self.fenced(fence, |state| {
            state.application().cluster.get_or_insert_default().set_state(api::ClusterState::Gone);
            Ok(())
        })
    }

    async fn main_starting(&self, fence: &EpochFence, tether_endpoint: &str) -> PortResult<()> {
        self.fenced(fence, |state| {
            state.record.main_epoch = fence.epoch.get();
            tether_endpoint.clone_into(&mut state.record.main_tether_endpoint);
            let main = state.application().main.get_or_insert_default();
            main.set_state(api::MainState::Starting);
            main.executions += 1;
            Ok(())
        })
    }

    async fn record_main_running(&self, fence: &EpochFence, pid: u32) -> PortResult<()> {
        self.fenced(fence, |state| {
            let main = state.application().main.get_or_insert_default();
            if main.state() == api::MainState::Starting {
                main.set_state(api::MainState::Running);
            }
            main.pid = pid;
            Ok(())
        })
    }

    async fn record_main_ended(
        &self,
        fence: &EpochFence,
        exit: MainExit,
        _sender: &str,
        _stderr_tail: &str,
    ) -> PortResult<()> {
        self.fenced(fence, |state| {
            let main = state.application().main.get_or_insert_default();
            main.set_state(api::MainState::Ended);
            (main.exit_code, main.signal) = (exit.code, exit.signal);
            Ok(())
        })
    }

    async fn record_main_killed(
        &self,
        fence: &EpochFence,
        _exit: MainExit,
        _sender: &str,
        _stderr_tail: &str,
        kills: u32,
    ) -> PortResult<()> {
        self.fenced(fence, |state| {
            let main = state.application().main.get_or_insert_default();
            main.set_state(api::MainState::Starting);
            main.kills = kills;
            Ok(())
        })
    }

    async fn find_job(&self, fence: &EpochFence, request: jobgraph::FindJobRequest) -> PortResult<JobId> {
        let application = fence.application.clone();
        self.fenced(fence, |state| {
            let jobgraph::FindJobRequest { name, ordinal, occurrence, .. } = request;
            let by_name = JobId::derive(&application, super::UID, &name, occurrence.unwrap_or(0));
            let jobs = &state.application().jobs;
            let is_known = jobs.iter().any(|job| job.job_id == by_name.to_string());
            let there =
                jobs.iter().find(|job| job.ordinal == ordinal && !is_known && is_moment(&name, &job.name));
            there.map_or(Ok(by_name), |job| parsed(&job.job_id))
        })
    }

    async fn put_job_graph(
        &self,
        fence: &EpochFence,
        request: jobgraph::PutJobGraphRequest,
    ) -> PortResult<jobgraph::PutJobGraphResponse> {
        let application = fence.application.clone();
        self.fenced(fence, |state| {
            let name = if request.name.is_empty() {
                format!("job-{}", request.ordinal)
            } else {
                request.name.clone()
            };
            let missing =
                |digest: &&String| !state.payloads.keys().any(|known| known.to_string() == **digest);
            if let Some(missing) = request.payload_digests.iter().find(missing) {
                return Err(PortError::refused(Reason::PayloadMissing, format!("{missing} is not here")));
            }
            let occurrence = request.occurrence.unwrap_or(0);
            let by_name = JobId::derive(&application, super::UID, &name, occurrence);
            let id = if request.job_id.is_empty() { by_name } else { parsed(&request.job_id)? };
            let by_position = id != by_name;
            let caller = format!("{}/{}", fence.epoch, request.call_id);
            let earlier = state.calls.insert(id.to_string(), caller.clone());
            let same_attempt = format!("{}/", fence.epoch);
            if earlier.is_some_and(|earlier| earlier != caller && earlier.starts_with(&same_attempt)) {
                return Err(PortError::refused(Reason::JobNameTaken, format!("job name {name:?} is taken")));
            }
            if let Ok(job) = state.job(id) {
                let diverged = job.graph_digest != request.graph_digest;
                let job = Some(job.clone());
                return Ok(jobgraph::PutJobGraphResponse { job, found: true, diverged, by_position });
            }
            let taken = state.application().jobs.iter().any(|job| job.ordinal == request.ordinal);
            if taken && !request.overlapped {
                let text = format!("main() asks for {name:?} where another job is recorded");
                return Err(PortError::refused(Reason::MainDiverged, text));
            }
            let mut job = api::Job {
                job_id: id.to_string(),
                name,
                occurrence,
                ordinal: request.ordinal,
                ..api::Job::default()
            };
            job.graph_digest = request.graph_digest;
            job.graph_size_bytes = request.graph_size_bytes;
            job.set_state(api::JobState::Stored);
            state.application().jobs.push(job.clone());
            Ok(jobgraph::PutJobGraphResponse { job: Some(job), ..Default::default() })
        })
    }

    async fn record_job_submitted(
        &self,
        fence: &EpochFence,
        job: JobId,
        incarnation: Incarnation,
    ) -> PortResult<()> {
        self.fenced(fence, |state| {
            let job = state.job(job)?;
            job.incarnation = incarnation.get();
            job.submissions += 1;
            if job.end.is_none() {
                job.set_state(api::JobState::Running);
            }
            Ok(())
        })
    }

    async fn record_leader_job_end(
        &self,
        fence: &EpochFence,
        job: JobId,
        end: job::JobEnd,
    ) -> PortResult<job::JobEnd> {
        self.fenced(fence, |state| {
            let job = state.job(job)?;
            job.set_state(api::JobState::Ended);
            Ok(job.end.get_or_insert(end).clone())
        })
    }

    async fn request_savepoint(&self, fence: &EpochFence, mut wish: api::SavepointWish) -> PortResult<()> {
        self.fenced(fence, |state| {
            wish.job_ids = vec![wish.job.clone()];
            let desired = state.application().desired.get_or_insert_default();
            if !desired.savepoints.iter().any(|known| known.request_id == wish.request_id) {
                desired.savepoints.push(wish);
                desired.revision += 1;
            }
            Ok(())
        })
    }

    async fn record_savepoint(
        &self,
        fence: &EpochFence,
        job: JobId,
        savepoint: job::Savepoint,
    ) -> PortResult<()> {
        self.fenced(fence, |state| {
            let kept = &mut state.job(job)?.savepoints;
            if !kept.iter().any(|known| known.trigger_id == savepoint.trigger_id) {
                kept.push(savepoint);
            }
            Ok(())
        })
    }

    async fn record_published(&self, fence: &EpochFence, job: JobId) -> PortResult<()> {
        self.fenced(fence, |state| {
            let job = state.job(job)?;
            job.published = true;
            job.set_state(api::JobState::Ended);
            Ok(())
        })
    }

    async fn record_application_end(
        &self,
        fence: &EpochFence,
        outcome: Outcome,
        why: &Failure,
        desired_revision: u64,
    ) -> PortResult<Outcome> {
        self.fenced(fence, |state| {
            let application = state.application();
            if let (true, Some(stands)) = (application.terminal, view::outcome(application.outcome())) {
                return Ok(stands);
            }
            if application.desired.as_ref().is_some_and(|desired| desired.revision != desired_revision) {
                let mut error = PortError::refused(Reason::RevisionMoved, "desired state has changed");
                error.kind = PortErrorKind::Moved;
                return Err(error);
            }
            if application.jobs.iter().any(|job| job.end.is_none()) {
                return Err(PortError::refused(Reason::JobsNotEnded, "a job has no end"));
            }
            if view::record(&jobgraph::Record {
                application: Some(application.clone()),
                ..Default::default()
            })?
            .pending_savepoints()
            .next()
            .is_some()
            {
                return Err(PortError::refused(Reason::SavepointPending, "a savepoint has no result"));
            }
            application.terminal = true;
            application.set_outcome(view::wire_outcome(outcome));
            application.reason = why.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default();
            application.message.clone_from(&why.message);
            state.note(format!("end {outcome:?}"));
            Ok(outcome)
        })
    }

    async fn mark_clean(&self, fence: &EpochFence, leftovers: &[String]) -> PortResult<()> {
        self.fenced(fence, |state| {
            state.application().leftovers = leftovers.to_vec();
            state.application().clean = true;
            state.note("clean");
            Ok(())
        })
    }

    async fn journal(
        &self,
        fence: &EpochFence,
        key: &str,
        value: Option<Bytes>,
    ) -> PortResult<jobgraph::JournalResponse> {
        self.fenced(fence, |state| {
            if let Some(value) = state.journal.get(key) {
                return Ok(jobgraph::JournalResponse { value: Some(value.clone()), found: true });
            }
            if let Some(value) = &value {
                state.journal.insert(key.to_owned(), value.clone());
            }
            Ok(jobgraph::JournalResponse { value, found: false })
        })
    }

    async fn append_events(
        &self,
        fence: &EpochFence,
        events: Vec<api::Event>,
        conditions: Vec<api::Condition>,
    ) -> PortResult<()> {
        self.fenced(fence, |state| {
            for condition in conditions {
                state.note(format!("{} {}", condition.r#type, condition.status().as_str_name()));
                let known = &mut state.application().conditions;
                known.retain(|known| known.r#type != condition.r#type);
                known.push(condition);
            }
            for event in events {
                state.note(format!("told {}: {}", event.kind, event.message));
            }
            Ok(())
        })
    }

    async fn beat(&self, fence: &EpochFence, mut beats: BoxStream<'static, Beat>) -> PortResult<()> {
        while beats.next().await.is_some() {
            let current = self.lock().epoch;
            if current != fence.epoch {
                let mut error = PortError::refused(Reason::EpochSuperseded, "superseded");
                error.kind = PortErrorKind::Superseded(current);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Both names are `<the same> at <a moment>`: all that this record knows of names that vary.
fn is_moment(name: &str, other: &str) -> bool {
    let stem = |name: &str| name.split_once(" at ").map(|(stem, _)| stem.to_owned());
    stem(name).is_some() && stem(name) == stem(other)
}

fn parsed(id: &str) -> PortResult<JobId> {
    id.parse().map_err(|error: proto::InvalidId| PortError::refused(Reason::IdMalformed, error.to_string()))
}
