//! A look at a record on etcd that changes nothing: the look takes no slot, follows nothing and
//! compacts nothing.

use std::time::Duration;

use super::super::{Read, View};
use super::keys::Keys;
use super::reads;
use super::{Error, Etcd, last_slot, latest_within, may_write};

/// How long one question may take. A member that is silent for so long is named as silent.
const PATIENCE: Duration = Duration::from_secs(4);

/// The record below one prefix, as it is looked at.
#[derive(Debug)]
pub(crate) struct Look {
    etcd: Etcd,
    keys: Keys,
}

impl Look {
    /// A look at the record below `prefix`.
    pub(crate) fn below(etcd: Etcd, prefix: &str) -> Self {
        Self { etcd, keys: Keys::below(prefix) }
    }

    /// The id of the etcd cluster. The answer also says that the user may read below the prefix.
    pub(crate) async fn cluster(&self) -> Result<u64, Error> {
        latest_within(PATIENCE, &self.etcd, &self.keys).await.map(|(_, cluster)| cluster)
    }

    /// Reads at one instant.
    pub(crate) async fn read(&self, reads: &[Read]) -> Result<View, Error> {
        reads::read(&self.etcd, &self.keys, reads, None).await
    }

    /// The revision of the last commit to the record; 0 if there is none.
    pub(crate) async fn last_commit(&self) -> Result<u64, Error> {
        last_slot(PATIENCE, &self.etcd, &self.keys, 0).await
    }

    /// Whether etcd takes writes of this user, which the question is not.
    pub(crate) async fn may_write(&self) -> Result<(), Error> {
        may_write(PATIENCE, &self.etcd, &self.keys).await
    }
}
