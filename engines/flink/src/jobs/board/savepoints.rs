//! The savepoints of the board's jobs: a repeated question for one is answered with the same
//! savepoint.

use std::time::Duration;

use chassis::clock::Clock as _;
use client::error::CallError;
use jobs_service::{OrderRefusal, Trigger};
use proto::JobId;

use super::Board;
use crate::jobmanager::{Stage, Taken, Triggered};

/// How long a question about a savepoint is held while the answer is "not yet".
const HOLD: Duration = Duration::from_secs(10);

/// The pause between two looks at a savepoint that is under way.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Board {
    /// Has a savepoint taken, once for each trigger id. The trigger id is Flink's own, so that the
    /// JobManager holds all that is known of a savepoint. Answers `None` if its outcome is still
    /// not known after `HOLD`.
    pub(super) async fn take(&self, savepoint: &Trigger) -> Result<Option<Taken>, OrderRefusal> {
        let until = self.0.clock.boot() + HOLD;
        loop {
            match self.0.jobmanager.savepoint(savepoint.job, savepoint.id).await? {
                Triggered::Done(taken) => return Ok(Some(taken)),
                Triggered::UnderWay => {}
                Triggered::Unknown => match self.0.jobmanager.stage(savepoint.job).await? {
                    Stage::Runs => {
                        if let Some(failed) = self.trigger(savepoint).await? {
                            return Ok(Some(failed));
                        }
                    }
                    // A trigger now would be a savepoint that fails.
                    Stage::Starts => {}
                    Stage::Over => {
                        return Ok(Some(Taken::Failed(
                            "the job had ended before it was taken".to_owned(),
                        )));
                    }
                    Stage::Unknown if self.ended(savepoint.job).await? => {
                        return Ok(Some(Taken::Failed(
                            "the job had ended before it was taken".to_owned(),
                        )));
                    }
                    Stage::Unknown => return Err(OrderRefusal::UnknownJob(savepoint.job)),
                },
            }
            if self.0.clock.boot() >= until {
                return Ok(None);
            }
            self.0.clock.sleep(LOOK_AGAIN).await;
        }
    }

    /// Triggers the savepoint; `None` once that is done, or how it failed.
    async fn trigger(&self, savepoint: &Trigger) -> Result<Option<Taken>, OrderRefusal> {
        // The leader may have changed while this call waited for the tasks to run.
        self.0.orders.not_superseded(savepoint.epoch)?;
        match self.0.jobmanager.trigger(savepoint).await {
            Ok(()) => {
                tracing::info!(
                    { chassis::telemetry::fields::JOB_ID } = %savepoint.job,
                    trigger = %savepoint.id, stop = savepoint.stop, "savepoint triggered"
                );
                Ok(None)
            }
            // The JobManager refuses this savepoint, for instance because it cannot use the
            // directory.
            Err(error) if error.is_final() => Ok(Some(Taken::Failed(error.to_string()))),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the savepoint is with which a job was stopped, which Flink knows as soon as the job
    /// has ended. `None` if none was asked for, or if Flink does not tell it in time.
    pub(in crate::jobs) async fn stopped_with(
        &self,
        job: JobId,
    ) -> Result<Option<String>, CallError> {
        let resume = self.0.record.read_checkpoints(self.0.orders.fence(), job).await?;
        let Ok(trigger) = resume.stop_trigger_id.parse() else { return Ok(None) };
        let until = self.0.clock.boot() + HOLD;
        while self.0.clock.boot() < until {
            match self.0.jobmanager.savepoint(job, trigger).await {
                Ok(Triggered::Done(Taken::At(pointer))) => return Ok(Some(pointer)),
                // The job ended by itself, or for another reason.
                Ok(Triggered::Done(Taken::Failed(_)) | Triggered::Unknown) => return Ok(None),
                Ok(Triggered::UnderWay) => {}
                Err(error) => tracing::debug!("{error}"),
            }
            self.0.clock.sleep(LOOK_AGAIN).await;
        }
        tracing::warn!({ chassis::telemetry::fields::JOB_ID } = %job, "the savepoint that the job stopped with is not told in time");
        Ok(None)
    }
}
