//! Fences that are raised where they are, in a record whose etcd was restored from a backup.

use anyhow::bail;

use super::raised::raised;
use crate::keys::of_all_applications;
use crate::store::{Commit, Compare, Key, Metadata, Operation, Read, Stored, Transaction};

/// How many entries are read at once.
const READ_AT_ONCE: usize = 200;

/// How many entries one commit puts at most. An application has two fences, and few of its
/// generations are not clean.
const PUT_AT_ONCE: usize = 90;

/// Raises the fences of all applications, and answers how many applications that were. What belongs
/// to one application is raised in one commit, because the number of a cluster that is gone is that
/// of its fence.
pub(super) async fn raise_all(metadata: &dyn Metadata) -> anyhow::Result<usize> {
    let (prefix, mut after) = (of_all_applications(), None);
    let (mut raising, mut count) = (Raising::default(), 0);
    loop {
        let read = Read::Range { prefix: prefix.clone(), after, limit: READ_AT_ONCE };
        let mut view = metadata.read(vec![read], None).await?;
        let entries = view.answers.pop().unwrap_or_default();
        let Some((last, _)) = entries.last() else { break };
        after = Some(last.clone());
        for (key, stored) in entries {
            let application = application_of(&key);
            if application != raising.application {
                count += usize::from(raising.commit(metadata).await?);
                raising.application = application;
            }
            raising.add(key, stored)?;
        }
    }
    count += usize::from(raising.commit(metadata).await?);
    Ok(count)
}

/// The part of a key that names its application.
fn application_of(key: &Key) -> Vec<u8> {
    let rest = key.strip(&of_all_applications()).unwrap_or_default();
    rest.split(|&byte| byte == b'/').next().unwrap_or_default().to_vec()
}

/// What is raised of one application.
#[derive(Default)]
struct Raising {
    application: Vec<u8>,
    transaction: Transaction,
}

impl Raising {
    fn add(&mut self, key: Key, stored: Stored) -> anyhow::Result<()> {
        let value = raised(&key, stored.value.clone())?;
        if value != stored.value {
            let compare = Compare { key: key.clone(), revision: Some(stored.revision) };
            self.transaction.compares.push(compare);
            self.transaction.operations.push(Operation::Put(key, value));
        }
        if self.transaction.operations.len() > PUT_AT_ONCE {
            let id = String::from_utf8_lossy(&self.application);
            bail!("{id} has more generations that are not clean than can be");
        }
        Ok(())
    }

    /// Commits what there is; answers whether there was something.
    async fn commit(&mut self, metadata: &dyn Metadata) -> anyhow::Result<bool> {
        let transaction = std::mem::take(&mut self.transaction);
        if transaction.operations.is_empty() {
            return Ok(false);
        }
        match metadata.commit(transaction).await? {
            Commit::Committed(_) => Ok(true),
            Commit::Conflict(key) => bail!(
                "{key} was written meanwhile: end all hosts of the record first, then do it again"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys::Kind as _;
    use crate::keys::fence::AttemptFence;
    use crate::keys::generation::GenerationState;
    use crate::store::memory::MemoryMetadata;

    fn attempt(number: usize) -> Key {
        Key::from(format!("a/app-{number:04}/attempt"))
    }

    async fn epoch(record: &MemoryMetadata, number: usize) -> u64 {
        let view = record.read(vec![Read::Key(attempt(number))], None).await.unwrap();
        AttemptFence::from_stored(&view.answers[0][0].1.value).unwrap().epoch
    }

    /// A generation that is clean, with a field that this build does not know.
    fn clean() -> Vec<u8> {
        let mut state = GenerationState::default();
        state.application_mut().clean = true;
        [&state.to_stored()[..], &[0xf8, 0x07, 1]].concat()
    }

    #[tokio::test]
    async fn each_application_is_raised_once_and_what_is_no_fence_stays() {
        const MANY: usize = READ_AT_ONCE + 7;
        let record = MemoryMetadata::default();
        let other = Key::from("a/app-0000/g/0000000000000001/state".to_owned());
        let put = |key, value| Transaction {
            compares: Vec::new(),
            operations: vec![Operation::Put(key, value)],
        };
        record.commit(put(other.clone(), clean().into())).await.unwrap();
        for number in 0..MANY {
            let fence = AttemptFence { epoch: 3, ..AttemptFence::default() };
            record.commit(put(attempt(number), fence.to_stored())).await.unwrap();
        }
        assert_eq!(raise_all(&record).await.unwrap(), MANY);
        for number in 0..MANY {
            assert_eq!(epoch(&record, number).await, 3 + (1 << 32), "app-{number:04}");
        }
        let view = record.read(vec![Read::Key(other)], None).await.unwrap();
        assert_eq!(view.answers[0][0].1.value, clean());
    }
}
