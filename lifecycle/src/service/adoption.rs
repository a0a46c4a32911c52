//! After a start, everything that the record says may live is found and minded again.

use std::time::Duration;

use chassis::BoxError;
use chassis::backoff::Backoff;
use chassis::clock::Clock as _;
use chassis::telemetry::trace;
use client::places::Kind;

use super::Lifecycle;
use super::detail::Detail;
use crate::model::{Order, Scope};
use crate::record::{Intent, IntentState};

impl Lifecycle {
    /// Finds what an earlier lifecycle has left, for as long as the record takes to answer. Calls
    /// wait for this.
    pub async fn adopt(self) -> Result<(), BoxError> {
        let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(500));
        let intents = loop {
            match self.0.record.list("").await {
                Ok(intents) => break intents,
                Err(error) => tracing::debug!("nothing can be adopted yet: {error}"),
            }
            tokio::select! {
                () = self.0.clock.sleep(backoff.next_delay()) => {}
                () = self.0.tasks.shutdown().begun() => return Ok(()),
            }
        };
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

    /// Ends what is left of a group and forgets it. A part that cannot be ended now is left to the
    /// next teardown of the group.
    async fn bury(&self, group: &crate::model::GroupId) {
        for line in self.0.substrate.sweep(&Scope::Group(group.clone())).await {
            tracing::error!("{group}: left over: {line}");
        }
        if let Err(error) = self.0.record.forget(&group.key_prefix()).await {
            tracing::warn!("{group}: not forgotten: {error}");
        }
    }
}
