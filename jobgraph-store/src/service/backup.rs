//! The whole record as a stream of parts, as of one instant.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use proto::jobgraph::backup_part::Part;
use proto::jobgraph::{
    BackupEnd, BackupEntries, BackupEntry, BackupHeader, BackupPart, BackupPayload,
};
use rustix::system::uname;

use super::Service;
use crate::blobs::{BlobError, BlobName, BlobStream};
use crate::error::Error;
use crate::keys::{Kind as _, kept, payload};
use crate::model::timestamp;
use crate::store::{Key, Read, Stored};

/// How many entries are read at once. Values are below 64 KiB, so a part stays below the limit of a
/// message.
const AT_ONCE: usize = 30;

/// How a backup goes on.
enum Next {
    /// The entries after this key of the first of these beginnings.
    Entries(VecDeque<Key>, Option<Key>),
    /// The next payload.
    Payloads,
    /// The next bytes of a payload.
    Chunks(BlobStream),
    Over,
}

/// A backup that is being read.
struct Backup {
    service: Service,
    /// The instant that the entries are of.
    at: u64,
    next: Next,
    names: VecDeque<BlobName>,
    told: BackupEnd,
}

impl Service {
    /// Reads the record as it is now, then the payloads that it points to.
    pub async fn backup(&self) -> Result<BoxStream<'static, Result<BackupPart, Error>>, Error> {
        let at = self.metadata.read(vec![Read::Key(kept::restoring())], None).await?.revision;
        let header = BackupHeader {
            revision: at,
            taken_at: Some(timestamp(self.clock.wall())),
            host: uname().nodename().to_string_lossy().into_owned(),
            build: crate::build().to_owned(),
        };
        let backup = Backup {
            service: self.clone(),
            at,
            next: Next::Entries(kept::beginnings().collect(), None),
            names: VecDeque::new(),
            told: BackupEnd::default(),
        };
        let parts = futures::stream::try_unfold(backup, |mut backup| async move {
            let part = backup.part().await?;
            Ok::<_, Error>(part.map(|part| (part, backup)))
        });
        let parts = futures::stream::iter([Ok(Part::Header(header))]).chain(parts);
        Ok(parts.map_ok(|part| BackupPart { part: Some(part) }).boxed())
    }
}

impl Backup {
    /// The next part; `None` after the last one.
    async fn part(&mut self) -> Result<Option<Part>, Error> {
        loop {
            match std::mem::replace(&mut self.next, Next::Over) {
                Next::Entries(beginnings, after) => {
                    if let Some(part) = self.entries(beginnings, after).await? {
                        return Ok(Some(part));
                    }
                }
                Next::Payloads => return Ok(Some(self.payload().await?)),
                Next::Chunks(mut chunks) => match chunks.try_next().await? {
                    Some(chunk) => {
                        self.next = Next::Chunks(chunks);
                        return Ok(Some(Part::Chunk(chunk)));
                    }
                    None => self.next = Next::Payloads,
                },
                Next::Over => return Ok(None),
            }
        }
    }

    /// Some entries; `None` if there are no more below the first of the beginnings.
    async fn entries(
        &mut self,
        mut beginnings: VecDeque<Key>,
        after: Option<Key>,
    ) -> Result<Option<Part>, Error> {
        let Some(prefix) = beginnings.front().cloned() else {
            self.next = Next::Payloads;
            return Ok(None);
        };
        let read = Read::Range { prefix, after, limit: AT_ONCE };
        let mut view = self.service.metadata.read(vec![read], Some(self.at)).await?;
        let entries = view.answers.pop().unwrap_or_default();
        let Some((last, _)) = entries.last() else {
            beginnings.pop_front();
            self.next = Next::Entries(beginnings, None);
            return Ok(None);
        };
        self.next = Next::Entries(beginnings, Some(last.clone()));
        self.told.entries += entries.len() as u64;
        let entries = entries.into_iter().map(|(key, stored)| self.entry(key, stored));
        Ok(Some(Part::Entries(BackupEntries { entries: entries.collect::<Result<_, _>>()? })))
    }

    /// One entry. A mark says under which name its payload lies.
    fn entry(&mut self, key: Key, stored: Stored) -> Result<BackupEntry, Error> {
        if let Some(digest) = payload::marked(&key) {
            let mark = payload::SweepMark::from_stored(&stored.value)?;
            self.names.push_back(BlobName { digest, number: mark.number });
        }
        Ok(BackupEntry { key: Bytes::copy_from_slice(key.as_bytes()), value: stored.value })
    }

    /// The next payload that is there, or the end. A payload that is not there was forgotten since
    /// the instant, or was marked and never put.
    async fn payload(&mut self) -> Result<Part, Error> {
        while let Some(name) = self.names.pop_front() {
            match self.service.blobs.read(name, 0).await {
                Ok(chunks) => {
                    self.next = Next::Chunks(chunks);
                    self.told.payloads += 1;
                    let (digest, number) = (name.digest.to_string(), name.number);
                    return Ok(Part::Payload(BackupPayload { digest, number }));
                }
                Err(BlobError::Missing(_)) => self.told.forgotten += 1,
                Err(error) => return Err(error.into()),
            }
        }
        self.next = Next::Over;
        Ok(Part::End(std::mem::take(&mut self.told)))
    }
}
