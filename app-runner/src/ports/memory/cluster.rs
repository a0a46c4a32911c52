//! A cluster whose jobs do what their names were told to do.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use proto::{ApplicationRef, EpochFence, Incarnation, JobId, Reason, api, engine, job};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use super::{Behaviour, State, World};
use crate::error::PortError;
use crate::model::Wish;
use crate::ports::PortResult;
use crate::ports::jobs::{Jobs, Submission};
use crate::ports::substrate::{ClusterNews, Death, Deaths, ReadyCluster, Substrate};

pub(super) struct Processes {
    incarnation: Incarnation,
    jobs: BTreeMap<JobId, String>,
    /// By trigger id.
    savepoints: BTreeMap<String, engine::SavepointResponse>,
    news: watch::Sender<ClusterNews>,
}

impl World {
    /// Kills the cluster's processes.
    pub fn kill_cluster(&self) {
        if let Some(cluster) = self.lock().cluster.take() {
            cluster.news.send_replace(ClusterNews::Failed("worker-0 signal 9".to_owned()));
        }
    }

    /// Lets a process of the cluster die that is started again; how often it has by now, and why.
    pub fn process_died(&self, process: &str, count: u32, cause: &str) {
        if let Some(cluster) = &self.lock().cluster {
            let death = Death { process: process.to_owned(), count, cause: cause.to_owned() };
            cluster.news.send_replace(ClusterNews::Lives(vec![death]));
        }
    }

    /// Has the cluster end a running job with an outcome.
    pub fn end_job(&self, name: &str, outcome: job::JobOutcome) {
        self.write(|state| {
            let found = state
                .application()
                .jobs
                .iter()
                .find(|job| job.name == name)
                .map(|job| job.job_id.parse::<JobId>());
            if let Some(Ok(job)) = found {
                end(state, job, outcome);
            }
        });
    }

    /// Has the record tell nothing but this digest of the lists of files that jobs end with,
    /// because they are damaged; with an empty one they are whole again.
    pub fn damage_lists(&self, digest: &str) {
        self.write(|state| {
            digest.clone_into(&mut state.lists_digest);
            let ends = state.application().jobs.iter_mut().filter_map(|job| job.end.as_mut());
            for manifest in ends.filter_map(|end| end.manifest.as_mut()) {
                digest.clone_into(&mut manifest.files_digest);
            }
        });
    }
}

/// The cluster's own record of an end: the first one wins.
fn end(state: &mut State, job: JobId, outcome: job::JobOutcome) {
    let files_digest = state.lists_digest.clone();
    let Ok(known) = state.job(job) else { return };
    if known.end.is_some() {
        return;
    }
    let name = known.name.clone();
    let mut end = job::JobEnd { message: format!("{name} ended"), ..job::JobEnd::default() };
    end.set_outcome(outcome);
    if outcome == job::JobOutcome::Succeeded {
        let output = job::Output { location: format!("/memory/{name}"), ..job::Output::default() };
        end.manifest = Some(job::Manifest { outputs: vec![output], files_digest });
    }
    known.end = Some(end);
    known.set_state(api::JobState::Publishing);
    state.application().cluster.get_or_insert_default().barren_incarnations = 0;
    state.note(format!("ended {name}"));
}

#[async_trait]
impl Substrate for World {
    async fn provision(
        &self,
        _fence: &EpochFence,
        incarnation: Incarnation,
        _plan: &engine::Plan,
        _traceparent: &str,
        _deaths: &watch::Sender<Deaths>,
    ) -> PortResult<ReadyCluster> {
        let mut state = self.lock();
        if state.cluster.as_ref().is_none_or(|cluster| cluster.incarnation != incarnation) {
            let news = watch::Sender::new(ClusterNews::Lives(Vec::new()));
            state.cluster =
                Some(Processes { incarnation, jobs: BTreeMap::new(), savepoints: BTreeMap::new(), news });
            state.note(format!("cluster {incarnation}"));
        }
        Ok(ReadyCluster { jobs_endpoint: format!("memory:{incarnation}"), ..ReadyCluster::default() })
    }

    async fn watch(
        &self,
        _application: &ApplicationRef,
        incarnation: Incarnation,
    ) -> PortResult<BoxStream<'static, PortResult<ClusterNews>>> {
        let state = self.lock();
        match state.cluster.as_ref().filter(|cluster| cluster.incarnation == incarnation) {
            Some(cluster) => Ok(WatchStream::new(cluster.news.subscribe()).map(Ok).boxed()),
            None => Ok(stream::iter([Ok(ClusterNews::Failed("it is gone".to_owned()))]).boxed()),
        }
    }

    async fn teardown(&self, _fence: &EpochFence, incarnation: Incarnation) -> PortResult<Vec<String>> {
        let mut state = self.lock();
        state.cluster = None;
        state.note(format!("teardown {incarnation}"));
        Ok(Vec::new())
    }
}

#[async_trait]
impl Jobs for World {
    async fn adopt(
        &self,
        _fence: &EpochFence,
        incarnation: Incarnation,
        _endpoint: &str,
        _submitted: &[JobId],
    ) -> PortResult<BTreeSet<JobId>> {
        let state = self.lock();
        let cluster = state.cluster.as_ref().filter(|cluster| cluster.incarnation == incarnation);
        cluster
            .map(|cluster| cluster.jobs.keys().copied().collect())
            .ok_or_else(|| PortError::away("nobody listens"))
    }

    async fn submit(
        &self,
        _fence: &EpochFence,
        incarnation: Incarnation,
        job: &Submission,
    ) -> PortResult<()> {
        let behaviour = {
            let mut state = self.lock();
            if !state.payloads.contains_key(&job.graph) {
                return Err(PortError::refused(Reason::GraphUnreadable, "the graph is not in the record"));
            }
            let cluster = state.cluster.as_mut().filter(|cluster| cluster.incarnation == incarnation);
            let cluster = cluster.ok_or_else(|| PortError::away("nobody listens"))?;
            if cluster.jobs.insert(job.job, job.name.clone()).is_some() {
                return Ok(());
            }
            state.note(format!("submit {}", job.name));
            state.behaviours.get(&job.name).copied().unwrap_or(Behaviour::Succeed)
        };
        let outcome = match behaviour {
            Behaviour::Succeed => job::JobOutcome::Succeeded,
            Behaviour::Fail => job::JobOutcome::Failed,
            Behaviour::Run => return Ok(()),
        };
        self.write(|state| end(state, job.job, outcome));
        Ok(())
    }

    async fn cancel(
        &self,
        _fence: &EpochFence,
        _incarnation: Incarnation,
        job: JobId,
        _reason: &str,
    ) -> PortResult<()> {
        self.write(|state| end(state, job, job::JobOutcome::Cancelled));
        Ok(())
    }

    /// Answers pending once, then where it is; a job that is stopped ends with it.
    async fn savepoint(
        &self,
        _fence: &EpochFence,
        incarnation: Incarnation,
        wish: &Wish,
    ) -> PortResult<engine::SavepointResponse> {
        let trigger = wish.trigger.to_string();
        let taken = {
            let mut state = self.lock();
            let refused = state.no_savepoints;
            if refused {
                return Err(PortError::refused(
                    Reason::SavepointUnsupported,
                    "this engine has no savepoints",
                ));
            }
            let name = state.job(wish.job)?.name.clone();
            let cluster = state.cluster.as_mut().filter(|cluster| cluster.incarnation == incarnation);
            let cluster = cluster.ok_or_else(|| PortError::away("nobody listens"))?;
            let pointer = format!("memory:{name}/{trigger}");
            let pending = engine::SavepointResponse {
                state: engine::SavepointState::Pending.into(),
                ..engine::SavepointResponse::default()
            };
            let taken = engine::SavepointResponse {
                state: engine::SavepointState::Taken.into(),
                pointer,
                message: String::new(),
            };
            if cluster.savepoints.insert(trigger, taken.clone()).is_none() {
                state.note(format!("savepoint {name}"));
                return Ok(pending);
            }
            taken
        };
        if wish.stop {
            self.write(|state| end(state, wish.job, job::JobOutcome::Succeeded));
        }
        Ok(taken)
    }

    async fn watch(
        &self,
        _fence: &EpochFence,
        _incarnation: Incarnation,
    ) -> PortResult<BoxStream<'static, PortResult<engine::JobStatus>>> {
        Ok(stream::pending().boxed())
    }
}
