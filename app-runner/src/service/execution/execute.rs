//! `execute()` as a journalled step: the graph goes into the record, and the driver does the rest.

use ::record::GraphRefused;
use bytes::Bytes;
use chassis::failpoint;
use proto::{Digest, JobId, Reason, api, jobgraph, runner};
use tokio::sync::mpsc;

use super::MainService;
use super::entry::Entered;
use crate::error::{PortError, PortErrorKind};
use crate::model::Fact;
use crate::ports::{PortResult, view};
use crate::service::leading::or_refused;

/// How many answers of one call may wait for a slow program.
const QUEUE: usize = 16;

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

impl MainService {
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
                match or_refused(failpoint::around("runner.put-job-graph", put).await)? {
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
