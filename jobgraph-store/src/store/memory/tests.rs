#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::store::laws::{Bed, KEPT, laws_hold};

/// A value that outlives its users, so that a crash loses nothing.
struct MemoryBed(Arc<MemoryMetadata>);

impl MemoryBed {
    fn new() -> Self {
        Self(Arc::new(MemoryMetadata::keeping(KEPT)))
    }
}

#[async_trait]
impl Bed for MemoryBed {
    async fn open(&mut self) -> Arc<dyn Metadata> {
        self.0.clone()
    }

    async fn crash(&mut self) {}
}

laws_hold!(MemoryBed::new());
