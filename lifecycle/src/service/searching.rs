//! What is of this host and in no group that is minded. An intent may come to the record when its
//! group is forgotten already, or may not be forgotten while the record is away; and attempts may
//! have left something where no contender of their application is minded any more, whose end would
//! take it along. No call comes for either, so lifecycle looks for them by itself.

use client::places::Kind;
use proto::ApplicationRef;

use super::Lifecycle;
use crate::model::{GroupId, Scope};

impl Lifecycle {
    /// The clusters that have an intent or a tombstone on this host and are not minded. A record
    /// that does not answer is asked again by the next search.
    pub(super) async fn unminded(&self) -> Vec<GroupId> {
        let kept = match self.0.record.list().await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::debug!("the record does not say what it has of this host: {error}");
                return Vec::new();
            }
        };
        let mut unminded: Vec<GroupId> = Vec::new();
        for id in kept.into_iter().map(|kept| kept.intent.slot.group) {
            let is_minded = id.kind != Kind::Cluster || self.group(&id).is_some();
            if !is_minded && !unminded.contains(&id) {
                unminded.push(id);
            }
        }
        unminded
    }

    /// Removes what attempts have left of generations that are clean or forgotten, once what they
    /// said is in the outbox, and the work directory with it, once nothing else is in there.
    pub(super) async fn clear_attempts(&self) {
        for application in self.0.substrate.generations().await {
            if self.has_contenders(&application) {
                continue;
            }
            let Ok(true) = self.0.record.is_over(&application).await else { continue };
            let _alone = self.alone(&application.id).await;
            let left = self.0.substrate.sweep(&Scope::Attempts(application.clone())).await;
            for line in left.lines() {
                tracing::debug!("{application}: left over of its attempts: {line}");
            }
        }
    }

    fn has_contenders(&self, application: &ApplicationRef) -> bool {
        !self.groups_in(&Scope::Contenders(application.clone())).is_empty()
    }
}
