//! Each law catches the fault that it is there for, and without a fault all laws hold.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard};

use futures::{FutureExt as _, StreamExt as _};

use super::*;
use crate::blobs::{BlobEntries, BlobStream, BlobWriter};

/// What a backend may do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// A blob is read from its beginning whatever was asked for.
    ForgetsTheOffset,
    /// A blob has its name before it is whole.
    NamesEarly,
    /// A writer that is dropped leaves what it has.
    KeepsWhatWasDropped,
    /// A blob that is there already stays as it is.
    KeepsTheFirst,
    /// A blob is not removed.
    KeepsWhatWasRemoved,
    /// A blob that is not there cannot be removed.
    RemovesOnlyOnce,
    /// A blob of another number is removed as well.
    RemovesByDigest,
    /// A listing leaves a blob out.
    ListsAllButOne,
    /// A listing says a blob twice, as pages that overlap do.
    ListsOneTwice,
    /// A store that opens the backend removes what others have not finished.
    ClearsWhenOpened,
    /// Writers of one blob write into the same place.
    SharesADesk,
}

#[derive(Default)]
struct State {
    blobs: BTreeMap<BlobName, Vec<u8>>,
    /// What writers have not finished, by their number.
    unfinished: BTreeMap<u64, Vec<u8>>,
    writers: u64,
}

/// A backend with a fault.
#[derive(Clone)]
struct Faulty {
    state: Arc<Mutex<State>>,
    fault: Fault,
}

struct FaultyWriter {
    backend: Faulty,
    blob: BlobName,
    number: u64,
    over: bool,
}

impl Faulty {
    fn with(fault: Fault) -> Self {
        Self { state: Arc::default(), fault }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

#[async_trait]
impl Bed for Faulty {
    async fn open(&self) -> Arc<dyn Blobs> {
        if self.fault == Fault::ClearsWhenOpened {
            self.state().unfinished.clear();
        }
        Arc::new(self.clone())
    }

    fn is_shared(&self) -> bool {
        true
    }
}

#[async_trait]
impl Blobs for Faulty {
    async fn writer(&self, name: BlobName) -> Result<Box<dyn BlobWriter>, BlobError> {
        let mut state = self.state();
        state.writers += 1;
        let number = match self.fault {
            Fault::SharesADesk => u64::from(name.digest.as_bytes()[0]),
            _ => state.writers,
        };
        state.unfinished.insert(number, Vec::new());
        Ok(Box::new(FaultyWriter { backend: self.clone(), blob: name, number, over: false }))
    }

    async fn stat(&self, name: BlobName) -> Result<Option<u64>, BlobError> {
        Ok(self.state().blobs.get(&name).map(|bytes| bytes.len() as u64))
    }

    async fn read(&self, name: BlobName, offset: u64) -> Result<BlobStream, BlobError> {
        let bytes =
            self.state().blobs.get(&name).cloned().ok_or(BlobError::Missing(name.digest))?;
        let from = match self.fault {
            Fault::ForgetsTheOffset => 0,
            _ => usize::try_from(offset).unwrap().min(bytes.len()),
        };
        Ok(futures::stream::iter([Ok(Bytes::from(bytes).slice(from..))]).boxed())
    }

    fn place(&self, name: BlobName) -> String {
        name.to_string()
    }

    async fn remove(&self, name: BlobName) -> Result<(), BlobError> {
        if self.fault == Fault::KeepsWhatWasRemoved {
            return Ok(());
        }
        if self.fault == Fault::RemovesByDigest {
            self.state().blobs.retain(|known, _| known.digest != name.digest);
        }
        match self.state().blobs.remove(&name) {
            None if self.fault == Fault::RemovesOnlyOnce => Err(BlobError::Missing(name.digest)),
            _ => Ok(()),
        }
    }

    fn entries(&self) -> BlobEntries {
        let mut found: Vec<BlobName> = self.state().blobs.keys().copied().collect();
        match self.fault {
            Fault::ListsAllButOne => drop(found.pop()),
            Fault::ListsOneTwice => found.extend(found.first().copied()),
            _ => {}
        }
        let found = found.into_iter().map(|name| Ok(BlobInfo { name, modified: None }));
        futures::stream::iter(found).boxed()
    }
}

impl FaultyWriter {
    fn name(&mut self) {
        self.over = true;
        let mut state = self.backend.state();
        let Some(bytes) = state.unfinished.get(&self.number).cloned() else { return };
        if self.backend.fault == Fault::KeepsTheFirst && state.blobs.contains_key(&self.blob) {
            return;
        }
        state.blobs.insert(self.blob, bytes);
    }
}

#[async_trait]
impl BlobWriter for FaultyWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        if let Some(unfinished) = self.backend.state().unfinished.get_mut(&self.number) {
            unfinished.extend_from_slice(&bytes);
        }
        if self.backend.fault == Fault::NamesEarly {
            self.name();
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), BlobError> {
        self.name();
        Ok(())
    }

    async fn abort(mut self: Box<Self>) {
        self.over = true;
    }
}

impl Drop for FaultyWriter {
    fn drop(&mut self) {
        if !self.over && self.backend.fault == Fault::KeepsWhatWasDropped {
            self.name();
        }
    }
}

/// Whether a law found something.
async fn is_caught(law: impl Future<Output = ()>) -> bool {
    AssertUnwindSafe(law).catch_unwind().await.is_err()
}

macro_rules! catches {
    ($($law:ident: $($fault:ident)*;)*) => {
        $(#[tokio::test]
        async fn $law() {
            super::$law(&Faulty::with(Fault::None)).await;
            $(let caught = is_caught(super::$law(&Faulty::with(Fault::$fault))).await;
            assert!(caught, "{:?} is not caught", Fault::$fault);)*
        })*
    };
}

catches! {
    what_was_put_is_read_from_anywhere_on: ForgetsTheOffset;
    a_blob_is_there_whole_or_not_at_all: NamesEarly;
    a_writer_that_is_given_up_leaves_nothing: KeepsWhatWasDropped NamesEarly;
    a_blob_that_is_put_again_is_replaced: KeepsTheFirst;
    a_blob_that_is_removed_is_gone_and_may_be_removed_again: KeepsWhatWasRemoved RemovesOnlyOnce;
    blobs_whose_names_differ_in_their_number_are_different: RemovesByDigest;
    a_listing_has_every_blob_once_with_its_time: ListsAllButOne ListsOneTwice;
    what_one_writes_is_not_disturbed_by_another_that_opens: ClearsWhenOpened;
    writers_of_one_blob_do_not_mix: SharesADesk;
}
