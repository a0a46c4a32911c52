//! What an etcd tells the watchers of a script.

use std::time::Duration;

use chassis::clock::{SystemClock, timeout};
use etcd_client::{Event, EventType, KeyValue, WatchResponse, WatchStream};

use super::Told;
use super::tell::{distance, revision, versioned};
use crate::script::{self, Filter};

/// How long an etcd may take to tell a watcher what happened.
pub(super) const TOLD_WITHIN: Duration = Duration::from_secs(20);

/// A watcher of a script, and what it has heard.
pub(super) struct Watcher {
    pub(super) stream: WatchStream,
    pub(super) wish: script::Watch,
    /// The last revision that was told.
    pub(super) last: i64,
    pub(super) is_over: bool,
    pub(super) told: Told,
}

impl Watcher {
    pub(super) async fn message(&mut self) -> Result<WatchResponse, String> {
        let message = timeout(&SystemClock, TOLD_WITHIN, self.stream.message()).await;
        let message = message.map_err(|elapsed| format!("a watcher: {elapsed}"))?;
        let message = message.map_err(|error| error.to_string())?;
        message.ok_or_else(|| "a watch ended".to_owned())
    }

    /// Hears everything up to a revision that puts, or one that deletes and follows it.
    pub(super) async fn hear_until(
        &mut self,
        put: i64,
        deleted: i64,
        prefix: &str,
        base: i64,
    ) -> Result<(), String> {
        let until = if self.wish.filter == Filter::Deletes { put } else { deleted };
        while !self.is_over && self.last < until {
            let message = self.message().await?;
            self.hear(&message, prefix, base)?;
        }
        Ok(())
    }

    /// Asks for a sign of life, which tells a revision.
    pub(super) async fn progress(&mut self, prefix: &str, base: i64) -> Result<i64, String> {
        self.stream.request_progress().await.map_err(|error| error.to_string())?;
        loop {
            let message = self.message().await?;
            if message.events().is_empty() && !message.canceled() {
                self.told.push(format!("progress of {}", message.watch_id()));
                return Ok(revision(message.header()));
            }
            self.hear(&message, prefix, base)?;
        }
    }

    fn hear(&mut self, message: &WatchResponse, prefix: &str, base: i64) -> Result<(), String> {
        if message.canceled() {
            self.is_over = true;
            let compacted = distance(base, message.compact_revision());
            self.told.push(format!("over {:?}: {compacted}", message.cancel_reason()));
        }
        let heard_before = self.last;
        for event in message.events() {
            let Some(kv) = event.kv() else { return Err("an event is about no key".to_owned()) };
            if kv.mod_revision() <= heard_before {
                return Err(format!("revision {} is told in two messages", kv.mod_revision()));
            }
            self.last = kv.mod_revision();
            self.told.push(happened(event, prefix, base));
        }
        Ok(())
    }
}

fn happened(event: &Event, prefix: &str, base: i64) -> String {
    let kind = if event.event_type() == EventType::Put { "put" } else { "deleted" };
    let kv = |kv: Option<&KeyValue>| kv.map(|kv| versioned(prefix, base, kv));
    format!("{kind} {:?}, before: {:?}", kv(event.kv()), kv(event.prev_kv()))
}
