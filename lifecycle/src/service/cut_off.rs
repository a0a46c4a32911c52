//! Where there are several hosts, one that is cut off from the record ends what it runs of clusters
//! whose outputs are visible as they are written. No fence holds back what such a cluster does, so
//! a leader on another host begins no cluster of its own before this end. Every other cluster goes
//! on: what it does counts only once the record has taken it.

use std::collections::HashSet;
use std::time::Duration;

use chassis::clock::Clock as _;
use futures::future::join_all;

use super::{Group, LOWER_GRACE, Lifecycle};

/// How often the clusters are looked at, give or take a fifth.
const LOOK: Duration = Duration::from_secs(5);

impl Lifecycle {
    /// Ends clusters that the record has not confirmed for `grace`, for as long as the process
    /// lives. The time that the machine sleeps counts. Intents stay, because the record cannot be
    /// told; the task that follows the record forgets them once the record says that the cluster is
    /// over, which is when a leader has begun another one.
    pub async fn end_unconfirmed(self, grace: Duration) {
        let mut ended = HashSet::new();
        loop {
            self.0.clock.sleep(LOOK.mul_f64(rand::random_range(0.8..1.2))).await;
            let (lifecycle, mut due) = (&self, Vec::new());
            ended.retain(|cluster| self.group(cluster).is_some());
            for group in self.clusters().iter().filter_map(|cluster| self.group(cluster)) {
                if !ended.contains(&group.id) && self.is_due(&group, grace) {
                    due.push(group);
                }
            }
            let ends = due.into_iter().map(|group| async move {
                lifecycle.end_if_unconfirmed(&group, grace).await.then(|| group.id.clone())
            });
            ended.extend(join_all(ends).await.into_iter().flatten());
        }
    }

    fn is_due(&self, group: &Group, grace: Duration) -> bool {
        group.is_ungated() && self.0.clock.boot() >= group.confirmed() + grace
    }

    /// Ends a cluster unless the record answers after all, and says whether it is ended and nothing
    /// of it lives. A process that withstands its end is tried again at the next look.
    async fn end_if_unconfirmed(&self, group: &Group, grace: Duration) -> bool {
        let cluster = &group.id;
        let _alone = self.alone(&cluster.application.id).await;
        // A call that had its turn before may have confirmed or forgotten the cluster.
        if self.group(cluster).is_none() || !self.is_due(group, grace) {
            return false;
        }
        let why = match self.confirm_minded(cluster).await {
            Ok(()) => return false,
            // The task that follows the record ends the cluster, and forgets it.
            Err(over) if over.says_over() => return false,
            Err(why) => why,
        };
        let since = self.0.clock.boot().saturating_duration_since(group.confirmed()).as_secs();
        tracing::warn!(
            "{cluster}: it is ended: the record has not confirmed it for {since} s, and a leader \
             on another host may go on without it ({why})"
        );
        self.will_not_come_back(cluster);
        match self.end_processes(cluster, LOWER_GRACE).await {
            Ok(left) => {
                let lives = !left.alive.is_empty();
                for line in left.lines() {
                    tracing::error!("{cluster}: left over: {line}");
                }
                !lives
            }
            Err(error) => {
                tracing::debug!("{cluster}: its end is left to the next lifecycle: {error}");
                false
            }
        }
    }
}
