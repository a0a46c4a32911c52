use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use client::error::CallError;
use mainspring_datafusion::worker::Record;
use proto::job::JobEnd;
use proto::{Digest, Epoch, EpochFence, JobId, Problem, Reason};
use record::Standing;
use tonic::Status;

/// A record in memory that can be away and can be superseded.
#[derive(Default)]
pub(crate) struct MemoryRecord {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    payloads: HashMap<Digest, Vec<u8>>,
    ends: HashMap<JobId, JobEnd>,
    leader: Epoch,
    /// The answers to the next calls of `end` and `put_result`.
    faults: VecDeque<Status>,
    tries: usize,
}

impl MemoryRecord {
    pub(crate) fn put(&self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.inner.lock().unwrap().payloads.insert(digest, bytes);
        digest
    }

    pub(crate) fn payload(&self, digest: &str) -> Vec<u8> {
        self.inner.lock().unwrap().payloads[&digest.parse::<Digest>().unwrap()].clone()
    }

    pub(crate) fn lead(&self, epoch: u64) {
        self.inner.lock().unwrap().leader = Epoch(epoch);
    }

    pub(crate) fn fail_next(&self, faults: impl IntoIterator<Item = Status>) {
        self.inner.lock().unwrap().faults.extend(faults);
    }

    pub(crate) fn end_of(&self, job: JobId) -> Option<JobEnd> {
        self.inner.lock().unwrap().ends.get(&job).cloned()
    }

    pub(crate) fn keep_end(&self, job: JobId, end: JobEnd) {
        self.inner.lock().unwrap().ends.insert(job, end);
    }

    pub(crate) fn tries(&self) -> usize {
        self.inner.lock().unwrap().tries
    }

    fn fault(&self) -> Result<(), CallError> {
        let mut inner = self.inner.lock().unwrap();
        inner.tries += 1;
        inner.faults.pop_front().map_or(Ok(()), |fault| Err(fault.into()))
    }
}

#[async_trait]
impl Record for MemoryRecord {
    async fn graph(&self, digest: Digest) -> Result<Bytes, CallError> {
        let missing =
            || Problem::new(Reason::PayloadMissing, "no such payload").into_status().into();
        self.inner
            .lock()
            .unwrap()
            .payloads
            .get(&digest)
            .cloned()
            .map(Bytes::from)
            .ok_or_else(missing)
    }

    async fn put_result(&self, path: &Path) -> Result<(Digest, u64), CallError> {
        self.fault()?;
        let bytes = std::fs::read(path).unwrap();
        let size = bytes.len() as u64;
        Ok((self.put(bytes), size))
    }

    async fn end(&self, job: JobId, end: JobEnd) -> Result<Standing<JobEnd>, CallError> {
        self.fault()?;
        let mut inner = self.inner.lock().unwrap();
        let recorded = !inner.ends.contains_key(&job);
        let stands = inner.ends.entry(job).or_insert(end).clone();
        Ok(Standing { recorded, stands })
    }

    async fn holds(&self, epoch: EpochFence) -> Result<bool, CallError> {
        Ok(self.inner.lock().unwrap().leader == epoch.epoch)
    }
}
