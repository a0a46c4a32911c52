//! The clusters of one application on one host, as its lifecycle keeps them: an intent in the
//! record before anything is started, and jobs that take their time and report their own ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::record::Record as _;
use app_runner::error::PortError;
use app_runner::model::Wish;
use app_runner::ports::PortResult;
use app_runner::ports::jobs::{Jobs, Submission};
use app_runner::ports::substrate::{ClusterNews, Deaths, ReadyCluster, Substrate};
use async_trait::async_trait;
use chassis::clock::Clock as _;
use chassis::credential::Principal;
use chassis::tasks::{OwnedTask, owned};
use client::payloads::Payloads;
use client::processes::Processes;
use client::record::RecordClient;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use proto::{
    ApplicationRef, EpochFence, Incarnation, IncarnationFence, JobId, Reason, engine, job, jobgraph,
};
use tokio::sync::watch;

use crate::host::{At, STORE};
use crate::plan::Application;
use crate::world::Deployment;

/// How long the processes of a cluster take to start: long enough that a leader is lost meanwhile
/// now and then.
const START: Duration = Duration::from_millis(700);

/// How often lifecycle asks the record about its clusters.
const FOLLOW: Duration = Duration::from_secs(5);

/// The largest graph that is read, in bytes.
const LARGEST_GRAPH: usize = 1 << 20;

/// The pause before a cluster tells again what was not answered.
const AGAIN: Duration = Duration::from_millis(200);

/// The clusters of one application on one host, for one life of the host.
pub(crate) struct Clusters {
    of: Arc<Deployment>,
    at: At,
    application: ApplicationRef,
    /// How long each job takes, by name.
    takes: BTreeMap<String, Duration>,
    intents: Processes,
    /// Whether the record may hold intents of this host.
    owes: AtomicBool,
    /// Held while processes are started or ended.
    busy: tokio::sync::Mutex<()>,
    running: Mutex<Option<Running>>,
}

/// A cluster that runs.
struct Running {
    incarnation: Incarnation,
    /// The jobs that were submitted, each with what works for it.
    jobs: BTreeMap<JobId, (Submission, OwnedTask<()>)>,
    news: watch::Sender<ClusterNews>,
    reports: Reports,
}

/// The record and the payloads, as an incarnation reaches them.
#[derive(Clone)]
struct Reports {
    record: RecordClient,
    payloads: Payloads,
}

impl Clusters {
    pub(crate) fn new(of: Arc<Deployment>, at: At, application: ApplicationRef) -> Self {
        let id = application.id.as_str();
        let planned = of.plan.applications.iter().find(|planned| planned.id == id);
        let takes = planned.map(Application::takes).unwrap_or_default();
        let intents = Processes::new(at.channel(STORE, of.key.mint(&Principal::Deployment)));
        // An earlier life of the host may have left intents.
        let owes = AtomicBool::new(true);
        let (busy, running) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { of, at, application, takes, intents, owes, busy, running }
    }

    /// Follows the record, for as long as the host lives: a cluster that is over is ended, and what
    /// an earlier life of the host intended is forgotten, because it is gone with that life.
    pub(crate) async fn follow(&self) {
        loop {
            let asked = self
                .running()
                .as_ref()
                .map(|cluster| (cluster.incarnation, cluster.reports.record.clone()));
            match asked {
                Some((incarnation, record)) => self.confirm(incarnation, &record).await,
                // Without a cluster no incarnation is ended by this, only intents are forgotten.
                None if self.owes.load(Ordering::Relaxed) => self.end(Incarnation(0)).await,
                None => {}
            }
            self.at.clock.sleep(FOLLOW).await;
        }
    }

    /// Ends a cluster that the record says is over, or that no leader of this host needs. What
    /// cannot be asked is left alone.
    async fn confirm(&self, incarnation: Incarnation, record: &RecordClient) {
        let fence = IncarnationFence { application: self.application.clone(), incarnation };
        let Ok(confirmed) = record.confirm_incarnation(&fence).await else { return };
        let own = self.at.place.uid();
        let is_left = confirmed.application_ended
            && confirmed.leader_place.is_some_and(|leader| leader.uid() != own);
        if !confirmed.holds || is_left {
            self.end(incarnation).await;
        }
    }

    /// Releases what runs up to this incarnation. What fails is tried again at the next look.
    async fn end(&self, up_to: Incarnation) {
        if let Err(error) = self.release(up_to).await {
            let what = format!("{}: intents are kept for now: {error}", self.application.id);
            self.of.trace.note(self.at.name, what);
        }
    }

    /// Ends what runs of this incarnation and of lower ones. Once nothing runs here, the intents
    /// are forgotten.
    async fn release(&self, up_to: Incarnation) -> PortResult<()> {
        let _busy = self.busy.lock().await;
        let ended = self.running().take_if(|cluster| cluster.incarnation <= up_to);
        if let Some(cluster) = ended {
            let (application, incarnation) = (&self.application.id, cluster.incarnation);
            let what = format!("{application}: incarnation {incarnation} is ended");
            self.of.trace.note(self.at.name, what);
            self.of.trace.torn_down(application, self.at.name);
            cluster.news.send_replace(ClusterNews::Failed("it was ended".to_owned()));
        }
        if self.running().is_none() {
            self.intents.delete(&self.prefix()).await?;
            self.owes.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    fn prefix(&self) -> String {
        let ApplicationRef { id, generation } = &self.application;
        format!("{id}/{generation}/{}/cluster/", self.at.place.uid())
    }

    /// Keeps the intent of the cluster's one process.
    async fn intend(&self, fence: &EpochFence, incarnation: Incarnation) -> PortResult<()> {
        let process = jobgraph::Process {
            key: format!("{}{incarnation}/worker/0", self.prefix()),
            application: Some(self.application.clone().into()),
            kind: "cluster".to_owned(),
            number: incarnation.get(),
            role: "worker".to_owned(),
            starts: 1,
            state: jobgraph::ProcessState::Intended.into(),
            place: Some(self.at.place.clone().into()),
            ..jobgraph::Process::default()
        };
        self.owes.store(true, Ordering::Relaxed);
        Ok(self.intents.put(process, Some(fence.epoch)).await?)
    }

    fn reports(&self, incarnation: Incarnation) -> Reports {
        let token = self.of.key.mint(&Principal::Incarnation {
            application: self.application.id.to_string(),
            generation: self.application.generation.get(),
            incarnation: incarnation.get(),
        });
        let channel = self.at.channel(STORE, token);
        Reports { record: RecordClient::new(channel.clone()), payloads: Payloads::new(channel) }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What one job does: it reads its graph, works, and reports its end until the report is
    /// answered. A job that is cancelled only reports.
    fn work(
        &self,
        reports: Reports,
        incarnation: Incarnation,
        job: Submission,
        outcome: job::JobOutcome,
    ) -> OwnedTask<()> {
        let (of, at) = (self.of.clone(), self.at.clone());
        let fence = IncarnationFence { application: self.application.clone(), incarnation };
        let takes = self.takes.get(&job.name).copied().unwrap_or_default();
        owned("job", async move {
            let mut end = job::JobEnd::default();
            end.set_outcome(outcome);
            if outcome == job::JobOutcome::Succeeded {
                while let Err(error) = reports.payloads.get_bytes(job.graph, LARGEST_GRAPH).await {
                    if error.reason() == Some(Reason::PayloadMissing) {
                        of.trace.wrong(format!("{}: its graph is not in the payloads", job.name));
                        return;
                    }
                    at.clock.sleep(AGAIN).await;
                }
                at.clock.sleep(takes).await;
                let output = job::Output {
                    location: format!("/outputs/{}", job.name),
                    staging: format!("{}/{incarnation}", job.job),
                    ..job::Output::default()
                };
                end.manifest =
                    Some(job::Manifest { outputs: vec![output], ..job::Manifest::default() });
            }
            loop {
                match reports.record.job_ended(&fence, job.job, end.clone()).await {
                    Ok(standing) if standing.recorded => {
                        let job = (job.job, job.name.as_str());
                        return of.trace.ended(job, incarnation, outcome, at.name);
                    }
                    Ok(_) => return,
                    Err(::record::Error::Away(_)) => at.clock.sleep(AGAIN).await,
                    Err(refused) => {
                        let what = format!("{} in incarnation {incarnation}: {refused}", job.name);
                        return of.trace.note(at.name, what);
                    }
                }
            }
        })
    }
}

#[async_trait]
impl Substrate for Clusters {
    async fn provision(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        _plan: &engine::Plan,
        _traceparent: &str,
        _deaths: &watch::Sender<Deaths>,
    ) -> PortResult<ReadyCluster> {
        let _busy = self.busy.lock().await;
        self.intend(fence, incarnation).await?;
        let is_new = {
            let mut running = self.running();
            let known = running.as_ref().map(|cluster| cluster.incarnation);
            if known.is_some_and(|known| known > incarnation) {
                return Err(PortError::away("a later incarnation runs here"));
            }
            let is_new = known != Some(incarnation);
            if is_new {
                // What is left of an earlier incarnation ends here, with its jobs.
                let news = watch::Sender::new(ClusterNews::Lives(Vec::new()));
                let reports = self.reports(incarnation);
                *running = Some(Running { incarnation, jobs: BTreeMap::new(), news, reports });
            }
            is_new
        };
        if is_new {
            self.of.trace.provisioned(&self.application.id, incarnation, self.at.name);
        }
        self.at.clock.sleep(START).await;
        let jobs_endpoint = format!("memory:{incarnation}");
        Ok(ReadyCluster { jobs_endpoint, ..ReadyCluster::default() })
    }

    async fn watch(
        &self,
        _application: &ApplicationRef,
        incarnation: Incarnation,
    ) -> PortResult<BoxStream<'static, PortResult<ClusterNews>>> {
        let running = self.running();
        let cluster = running.as_ref().filter(|cluster| cluster.incarnation == incarnation);
        let Some(cluster) = cluster else {
            return Ok(stream::iter([Ok(ClusterNews::Failed("it is gone".to_owned()))]).boxed());
        };
        let told = (cluster.news.subscribe(), true);
        Ok(stream::unfold(told, |(mut news, first)| async move {
            if !first {
                news.changed().await.ok()?;
            }
            let now = news.borrow_and_update().clone();
            Some((Ok(now), (news, false)))
        })
        .boxed())
    }

    async fn teardown(
        &self,
        _fence: &EpochFence,
        incarnation: Incarnation,
    ) -> PortResult<Vec<String>> {
        self.release(incarnation).await?;
        Ok(Vec::new())
    }
}

#[async_trait]
impl Jobs for Clusters {
    async fn adopt(
        &self,
        _fence: &EpochFence,
        incarnation: Incarnation,
        _endpoint: &str,
        _submitted: &[JobId],
    ) -> PortResult<BTreeSet<JobId>> {
        let running = self.running();
        let cluster = of(&running, incarnation)?;
        Ok(cluster.jobs.keys().copied().collect())
    }

    async fn submit(&self, incarnation: Incarnation, job: &Submission) -> PortResult<()> {
        let mut running = self.running();
        let reports = of(&running, incarnation)?.reports.clone();
        if let Some(cluster) = running.as_mut() {
            let done = job::JobOutcome::Succeeded;
            let begin = || (job.clone(), self.work(reports, incarnation, job.clone(), done));
            cluster.jobs.entry(job.job).or_insert_with(begin);
        }
        Ok(())
    }

    async fn cancel(&self, incarnation: Incarnation, job: JobId, _reason: &str) -> PortResult<()> {
        let mut running = self.running();
        let reports = of(&running, incarnation)?.reports.clone();
        let known = running.as_mut().and_then(|cluster| cluster.jobs.get_mut(&job));
        let Some((submission, working)) = known else {
            return Err(PortError::refused(Reason::JobNotFound, job.to_string()));
        };
        let (job, cancelled) = (submission.clone(), job::JobOutcome::Cancelled);
        *working = self.work(reports, incarnation, job, cancelled);
        Ok(())
    }

    async fn savepoint(
        &self,
        _incarnation: Incarnation,
        _wish: &Wish,
    ) -> PortResult<engine::SavepointResponse> {
        Err(PortError::refused(Reason::SavepointUnsupported, "this engine has no savepoints"))
    }

    async fn watch(
        &self,
        _incarnation: Incarnation,
    ) -> PortResult<BoxStream<'static, PortResult<engine::JobStatus>>> {
        Ok(stream::pending().boxed())
    }
}

/// The cluster of an incarnation, if it runs here.
fn of(running: &Option<Running>, incarnation: Incarnation) -> PortResult<&Running> {
    let cluster = running.as_ref().filter(|cluster| cluster.incarnation == incarnation);
    cluster.ok_or_else(|| PortError::away("no such cluster listens"))
}
