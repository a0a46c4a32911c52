//! How each decision is carried out: a verb calls ports and answers facts. A verb may be cut off at
//! any await and begun again.

mod bring_up;
mod cluster;
mod ending;
mod jobs;
mod main;
mod savepoints;
mod takeover;

use std::sync::Arc;
use std::time::Duration;

use chassis::clock::Clock as _;
use proto::{JobId, Reason, api};

use super::shared::Shared;
use crate::error::{PortError, PortErrorKind};
use crate::model::{Decision, Fact, Leave};
use crate::ports::PortResult;

/// The time between two tries of what cannot be done right now and no other process may try.
const PAUSE: Duration = Duration::from_secs(1);

/// What a verb comes to: facts, or an error that the verb has no answer to.
type Performed = PortResult<Vec<Fact>>;

/// Carries a decision out and answers the facts that came of it.
pub(super) async fn perform(shared: &Arc<Shared>, decision: &Decision) -> Vec<Fact> {
    let outcome = match decision {
        Decision::Fetch => bring_up::fetch(shared).await,
        Decision::Pin => bring_up::pin(shared).await,
        Decision::StartDescribe => bring_up::start_describe(shared).await,
        Decision::Describe => bring_up::describe(shared).await,
        Decision::BeginCluster { cause, deaths } => cluster::begin(shared, cause, *deaths).await,
        Decision::Provision { incarnation } => cluster::provision(shared, *incarnation).await,
        Decision::Adopt { incarnation, endpoint, doubts } => {
            cluster::adopt(shared, *incarnation, endpoint, *doubts).await
        }
        Decision::RecordReady { incarnation, endpoint } => {
            cluster::record_ready(shared, *incarnation, endpoint).await
        }
        Decision::RecordGone { incarnation, message } => {
            cluster::record_gone(shared, *incarnation, message).await
        }
        Decision::Submit { job, incarnation } => jobs::submit(shared, *job, *incarnation).await,
        Decision::CancelJob { job, incarnation, reason } => {
            jobs::cancel(shared, *job, *incarnation, reason).await
        }
        Decision::Savepoint { wish, incarnation } => {
            savepoints::take(shared, wish, *incarnation).await
        }
        Decision::RefuseSavepoint { wish, why } => savepoints::refuse(shared, wish, why).await,
        Decision::CancelBound { .. } => Ok(jobs::cancel_bound(shared).await),
        Decision::EndJob { job, outcome, why } => jobs::end(shared, *job, *outcome, why).await,
        Decision::Publish { job } => jobs::publish(shared, *job).await,
        Decision::EndPrevious => main::end_previous(shared).await,
        Decision::StartMain => main::start(shared).await,
        Decision::StopMain => main::stop(shared).await,
        Decision::RecordMainEnd => main::record_end(shared).await,
        Decision::RecordMainKill { kills } => main::record_kill(shared, *kills).await,
        Decision::ExecuteAgain { kills } => Ok(main::execute_again(shared, *kills).await),
        Decision::RecordEnd { outcome, why, desired_revision } => {
            ending::record(shared, *outcome, why, *desired_revision).await
        }
        Decision::Teardown { incarnation } => ending::teardown(shared, *incarnation).await,
        Decision::AwaitPlaces => ending::await_places(shared).await,
        Decision::Sweep => Ok(ending::sweep(shared).await),
        Decision::EndDescribe => Ok(ending::end_describe(shared).await),
        Decision::Release => ending::release(shared).await,
        Decision::RemoveWork => Ok(ending::remove_work(shared).await),
        Decision::MarkClean { leftovers } => ending::mark_clean(shared, leftovers).await,
        // The driver returns before it begins this decision.
        Decision::Leave(_) => Ok(Vec::new()),
    };
    match outcome {
        Ok(facts) => facts,
        Err(error) => unanswered(shared, decision, error).await,
    }
}

/// What follows from an error that a verb had no answer to.
async fn unanswered(shared: &Shared, decision: &Decision, error: PortError) -> Vec<Fact> {
    match error.kind {
        PortErrorKind::Superseded(epoch) => {
            tracing::warn!(?decision, "superseded by epoch {epoch}: {error}");
            vec![Fact::Leave(Leave::Superseded)]
        }
        // A damaged record stays damaged, however often it is read.
        PortErrorKind::Refused
            if error.reason == Some(Reason::DataCorrupt) && !shared.has_ended() =>
        {
            vec![Fact::Refused(error.failure(Reason::DataCorrupt))]
        }
        PortErrorKind::Refused if error.is_about_the_caller() => {
            tracing::error!(?decision, "refused for good: {error}");
            vec![Fact::Leave(Leave::Refused(error.failure(Reason::CredentialInvalid)))]
        }
        PortErrorKind::Away | PortErrorKind::Refused => {
            tracing::error!(?decision, "not done, trying again: {error}");
            shared.ports.clock.sleep(PAUSE).await;
            read_again(shared).await
        }
    }
}

/// The record as it is now, for a decision that rested on an older one.
async fn read_again(shared: &Shared) -> Vec<Fact> {
    match shared.refresh().await.and_then(|record| shared.ports.recorded(&record)) {
        Ok(record) => vec![Fact::Record(Box::new(record))],
        Err(error) => {
            tracing::error!("cannot read the record: {error}");
            Vec::new()
        }
    }
}

/// Something that cannot be done, is tried again, and may need an operator's hand.
struct Complaint<'a> {
    /// The condition that is false while the thing cannot be done.
    condition: &'a str,
    /// The kind of the event.
    kind: &'a str,
    reason: Reason,
    /// Names the thing, the cause, and after `; help: ` the way out.
    text: String,
    /// The job that the complaint is about.
    job: Option<JobId>,
}

/// Puts a complaint where people look: into the log, as an event, and as a condition that is false
/// until the record knows that the thing is done. Each text is said once.
async fn complain(shared: &Shared, complaint: Complaint<'_>) {
    let Complaint { condition, kind, reason, text, job } = complaint;
    let job_id = job.map(|job| job.to_string()).unwrap_or_default();
    if !shared.is_news(&format!("{condition} {job_id}"), &text) {
        return;
    }
    tracing::warn!("{text}");
    let condition = api::Condition {
        r#type: condition.to_owned(),
        status: api::ConditionStatus::False.into(),
        reason: reason.to_string(),
        message: text.clone(),
        ..api::Condition::default()
    };
    let event = api::Event {
        kind: kind.to_owned(),
        reason: reason.to_string(),
        message: text,
        source: shared.holder.clone(),
        job_id,
        ..api::Event::default()
    };
    let tell = || {
        let (event, condition) = (event.clone(), condition.clone());
        shared.ports.record.append_events(&shared.fence, vec![event], vec![condition])
    };
    if let Err(error) = shared.patiently("say what cannot be done", tell).await {
        tracing::debug!("not recorded: {error}");
    }
}
