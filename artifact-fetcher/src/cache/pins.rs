//! What is in use inside this process right now. An artifact is pinned between being found and
//! being held, so that it is not evicted in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::Digest;

/// How many pins each artifact has.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<HashMap<Digest, usize>>);

/// Keeps one artifact from being evicted while it lives.
#[derive(Debug)]
pub struct Pin {
    pins: Arc<Pins>,
    digest: Digest,
}

impl Pins {
    pub(super) fn pin(self: &Arc<Self>, digest: Digest) -> Pin {
        *self.lock().entry(digest).or_default() += 1;
        Pin { pins: self.clone(), digest }
    }

    pub(super) fn is_pinned(&self, digest: Digest) -> bool {
        self.lock().contains_key(&digest)
    }

    /// Acts unless the artifact is pinned. The artifact cannot be pinned meanwhile, so the next
    /// caller that pins it sees what was done.
    pub(super) fn unless_pinned<T>(&self, digest: Digest, act: impl FnOnce() -> T) -> Option<T> {
        let pins = self.lock();
        (!pins.contains_key(&digest)).then(act)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.pins.lock();
        if let Some(count) = pins.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.digest);
            }
        }
    }
}
