//! What main() may ask of its runner: `execute()` as a journalled step, and what goes with it.

mod calls;
mod savepoints;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::record::GraphRefused;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use proto::{Digest, JobId, Reason, api, engine, job, jobgraph, runner};
use tokio::sync::mpsc;

use super::leading::or_refused;
use super::shared::Shared;
use crate::error::{PortError, PortErrorKind};
use crate::model::Fact;
use crate::ports::{PortResult, view};
use calls::{Calls, Numbered, OtherName};

pub use client::execution::MAX_GRAPH_BYTES;

/// How many answers of one call may wait for a slow program.
const QUEUE: usize = 16;

/// The execution service of one attempt; cheap to clone. The wire calls it for main(): each job
/// gets an id that stays the same when main() is executed again, so that a repeated `execute()`
/// finds the job of the earlier one.
#[derive(Clone)]
pub struct Execution {
    shared: Arc<Shared>,
    calls: Arc<Mutex<Calls>>,
}

/// One `execute()`, all its chunks collected.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// The caller's id of the call, the same for a retry.
    pub call_id: String,
    /// The job's identity; empty for a job that is known by its ordinal.
    pub name: String,
    /// The digest that the program says the graph has.
    pub graph_digest: String,
    /// The graph.
    pub graph: Bytes,
    /// What of the graph is shown to people.
    pub description: api::GraphDescription,
    /// Where the job may stage output.
    pub staging_locations: Vec<String>,
    /// The files that the graph needs, which the program has put before.
    pub payload_digests: Vec<String>,
    /// Whether the name stands in the program as it is, so that it cannot be another when main() is
    /// executed again.
    pub name_is_literal: bool,
}

/// An answer to an `execute()`.
pub type Answer = Result<runner::execute_response::Item, PortError>;

impl Execution {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, calls: Arc::default() }
    }

    /// Enters a call: from here on the call has its ordinal and overlaps with others. Refuses an
    /// unnamed call that overlaps.
    pub fn enter(&self, call_id: &str, name: &str) -> PortResult<Entered> {
        check_call_id(call_id)?;
        let mut calls = self.calls();
        let (numbered, overlapped) =
            calls.enter(call_id, name).map_err(|known| other_name(call_id, &known))?;
        let Numbered { ordinal, occurrence, .. } = numbered;
        let entered = Entered {
            told: calls.told(call_id),
            calls: self.calls.clone(),
            call_id: call_id.to_owned(),
            ordinal,
            occurrence,
            overlapped,
        };
        drop(calls);
        check_named(name, ordinal, overlapped)?;
        Ok(entered)
    }

    /// The id that the job of a call will have, and the call's ordinal, before the graph of the job
    /// exists.
    pub async fn assign_job(
        &self,
        call_id: &str,
        name: &str,
        description: Option<api::GraphDescription>,
    ) -> PortResult<(JobId, u32)> {
        check_call_id(call_id)?;
        self.check_open()?;
        let (numbered, overlapped) =
            self.calls().assign(call_id, name).map_err(|known| other_name(call_id, &known))?;
        check_named(name, numbered.ordinal, overlapped)?;
        let equal_names_allowed = self.equal_names_allowed();
        let request = jobgraph::FindJobRequest {
            fence: None,
            call_id: call_id.to_owned(),
            name: numbered.name,
            ordinal: numbered.ordinal,
            overlapped,
            equal_names_allowed,
            occurrence: equal_names_allowed.then_some(numbered.occurrence),
            description,
        };
        let shared = &self.shared;
        let find = || shared.ports.record.find_job(&shared.fence, request.clone());
        let job = shared.patiently("find a job", find).await?;
        // The id that was told first stands, because a graph may carry it already.
        let job = self.calls().tell(call_id, job);
        Ok((job, numbered.ordinal))
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn equal_names_allowed(&self) -> bool {
        self.shared.engine.get().is_some_and(|engine| engine.equal_job_names)
    }

    /// Executes one job and answers until the job has ended. The job goes on when the program does
    /// not listen any more.
    pub async fn execute(
        &self,
        call: Call,
        entered: Entered,
    ) -> PortResult<mpsc::Receiver<Answer>> {
        let digest = verified(&call)?;
        self.check_open()?;
        let (job, accepted) = self.store(&call, &entered, digest).await?;
        let (answers, listener) = mpsc::channel(QUEUE);
        let this = self.clone();
        // The task ends when the program does not listen any more. It does not end with the call,
        // because the driver is told of the last answer after the program has taken it.
        self.shared.spawn("execute()", async move {
            let answered = this.follow(job, accepted, entered, &answers).await;
            if let Err(error) = answered {
                // The send fails when the program has given the call up, or is gone; then no answer
                // is owed.
                let _ = answers.send(Err(error)).await;
            }
        });
        Ok(listener)
    }

    /// Stores the graph first and its record second. When a sweep comes between the two, both are
    /// done once more.
    async fn store(
        &self,
        call: &Call,
        entered: &Entered,
        digest: Digest,
    ) -> PortResult<(JobId, runner::Accepted)> {
        let shared = &self.shared;
        let equal_names_allowed = self.equal_names_allowed();
        let request = jobgraph::PutJobGraphRequest {
            fence: None,
            call_id: call.call_id.clone(),
            name: call.name.clone(),
            ordinal: entered.ordinal,
            overlapped: entered.overlapped,
            equal_names_allowed,
            // Calls that were not assigned an id are counted here as well, because a call that was
            // assigned one may still be on its way.
            occurrence: equal_names_allowed.then_some(entered.occurrence),
            graph_digest: digest.to_string(),
            graph_size_bytes: call.graph.len() as u64,
            description: Some(call.description.clone()),
            staging_locations: call.staging_locations.clone(),
            payload_digests: call.payload_digests.clone(),
            job_id: entered.told.map(|job| job.to_string()).unwrap_or_default(),
            name_is_literal: call.name_is_literal,
            graph_bytes_vary: shared.engine.get().is_some_and(|engine| engine.graph_bytes_vary),
        };
        shared.asks(&call.name);
        let stored = shared
            .patiently("store a job graph", || async {
                shared.ports.payloads.put(digest, call.graph.clone()).await?;
                let put = shared.ports.record.put_job_graph(&shared.fence, request.clone());
                match or_refused(put.await)? {
                    Err((GraphRefused::PayloadMissing, error)) => {
                        // The graph is put again here; a file only the program can put again.
                        self.check_files(&request.payload_digests).await?;
                        Err(PortError { kind: PortErrorKind::Away, ..error })
                    }
                    stored => Ok(stored),
                }
            })
            .await?;
        let stored = match stored {
            Ok(stored) => stored,
            Err((refused, error)) => {
                if refused == GraphRefused::Diverged {
                    // The divergence is not this call's alone: the program is not the one whose
                    // jobs are recorded.
                    shared.tell(Fact::Refused(error.failure(Reason::MainDiverged))).await;
                }
                return Err(error);
            }
        };
        let known = stored.job.unwrap_or_default();
        let (job, recorded) = view::job(&known, None)?;
        let mut warnings = Vec::new();
        if stored.by_position {
            warnings.push(format!(
                "job {:?} is taken for {:?}, which was executed in its place before, with the same operators",
                call.name, known.name
            ));
        }
        if stored.diverged {
            warnings.push(format!(
                "job {:?} is recorded with another graph, and that one runs: recorded {}, sent {digest}",
                known.name, known.graph_digest
            ));
        }
        let warning = warnings.join("; ");
        if !warning.is_empty() {
            tracing::warn!("{warning}");
        }
        shared.asked_for(&call.name, job);
        shared.tell(Fact::JobStored { job, stored: Box::new(recorded) }).await;
        Ok((
            job,
            runner::Accepted {
                job_id: known.job_id,
                name: known.name,
                found: stored.found,
                warning,
            },
        ))
    }

    /// Refuses a call whose files are not in the payloads.
    async fn check_files(&self, digests: &[String]) -> PortResult<()> {
        let digests: Vec<Digest> =
            digests.iter().filter_map(|digest| digest.parse().ok()).collect();
        let present = self.shared.ports.payloads.present(&digests).await?;
        let missing: Vec<String> = digests
            .iter()
            .filter(|digest| !present.contains(digest))
            .map(Digest::to_string)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let text = format!(
            "the graph needs files that were not put, or not lately: {}",
            missing.join(", ")
        );
        Err(PortError::refused(Reason::PayloadMissing, text))
    }

    /// Answers until the end is recorded and published, or until the program does not listen any
    /// more.
    async fn follow(
        &self,
        job: JobId,
        accepted: runner::Accepted,
        entered: Entered,
        answers: &mpsc::Sender<Answer>,
    ) -> PortResult<()> {
        use runner::execute_response::Item;
        if answers.send(Ok(Item::Accepted(accepted))).await.is_err() {
            return Ok(());
        }
        let mut last = None;
        loop {
            match self.next_state(job, &mut last, Some(answers)).await? {
                Some(State::Progress(progress)) => {
                    if answers.send(Ok(Item::Progress(progress))).await.is_err() {
                        return Ok(());
                    }
                }
                Some(State::Ended(end)) => {
                    chassis::failpoint::hit("runner.published").await;
                    // The call leaves before the program hears of the end, so that the program's
                    // next call does not overlap with it.
                    drop(entered);
                    if answers.send(Ok(Item::Ended(end))).await.is_ok() {
                        self.shared.tell(Fact::JobAnswered(job)).await;
                    }
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
    }

    /// Waits for the next thing to tell about a job; `None` when the program does not listen any
    /// more.
    async fn next_state(
        &self,
        job: JobId,
        last: &mut Option<job::Progress>,
        answers: Option<&mpsc::Sender<Answer>>,
    ) -> PortResult<Option<State>> {
        let (mut record, mut progress) =
            (self.shared.record.subscribe(), self.shared.progress.subscribe());
        let over = || PortError::away("this attempt is over; the next leader answers");
        loop {
            if let Some(end) = settled(&record.borrow_and_update(), job) {
                return Ok(Some(State::Ended(end)));
            }
            let now = progress.borrow_and_update().get(&job).copied();
            if now.is_some() && now != *last {
                *last = now;
                return Ok(now.map(State::Progress));
            }
            tokio::select! {
                changed = record.changed() => changed.map_err(|_| over())?,
                changed = progress.changed() => changed.map_err(|_| over())?,
                () = gone(answers) => return Ok(None),
            }
        }
    }

    /// A job's state and progress until the job has ended.
    pub async fn watch_job(
        &self,
        job: JobId,
    ) -> PortResult<BoxStream<'static, PortResult<runner::WatchJobResponse>>> {
        self.known(job).await?;
        let this = self.clone();
        let states =
            stream::unfold((this, None, false), move |(this, mut last, ended)| async move {
                if ended {
                    return None;
                }
                let answer = match this.next_state(job, &mut last, None).await {
                    Ok(Some(State::Progress(progress))) => Ok(runner::WatchJobResponse {
                        status: Some(this.status(job, Some(progress))),
                        end: None,
                    }),
                    Ok(Some(State::Ended(end))) => {
                        let status = Some(this.status(job, end.progress));
                        Ok(runner::WatchJobResponse { status, end: Some(end) })
                    }
                    Ok(None) => return None,
                    Err(error) => Err(error),
                };
                let ended = answer.as_ref().map_or(true, |answer| answer.end.is_some());
                Some((answer, (this, last, ended)))
            });
        Ok(states.boxed())
    }

    fn status(&self, job: JobId, progress: Option<job::Progress>) -> engine::JobStatus {
        let state = match self.shared.job(job).map(|known| known.state()) {
            Some(api::JobState::Ended) => engine::EngineJobState::Ended,
            Some(api::JobState::Publishing) => engine::EngineJobState::Ending,
            Some(api::JobState::Running) => engine::EngineJobState::Running,
            _ => engine::EngineJobState::Starting,
        };
        engine::JobStatus {
            job_id: job.to_string(),
            state: state.into(),
            progress,
            ..Default::default()
        }
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

enum State {
    Progress(job::Progress),
    Ended(job::JobEnd),
}

/// The end of a job whose outputs, if it has any, stand at their final names.
fn settled(record: &jobgraph::Record, job: JobId) -> Option<job::JobEnd> {
    let id = job.to_string();
    let known = record.application.as_ref()?.jobs.iter().find(|known| known.job_id == id)?;
    let end = known.end.as_ref()?;
    let outputs = end.manifest.as_ref().is_some_and(|manifest| !manifest.outputs.is_empty());
    let waits = end.outcome() == job::JobOutcome::Succeeded && outputs && !known.published;
    (!waits).then(|| end.clone())
}

async fn gone(answers: Option<&mpsc::Sender<Answer>>) {
    match answers {
        Some(answers) => answers.closed().await,
        None => std::future::pending().await,
    }
}

fn check_call_id(call_id: &str) -> PortResult<()> {
    if !call_id.is_empty() && call_id.len() <= 128 {
        return Ok(());
    }
    Err(PortError::refused(Reason::RequestInvalid, "call_id has to have 1 to 128 characters"))
}

fn check_named(name: &str, ordinal: u32, overlapped: bool) -> PortResult<()> {
    if !name.is_empty() || !overlapped {
        return Ok(());
    }
    let text = format!(
        "the unnamed execute() number {ordinal} overlaps with another one, so that their order may differ when main() \
         is executed again: name your jobs"
    );
    Err(PortError::refused(Reason::UnnamedJobOverlaps, text))
}

fn other_name(call_id: &str, OtherName(known): &OtherName) -> PortError {
    let text =
        format!("call id {call_id:?} is that of a job named {known:?}: choose one per execute()");
    PortError::refused(Reason::RequestInvalid, text)
}

fn verified(call: &Call) -> PortResult<Digest> {
    let said = call.graph_digest.parse::<Digest>();
    let said =
        said.map_err(|error| PortError::refused(Reason::GraphDigestMismatch, error.to_string()))?;
    let is = Digest::of(&call.graph);
    if said == is {
        return Ok(is);
    }
    let text =
        format!("the graph's {} bytes have digest {is}, the header says {said}", call.graph.len());
    Err(PortError::refused(Reason::GraphDigestMismatch, text))
}

/// A call that is in flight. The call leaves when this value is dropped.
#[derive(Debug)]
pub struct Entered {
    calls: Arc<Mutex<Calls>>,
    call_id: String,
    /// The call's position among the calls of this main(), from 0.
    pub ordinal: u32,
    /// The call's position among the calls of its name, from 0.
    pub occurrence: u32,
    /// Whether the call overlapped with another one, or an earlier call of this attempt did.
    pub overlapped: bool,
    /// The id that the call was told before its graph existed.
    told: Option<JobId>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).leave(&self.call_id);
    }
}
