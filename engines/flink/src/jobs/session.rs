//! Records the ends of jobs in a session cluster. Its JobManager writes none into the record, so
//! that this process asks for them.

use std::time::Duration;

use chassis::BoxError;
use chassis::clock::{Clock as _, SharedClock};
use chassis::tasks::Shutdown;
use proto::JobId;

use super::board::Board;
use super::ends::{self, Ends};
use crate::jobmanager::JobManager;

/// The pause between two tries while the JobManager or the record is away.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// Records the end of every job that Flink has ended, until the shutdown begins.
pub(super) async fn record_ends(
    ends: Ends,
    board: Board,
    jobmanager: JobManager,
    clock: SharedClock,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    let mut changes = board.changes();
    loop {
        changes.borrow_and_update();
        let mut is_left = false;
        for job in board.ending() {
            if let Err(error) = record(&ends, &jobmanager, job).await {
                tracing::warn!({ chassis::telemetry::fields::JOB_ID } = %job, "its end is not recorded yet: {error}");
                is_left = true;
            }
        }
        let next = async {
            if is_left {
                clock.sleep(TRY_AGAIN).await;
                Ok(())
            } else {
                changes.changed().await
            }
        };
        tokio::select! {
            changed = next => changed?,
            () = shutdown.begun() => return Ok(()),
        }
    }
}

async fn record(ends: &Ends, jobmanager: &JobManager, job: JobId) -> Result<(), BoxError> {
    let Some(ended) = jobmanager.ended(job).await? else {
        return Err("Flink lists it as ended and does not tell how".into());
    };
    let outcome = ends::outcome(&ended)?;
    Ok(ends.record(job, outcome, ended).await?)
}
