//! The laws over an in-memory etcd, and the faults that a real one shows only by chance.

use chassis::clock::SharedClock;
use chassis::transport::{Endpoint, SharedTransport};
use sim::Network;

use super::*;
use crate::store::laws::{Bed, laws_hold};

/// An in-memory etcd, which is started with the first store.
#[derive(Default)]
struct InMemoryBed(Option<Server>);

struct Server {
    etcd: sim::etcd::Etcd,
    transport: SharedTransport,
    endpoint: Endpoint,
    _member: sim::etcd::Member,
}

impl Server {
    async fn start() -> Self {
        let etcd = sim::etcd::Etcd::new(Arc::new(SystemClock));
        let transport: SharedTransport = Arc::new(Network::default());
        let endpoint = Endpoint::Unix("/etcd".into());
        let member = etcd.serve(&transport, &endpoint).await.unwrap();
        Self { etcd, transport, endpoint, _member: member }
    }

    async fn store(&self, writer: &str) -> EtcdMetadata {
        let clock: SharedClock = Arc::new(SystemClock);
        let members = [::etcd::Member::at(self.endpoint.clone())];
        let etcd = Etcd::new(&members, &self.transport, &clock).await.unwrap();
        EtcdMetadata::open(etcd, "/test", writer).await.unwrap()
    }
}

#[async_trait]
impl Bed for InMemoryBed {
    async fn open(&mut self) -> Arc<dyn Metadata> {
        if self.0.is_none() {
            self.0 = Some(Server::start().await);
        }
        Arc::new(self.0.as_ref().unwrap().store("a").await)
    }

    /// A quorum has each answered write on disk, so a crash is no more than a time without a
    /// leader.
    async fn crash(&mut self) {
        if let Some(server) = &self.0 {
            server.etcd.lose_leader();
            tokio::task::yield_now().await;
            server.etcd.elect_leader();
        }
    }

    fn keeps_a_number(&self) -> bool {
        false
    }
}

laws_hold!(InMemoryBed::default());

#[tokio::test]
async fn a_commit_happens_once_however_many_of_its_answers_are_lost() {
    let server = Server::start().await;
    let store = server.store("a").await;
    let mut last = None;
    for lost in 0..6 {
        server.etcd.lose_answers(0..lost);
        let compares = vec![Compare { key: Key::from("count".to_owned()), revision: last }];
        let operations = vec![put("count", &lost.to_string())];
        let committed = store.commit(Transaction { compares, operations }).await.unwrap();
        let Commit::Committed(revision) = committed else { panic!("{lost} lost: {committed:?}") };
        server.etcd.lose_answers(0..0);
        last = Some(revision);
    }
    let view = store.read(vec![Read::Key(Key::from("count".to_owned()))], None).await.unwrap();
    let (_, stored) = &view.answers[0][0];
    assert_eq!((&stored.value[..], Some(stored.revision)), (&b"5"[..], last));
    let mut revisions = store.revisions();
    let shown = revisions.wait_for(|shown| Some(*shown) >= last);
    timeout(&SystemClock, Duration::from_secs(20), shown).await.unwrap().unwrap();
    assert_eq!(store.changes(0, usize::MAX).await.unwrap().len(), 6);
}

#[tokio::test]
async fn the_commit_that_uses_up_the_room_is_answered_as_done_and_the_next_one_as_full() {
    let server = Server::start().await;
    let store = server.store("a").await;
    server.etcd.use_up_space();
    let commit = |name: &str| {
        let transaction = Transaction { compares: Vec::new(), operations: vec![put(name, "x")] };
        store.commit(transaction)
    };
    assert!(matches!(commit("first").await, Ok(Commit::Committed(_))));
    assert!(matches!(commit("second").await, Err(StoreError::Full(_))));
    let view = store.read(vec![Read::all(Key::from(String::new()))], None).await.unwrap();
    let kept: Vec<String> = view.answers[0].iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(kept, ["first"]);
}
