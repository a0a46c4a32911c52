//! One etcd under a script: what it answers, in terms that do not depend on which etcd it is.
//!
//! Revisions are told as their distance from the revision that the script begins at, keys without
//! the script's prefix, and leases by their number in the script.

mod ask;
mod tell;
mod watcher;

use std::time::Duration;

use chassis::clock::{SystemClock, timeout};
use etcd_client::{
    Client, LeaseGrantOptions, LeaseTimeToLiveOptions, Txn, TxnOp, WatchFilterType, WatchOptions,
};

use crate::script::{self, Filter, LETTERS, Step};
use tell::{refused, revision};
use watcher::{TOLD_WITHIN, Watcher};

/// The letter of the key that only the test puts. All wide watchers hear of it.
const MARK: char = 'z';

/// How long an etcd may take over one step, with all that its watchers hear meanwhile.
const DONE_WITHIN: Duration = Duration::from_secs(60);

/// What the steps came to.
type Told = Vec<String>;

/// One etcd under a script.
pub(crate) struct Side {
    client: Client,
    prefix: String,
    base: i64,
    leases: Vec<i64>,
    watchers: Vec<Watcher>,
    told: Told,
}

/// What an etcd answers to each step of a script, and tells each of its watchers.
pub(crate) async fn run(
    client: &Client,
    prefix: String,
    script: &[Step],
) -> Result<Vec<String>, String> {
    let latest = client.kv_client().get(prefix.clone(), None).await.map_err(|e| e.to_string())?;
    let base = revision(latest.header());
    let (client, leases, watchers) = (client.clone(), Vec::new(), Vec::new());
    let mut side = Side { client, prefix, base, leases, watchers, told: Vec::new() };
    for step in script {
        let told = timeout(&SystemClock, DONE_WITHIN, side.step(step)).await;
        let told = told.map_err(|elapsed| format!("{step:?}: {elapsed}"))??;
        side.told.push(told);
    }
    let told = timeout(&SystemClock, DONE_WITHIN, side.finish()).await;
    told.map_err(|elapsed| format!("the last keys: {elapsed}"))?
}

impl Side {
    async fn step(&mut self, step: &Step) -> Result<String, String> {
        let mut kv = self.client.kv_client();
        Ok(match step {
            Step::Get(get) => {
                let (key, options) = self.get(get);
                let got = kv.get(key, Some(options)).await;
                got.map_or_else(|error| refused(&error), |got| self.got(&got))
            }
            Step::Put(put) => {
                let (key, value, options) = self.put(put);
                let done = kv.put(key, value, Some(options)).await;
                done.map_or_else(|error| refused(&error), |done| self.was_put(&done))
            }
            Step::Delete(delete) => {
                let (key, options) = self.delete(delete);
                let done = kv.delete(key, Some(options)).await;
                done.map_or_else(|error| refused(&error), |done| self.deleted(&done))
            }
            Step::Txn(txn) => {
                let done = kv.txn(self.txn(txn)).await;
                done.map_or_else(|error| refused(&error), |done| self.done(&done))
            }
            Step::Compact(above) => {
                // What was there before an event has to be told before it is given up.
                self.hear_marks().await?;
                match kv.compact(self.base + above, None).await {
                    Ok(done) => format!("compacted at {}", self.at(revision(done.header()))),
                    Err(error) => refused(&error),
                }
            }
            Step::Grant(..) | Step::Revoke(_) | Step::Renew(_) | Step::TimeToLive(_) => {
                self.lease_step(step).await?
            }
            Step::Watch(wish) => self.watch(wish.clone()).await?,
        })
    }

    async fn lease_step(&mut self, step: &Step) -> Result<String, String> {
        let mut leases = self.client.lease_client();
        Ok(match *step {
            Step::Grant(seconds, again) => {
                let mut options = LeaseGrantOptions::new();
                if let Some(&id) = again.and_then(|number| self.leases.get(number)) {
                    options = options.with_id(id);
                }
                match leases.grant(seconds, Some(options)).await {
                    Ok(granted) => {
                        self.leases.push(granted.id());
                        let at = self.at(revision(granted.header()));
                        format!("granted {} at {at}", granted.ttl())
                    }
                    Err(error) => refused(&error),
                }
            }
            Step::Revoke(number) => match leases.revoke(self.lease(number)).await {
                Ok(revoked) => format!("revoked at {}", self.at(revision(revoked.header()))),
                Err(error) => refused(&error),
            },
            Step::Renew(number) => match leases.keep_alive(self.lease(number)).await {
                Ok((mut keeper, mut stream)) => {
                    keeper.keep_alive().await.map_err(|error| error.to_string())?;
                    let renewed = timeout(&SystemClock, TOLD_WITHIN, stream.message()).await;
                    let renewed = renewed.map_err(|elapsed| elapsed.to_string())?;
                    let renewed = renewed.map_err(|error| error.to_string())?;
                    format!("renewed {:?}", renewed.map(|renewed| renewed.ttl()))
                }
                Err(error) => refused(&error),
            },
            Step::TimeToLive(number) => {
                let options = LeaseTimeToLiveOptions::new().with_keys();
                match leases.time_to_live(self.lease(number), Some(options)).await {
                    Ok(left) => {
                        let mut keys: Vec<_> =
                            left.keys().iter().map(|key| self.name(key)).collect();
                        keys.sort();
                        format!("lasts {}: {} {keys:?}", left.ttl() >= 0, left.granted_ttl())
                    }
                    Err(error) => refused(&error),
                }
            }
            _ => return Err(format!("{step:?} is about no lease")),
        })
    }

    /// Begins a watcher, and hears what it is told of the past.
    async fn watch(&mut self, wish: script::Watch) -> Result<String, String> {
        let (key, end) = self.span(&wish.keys);
        let mut options = WatchOptions::new();
        if !end.is_empty() {
            options = options.with_range(end);
        }
        if let Some(above) = wish.from {
            // The next revision is the last one that a watcher asks for.
            let next = self.latest().await? + 1;
            options = options.with_start_revision((self.base + above).min(next).max(1));
        }
        if wish.previous {
            options = options.with_prev_key();
        }
        match wish.filter {
            Filter::Nothing => {}
            Filter::Puts => options = options.with_filters([WatchFilterType::NoPut]),
            Filter::Deletes => options = options.with_filters([WatchFilterType::NoDelete]),
        }
        let stream = self.client.watch_client().watch(key, Some(options)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let (last, told) = (0, Vec::new());
        let mut watcher = Watcher { stream, wish, last, is_over: false, told };
        let created = watcher.message().await?;
        let text = format!(
            "created {} id {} canceled {} {:?} at {}",
            created.created(),
            created.watch_id(),
            created.canceled(),
            created.cancel_reason(),
            self.at(revision(created.header())),
        );
        watcher.is_over = created.canceled();
        let asks = watcher.wish.hears_marks();
        self.watchers.push(watcher);
        self.hear_marks().await?;
        match self.watchers.last_mut() {
            Some(watcher) if asks && !watcher.is_over => {
                let progress = watcher.progress(&self.prefix, self.base).await?;
                Ok(format!("{text}, progress {}", self.at(progress)))
            }
            _ => Ok(text),
        }
    }

    /// Puts and deletes the mark, and has every watcher that hears of it catch up.
    async fn hear_marks(&mut self) -> Result<(), String> {
        let mut kv = self.client.kv_client();
        let key = self.key(MARK);
        let put = kv.put(key.clone(), "", None).await.map_err(|error| error.to_string())?;
        let deleted = kv.delete(key, None).await.map_err(|error| error.to_string())?;
        let (put, deleted) = (revision(put.header()), revision(deleted.header()));
        for watcher in self.watchers.iter_mut().filter(|watcher| watcher.wish.hears_marks()) {
            watcher.hear_until(put, deleted, &self.prefix, self.base).await?;
        }
        Ok(())
    }

    /// Puts and deletes every key, so that every watcher has a last thing to hear.
    async fn finish(mut self) -> Result<Vec<String>, String> {
        let mut kv = self.client.kv_client();
        let keys: Vec<Vec<u8>> =
            LETTERS.iter().chain([&MARK]).map(|&letter| self.key(letter)).collect();
        let puts: Vec<TxnOp> =
            keys.iter().map(|key| TxnOp::put(key.clone(), "last", None)).collect();
        let deletes: Vec<TxnOp> = keys.iter().map(|key| TxnOp::delete(key.clone(), None)).collect();
        let put = kv.txn(Txn::new().and_then(puts)).await.map_err(|error| error.to_string())?;
        let deleted = kv.txn(Txn::new().and_then(deletes)).await;
        let deleted = deleted.map_err(|error| error.to_string())?;
        self.told.push(self.done(&deleted));
        let (put, deleted) = (revision(put.header()), revision(deleted.header()));
        for watcher in &mut self.watchers {
            watcher.hear_until(put, deleted, &self.prefix, self.base).await?;
        }
        for &lease in &self.leases {
            // Some of them the script has revoked.
            let _ = self.client.lease_client().revoke(lease).await;
        }
        let mut told = std::mem::take(&mut self.told);
        for (number, watcher) in self.watchers.iter().enumerate() {
            told.extend(watcher.told.iter().map(|event| format!("watcher {number}: {event}")));
        }
        Ok(told)
    }

    async fn latest(&self) -> Result<i64, String> {
        let got = self.client.kv_client().get(self.prefix.clone(), None).await;
        Ok(revision(got.map_err(|error| error.to_string())?.header()))
    }
}
