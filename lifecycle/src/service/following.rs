//! Between calls, the record is followed for the clusters of this host: a leader on another host
//! does not end what it has replaced or needs no more. What is over ends here, and its intents are
//! forgotten once nothing of it lives, so that the application may become clean. Now and then the
//! record is asked as well for what it has of this host that no minder knows of.

use std::time::Duration;

use chassis::clock::Clock as _;
use client::places::Kind;
use futures::future::join_all;

use super::{LOWER_GRACE, Lifecycle};
use crate::error::Error;
use crate::model::GroupId;
use crate::record::RecordError;

/// How often the record is asked for each cluster, give or take a fifth.
const PERIOD: Duration = Duration::from_secs(5);

/// Of so many passes one looks for what no minder knows of: about one in a minute.
const PASSES_PER_SEARCH: u32 = 12;

impl Lifecycle {
    /// Follows the record for as long as the process lives. A pass asks once for each cluster that
    /// is known when the pass begins, evenly spread over the pass, and the next pass begins when
    /// the last answer has been acted on: no cluster is asked for twice at once.
    pub async fn follow_record(self) {
        let mut adopted = self.0.adopted.subscribe();
        // Waiting cannot fail: the sender lives in `self`.
        let _ = adopted.wait_for(|adopted| *adopted).await;
        let mut passes = 0;
        loop {
            passes = (passes + 1) % PASSES_PER_SEARCH;
            // Lifecycles that were started together do not ask together for long.
            let pass = PERIOD.mul_f64(rand::random_range(0.8..1.2));
            let end = self.0.clock.boot() + pass;
            let (lifecycle, mut clusters) = (&self, self.clusters());
            if passes == 0 {
                clusters.extend(self.unminded().await);
                self.clear_attempts().await;
            }
            let count = u32::try_from(clusters.len()).unwrap_or(u32::MAX);
            let share = pass / count.saturating_add(1);
            let asked = clusters.into_iter().zip(1_u32..).map(|(cluster, turn)| async move {
                lifecycle.0.clock.sleep(share * turn).await;
                lifecycle.follow(&cluster).await;
            });
            join_all(asked).await;
            self.0.clock.sleep_until(end).await;
        }
    }

    /// Asks the record for one cluster, and ends the cluster if nothing of it is to live.
    async fn follow(&self, cluster: &GroupId) {
        // A call may hold the application for long, and mostly there is nothing to do.
        if self.why_over(cluster).await.is_none() {
            return;
        }
        let _alone = self.alone(&cluster.application.id).await;
        // The calls before this turn may have changed what the first answer was about.
        let Some(why) = self.why_over(cluster).await else { return };
        tracing::warn!("{cluster}: it is ended: {why}");
        if let Err(error) = self.release(cluster).await {
            tracing::warn!("{cluster}: it is not forgotten yet: {error}");
        }
    }

    /// Why nothing of a cluster is to live here, if the record says so. A record that cannot be
    /// asked, or refuses to answer, says nothing.
    async fn why_over(&self, cluster: &GroupId) -> Option<String> {
        match self.confirm_minded(cluster).await {
            Ok(()) => None,
            Err(over) if over.says_over() => Some(over.to_string()),
            Err(error) => {
                tracing::debug!("{cluster}: the record does not say whether it is over: {error}");
                None
            }
        }
    }

    /// Asks the record whether a cluster is to live here, and notes on its group when the question
    /// was asked that the record has answered with yes.
    pub(super) async fn confirm_minded(&self, cluster: &GroupId) -> Result<(), RecordError> {
        let (group, asked) = (self.group(cluster), self.0.clock.boot());
        let is_ungated = group.as_ref().is_some_and(|group| group.is_ungated());
        self.0.record.confirm_cluster(cluster, is_ungated).await?;
        if let Some(group) = group {
            group.confirm(asked);
        }
        Ok(())
    }

    /// Ends a cluster that is over, and forgets it unless a process withstands its end: then the
    /// next pass tries again, and the record goes on saying that this host is not done.
    async fn release(&self, cluster: &GroupId) -> Result<(), Error> {
        self.will_not_come_back(cluster);
        let left = self.end_processes(cluster, LOWER_GRACE).await?;
        let lives = !left.alive.is_empty();
        for line in left.lines() {
            tracing::error!("{cluster}: left over: {line}");
        }
        if lives { Ok(()) } else { self.forget_group(cluster).await }
    }

    /// The clusters that are minded.
    pub(super) fn clusters(&self) -> Vec<GroupId> {
        self.known().groups.keys().filter(|id| id.kind == Kind::Cluster).cloned().collect()
    }
}
