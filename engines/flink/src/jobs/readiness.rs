//! When jobs may come, and whether the cluster gets whole.

use std::time::Duration;

use crate::jobmanager::JobManager;
use chassis::clock::{Clock as _, SharedClock};

/// How often a JobManager that is coming up is asked whether it is there.
const READY_PAUSE: Duration = Duration::from_millis(25);

/// How often it is asked for its TaskManagers once jobs may come.
const WHOLE_PAUSE: Duration = Duration::from_millis(250);

/// What the cluster does not do without.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{registered} of {wanted} TaskManagers have registered within {within:?}")]
pub struct Incomplete {
    registered: u32,
    wanted: u32,
    within: Duration,
}

/// A cluster that is coming up.
pub(super) struct Readiness {
    pub(super) jobmanager: JobManager,
    pub(super) clock: SharedClock,
    /// TaskManagers that make it whole.
    pub(super) wanted: u32,
    /// How long that may take. Shorter than the role may take to be ready: this names what is missing.
    pub(super) within: Duration,
}

impl Readiness {
    /// Says once that jobs may come, and returns when the cluster is whole. What becomes of it later, lifecycle sees.
    ///
    /// To a JobManager whose only TaskManager is still starting a job may come: it waits there, ready to run. Of several TaskManagers the first
    /// would get all of it, so a job comes when all are there.
    pub(super) async fn reached(self, jobs_may_come: impl AsyncFnOnce()) -> Result<(), Incomplete> {
        let until = self.clock.boot() + self.within;
        let mut jobs_may_come = Some(jobs_may_come);
        loop {
            match self.jobmanager.overview().await {
                Ok(overview) => {
                    let registered = overview.taskmanagers;
                    let is_whole = registered >= self.wanted;
                    if (is_whole || self.wanted == 1)
                        && let Some(tell) = jobs_may_come.take()
                    {
                        tell().await;
                    }
                    if is_whole {
                        return Ok(());
                    }
                    if self.clock.boot() >= until {
                        return Err(Incomplete { registered, wanted: self.wanted, within: self.within });
                    }
                }
                // As long as there is none, lifecycle waits for it, and sees it end.
                Err(error) => tracing::debug!("{error}"),
            }
            self.clock.sleep(if jobs_may_come.is_some() { READY_PAUSE } else { WHOLE_PAUSE }).await;
        }
    }
}

#[cfg(test)]
mod tests;
