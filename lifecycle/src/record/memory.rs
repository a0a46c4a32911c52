//! A record in memory, for simulations and tests of lifecycle.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chassis::tasks::owned;
use proto::{ApplicationId, Epoch, EpochFence};
use tokio::sync::{mpsc, watch};

use super::{COMPLETE, Intent, IntentState, Log, LogBatch, LogSource, Record, RecordError};

/// A record that forgets everything with the process. Clones share what is kept.
#[derive(Clone, Default)]
pub struct MemoryRecord(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    epochs: HashMap<ApplicationId, Epoch>,
    intents: BTreeMap<String, Intent>,
    logs: HashMap<LogSource, KeptLog>,
    away: bool,
    refuses_output: Option<RecordError>,
    logs_opened: u64,
    read_only: bool,
}

#[derive(Default)]
struct KeptLog {
    said: Vec<u8>,
    acknowledged: u64,
    complete: bool,
}

impl MemoryRecord {
    /// An empty record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that a leader with this epoch has begun.
    pub fn begin(&self, application: &ApplicationId, epoch: Epoch) {
        self.kept().epochs.insert(application.clone(), epoch);
    }

    /// Sets whether the record is out of reach.
    pub fn set_away(&self, away: bool) {
        self.kept().away = away;
    }

    /// Sets whether the record takes no output, as on a full disk.
    pub fn set_deaf(&self, deaf: bool) {
        self.refuse_output(deaf.then(|| RecordError::Away("it takes no output".to_owned())));
    }

    /// Sets the error that answers output instead of taking it.
    pub fn refuse_output(&self, why: Option<RecordError>) {
        self.kept().refuses_output = why;
    }

    /// How often output was offered.
    pub fn logs_opened(&self) -> u64 {
        self.kept().logs_opened
    }

    /// Sets whether intents cannot be written, as if the record went away in between.
    pub fn set_read_only(&self, read_only: bool) {
        self.kept().read_only = read_only;
    }

    /// What a source has said, and whether that is all.
    pub fn log(&self, source: &LogSource) -> (Vec<u8>, bool) {
        self.kept().logs.get(source).map(|log| (log.said.clone(), log.complete)).unwrap_or_default()
    }

    /// The keys of all intents.
    pub fn keys(&self) -> Vec<String> {
        self.kept().intents.keys().cloned().collect()
    }

    /// The keys of the contenders that gave up.
    pub fn gave_up(&self) -> Vec<String> {
        let kept = self.kept();
        let gave_up = kept.intents.iter().filter(|(_, intent)| intent.state == IntentState::GaveUp);
        gave_up.map(|(key, _)| key.clone()).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reached(&self) -> Result<MutexGuard<'_, Kept>, RecordError> {
        let kept = self.kept();
        if kept.away { Err(RecordError::Away("it was sent away".to_owned())) } else { Ok(kept) }
    }
}

impl Kept {
    fn check(&self, fence: EpochFence) -> Result<(), RecordError> {
        let current = self.epochs.get(&fence.application.id).copied().unwrap_or_default();
        if fence.epoch < current { Err(RecordError::Superseded { fence, current }) } else { Ok(()) }
    }

    /// Takes what is new of a batch, and answers what is durable now.
    fn append(&mut self, source: &LogSource, batch: LogBatch) -> u64 {
        let log = self.logs.entry(source.clone()).or_default();
        for chunk in batch.chunks {
            let begin = chunk.next_offset.saturating_sub(chunk.data.len() as u64);
            let known =
                usize::try_from(log.acknowledged.saturating_sub(begin)).unwrap_or(usize::MAX);
            if known <= chunk.data.len() && chunk.next_offset > log.acknowledged {
                log.said.extend_from_slice(&chunk.data[known..]);
                log.acknowledged = chunk.next_offset;
            }
        }
        log.complete |= batch.complete;
        log.acknowledged
    }
}

#[async_trait]
impl Record for MemoryRecord {
    async fn confirm_epoch(&self, fence: &EpochFence) -> Result<(), RecordError> {
        self.reached()?.check(fence.clone())
    }

    async fn put(&self, intent: &Intent, epoch: Option<Epoch>) -> Result<(), RecordError> {
        let mut kept = self.reached()?;
        if kept.read_only {
            return Err(RecordError::Away("it takes nothing".to_owned()));
        }
        if let Some(epoch) = epoch {
            kept.check(EpochFence { application: intent.slot.group.application.clone(), epoch })?;
        }
        kept.intents.insert(intent.slot.key(), intent.clone());
        Ok(())
    }

    async fn list(&self, key_prefix: &str) -> Result<Vec<Intent>, RecordError> {
        let kept = self.reached()?;
        Ok(kept
            .intents
            .iter()
            .filter(|(key, _)| key.starts_with(key_prefix))
            .map(|(_, i)| i.clone())
            .collect())
    }

    async fn forget(&self, key_prefix: &str) -> Result<(), RecordError> {
        self.reached()?.intents.retain(|key, _| !key.starts_with(key_prefix));
        Ok(())
    }

    async fn open_log(&self, source: &LogSource) -> Result<Log, RecordError> {
        let mut kept = self.reached()?;
        kept.logs_opened += 1;
        if let Some(why) = &kept.refuses_output {
            return Err(why.clone());
        }
        let from = kept.logs.entry(source.clone()).or_default().acknowledged;
        drop(kept);
        let (batches, mut taken) = mpsc::channel::<LogBatch>(4);
        let (acknowledge, acknowledged) = watch::channel(from);
        let (record, source) = (self.clone(), source.clone());
        let pump = owned("log", async move {
            while let Some(batch) = taken.recv().await {
                let Ok(mut kept) = record.reached() else { return };
                let complete = batch.complete;
                let offset = kept.append(&source, batch);
                drop(kept);
                acknowledge.send_replace(if complete { COMPLETE } else { offset });
            }
        });
        Ok(Log { batches, acknowledged, _pump: pump })
    }
}
