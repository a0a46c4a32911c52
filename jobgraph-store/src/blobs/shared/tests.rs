#![allow(clippy::unwrap_used)]

use chassis::clock::SystemClock;

use super::*;
use crate::blobs::laws::put;
use crate::store::memory::MemoryMetadata;

/// A store of a record: its own directory, and a mount that others have as well.
struct Store {
    state: tempfile::TempDir,
    record: Arc<MemoryMetadata>,
}

impl Store {
    fn of(record: &Arc<MemoryMetadata>) -> Self {
        Self { state: tempfile::tempdir().unwrap(), record: record.clone() }
    }

    fn new() -> Self {
        Self::of(&Arc::default())
    }

    async fn open(&self, place: Option<&Path>) -> anyhow::Result<Arc<dyn Blobs>> {
        let location = place.map(|place| format!("file://{}", place.display()).parse().unwrap());
        let settings = BlobsArgs { location, ..BlobsArgs::default() };
        let clock: SharedClock = Arc::new(SystemClock);
        open(&settings, self.state.path(), &*self.record, &clock).await
    }

    async fn refused(&self, place: Option<&Path>) -> String {
        match self.open(place).await {
            Ok(_) => panic!("{place:?} was taken"),
            Err(refused) => format!("{refused:#}"),
        }
    }
}

fn place() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn stores_of_one_record_share_its_place_and_leave_nothing_of_their_looking() {
    let (one, mount) = (Store::new(), place());
    let blobs = one.open(Some(mount.path())).await.unwrap();
    assert!(blobs.list().await.unwrap().is_empty());
    let name = put(&*blobs, &Bytes::from_static(b"bytes")).await;
    let other = Store::of(&one.record).open(Some(mount.path())).await.unwrap();
    assert_eq!(other.stat(name).await.unwrap(), Some(5));
    one.open(Some(mount.path())).await.unwrap();
    assert_eq!(other.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_store_that_is_started_with_another_place_is_told_the_right_one() {
    let (one, mount, other) = (Store::new(), place(), place());
    one.open(Some(mount.path())).await.unwrap();
    for wrong in [Some(other.path()), None] {
        let refused = one.refused(wrong).await;
        assert!(refused.contains(&*mount.path().to_string_lossy()), "{refused}");
        assert!(refused.contains("MAINSPRING_BLOBS"), "{refused}");
    }
    one.open(Some(mount.path())).await.unwrap();
}

#[tokio::test]
async fn a_place_of_another_record_is_refused_before_its_payloads_can_be_swept() {
    let (one, mount) = (Store::new(), place());
    one.open(Some(mount.path())).await.unwrap();
    let refused = Store::new().refused(Some(mount.path())).await;
    assert!(refused.contains("belong to another record"), "{refused}");

    // A record that had a place of its own does not take the other's either.
    let (two, own) = (Store::new(), place());
    two.open(Some(own.path())).await.unwrap();
    std::fs::copy(mount.path().join("payloads.owner"), own.path().join("payloads.owner")).unwrap();
    let refused = two.refused(Some(own.path())).await;
    assert!(refused.contains("belong to another record"), "{refused}");
}

#[tokio::test]
async fn a_place_that_was_emptied_is_not_taken_for_a_new_one() {
    let (one, mount) = (Store::new(), place());
    one.open(Some(mount.path())).await.unwrap();
    std::fs::remove_file(mount.path().join("payloads.owner")).unwrap();
    let refused = one.refused(Some(mount.path())).await;
    assert!(refused.contains("a mount is absent"), "{refused}");
}

/// A store that died after it had told its record of the place, and before it had told the place.
#[tokio::test]
async fn a_store_that_died_while_it_took_the_place_goes_on() {
    let (one, mount) = (Store::new(), place());
    let location = format!("file://{}", mount.path().display());
    let known = Known { location, owner: "drawn".to_owned(), settled: false };
    write(&*one.record, &known, None).await.unwrap();
    one.open(Some(mount.path())).await.unwrap();
    let (known, _) = read(&*one.record).await.unwrap().unwrap();
    assert_eq!((known.owner.as_str(), known.settled), ("drawn", true));
}

/// Two records began to take one place at the same time, or the place could not be used.
#[tokio::test]
async fn a_record_that_did_not_get_its_place_may_take_another() {
    let (one, taken, free) = (Store::new(), place(), place());
    Store::new().open(Some(taken.path())).await.unwrap();
    let location = format!("file://{}", taken.path().display());
    let known = Known { location, owner: "drawn".to_owned(), settled: false };
    write(&*one.record, &known, None).await.unwrap();
    let refused = one.refused(Some(taken.path())).await;
    assert!(refused.contains("belong to another record"), "{refused}");
    one.open(None).await.unwrap();
    one.open(Some(free.path())).await.unwrap();
    let refused = one.refused(Some(taken.path())).await;
    assert!(refused.contains(&*free.path().to_string_lossy()), "{refused}");
}

#[tokio::test]
async fn payloads_in_the_state_directory_are_not_left_behind() {
    let (one, mount) = (Store::new(), place());
    let local = one.open(None).await.unwrap();
    put(&*local, &Bytes::from_static(b"bytes")).await;
    let refused = one.refused(Some(mount.path())).await;
    assert!(refused.contains("leave MAINSPRING_BLOBS out"), "{refused}");
    let (from, to) = (one.state.path().join(examine::PAYLOADS), one.state.path().join("moved"));
    std::fs::rename(from, to).unwrap();
    one.open(Some(mount.path())).await.unwrap();
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_refused() {
    let (one, mount) = (Store::new(), place());
    let absent = mount.path().join("absent");
    let refused = one.refused(Some(&absent)).await;
    assert!(refused.contains("there is no directory") && refused.contains("absent"), "{refused}");
}

#[tokio::test]
async fn a_look_names_what_an_opening_would_refuse_and_makes_nothing() {
    let (store, other, place) = (Store::new(), Store::new(), place());
    let clock: SharedClock = Arc::new(SystemClock);
    let look = async |store: &Store, at: Option<&Path>| {
        let location = at.map(|at| format!("file://{}", at.display()).parse().unwrap());
        let settings = BlobsArgs { location, ..BlobsArgs::default() };
        let record = store.record.read(reads(), None).await.unwrap();
        look(&settings, Some(record), &clock).await
    };
    let named = format!("file://{}", place.path().display());
    assert_eq!(look(&store, None).await, None);
    assert_eq!(look(&store, Some(place.path())).await, Some((named.clone(), None)));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "a look has made something");

    store.open(Some(place.path())).await.unwrap();
    other.open(Some(tempfile::tempdir().unwrap().path())).await.unwrap();
    assert_eq!(look(&store, Some(place.path())).await, Some((named, None)));
    let absent = place.path().join("absent");
    for (store, at, says) in [
        (&store, None, "no place is named"),
        (&store, Some(&*absent), "there is no directory"),
        (&other, Some(place.path()), "the payloads of this record are at"),
    ] {
        let (_, problem) = look(store, at).await.unwrap();
        assert!(problem.as_ref().is_some_and(|why| why.contains(says)), "{problem:?}");
    }
    std::fs::remove_file(place.path().join("payloads.owner")).unwrap();
    let (_, problem) = look(&store, Some(place.path())).await.unwrap();
    assert!(problem.is_some_and(|why| why.contains("the place was emptied")));
}
