//! Payloads that all stores of one record share: whose they are, and whether they can be reached.
//!
//! A store that took the wrong place for the payloads would find none of them and would sweep those
//! of another record. So the record knows where its payloads are, and the place says whose payloads
//! it has. Both have to agree before the store serves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::{Bytes, BytesMut};
use chassis::clock::{SharedClock, timeout};
use futures::TryStreamExt as _;
use proto::Digest;
use serde::{Deserialize, Serialize};

use super::fs::FsBlobs;
use super::layout::Shared;
use super::location::{BlobsArgs, Target};
use super::s3::S3Blobs;
use super::{BlobName, Blobs};
use crate::examine;
use crate::store::{Commit, Compare, Key, Metadata, Operation, Read, Transaction, View};

/// The key that says where the payloads of a record are, if they are not in the state directory.
const KEY: &str = "payloads";

/// How long a look at the payloads' place may take at the start: less than a host waits for its
/// store, so that the store itself says what is wrong.
const REACHED_WITHIN: Duration = Duration::from_secs(10);

/// Where the payloads of a record are, as the record knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// The place, as the setting names it.
    location: String,
    /// What the place says the payloads belong to: a number drawn for this record.
    owner: String,
    /// Whether the place has said so once, and could be used. From then on a place that does not
    /// say so is another one. Until then no payload is there, and the record may take another
    /// place.
    settled: bool,
}

/// Opens the payloads in the place that the settings name, or in the store's directory. A place
/// that cannot be reached, or that is not this record's, is refused.
pub(crate) async fn open(
    settings: &BlobsArgs,
    state: &Path,
    metadata: &dyn Metadata,
    clock: &SharedClock,
) -> anyhow::Result<Arc<dyn Blobs>> {
    let local = state.join(examine::PAYLOADS);
    let Some(target) = settings.target()? else {
        if let Some((known, _)) = read(metadata).await?
            && known.settled
        {
            bail!(not_named(&known.location));
        }
        return Ok(Arc::new(FsBlobs::open(&local).context("cannot open the payloads")?));
    };
    let location = target.location();
    let left = examine::files(&local)
        .with_context(|| format!("cannot look for payloads in {}", local.display()))?
        .len();
    ensure!(
        left == 0,
        "the payloads of this record are in {}, and {location} is named; leave MAINSPRING_BLOBS \
         out, or copy them there and move the directory away",
        local.display()
    );
    let opening = async {
        let blobs: Arc<dyn Shared> = match target {
            Target::Mount(root) => Arc::new(FsBlobs::open_shared(root).await?),
            Target::Bucket(bucket) => Arc::new(S3Blobs::open(&bucket)?),
        };
        own(&*blobs, metadata, &location).await?;
        anyhow::Ok(blobs)
    };
    let opened = timeout(clock, REACHED_WITHIN, opening).await;
    let blobs = opened
        .unwrap_or_else(|elapsed| Err(anyhow!(elapsed)))
        .with_context(|| format!("cannot use {location} for the payloads"))?;
    Ok(blobs)
}

/// What has to be read to say where the payloads of a record are.
pub(crate) fn reads() -> Vec<Read> {
    vec![Read::Key(Key::from(KEY.to_owned()))]
}

/// Looks at the place that the settings name, and makes nothing there: answers the place, and what
/// is wrong with it. `record` is what the record answers to [`reads`], if it could be asked.
/// `None`: the payloads are in the state directory.
pub(crate) async fn look(
    settings: &BlobsArgs,
    record: Option<View>,
    clock: &SharedClock,
) -> Option<(String, Option<String>)> {
    let unnamed = |error: anyhow::Error| Some(("unknown".to_owned(), Some(format!("{error:#}"))));
    let known = match record.map(known).transpose() {
        Ok(known) => known.flatten().map(|(known, _)| known),
        Err(error) => return unnamed(error),
    };
    let target = match settings.target() {
        Ok(Some(target)) => target,
        Ok(None) => {
            let Known { location, .. } = known.filter(|known| known.settled)?;
            let problem = not_named(&location);
            return Some((location, Some(problem)));
        }
        Err(error) => return unnamed(error),
    };
    let location = target.location();
    let asking = async {
        match target {
            Target::Mount(root) => FsBlobs::owner_of(root).await,
            Target::Bucket(bucket) => S3Blobs::open(&bucket)?.owner().await,
        }
    };
    let problem = match timeout(clock, REACHED_WITHIN, asking).await {
        Ok(Ok(owner)) => known.and_then(|known| known.refusal(&location, owner.as_deref())),
        Ok(Err(error)) => Some(error.to_string()),
        Err(elapsed) => Some(elapsed.to_string()),
    };
    Some((location, problem))
}

fn not_named(location: &str) -> String {
    format!(
        "the payloads of this record are at {location}, and no place is named; name it with \
         MAINSPRING_BLOBS"
    )
}

impl Known {
    /// Why the record does not take a place for its payloads that says whose they are; `None` if
    /// the record takes the place.
    fn refusal(&self, location: &str, owner: Option<&str>) -> Option<String> {
        if self.location != location && self.settled {
            return Some(format!(
                "the payloads of this record are at {}; name that place with MAINSPRING_BLOBS",
                self.location
            ));
        }
        match owner {
            Some(owner) if owner == self.owner => None,
            Some(other) => Some(format!(
                "its payloads belong to another record ({other}, not {}); name another place with \
                 MAINSPRING_BLOBS",
                self.owner
            )),
            None if self.settled => Some(
                "it is not the place where this record's payloads were: a mount is absent, or the \
                 place was emptied; mount it, or restore the payloads"
                    .to_owned(),
            ),
            None => None,
        }
    }
}

/// Whether the payloads of a record are in a place that several hosts reach.
pub(crate) async fn is_settled(metadata: &dyn Metadata) -> anyhow::Result<bool> {
    Ok(read(metadata).await?.is_some_and(|(known, _)| known.settled))
}

/// Puts a payload, reads it, finds it in the listing and removes it: all that a store does. A
/// store that dies meanwhile leaves a payload that nothing points to, which is swept.
async fn probe(blobs: &dyn Shared) -> anyhow::Result<()> {
    let bytes = format!("mainspring looks whether it may write: {:016x}", rand::random::<u64>());
    let name = BlobName::from(Digest::of(bytes.as_bytes()));
    let mut writer = blobs.writer(name).await?;
    writer.write(bytes.clone().into()).await?;
    writer.finish().await?;
    let gather = |mut all: BytesMut, part: Bytes| async move {
        all.extend_from_slice(&part);
        Ok(all)
    };
    let read = blobs.read(name, 0).await?.try_fold(BytesMut::new(), gather).await?;
    ensure!(read == bytes.as_bytes(), "what was put there is not what is read there");
    let listed = blobs.entries().try_next().await?;
    ensure!(listed.is_some(), "what was put there is not listed there");
    blobs.remove(name).await?;
    let left = blobs.stat(name).await?;
    ensure!(left.is_none(), "what was removed there is still there");
    Ok(())
}

/// Makes the place this record's and looks whether it can be used, or refuses it.
async fn own(blobs: &dyn Shared, metadata: &dyn Metadata, location: &str) -> anyhow::Result<()> {
    // Each turn is a step of one store, so the loop ends when no other store starts.
    loop {
        let owner = blobs.owner().await?;
        let Some((known, revision)) = read(metadata).await? else {
            if let Some(other) = owner {
                bail!(
                    "its payloads belong to another record ({other}); name another place with \
                     MAINSPRING_BLOBS, or restore that record"
                );
            }
            let owner = hex::encode(rand::random::<[u8; 16]>());
            let known = Known { location: location.to_owned(), owner, settled: false };
            write(metadata, &known, None).await?;
            continue;
        };
        if let Some(why) = known.refusal(location, owner.as_deref()) {
            bail!(why);
        }
        if known.location != location {
            // The number stays, so that a place which has it already is still this record's.
            let other = Known { location: location.to_owned(), ..known };
            write(metadata, &other, Some(revision)).await?;
            continue;
        }
        if owner.is_none() {
            blobs.set_owner(&known.owner).await?;
            continue;
        }
        // A place that cannot be used must not bind the record, so the look comes first.
        probe(blobs).await?;
        if known.settled {
            return Ok(());
        }
        let settled = Known { settled: true, ..known };
        if let Commit::Committed(_) = write(metadata, &settled, Some(revision)).await? {
            return Ok(());
        }
    }
}

async fn read(metadata: &dyn Metadata) -> anyhow::Result<Option<(Known, u64)>> {
    known(metadata.read(reads(), None).await?)
}

/// What a view of [`reads`] holds.
fn known(view: View) -> anyhow::Result<Option<(Known, u64)>> {
    let Some((_, stored)) = view.answers.into_iter().flatten().next() else { return Ok(None) };
    let known = serde_json::from_slice(&stored.value)
        .context("where the record's payloads are is unreadable")?;
    Ok(Some((known, stored.revision)))
}

/// Writes unless another store has.
async fn write(
    metadata: &dyn Metadata,
    known: &Known,
    revision: Option<u64>,
) -> anyhow::Result<Commit> {
    let key = Key::from(KEY.to_owned());
    let written = serde_json::to_vec(known).context("a place is plain text")?;
    let compares = vec![Compare { key: key.clone(), revision }];
    let operations = vec![Operation::Put(key, written.into())];
    Ok(metadata.commit(Transaction { compares, operations }).await?)
}

#[cfg(test)]
mod tests;
