#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use chassis::clock::{SharedClock, SystemClock};
use proto::{ApplicationRef, Generation};
use tokio::sync::watch;

use super::*;
use crate::blobs::location::BlobsArgs;
use crate::store::memory::MemoryMetadata;
use crate::store::{Change, StoreError};

/// A host with a state directory of its own.
struct Host {
    state: tempfile::TempDir,
    writer: String,
}

impl Host {
    fn new(writer: &str) -> Self {
        Self { state: tempfile::tempdir().unwrap(), writer: writer.to_owned() }
    }

    fn key_file(&self) -> PathBuf {
        Places::new(self.state.path()).deployment_key()
    }

    fn fingerprint(&self) -> Option<String> {
        DeploymentKey::load(&self.key_file()).ok().map(|key| key.fingerprint())
    }

    /// The key of another host, as a person copies it.
    fn copies(&self, other: &Self) {
        // The new file has the mode of the other one, which only its owner may read.
        fs::copy(other.key_file(), self.key_file()).unwrap();
    }

    async fn claims(&self, record: &dyn Metadata, shared: Option<&Path>) -> Claimed {
        let places = Places::new(self.state.path()).sharing(shared.map(Path::to_owned));
        let claimant = Claimant { writer: &self.writer, prefix: "/m", places: &places };
        claim(record, &claimant).await.unwrap()
    }

    /// Has the record, and answers the fingerprint of the key.
    async fn has(&self, record: &dyn Metadata, shared: Option<&Path>) -> String {
        match self.claims(record, shared).await {
            Claimed::Ours(key) => key.fingerprint(),
            Claimed::Refused(why) => panic!("{} was refused: {why}", self.writer),
        }
    }

    /// Is refused for a reason that names all of these.
    async fn is_refused(&self, record: &dyn Metadata, shared: Option<&Path>, named: &[&str]) {
        match self.claims(record, shared).await {
            Claimed::Ours(_) => panic!("{} was taken", self.writer),
            Claimed::Refused(why) => {
                for named in named {
                    assert!(why.contains(named), "{named:?} is not in {why:?}");
                }
            }
        }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

async fn known(record: &MemoryMetadata) -> Known {
    Known::read(record).await.unwrap()
}

#[tokio::test]
async fn the_first_host_makes_the_key_and_the_next_has_to_bring_it() {
    let (record, shared) = (MemoryMetadata::default(), directory());
    let (a, b) = (Host::new("a"), Host::new("b"));
    let key = a.has(&record, Some(shared.path())).await;
    assert_eq!(a.fingerprint(), Some(key.clone()));

    let (of_a, of_b) = (a.key_file(), b.key_file());
    let named = ["there is no", path(&of_b), path(&of_a), "copy the file"];
    b.is_refused(&record, Some(shared.path()), &named).await;
    assert_eq!(b.fingerprint(), None, "a second key was made");

    b.copies(&a);
    assert_eq!(b.has(&record, Some(shared.path())).await, key);
    assert_eq!(a.has(&record, Some(shared.path())).await, key, "and the first one stays");
}

#[tokio::test]
async fn a_key_that_was_lost_is_not_made_anew() {
    let (record, shared) = (MemoryMetadata::default(), directory());
    let a = Host::new("a");
    a.has(&record, Some(shared.path())).await;
    fs::remove_file(a.key_file()).unwrap();
    a.is_refused(&record, Some(shared.path()), &["there is no", path(&a.key_file())]).await;
    assert_eq!(a.fingerprint(), None);
}

#[tokio::test]
async fn the_key_of_another_deployment_is_refused_and_stays() {
    let (record, shared) = (MemoryMetadata::default(), directory());
    let (a, b) = (Host::new("a"), Host::new("b"));
    a.has(&record, Some(shared.path())).await;
    let other = DeploymentKey::create(&b.key_file()).unwrap().unwrap().fingerprint();
    let (of_a, of_b) = (a.key_file(), b.key_file());
    let named = ["another deployment", path(&of_b), path(&of_a)];
    b.is_refused(&record, Some(shared.path()), &named).await;
    assert_eq!(b.fingerprint(), Some(other), "a key that may be in use was removed");
}

/// A record that another host claims between the first look at it and the first commit.
struct Overtaken {
    record: Arc<MemoryMetadata>,
    by: Arc<Host>,
    shared: PathBuf,
}

#[async_trait]
impl Metadata for Overtaken {
    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError> {
        self.record.read(reads, at).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError> {
        self.by.has(&*self.record, Some(&self.shared)).await;
        self.record.commit(transaction).await
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.record.changes(after, limit).await
    }

    async fn compact(&self, before: u64) -> Result<(), StoreError> {
        self.record.compact(before).await
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.record.revisions()
    }
}

/// Both see a record that knows no key, so both make one, and the record takes one.
#[tokio::test]
async fn of_two_hosts_that_begin_at_once_one_makes_the_key() {
    let (record, shared) = (Arc::new(MemoryMetadata::default()), directory());
    let (a, b) = (Host::new("a"), Arc::new(Host::new("b")));
    let (by, seen_by_a) = (b.clone(), shared.path().to_owned());
    let overtaken = Overtaken { record: record.clone(), by, shared: seen_by_a };
    let of_b = b.key_file();
    let named = ["there is no", "copy the file", path(&of_b)];
    a.is_refused(&overtaken, Some(shared.path()), &named).await;
    assert_eq!(a.fingerprint(), None, "a key that nobody knows stayed");
    a.is_refused(&*record, Some(shared.path()), &named).await;

    a.copies(&b);
    let key = b.fingerprint().unwrap();
    assert_eq!(a.has(&*record, Some(shared.path())).await, key);
    assert_eq!(b.has(&*record, Some(shared.path())).await, key);
}

#[tokio::test]
async fn a_store_that_dies_before_the_record_knows_its_key_goes_on_with_it() {
    let (record, shared) = (MemoryMetadata::default(), directory());
    let a = Host::new("a");
    let made = DeploymentKey::create(&a.key_file()).unwrap().unwrap().fingerprint();
    assert_eq!(a.has(&record, Some(shared.path())).await, made);
}

#[tokio::test]
async fn another_directory_is_refused_with_the_one_of_the_record() {
    let (record, shared, other) = (MemoryMetadata::default(), directory(), directory());
    let (a, b) = (Host::new("a"), Host::new("b"));
    a.has(&record, Some(shared.path())).await;
    b.copies(&a);
    let named = [path(shared.path()), path(other.path()), "MAINSPRING_SHARED_DIR"];
    b.is_refused(&record, Some(other.path()), &named).await;
    b.is_refused(&record, None, &[path(shared.path()), "MAINSPRING_SHARED_DIR"]).await;
    b.has(&record, Some(shared.path())).await;
}

/// Each machine has a directory under this path, and they are not the same.
#[tokio::test]
async fn a_directory_that_other_hosts_do_not_see_is_refused() {
    let (record, shared) = (MemoryMetadata::default(), directory());
    let a = Host::new("a");
    a.has(&record, Some(shared.path())).await;
    let marker = shared.path().join(shared_dir::OWNER);
    let said = fs::read_to_string(&marker).unwrap();
    fs::remove_file(&marker).unwrap();
    let named = [path(shared.path()), "a mount is absent", said.trim_end()];
    a.is_refused(&record, Some(shared.path()), &named).await;
    fs::write(&marker, said).unwrap();
    a.has(&record, Some(shared.path())).await;
}

#[tokio::test]
async fn a_directory_of_another_deployment_does_not_bind_a_record() {
    let shared = directory();
    Host::new("a").has(&MemoryMetadata::default(), Some(shared.path())).await;
    let (record, b) = (MemoryMetadata::default(), Host::new("b"));
    let named = ["another deployment", path(shared.path())];
    b.is_refused(&record, Some(shared.path()), &named).await;
    assert!(known(&record).await.deployment.is_none(), "the record is bound to the directory");
    assert_eq!(b.fingerprint(), None, "a key that nobody knows stayed");
    b.has(&record, Some(directory().path())).await;
}

/// The record knows the directory, and the directory does not say yet whose it is.
#[tokio::test]
async fn a_store_that_dies_before_the_directory_says_whose_it_is_goes_on() {
    let (record, shared) = (MemoryMetadata::default(), directory());
    let a = Host::new("a");
    let key = DeploymentKey::create(&a.key_file()).unwrap().unwrap().fingerprint();
    let first = Deployment {
        shared: shared.path().to_owned(),
        key: key.clone(),
        host: "a".to_owned(),
        key_file: a.key_file(),
        settled: false,
    };
    assert!(known(&record).await.make_shared(&record, &first).await.unwrap());
    assert_eq!(a.has(&record, Some(shared.path())).await, key);
    assert!(known(&record).await.deployment.unwrap().0.settled);
    assert_eq!(shared_dir::owner(shared.path()).unwrap(), Some(key));
}

#[tokio::test]
async fn a_record_of_one_state_directory_is_no_other_ones() {
    let (record, shared) = (MemoryMetadata::default(), directory());
    let (a, b) = (Host::new("a"), Host::new("b"));
    a.has(&record, None).await;
    a.has(&record, None).await;
    for shared in [None, Some(shared.path())] {
        let named = ["belongs to the host", path(a.state.path()), "MAINSPRING_ETCD_PREFIX"];
        b.is_refused(&record, shared, &named).await;
    }
}

/// Has the payloads of a record in a place that several hosts reach.
async fn place_payloads(record: &MemoryMetadata, host: &Host, place: &Path) {
    let location = Some(format!("file://{}", place.display()).parse().unwrap());
    let settings = BlobsArgs { location, ..BlobsArgs::default() };
    let clock: SharedClock = Arc::new(SystemClock);
    blobs::shared::open(&settings, host.state.path(), record, &clock).await.unwrap();
}

#[tokio::test]
async fn a_record_becomes_shared_once_nothing_of_it_is_on_one_host_alone() {
    let (record, shared, payloads) = (MemoryMetadata::default(), directory(), directory());
    let a = Host::new("a");
    let key = a.has(&record, None).await;
    let application = ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(4) };
    let mark = unclean::key(&application);
    let marks = |operation| Transaction { compares: Vec::new(), operations: vec![operation] };
    record.commit(marks(Operation::Put(mark.clone(), "x".into()))).await.unwrap();
    a.is_refused(&record, Some(shared.path()), &["orders is not clean", "down --cancel"]).await;
    record.commit(marks(Operation::Delete(mark))).await.unwrap();
    a.is_refused(&record, Some(shared.path()), &["payloads", "MAINSPRING_BLOBS"]).await;
    assert!(known(&record).await.owner.is_some(), "a refusal has changed the record");

    place_payloads(&record, &a, payloads.path()).await;
    assert_eq!(a.has(&record, Some(shared.path())).await, key, "the key stays");
    let known = known(&record).await;
    assert!(known.owner.is_none() && known.deployment.is_some_and(|(now, _)| now.settled));
    a.is_refused(&record, None, &["MAINSPRING_SHARED_DIR"]).await;
}

/// A fingerprint is all that the record tells of the key, and every reader of the record sees it.
#[tokio::test]
async fn the_record_does_not_tell_the_key() {
    let (record, shared) = (MemoryMetadata::default(), directory());
    let a = Host::new("a");
    a.has(&record, Some(shared.path())).await;
    let key = fs::read_to_string(a.key_file()).unwrap();
    let all = record.read(vec![Read::all(Key::from(String::new()))], None).await.unwrap();
    assert!(!format!("{all:?}").contains(key.trim()));
    let marker = fs::read_to_string(shared.path().join(shared_dir::OWNER)).unwrap();
    assert!(!marker.contains(key.trim()) && !key.contains(marker.trim()));
}

#[tokio::test]
async fn a_look_says_whose_the_record_is_and_claims_nothing() {
    let record = MemoryMetadata::default();
    let (a, b) = (Host::new("a"), Host::new("b"));
    let look = async |host: &Host| {
        let places = Places::new(host.state.path());
        let claimant = Claimant { writer: &host.writer, prefix: "/m", places: &places };
        let known = is_known(&record, &claimant).await.unwrap();
        (whose(record.read(reads(), None).await.unwrap(), &claimant).unwrap(), known)
    };
    assert_eq!(look(&b).await, (Ok("nobody's yet".to_owned()), false));
    assert_eq!(b.fingerprint(), None, "a look has made a key");
    a.has(&record, None).await;
    assert_eq!(look(&a).await, (Ok("of this state directory".to_owned()), true));
    let (refused, known) = look(&b).await;
    assert!(!known && refused.unwrap_err().contains("belongs to the host"));
}
