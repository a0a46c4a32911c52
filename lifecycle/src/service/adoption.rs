//! After a start, everything that the record says may live on this host is found and minded again,
//! once what is over has been ended: replaced, or of no use to any leader.

mod left;

use std::time::Duration;

use chassis::BoxError;
use chassis::backoff::Backoff;
use chassis::clock::Clock as _;
use chassis::telemetry::trace;
use client::places::Kind;

use super::Lifecycle;
use super::detail::Detail;
use crate::model::{GroupId, Order, Scope};
use crate::record::{Intent, IntentState, RecordError};
use left::{Left, by_group};

impl Lifecycle {
    /// Finds what an earlier lifecycle of this host has left, for as long as the record takes to
    /// answer. Calls wait for this. Clusters that another incarnation has replaced meanwhile, and
    /// those that no leader needs any more, are ended before anything is minded: nothing of them is
    /// started again.
    pub async fn adopt(self) -> Result<(), BoxError> {
        let mut backoff = backoff();
        let kept = loop {
            match self.0.record.list().await {
                Ok(kept) => break kept,
                Err(error) => tracing::debug!("nothing can be adopted yet: {error}"),
            }
            if !self.pause(&mut backoff).await {
                return Ok(());
            }
        };
        let mut going_on = Vec::new();
        for left in by_group(kept) {
            let Some(goes_on) = self.goes_on(&left).await else { return Ok(()) };
            if goes_on {
                going_on.push(left);
            } else if !self.bury_left(&left).await {
                return Ok(());
            }
        }
        let intents: Vec<Intent> = going_on.into_iter().flat_map(|left| left.intents).collect();
        let count = intents.len();
        for intent in intents {
            self.adopt_one(intent).await;
        }
        if count > 0 {
            tracing::info!("{count} process(es) of an earlier lifecycle are minded");
        }
        self.0.adopted.send_replace(true);
        Ok(())
    }

    /// Waits before the record is asked again; `false` at a shutdown.
    async fn pause(&self, backoff: &mut Backoff) -> bool {
        tokio::select! {
            () = self.0.clock.sleep(backoff.next_delay()) => true,
            () = self.0.tasks.shutdown().begun() => false,
        }
    }

    /// Whether the group is minded further, for as long as the record takes to say so; `None` at a
    /// shutdown. Only what the record says is over is ended: another refusal says nothing of the
    /// group, and no process is started without an intent that the record takes.
    async fn goes_on(&self, left: &Left) -> Option<bool> {
        let mut backoff = backoff();
        loop {
            match self.confirm(left).await {
                Ok(()) => return Some(true),
                Err(RecordError::Away(why)) => tracing::debug!("{}: it waits: {why}", left.id),
                Err(RecordError::Refused(why)) => {
                    tracing::error!("{}: it is minded without a check: {why}", left.id);
                    return Some(true);
                }
                Err(over) => {
                    tracing::warn!("{}: it is ended: {over}", left.id);
                    return Some(false);
                }
            }
            if !self.pause(&mut backoff).await {
                return None;
            }
        }
    }

    /// Asks the record whether a cluster is the current one here and needed, and moves what an
    /// older build has kept. The old keys go once the new ones are there, and all of this may be
    /// repeated.
    async fn confirm(&self, left: &Left) -> Result<(), RecordError> {
        let record = &self.0.record;
        if left.id.kind == Kind::Cluster {
            record.confirm_cluster(&left.id, left.is_ungated()).await?;
        }
        if left.is_old {
            for intent in &left.intents {
                record.put(intent, None).await?;
            }
            record.forget_old(&left.id).await?;
        }
        Ok(())
    }

    async fn adopt_one(&self, intent: Intent) {
        let Intent { slot, start, detail, exit, state, .. } = intent;
        let detail = Detail::decode(&detail);
        let group_id = slot.group.clone();
        match detail {
            // The contender was being ended, or was done. A caller that wants the contender again
            // asks for it.
            _ if state == IntentState::Gone && group_id.kind == Kind::Contender => {
                self.bury(&group_id).await
            }
            Some(Detail { role, traceparent }) => {
                let group = self.group_or_new(&group_id);
                if !role.addresses.is_empty() {
                    group.keep_addresses(role.addresses.clone());
                }
                let order = Order { slot, role, start, traceparent: traceparent.clone() };
                let Some(minder) = self.minder(&group, order, None) else { return };
                let name = format!("mind {}", minder.order.slot.key());
                if state == IntentState::GaveUp {
                    self.0.tasks.spawn_job(name, minder.rest_given_up(exit));
                } else {
                    self.0.tasks.spawn_job(name, trace::carry_from(&traceparent, minder.adopt()));
                }
            }
            None => {
                tracing::error!(
                    "{}: the record holds what this build cannot read; it is ended",
                    slot.key()
                );
                self.bury(&group_id).await;
            }
        }
    }

    /// Ends what is left of a group that does not go on, then forgets it, for as long as the record
    /// takes to do that: no caller asks for the group any more. `false` at a shutdown. A cluster
    /// with a process that withstands its end is not forgotten yet: the task that follows the
    /// record tries again to end it.
    async fn bury_left(&self, left: &Left) -> bool {
        let lives = self.sweep(&left.id).await;
        if lives && left.id.kind == Kind::Cluster {
            self.will_not_come_back(&left.id);
            self.group_or_new(&left.id);
            return true;
        }
        let mut backoff = backoff();
        loop {
            match self.forget(left).await {
                Ok(()) => return true,
                Err(RecordError::Away(why)) => tracing::debug!("{}: it waits: {why}", left.id),
                Err(refused) => {
                    tracing::warn!("{}: not forgotten: {refused}", left.id);
                    return true;
                }
            }
            if !self.pause(&mut backoff).await {
                return false;
            }
        }
    }

    async fn forget(&self, left: &Left) -> Result<(), RecordError> {
        self.0.record.forget(&left.id).await?;
        if left.is_old { self.0.record.forget_old(&left.id).await } else { Ok(()) }
    }

    /// Ends what lives of a group by force, and answers whether something lives on.
    async fn sweep(&self, group: &GroupId) -> bool {
        let left = self.0.substrate.sweep(&Scope::Group(group.clone())).await;
        let lives = !left.alive.is_empty();
        for line in left.lines() {
            tracing::error!("{group}: left over: {line}");
        }
        lives
    }

    /// Ends what is left of a group and forgets it. A part that cannot be ended now is left to the
    /// next teardown of the group.
    async fn bury(&self, group: &GroupId) {
        self.sweep(group).await;
        if let Err(error) = self.0.record.forget(group).await {
            tracing::warn!("{group}: not forgotten: {error}");
        }
    }
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(5), Duration::from_millis(500))
}
