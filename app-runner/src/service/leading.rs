//! The record as a leader writes to it: what the answers of the record mean for the attempt, and
//! the tokens that some of them carry.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::record::{Answer, ClusterRefused, Error, Holder, Refused};
use chassis::failpoint;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::{EpochFence, Incarnation, Reason, jobgraph};

use crate::error::{PortError, PortErrorKind};
use crate::ports::engine::EngineInfo;
use crate::ports::{PortResult, Ports};

/// The first answer that a leader gets from the record.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    /// Nothing is left to do, and nothing was written.
    pub(super) is_clean: bool,
    pub(super) record: Arc<jobgraph::Record>,
    /// The values of `spec.secrets`.
    pub(super) secrets: BTreeMap<String, String>,
}

/// Begins an attempt and keeps its tokens. A repeat by the same holder changes nothing.
pub(super) async fn begin(
    ports: &Ports,
    fence: &EpochFence,
    holder: &str,
    cause: &str,
) -> PortResult<Begun> {
    let holder = Holder::new(holder, std::process::id()).at(ports.place.clone());
    let begun = ports.record.begin_attempt(fence, &holder, cause);
    let begun = failpoint::around("runner.begin-attempt", begun).await?;
    let is_clean = match begun.disposition() {
        jobgraph::Disposition::Clean => true,
        jobgraph::Disposition::Fresh
        | jobgraph::Disposition::Resume
        | jobgraph::Disposition::Dirty => false,
        jobgraph::Disposition::Unspecified => {
            let text =
                "the store answered BeginAttempt with a disposition that this build does not know";
            return Err(PortError::refused(Reason::Internal, text));
        }
    };
    let record = Arc::new(begun.record.unwrap_or_default());
    if !is_clean {
        let cluster =
            record.application.as_ref().and_then(|application| application.cluster.as_ref());
        let recorded = Incarnation(cluster.map_or(0, |cluster| cluster.incarnation));
        ports.keyring.take_attempt(fence, recorded, begun.tokens)?;
    }
    Ok(Begun { is_clean, record, secrets: begun.secret_values.into_iter().collect() })
}

/// Begins an incarnation and keeps the token that opens its jobs.
pub(super) async fn begin_cluster(
    ports: &Ports,
    fence: &EpochFence,
    request_id: &str,
    cause: &str,
    engine: &EngineInfo,
) -> PortResult<OrRefused<Incarnation, ClusterRefused>> {
    let request = jobgraph::BeginClusterRequest {
        fence: None,
        request_id: request_id.to_owned(),
        cause: cause.to_owned(),
        engine: engine.name.clone(),
        engine_version: engine.version.clone(),
        engine_path: engine.path.clone(),
        place: ports.place.clone().map(Into::into),
    };
    // What follows is not passed for sure: the watch of the record overtakes the answer.
    failpoint::hit("runner.before-begin-cluster").await;
    let begun = match or_refused(ports.record.begin_cluster(fence, request).await)? {
        Ok(begun) => begun,
        Err(refused) => return Ok(Err(refused)),
    };
    let incarnation = Incarnation(begun.incarnation);
    ports.keyring.take_cluster(incarnation, begun.jobs_token)?;
    Ok(Ok(incarnation))
}

/// Makes sure that the token for the jobs of an incarnation is at hand: the step that began the
/// incarnation may have been cut off before the answer came.
pub(super) async fn reach_jobs(
    ports: &Ports,
    fence: &EpochFence,
    holder: &str,
    incarnation: Incarnation,
) -> PortResult<()> {
    if ports.keyring.jobs(incarnation).is_ok() {
        return Ok(());
    }
    // The answer to a repeat tells of the present cluster.
    begin(ports, fence, holder, "").await.map(drop)
}

/// Beats until the epoch does not hold any more, which is `Superseded`, or until the store ends the
/// conversation.
pub(super) async fn beat(
    ports: &Ports,
    fence: &EpochFence,
    beats: BoxStream<'static, jobgraph::BeatRequest>,
) -> PortResult<()> {
    let mut answers = ports.record.beat(fence, beats).await?;
    while let Some(holds) = answers.next().await {
        if !holds? {
            let message = format!("epoch {} does not hold any more", fence.epoch);
            let kind = PortErrorKind::Superseded(fence.epoch);
            return Err(PortError { kind, reason: Some(Reason::EpochSuperseded), message });
        }
    }
    Ok(())
}

/// An answer, or what the operation alone refuses and its caller acts on.
pub(super) type OrRefused<T, R> = Result<T, (R, PortError)>;

/// Takes a refusal of the operation's own for an answer, so that only the errors that any call may
/// meet are left as errors.
pub(super) fn or_refused<T, R: Refused + Copy>(
    answer: Answer<T, R>,
) -> PortResult<OrRefused<T, R>> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) => match error {
            Error::Refused(refused, _) => Ok(Err((refused, error.into()))),
            error => Err(error.into()),
        },
    }
}
