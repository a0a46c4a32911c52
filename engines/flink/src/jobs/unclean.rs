//! Jobs whose end is recorded and of which Flink still removes something: files of checkpoints go
//! after their pointers, which this process keeps. Therefore this process stays until they are
//! gone. After it was killed in between and started again, it knows nothing of such jobs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::{SharedClock, timeout};
use proto::JobId;
use tokio::sync::watch;

/// How long this may hold up a teardown, which is as long as the JobManager stays for it
/// (OpenJobs.java).
const PATIENCE: Duration = Duration::from_millis(1500);

/// The jobs that are not clean; clones share them.
#[derive(Clone, Default)]
pub(super) struct Unclean(Arc<watch::Sender<BTreeSet<JobId>>>);

impl Unclean {
    /// Notes that the job's end is about to be recorded, because a process that reads of the end
    /// may end this one.
    pub(super) fn ends(&self, job: JobId) {
        self.0.send_modify(|jobs| {
            jobs.insert(job);
        });
    }

    /// Notes that nothing is left of the job that Flink would remove.
    pub(super) fn is_clean(&self, job: JobId) {
        self.0.send_modify(|jobs| {
            jobs.remove(&job);
        });
    }

    /// Waits until all jobs are clean, but not for long, because a JobManager that died will not
    /// report it.
    pub(super) async fn cleaned(&self, clock: &SharedClock) {
        let mut jobs = self.0.subscribe();
        let waited = timeout(clock, PATIENCE, jobs.wait_for(BTreeSet::is_empty)).await;
        if waited.is_err() {
            tracing::warn!(
                "the JobManager was still removing an ended job's files of checkpoints: some may be left"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]
    use std::sync::Arc;

    use chassis::clock::ManualClock;

    use super::*;

    fn job(text: &str) -> JobId {
        text.repeat(32).parse().unwrap()
    }

    #[tokio::test]
    async fn it_is_waited_for_each_job_and_not_for_ever() {
        let clock = Arc::new(ManualClock::new());
        let shared: SharedClock = clock.clone();
        let unclean = Unclean::default();
        unclean.cleaned(&shared).await;

        unclean.ends(job("a"));
        unclean.ends(job("b"));
        let (waiting, held) = (unclean.clone(), shared.clone());
        let waiting = tokio::spawn(async move { waiting.cleaned(&held).await });
        clock.wait_for_sleepers(1).await;
        unclean.is_clean(job("a"));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        unclean.is_clean(job("b"));
        waiting.await.unwrap();

        unclean.ends(job("c"));
        let waiting = tokio::spawn(async move { unclean.cleaned(&shared).await });
        clock.wait_for_sleepers(1).await;
        clock.advance(PATIENCE);
        waiting.await.unwrap();
    }
}
