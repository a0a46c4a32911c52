//! Decides when jobs may come, and whether the cluster gets whole.

use std::time::Duration;

use chassis::clock::{Clock as _, SharedClock};

use crate::jobmanager::JobManager;

/// How often a JobManager that is coming up is asked whether it serves.
const READY_PAUSE: Duration = Duration::from_millis(25);

/// How often the JobManager is asked for its TaskManagers once jobs may come.
const WHOLE_PAUSE: Duration = Duration::from_millis(250);

/// The cluster lacks TaskManagers that it cannot do without.
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
    /// Whether jobs may come before the cluster is whole, and wait in it.
    pub(super) early: bool,
    /// How many TaskManagers make the cluster whole.
    pub(super) wanted: u32,
    /// How long the TaskManagers may take once the JobManager answers; until it answers, lifecycle
    /// bounds the wait.
    pub(super) within: Duration,
}

impl Readiness {
    /// Says once that jobs may come, and returns when the cluster is whole. What becomes of the
    /// cluster later is for lifecycle to see.
    pub(super) async fn reached(self, jobs_may_come: impl AsyncFnOnce()) -> Result<(), Incomplete> {
        let mut jobs_may_come = Some(jobs_may_come);
        let (mut until, mut registered) = (None, 0);
        loop {
            match self.jobmanager.overview().await {
                Ok(overview) => {
                    registered = overview.taskmanagers;
                    until.get_or_insert_with(|| self.clock.boot() + self.within);
                }
                // The JobManager is not there yet, or is busy; then its last answer stands.
                Err(error) => tracing::debug!("{error}"),
            }
            let is_whole = registered >= self.wanted;
            if (is_whole || (self.early && until.is_some()))
                && let Some(tell) = jobs_may_come.take()
            {
                tell().await;
            }
            if is_whole {
                return Ok(());
            }
            if until.is_some_and(|until| self.clock.boot() >= until) {
                return Err(Incomplete { registered, wanted: self.wanted, within: self.within });
            }
            self.clock.sleep(if jobs_may_come.is_some() { READY_PAUSE } else { WHOLE_PAUSE }).await;
        }
    }
}

#[cfg(test)]
mod tests;
