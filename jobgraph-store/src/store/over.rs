//! For tests: a backend over another one, which it passes on to but for what it does itself.

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Change, Commit, Metadata, Read, StoreError, Transaction, View};

/// A backend over another one. What it does not say itself is passed on as it is.
#[async_trait]
pub(crate) trait Over: Send + Sync + 'static {
    /// The backend below.
    fn below(&self) -> &dyn Metadata;

    /// See [`Metadata::read`].
    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError> {
        self.below().read(reads, at).await
    }

    /// See [`Metadata::commit`].
    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError> {
        self.below().commit(transaction).await
    }
}

#[async_trait]
impl<T: Over> Metadata for T {
    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError> {
        Over::read(self, reads, at).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError> {
        Over::commit(self, transaction).await
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.below().changes(after, limit).await
    }

    async fn compact(&self, before: u64) -> Result<(), StoreError> {
        self.below().compact(before).await
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.below().revisions()
    }
}
