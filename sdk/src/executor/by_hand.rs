//! The program was started by hand: its jobs run in its own process, from the bytes that would have
//! been stored.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chassis::clock::{Clock as _, SharedClock};
use client::execution::{Accepted, ExecuteCall, JobEnd, JobOutcome, MAX_GRAPH_BYTES};
use mainspring_datafusion::execute::{self, JobOutput, RunContext};
use mainspring_datafusion::graph::JobGraph;
use mainspring_datafusion::{publish, wire};
use proto::{ApplicationRef, Digest, Generation, JobId, Reason};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Ended, Executor, Refusal};

/// The "cluster" has one life: this process.
const INCARNATION: u64 = 1;
/// The record's limit of a value.
const MAX_JOURNAL_VALUE_BYTES: usize = 32 * 1024;
/// The record's limit of a key.
const MAX_JOURNAL_KEY_BYTES: usize = 256;

/// This very process as the engine.
pub(crate) struct ByHand {
    inner: Arc<ThisProcess>,
}

/// What the jobs of this process share.
struct ThisProcess {
    /// The application, with a random generation, so that the parts of two runs are told apart.
    application: ApplicationRef,
    /// The directory of results and of what is spilled; gone with the process.
    work: TempDir,
    clock: SharedClock,
    cancel: CancellationToken,
    tasks: TaskTracker,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    names: HashSet<String>,
    ids: HashSet<String>,
    calls: u32,
    in_flight: u32,
    results: HashMap<JobId, PathBuf>,
    journal: HashMap<String, Bytes>,
    /// The first job that did not succeed after its caller had left.
    failed_unseen: Option<Ended>,
}

impl ByHand {
    pub(crate) fn new(clock: SharedClock) -> io::Result<Self> {
        let inner = ThisProcess {
            application: ApplicationRef {
                id: "by-hand".parse().expect("it is a well-formed id"),
                generation: Generation(rand::random()),
            },
            work: tempfile::Builder::new().prefix("mainspring-by-hand-").tempdir()?,
            clock,
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
            known: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl ThisProcess {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the call its name and id, by the rules of the record.
    fn admit(&self, call: &ExecuteCall) -> Result<Accepted, Refusal> {
        if call.graph.len() > MAX_GRAPH_BYTES {
            let message = format!(
                "its graph has {} bytes, {MAX_GRAPH_BYTES} are the limit",
                call.graph.len()
            );
            return Err(Refusal::new(Reason::GraphTooLarge, message));
        }
        let mut known = self.known();
        let ordinal = known.calls;
        let name = match call.name.as_str() {
            "" if known.in_flight > 0 => {
                let message = "an unnamed execute() while another is in flight: name your jobs";
                return Err(Refusal::new(Reason::UnnamedJobOverlaps, message));
            }
            "" => format!("job-{ordinal}"),
            name => name.to_owned(),
        };
        if !known.names.insert(name.clone()) {
            let message = "another execute() uses the same name: give each job its own";
            return Err(Refusal::new(Reason::JobNameTaken, message));
        }
        let id = JobId::derive(&self.application, "", &name, 0).to_string();
        known.ids.insert(id.clone());
        known.calls += 1;
        known.in_flight += 1;
        Ok(Accepted { job_id: id, name, ..Accepted::default() })
    }

    async fn run(&self, job_id: &str, graph: &[u8]) -> JobEnd {
        let begun = self.clock.boot();
        let mut context = RunContext::new(job_id, INCARNATION, self.work.path().join(job_id));
        context.own_job_ids = Some(self.known().ids.clone());
        context.cancel = self.cancel.child_token();
        let ran = match JobGraph::decode(graph) {
            Ok(graph) => execute::run(&graph, &context).await,
            Err(error) => Err(error.into()),
        };
        let elapsed = self.clock.boot().saturating_duration_since(begun);
        let output = match ran {
            Ok(output) => output,
            Err(error) => return wire::failed(&error, context.progress.snapshot(), elapsed),
        };
        let mut end = wire::succeeded(&output, elapsed);
        if let Err(refusal) = self.commit(job_id, output, &mut end).await {
            end.outcome = JobOutcome::Failed.into();
            end.reason = refusal.reason.map(|reason| reason.to_string()).unwrap_or_default();
            end.message = refusal.message;
        }
        end
    }

    /// Gives staged files their names and keeps the rows.
    async fn commit(
        &self,
        job_id: &str,
        output: JobOutput,
        end: &mut JobEnd,
    ) -> Result<(), Refusal> {
        let own = self.known().ids.clone();
        let outputs = output.outputs;
        let published = tokio::task::spawn_blocking(move || publish::publish(&outputs, &own)).await;
        published
            .map_err(|error| Refusal::new(Reason::Internal, error.to_string()))?
            .map_err(|error| Refusal::new(error.reason(), error.to_string()))?;
        let Some(result) = output.result else { return Ok(()) };
        let bytes = read(result.path.clone()).await?;
        end.result_digest = Digest::of(&bytes).to_string();
        end.result_size_bytes = result.size_bytes;
        let id = job_id
            .parse()
            .map_err(|error| Refusal::new(Reason::IdMalformed, format!("{error}")))?;
        self.known().results.insert(id, result.path);
        Ok(())
    }
}

#[async_trait]
impl Executor for ByHand {
    async fn execute(&self, call: ExecuteCall) -> Result<Ended, Refusal> {
        let accepted = self.inner.admit(&call)?;
        let (inner, of_task) = (self.inner.clone(), accepted.clone());
        // The job has a task of its own, because it goes on when the caller does not wait for it,
        // as it would on a cluster.
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.inner.tasks.spawn(async move {
            let end = inner.run(&of_task.job_id, &call.graph).await;
            inner.known().in_flight -= 1;
            if let Err(end) = sender.send(end)
                && end.outcome() != JobOutcome::Succeeded
            {
                inner.known().failed_unseen.get_or_insert(Ended { accepted: of_task, end });
            }
        });
        match receiver.await {
            Ok(end) => Ok(Ended { accepted, end }),
            Err(_) => {
                Err(Refusal::new(Reason::Internal, "the engine panicked while it ran this job"))
            }
        }
    }

    async fn rows(&self, job: JobId) -> Result<Bytes, Refusal> {
        let path = self.inner.known().results.get(&job).cloned();
        read(path.ok_or_else(|| {
            Refusal::new(Reason::JobNotFound, format!("there is no result of job {job}"))
        })?)
        .await
    }

    async fn journal_get(&self, key: &str) -> Result<Option<Bytes>, Refusal> {
        if key.is_empty() || key.len() > MAX_JOURNAL_KEY_BYTES {
            let message = format!("a key has 1 to {MAX_JOURNAL_KEY_BYTES} bytes");
            return Err(Refusal::new(Reason::RequestInvalid, message));
        }
        Ok(self.inner.known().journal.get(key).cloned())
    }

    async fn journal_put(&self, key: &str, value: Bytes) -> Result<Bytes, Refusal> {
        if value.len() > MAX_JOURNAL_VALUE_BYTES {
            let message = format!(
                "its value has {} bytes, {MAX_JOURNAL_VALUE_BYTES} are the limit",
                value.len()
            );
            return Err(Refusal::new(Reason::JournalValueTooLarge, message));
        }
        Ok(self.inner.known().journal.entry(key.to_owned()).or_insert(value).clone())
    }

    async fn finish(&self, main_succeeded: bool) -> Option<Ended> {
        if !main_succeeded {
            self.inner.cancel.cancel();
        }
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.known().failed_unseen.take().filter(|_| main_succeeded)
    }
}

async fn read(path: PathBuf) -> Result<Bytes, Refusal> {
    match tokio::fs::read(&path).await {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(Refusal::new(Reason::JobFailed, format!("{}: {error}", path.display()))),
    }
}
