//! Savepoints that a user or main() asked for.

use std::sync::Arc;

use chassis::clock::Clock as _;
use proto::engine::SavepointState;
use proto::{Incarnation, Reason, job};

use super::{PAUSE, Performed};
use crate::model::{Fact, Failure, Wish};
use crate::service::shared::Shared;

/// Asks the cluster until the result of a savepoint is known. The driver drops the decision when
/// the savepoint is not to be asked for any more. The engine bounds how long a savepoint may take.
pub(super) async fn take(shared: &Arc<Shared>, wish: &Wish, incarnation: Incarnation) -> Performed {
    let result = loop {
        let asked =
            shared.patiently("take a savepoint", || shared.ports.jobs.savepoint(incarnation, wish));
        match asked.await {
            Ok(answer) => match answer.state() {
                SavepointState::Taken => break taken(wish, answer.pointer),
                SavepointState::Failed => {
                    break not_taken(wish, &Failure::new(Reason::SavepointFailed, answer.message));
                }
                SavepointState::Pending => {}
                // A newer build may answer a state that this one does not know; the next answer may
                // say what it means.
                SavepointState::Unspecified => shared.ports.clock.sleep(PAUSE).await,
            },
            Err(error) if error.is_superseded() => return Err(error),
            Err(error) if error.reason == Some(Reason::NotAdopted) => {
                return Ok(vec![Fact::AdoptAgain(incarnation)]);
            }
            Err(error) if error.reason == Some(Reason::IncarnationSuperseded) => {
                return Ok(vec![Fact::ClusterDied { incarnation, message: error.message }]);
            }
            // An engine from before there were savepoints gives no reason at all.
            Err(error) => break not_taken(wish, &error.failure(Reason::SavepointUnsupported)),
        }
    };
    settle(shared, wish, result).await
}

pub(super) async fn refuse(shared: &Arc<Shared>, wish: &Wish, why: &Failure) -> Performed {
    settle(shared, wish, not_taken(wish, why)).await
}

fn taken(wish: &Wish, pointer: String) -> job::Savepoint {
    job::Savepoint { trigger_id: wish.trigger.to_string(), pointer, ..job::Savepoint::default() }
}

fn not_taken(wish: &Wish, why: &Failure) -> job::Savepoint {
    job::Savepoint {
        trigger_id: wish.trigger.to_string(),
        reason: why.reason.unwrap_or(Reason::SavepointFailed).to_string(),
        message: why.message.clone(),
        ..job::Savepoint::default()
    }
}

async fn settle(shared: &Arc<Shared>, wish: &Wish, result: job::Savepoint) -> Performed {
    let recorded = shared.patiently("record a savepoint", || {
        shared.ports.record.savepoint_settled(&shared.fence, wish.job, result.clone())
    });
    recorded.await?;
    Ok(vec![Fact::SavepointSettled { job: wish.job, trigger: wish.trigger }])
}
