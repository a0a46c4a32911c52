//! The laws over the backends that need no server.

use super::*;
use crate::blobs::fs::FsBlobs;
use crate::blobs::memory::MemoryBlobs;

/// All stores are in one process.
#[derive(Default)]
struct InMemory(MemoryBlobs);

#[async_trait]
impl Bed for InMemory {
    async fn open(&self) -> Arc<dyn Blobs> {
        Arc::new(self.0.clone())
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// A directory of one store.
struct OfOneStore(tempfile::TempDir);

#[async_trait]
impl Bed for OfOneStore {
    async fn open(&self) -> Arc<dyn Blobs> {
        Arc::new(FsBlobs::open(self.0.path()).unwrap())
    }

    fn is_shared(&self) -> bool {
        false
    }
}

/// A directory that stands for a mount that all hosts have.
struct OnAMount(tempfile::TempDir);

#[async_trait]
impl Bed for OnAMount {
    async fn open(&self) -> Arc<dyn Blobs> {
        Arc::new(FsBlobs::open_shared(self.0.path().to_owned()).await.unwrap())
    }

    fn is_shared(&self) -> bool {
        true
    }
}

mod in_memory {
    crate::blobs::laws::laws_hold!(super::InMemory::default());
}

mod in_a_directory {
    crate::blobs::laws::laws_hold!(super::OfOneStore(tempfile::tempdir().unwrap()));
}

mod on_a_mount {
    crate::blobs::laws::laws_hold!(super::OnAMount(tempfile::tempdir().unwrap()));
}
