//! A cluster whose jobs do what their names were told to do. Where there are several hosts, each
//! has a cluster of its own, with an intent in the record.

use std::collections::{BTreeMap, BTreeSet};

use ::record::{Answer, Nothing, Record as _};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use prost::Message as _;
use proto::{
    ApplicationRef, Digest, EpochFence, Incarnation, IncarnationFence, JobId, Place, PlaceUid,
    Reason, engine, job, jobgraph,
};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use super::{Behaviour, World, WorldState};
use crate::error::PortError;
use crate::model::Wish;
use crate::ports::PortResult;
use crate::ports::jobs::{Jobs, Submission};
use crate::ports::payloads::Payloads as _;
use crate::ports::substrate::{ClusterNews, Death, Deaths, ReadyCluster, Substrate};

pub(super) struct Processes {
    incarnation: Incarnation,
    jobs: BTreeMap<JobId, String>,
    /// The savepoints by trigger id, as they are answered once they are taken.
    savepoints: BTreeMap<String, engine::SavepointResponse>,
    news: watch::Sender<ClusterNews>,
}

impl WorldState {
    /// The processes of an incarnation, if they run on this host. A cluster listens to its host.
    fn running(
        &mut self,
        host: Option<PlaceUid>,
        incarnation: Incarnation,
    ) -> PortResult<&mut Processes> {
        let cluster = self.clusters.get_mut(&host);
        let cluster = cluster.filter(|cluster| cluster.incarnation == incarnation);
        cluster.ok_or_else(|| PortError::away("no such cluster listens"))
    }
}

impl World {
    /// Kills the cluster's processes.
    pub fn kill_cluster(&self) {
        if let Some(cluster) = self.lock().clusters.remove(&self.host()) {
            cluster.news.send_replace(ClusterNews::Failed("worker-0 signal 9".to_owned()));
        }
    }

    /// Lets a process of the cluster die that is started again. `count` is how often it has died by
    /// now.
    pub fn process_died(&self, process: &str, count: u32, cause: &str) {
        if let Some(cluster) = self.lock().clusters.get(&self.host()) {
            let death = Death { process: process.to_owned(), count, cause: cause.to_owned() };
            cluster.news.send_replace(ClusterNews::Lives(vec![death]));
        }
    }

    /// Ends this host's cluster and forgets its intents, as the lifecycle of a host does once the
    /// cluster is needed no more.
    pub async fn release_clusters(&self) {
        self.lock().clusters.remove(&self.host());
        if let Some(place) = &self.place {
            let prefix = self.intents_at(place);
            self.store.delete_processes(&prefix).await.expect("memory does not refuse");
        }
    }

    /// Whether a cluster runs on this host.
    pub fn has_cluster(&self) -> bool {
        self.lock().clusters.contains_key(&self.host())
    }

    /// Keeps the intent of the cluster's one process, as lifecycle does before each start. A host
    /// without a name keeps none.
    async fn intend(&self, fence: &EpochFence, incarnation: Incarnation) -> PortResult<()> {
        let Some(place) = &self.place else { return Ok(()) };
        let process = jobgraph::Process {
            key: format!("{}{incarnation}/worker/0", self.intents_at(place)),
            application: Some(fence.application.clone().into()),
            kind: "cluster".to_owned(),
            number: incarnation.get(),
            role: "worker".to_owned(),
            starts: 1,
            state: jobgraph::ProcessState::Intended.into(),
            place: Some(place.clone().into()),
            ..jobgraph::Process::default()
        };
        let kept = self.store.put_process(process, Some(fence)).await;
        kept.map_err(|error| ::record::Error::<Nothing>::from(error).into())
    }

    fn intents_at(&self, place: &Place) -> String {
        let ApplicationRef { id, generation } = &self.application;
        format!("{id}/{generation}/{}/cluster/", place.uid())
    }

    /// What is noted of a thing that was done on this host.
    fn here(&self, what: &str, incarnation: Incarnation) -> String {
        match &self.place {
            Some(place) => format!("{what} {incarnation} on {place}"),
            None => format!("{what} {incarnation}"),
        }
    }

    /// Has the cluster end a running job with an outcome.
    pub async fn end_job(&self, name: &str, outcome: job::JobOutcome) {
        let recorded = self.recorded().await;
        let job = recorded.jobs.iter().find(|job| job.name == name).expect("the job is recorded");
        let job = job.job_id.parse().expect("the record gives valid ids");
        let incarnation = Incarnation(recorded.cluster.expect("a cluster is recorded").incarnation);
        self.record_end(incarnation, job, name, outcome)
            .await
            .expect("the incarnation is the current one");
    }

    /// From now on jobs end with lists of files that are damaged in the record.
    pub fn damage_lists(&self) {
        self.lock().damage_lists = true;
    }

    /// The digests of the lists that are damaged.
    pub fn damaged(&self) -> Vec<Digest> {
        self.lock().damaged.keys().copied().collect()
    }

    /// Makes the damaged lists whole again.
    pub async fn restore_lists(&self) {
        let damaged = std::mem::take(&mut self.lock().damaged);
        for (digest, bytes) in damaged {
            self.overwrite(digest, bytes).await;
        }
    }

    /// Ends a job in its cluster. Whether the record takes the end concerns the cluster alone,
    /// because the calls of leaders were answered before.
    async fn end(
        &self,
        incarnation: Incarnation,
        job: JobId,
        name: &str,
        outcome: job::JobOutcome,
    ) {
        if let Err(error) = self.record_end(incarnation, job, name, outcome).await {
            tracing::debug!("the end of {name} is not recorded: {error}");
        }
    }

    /// Records an end as a cluster does. The first end wins.
    async fn record_end(
        &self,
        incarnation: Incarnation,
        job: JobId,
        name: &str,
        outcome: job::JobOutcome,
    ) -> Answer<()> {
        let mut end = job::JobEnd { message: format!("{name} ended"), ..job::JobEnd::default() };
        end.set_outcome(outcome);
        if outcome == job::JobOutcome::Succeeded {
            end.manifest = Some(self.manifest(name).await);
        }
        if self.lock().ended.insert((incarnation, job)) {
            self.lock().note(format!("ended {name}"));
        }
        let fence = IncarnationFence { application: self.application(), incarnation };
        self.store.job_ended(&fence, job, end).await?;
        Ok(())
    }

    /// A manifest of one output. Where lists are to be damaged, the output has so many files that
    /// their list is a payload.
    async fn manifest(&self, name: &str) -> job::Manifest {
        let mut output =
            job::Output { location: format!("/memory/{name}"), ..job::Output::default() };
        if !self.lock().damage_lists {
            return job::Manifest { outputs: vec![output], ..job::Manifest::default() };
        }
        let file = |n: u32| job::StagedFile {
            staged: format!("part-{n}.of-a-long-list"),
            ..job::StagedFile::default()
        };
        output.files = (0..2000).map(file).collect();
        let manifest = job::Manifest { outputs: vec![output], ..job::Manifest::default() };
        let list = Bytes::from(manifest.encode_to_vec());
        let digest = self.store.put_bytes(list.clone()).await.expect("memory does not refuse");
        self.overwrite(digest, vec![0; list.len()].into()).await;
        self.lock().damaged.insert(digest, list);
        manifest
    }
}

#[async_trait]
impl Substrate for World {
    async fn provision(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        _plan: &engine::Plan,
        _traceparent: &str,
        _deaths: &watch::Sender<Deaths>,
    ) -> PortResult<ReadyCluster> {
        self.intend(fence, incarnation).await?;
        let (host, mut state) = (self.host(), self.lock());
        let known = state.clusters.get(&host);
        if known.is_none_or(|cluster| cluster.incarnation != incarnation) {
            let news = watch::Sender::new(ClusterNews::Lives(Vec::new()));
            let cluster =
                Processes { incarnation, jobs: BTreeMap::new(), savepoints: BTreeMap::new(), news };
            state.clusters.insert(host, cluster);
            state.note(self.here("cluster", incarnation));
        }
        Ok(ReadyCluster {
            jobs_endpoint: format!("memory:{incarnation}"),
            ..ReadyCluster::default()
        })
    }

    async fn watch(
        &self,
        _application: &ApplicationRef,
        incarnation: Incarnation,
    ) -> PortResult<BoxStream<'static, PortResult<ClusterNews>>> {
        let state = self.lock();
        let cluster = state.clusters.get(&self.host());
        match cluster.filter(|cluster| cluster.incarnation == incarnation) {
            Some(cluster) => Ok(WatchStream::new(cluster.news.subscribe()).map(Ok).boxed()),
            None => Ok(stream::iter([Ok(ClusterNews::Failed("it is gone".to_owned()))]).boxed()),
        }
    }

    async fn teardown(
        &self,
        _fence: &EpochFence,
        incarnation: Incarnation,
    ) -> PortResult<Vec<String>> {
        self.release_clusters().await;
        self.lock().note(self.here("teardown", incarnation));
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
        Ok(self.lock().running(self.host(), incarnation)?.jobs.keys().copied().collect())
    }

    async fn submit(&self, incarnation: Incarnation, job: &Submission) -> PortResult<()> {
        if !self.present(&[job.graph]).await?.contains(&job.graph) {
            return Err(PortError::refused(
                Reason::GraphUnreadable,
                "the graph is not in the record",
            ));
        }
        let behaviour = {
            let mut state = self.lock();
            let cluster = state.running(self.host(), incarnation)?;
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
        self.end(incarnation, job.job, &job.name, outcome).await;
        Ok(())
    }

    async fn cancel(&self, incarnation: Incarnation, job: JobId, _reason: &str) -> PortResult<()> {
        let name = self.lock().running(self.host(), incarnation)?.jobs.get(&job).cloned();
        let name = name.ok_or_else(|| PortError::refused(Reason::JobNotFound, job.to_string()))?;
        self.end(incarnation, job, &name, job::JobOutcome::Cancelled).await;
        Ok(())
    }

    /// Answers pending at the first call, then the savepoint's place. A job that is to be stopped
    /// ends with the savepoint.
    async fn savepoint(
        &self,
        incarnation: Incarnation,
        wish: &Wish,
    ) -> PortResult<engine::SavepointResponse> {
        let trigger = wish.trigger.to_string();
        let (name, taken) = {
            let mut state = self.lock();
            let refused = state.no_savepoints;
            if refused {
                return Err(PortError::refused(
                    Reason::SavepointUnsupported,
                    "this engine has no savepoints",
                ));
            }
            let cluster = state.running(self.host(), incarnation)?;
            let name = cluster.jobs.get(&wish.job).cloned();
            let name =
                name.ok_or_else(|| PortError::refused(Reason::JobNotFound, wish.job.to_string()))?;
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
            (name, taken)
        };
        if wish.stop {
            self.end(incarnation, wish.job, &name, job::JobOutcome::Succeeded).await;
        }
        Ok(taken)
    }

    async fn watch(
        &self,
        _incarnation: Incarnation,
    ) -> PortResult<BoxStream<'static, PortResult<engine::JobStatus>>> {
        Ok(stream::pending().boxed())
    }
}
