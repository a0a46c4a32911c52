//! Whether a record on etcd is where this host has seen it, or an earlier one.
//!
//! An etcd that was restored from a backup, or that lost what it had acknowledged, has forgotten
//! leaders and clusters which may still be at work, and would give out their epochs and numbers
//! once more. So each store notes beside its payloads how far it has seen the record come, and a
//! store that finds less there does not serve. `mainspring restore --etcd-restored` raises all
//! fences above what was given out, and leaves a mark in the record, by which the other hosts know
//! that they may go on, too.
//!
//! What counts is the revision of the last commit to the record, not etcd's own: other deployments
//! move that one, and a restore may be told to raise it.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chassis::clock::{Clock as _, SharedClock, timeout};
use chassis::disk;
use chassis::tasks::Shutdown;
use serde::{Deserialize, Serialize};

use crate::store::etcd::EtcdMetadata;
use crate::store::{Key, Operation, Read, View};

/// The file in the store's directory that says how far the record has come.
const FILE: &str = "record.seen";

/// The key that says which returns to an earlier record were raised above what came after it.
const KEY: &str = "returned";

/// What stands in place of the last return while its fences are being raised. A record that is
/// raised in part is one that no host may go on with, however many commits it has by then.
const UNDER_WAY: &str = "";

/// How often is noted how far the record has come. What a host has not noted when it is lost cannot
/// be missed.
const NOTED_EVERY: Duration = Duration::from_secs(10);

/// How long a store that ends takes for the last note.
const LAST_NOTE: Duration = Duration::from_secs(2);

/// How far a host has seen the record come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The revision of the last commit to the record.
    revision: u64,
    /// The last return that the host knows of.
    returned: Option<String>,
}

/// What the record says of returns to an earlier state of it: a number for each, the last one last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Returned(Vec<String>);

/// How a record stands against what a host has seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It holds all that the host has seen.
    Whole,
    /// It is an earlier one, and its fences were raised since.
    Raised,
    /// It is an earlier one, and not all of its fences were raised since.
    Behind,
}

impl Seen {
    /// What the host of this store's directory has seen; nothing where no such note is.
    pub(crate) fn read(state: &Path) -> anyhow::Result<Self> {
        let path = state.join(FILE);
        let read = match fs::read(&path) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        serde_json::from_slice(&read).with_context(|| {
            format!(
                "{} is damaged; it says how far the record has come: restore it, or remove it if \
                 etcd was not restored from a backup",
                path.display()
            )
        })
    }

    /// How a record stands whose last commit has this revision.
    pub(crate) fn judge(&self, last: u64, returned: &Returned) -> Standing {
        if returned.is_under_way() {
            return Standing::Behind;
        }
        let newest = returned.0.last();
        let follows = self.returned.as_ref().is_none_or(|known| returned.0.contains(known));
        if follows && newest.is_some() && newest != self.returned.as_ref() {
            Standing::Raised
        } else if last < self.revision || !follows {
            Standing::Behind
        } else {
            Standing::Whole
        }
    }

    /// Why a store does not serve an earlier record.
    pub(crate) fn why_not(&self, last: u64, prefix: &str) -> String {
        let how = if last < self.revision {
            format!("it ends at revision {last}, and was at {}", self.revision)
        } else {
            "and not all of its fences are raised".to_owned()
        };
        format!(
            "the record on etcd below {prefix} is an earlier one than this host has seen ({how}): \
             etcd was restored from a backup, or has lost what it had written; end all hosts of \
             the record, then have it go on from there with mainspring restore --etcd-restored"
        )
    }

    fn write(&self, state: &Path) -> anyhow::Result<()> {
        let path = state.join(FILE);
        let written =
            serde_json::to_vec(self).context("how far a record has come is plain text")?;
        let new = path.with_extension("seen-new");
        let whole = File::create(&new).and_then(|mut file| {
            file.write_all(&written)?;
            file.sync_all()
        });
        whole
            .and_then(|()| disk::replace(&new, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Returned {
    /// What has to be read for it.
    pub(crate) fn reads() -> Vec<Read> {
        vec![Read::Key(Key::from(KEY.to_owned()))]
    }

    /// What a view of [`reads`](Self::reads) holds.
    pub(crate) fn of(view: View) -> anyhow::Result<Self> {
        let Some((_, stored)) = view.answers.into_iter().flatten().next() else {
            return Ok(Self::default());
        };
        serde_json::from_slice(&stored.value).context("the mark of a restored etcd is unreadable")
    }

    /// One more return, whose fences are being raised.
    pub(super) fn begun(&self) -> Self {
        let mut begun = self.clone();
        if !begun.is_under_way() {
            begun.0.push(UNDER_WAY.to_owned());
        }
        begun
    }

    fn is_under_way(&self) -> bool {
        self.0.last().is_some_and(|last| last == UNDER_WAY)
    }

    /// One more return, of a host that has seen so much. All hosts that know any of the returns
    /// take it for a later one.
    pub(super) fn another(mut self, seen: &Seen) -> Self {
        self.0.retain(|number| number != UNDER_WAY);
        self.0.extend(seen.returned.clone().filter(|known| !self.0.contains(known)));
        self.0.push(hex::encode(rand::random::<[u8; 8]>()));
        self
    }

    /// What puts it into the record.
    pub(super) fn put(&self) -> anyhow::Result<Operation> {
        let written = serde_json::to_vec(self).context("numbers are plain text")?;
        Ok(Operation::Put(Key::from(KEY.to_owned()), written.into()))
    }
}

/// Follows how far the record comes.
pub(super) struct Noting {
    pub(super) metadata: Arc<EtcdMetadata>,
    pub(super) state: PathBuf,
    pub(super) prefix: String,
    pub(super) seen: Seen,
}

impl Noting {
    /// Notes where the record is now. An earlier record than the one that was noted is refused, and
    /// an etcd that is away is asked again later.
    pub(super) async fn note(&mut self, returned: &Returned) -> anyhow::Result<()> {
        let last = match self.metadata.last().await {
            Ok(last) => last,
            Err(error) => {
                tracing::debug!(%error, "how far the record has come is not noted for now");
                return Ok(());
            }
        };
        if self.seen.judge(last, returned) == Standing::Behind {
            bail!(self.seen.why_not(last, &self.prefix));
        }
        let now = Seen { revision: last, returned: returned.0.last().cloned() };
        if now != self.seen {
            // A disk that is full is no reason to serve no more.
            match now.write(&self.state) {
                Ok(()) => self.seen = now,
                Err(error) => tracing::warn!("how far the record has come is not noted: {error:#}"),
            }
        }
        Ok(())
    }

    /// Notes it again and again, and once more at the end. An etcd that is replaced by an earlier
    /// one under a store at work ends the store.
    pub(super) async fn keep(
        mut self,
        returned: Returned,
        clock: SharedClock,
        shutdown: Shutdown,
    ) -> anyhow::Result<()> {
        loop {
            let next = async {
                clock.sleep(NOTED_EVERY).await;
                self.note(&returned).await
            };
            // An etcd that is away does not hold up the end.
            tokio::select! {
                () = shutdown.begun() => break,
                noted = next => noted?,
            }
        }
        // Without an answer the last note but one has to do.
        timeout(&clock, LAST_NOTE, self.note(&returned)).await.unwrap_or(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn returned(numbers: &str) -> Returned {
        Returned(numbers.split_whitespace().map(str::to_owned).collect())
    }

    fn seen(revision: u64, returned: Option<&str>) -> Seen {
        Seen { revision, returned: returned.map(str::to_owned) }
    }

    #[test]
    fn a_record_that_ends_before_what_was_seen_is_an_earlier_one_until_it_is_raised() {
        use Standing::{Behind, Raised, Whole};
        for (seen, last, numbers, standing) in [
            (seen(0, None), 0, "", Whole),
            (seen(7, None), 7, "", Whole),
            (seen(7, None), 9, "", Whole),
            (seen(7, None), 6, "", Behind),
            // Another host has raised the fences.
            (seen(7, None), 6, "a", Raised),
            (seen(7, Some("a")), 7, "a", Whole),
            (seen(7, Some("a")), 6, "a", Behind),
            (seen(7, Some("a")), 6, "a b", Raised),
            // The backup is of before the return that this host knows.
            (seen(7, Some("b")), 6, "a", Behind),
            (seen(7, Some("b")), 9, "a", Behind),
            (seen(7, Some("b")), 6, "", Behind),
            (seen(7, Some("b")), 6, "a b c", Raised),
        ] {
            let found = seen.judge(last, &returned(numbers));
            assert_eq!(found, standing, "{seen:?}, {last}, {numbers:?}");
        }
    }

    #[test]
    fn every_host_takes_one_more_return_for_a_later_one() {
        // The record was restored to where it knew "a" alone, and the other hosts know "b".
        let raising = seen(9, Some("b"));
        let raised = returned("a").another(&raising);
        for known in [None, Some("a"), Some("b")] {
            assert_eq!(seen(9, known).judge(3, &raised), Standing::Raised, "{known:?}");
        }
    }

    #[test]
    fn a_return_that_is_cut_off_is_refused_by_every_host_until_it_is_done_again() {
        let begun = returned("a").begun();
        for known in [None, Some("a")] {
            // The fences that are raised are commits, too.
            let seen = seen(9, known);
            assert_eq!(seen.judge(12, &begun), Standing::Behind, "{known:?}");
            let why = seen.why_not(12, "/mainspring");
            assert!(why.contains("not all of its fences") && why.contains("--etcd-restored"));
            let raised = begun.begun().another(&seen);
            assert_eq!(seen.judge(12, &raised), Standing::Raised, "{known:?}");
            assert_eq!(raised.0.len(), 2, "{raised:?}");
        }
    }

    #[test]
    fn what_was_seen_is_read_again_and_damage_is_told() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(Seen::read(state.path()).unwrap(), Seen::default());
        let noted = seen(7, Some("a"));
        noted.write(state.path()).unwrap();
        assert_eq!(Seen::read(state.path()).unwrap(), noted);
        fs::write(state.path().join(FILE), "{").unwrap();
        let refused = Seen::read(state.path()).unwrap_err().to_string();
        assert!(refused.contains("record.seen is damaged"), "{refused}");
    }
}
