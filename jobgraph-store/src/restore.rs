//! A record from a backup, in whichever backend: what was lost on one host goes on on another, and
//! what was in a file goes on in etcd.
//!
//! After the instant of a backup its leaders and clusters went on, and some may still live. So
//! every fence is raised far above what they can have reached: nothing that they write is taken.
//! Clusters count as gone, and the next leader begins new ones.

mod in_place;
mod raised;

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use chassis::disk;
use chassis::server::Footing;
use futures::{Stream, StreamExt as _};
use proto::Digest;
use proto::jobgraph::backup_part::Part;
use proto::jobgraph::{BackupEnd, BackupEntry, BackupHeader, BackupPart, BackupPayload};
use sha2::{Digest as _, Sha256};

use crate::blobs::{BlobName, BlobWriter, Blobs};
use crate::config::Args;
use crate::keys::kept;
use crate::store::{Commit, Compare, Key, Metadata, Operation, Read, Transaction};
use crate::{backend, blobs};

/// How many entries one commit puts, and how many bytes they have at most: below the limits of a
/// transaction.
const PUT_AT_ONCE: usize = 90;
const BYTES_AT_ONCE: usize = 900 * 1024;

/// What a restore has come to.
#[derive(Debug, Clone)]
pub struct Restored {
    /// Where and when the backup was taken.
    pub header: BackupHeader,
    /// What was in it.
    pub end: BackupEnd,
}

/// Restores a record where the settings say, which has to be empty. A restore that is cut off is
/// begun again; until then the store refuses to serve.
pub async fn restore<E>(
    args: &Args,
    footing: Footing,
    parts: impl Stream<Item = Result<BackupPart, E>> + Unpin,
) -> anyhow::Result<Restored>
where
    E: std::error::Error + Send + Sync + 'static,
{
    args.check()?;
    let state = args.places().service_state(Args::SERVICE);
    disk::make_directories(&state, 0o700)
        .with_context(|| format!("cannot make {}", state.display()))?;
    let tasks = footing.tasks();
    let (metadata, _) = backend::open(args, &state, &footing, &tasks).await?;
    let blobs = blobs::shared::open(&args.blobs, &state, &*metadata, &footing.clock).await?;
    into(metadata, blobs, parts).await
}

/// Has a record go on from where an etcd that was restored from a backup of its own has it, and
/// answers how many applications have fences that were raised. Nothing may be at work in the record
/// meanwhile. A raise that is cut off is begun again; until it is done, no store serves.
pub async fn go_on(args: &Args, footing: Footing) -> anyhow::Result<usize> {
    args.check()?;
    let state = args.places().service_state(Args::SERVICE);
    let record = backend::going_on(args, &state, &footing).await?;
    record.begin().await?;
    let raised = in_place::raise_all(&*record.metadata).await?;
    record.confirm().await?;
    Ok(raised)
}

/// Refuses a record that is not whole.
pub(crate) async fn is_whole(metadata: &dyn Metadata) -> anyhow::Result<()> {
    let view = metadata.read(vec![Read::Key(kept::restoring())], None).await?;
    ensure!(
        view.answers[0].is_empty(),
        "the record is not whole, because a restore was cut off: repeat it (mainspring restore \
         FILE)"
    );
    Ok(())
}

/// Restores into these backends.
pub(crate) async fn into<E>(
    metadata: Arc<dyn Metadata>,
    blobs: Arc<dyn Blobs>,
    mut parts: impl Stream<Item = Result<BackupPart, E>> + Unpin,
) -> anyhow::Result<Restored>
where
    E: std::error::Error + Send + Sync + 'static,
{
    make_room(&*metadata).await?;
    let (mut writing, mut told) = (Writing::new(metadata.clone(), blobs), None);
    let mut header = None;
    while let Some(part) = parts.next().await {
        let Some(part) = part.context("cannot read the backup")?.part else {
            bail!("the backup has a part that this build does not know");
        };
        ensure!(told.is_none(), "the backup goes on after its end");
        match part {
            Part::Header(first) => header = Some(first),
            Part::Entries(entries) => {
                for entry in entries.entries {
                    writing.entry(entry).await?;
                }
            }
            Part::Payload(payload) => writing.payload(&payload).await?,
            Part::Chunk(chunk) => writing.chunk(chunk).await?,
            Part::End(end) => told = Some(end),
        }
    }
    let (Some(header), Some(end)) = (header, told) else { bail!("the backup has no end") };
    let (entries, payloads) = writing.finish().await?;
    ensure!(
        (entries, payloads) == (end.entries, end.payloads),
        "the backup says that it has {} entries and {} payloads, and {entries} and {payloads} came",
        end.entries,
        end.payloads
    );
    let done = Transaction {
        compares: Vec::new(),
        operations: vec![Operation::Delete(kept::restoring())],
    };
    metadata.commit(done).await?;
    Ok(Restored { header, end })
}

/// Makes sure that the record is empty, and says in it that a restore is under way. What a restore
/// that was cut off has left is removed.
async fn make_room(metadata: &dyn Metadata) -> anyhow::Result<()> {
    let key = kept::restoring();
    let first = |prefix| Read::Range { prefix, after: None, limit: 1 };
    let reads = std::iter::once(Read::Key(key.clone())).chain(kept::beginnings().map(first));
    let view = metadata.read(reads.collect(), None).await?;
    let (marked, kept) = view.answers.split_first().context("a read has an answer")?;
    if marked.is_empty() {
        ensure!(
            kept.iter().all(Vec::is_empty),
            "the record there is not empty; a backup is restored into a new state directory, or \
             below a new prefix"
        );
        let mark = Transaction {
            compares: vec![Compare { key: key.clone(), revision: None }],
            operations: vec![Operation::Put(key, "".into())],
        };
        let marked = metadata.commit(mark).await?;
        ensure!(matches!(marked, Commit::Committed(_)), "another restore is under way there");
        return Ok(());
    }
    for prefix in kept::beginnings() {
        loop {
            let read = Read::Range { prefix: prefix.clone(), after: None, limit: PUT_AT_ONCE };
            let mut view = metadata.read(vec![read], None).await?;
            let left = view.answers.pop().unwrap_or_default();
            if left.is_empty() {
                break;
            }
            let operations = left.into_iter().map(|(key, _)| Operation::Delete(key)).collect();
            metadata.commit(Transaction { compares: Vec::new(), operations }).await?;
        }
    }
    Ok(())
}

/// What is being written.
struct Writing {
    metadata: Arc<dyn Metadata>,
    blobs: Arc<dyn Blobs>,
    puts: Vec<Operation>,
    bytes: usize,
    open: Option<OpenPayload>,
    entries: u64,
    payloads: u64,
}

struct OpenPayload {
    name: BlobName,
    writer: Box<dyn BlobWriter>,
    hasher: Sha256,
}

impl Writing {
    fn new(metadata: Arc<dyn Metadata>, blobs: Arc<dyn Blobs>) -> Self {
        let puts = Vec::new();
        Self { metadata, blobs, puts, bytes: 0, open: None, entries: 0, payloads: 0 }
    }

    async fn entry(&mut self, entry: BackupEntry) -> anyhow::Result<()> {
        let key = Key::new(entry.key);
        ensure!(kept::is_kept(&key), "the backup has a key that this build does not know: {key}");
        let value = raised::raised(&key, entry.value)?;
        self.entries += 1;
        if self.puts.len() >= PUT_AT_ONCE || self.bytes + value.len() > BYTES_AT_ONCE {
            self.commit().await?;
        }
        self.bytes += value.len();
        self.puts.push(Operation::Put(key, value));
        Ok(())
    }

    async fn commit(&mut self) -> anyhow::Result<()> {
        self.bytes = 0;
        let operations = std::mem::take(&mut self.puts);
        if !operations.is_empty() {
            self.metadata.commit(Transaction { compares: Vec::new(), operations }).await?;
        }
        Ok(())
    }

    async fn payload(&mut self, payload: &BackupPayload) -> anyhow::Result<()> {
        self.end_payload().await?;
        let digest: Digest = payload.digest.parse().context("the backup names no payload")?;
        let name = BlobName { digest, number: payload.number };
        let writer = self.blobs.writer(name).await?;
        self.open = Some(OpenPayload { name, writer, hasher: Sha256::new() });
        Ok(())
    }

    async fn chunk(&mut self, chunk: bytes::Bytes) -> anyhow::Result<()> {
        let open = self.open.as_mut().context("the backup has bytes of no payload")?;
        open.hasher.update(&chunk);
        open.writer.write(chunk).await?;
        Ok(())
    }

    async fn end_payload(&mut self) -> anyhow::Result<()> {
        let Some(OpenPayload { name, writer, hasher }) = self.open.take() else { return Ok(()) };
        if Digest::from_bytes(hasher.finalize().into()) != name.digest {
            writer.abort().await;
            bail!("payload {} in the backup has other bytes than its digest says", name.digest);
        }
        writer.finish().await?;
        self.payloads += 1;
        Ok(())
    }

    async fn finish(mut self) -> anyhow::Result<(u64, u64)> {
        self.end_payload().await?;
        self.commit().await?;
        Ok((self.entries, self.payloads))
    }
}

#[cfg(test)]
mod tests;
