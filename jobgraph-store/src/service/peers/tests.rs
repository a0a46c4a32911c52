#![allow(clippy::unwrap_used)]
use ::record::{Holder, Record as _};
use chassis::clock::ManualClock;
use proto::{ApplicationRef, Epoch, EpochFence, PlaceUid, api};

use super::*;
use crate::blobs::memory::MemoryBlobs;
use crate::service::live::STALE_AFTER;
use crate::service::sample::submitted;
use crate::store::memory::MemoryMetadata;

/// The store at an endpoint, in this process; `None` while it is away.
struct Beside(Mutex<Option<Service>>);

#[async_trait]
impl AskPeer for Beside {
    async fn ask(&self, endpoint: &str) -> Option<Vec<jobgraph::ReadLiveResponse>> {
        assert_eq!(endpoint, "tcp://a:7070");
        let (leaders, queue) = self.0.lock().unwrap().as_ref()?.read_live();
        Some(vec![jobgraph::ReadLiveResponse { leaders, queue }])
    }
}

fn place(name: &str, first: u8) -> Place {
    Place::host(name, PlaceUid::from_bytes([first; 8])).unwrap()
}

/// Two stores of one record, on a clock that the test moves; both can be reached.
async fn two() -> (Arc<ManualClock>, Service, Service) {
    let clock = Arc::new(ManualClock::new());
    let (metadata, blobs) = (Arc::new(MemoryMetadata::default()), Arc::new(MemoryBlobs::default()));
    let on = |place| Service::new(metadata.clone(), blobs.clone(), clock.clone()).at(place);
    let (first, second) = (on(place("a", 1)), on(place("b", 2)));
    first.introduce("tcp://a:7070").await.unwrap();
    second.introduce("tcp://b:7070").await.unwrap();
    (clock, first, second)
}

/// Asks every peer that is due.
async fn ask_once(service: &Service, way: &dyn AskPeer) {
    let now = service.clock.boot();
    if service.peers.is_due(now) {
        service.look_for_peers(&mut true, "tcp://b:7070").await.unwrap();
    }
    for endpoint in service.peers.to_ask(now) {
        service.ask_peer(way, endpoint).await;
    }
}

async fn led(service: &Service, application: &ApplicationRef, epoch: u64) -> EpochFence {
    let fence = EpochFence { application: application.clone(), epoch: Epoch(epoch) };
    service.begin_attempt(&fence, &Holder::new("runner-0", 7), "").await.unwrap();
    fence
}

fn beat(activity: &str) -> jobgraph::BeatRequest {
    jobgraph::BeatRequest {
        source: "a/runner-0".into(),
        activity: activity.into(),
        standbys: vec!["b/runner-0".into()],
        ..Default::default()
    }
}

async fn seen(service: &Service, application: &ApplicationRef) -> api::Application {
    let loaded = service.load(application, None).await.unwrap();
    service.show(&loaded)
}

#[tokio::test]
async fn what_another_store_has_heard_is_shown_here_until_that_store_is_silent() {
    let (clock, first, second) = two().await;
    let application = submitted(&first, "live").await;
    let fence = led(&first, &application, 1).await;
    clock.advance(STALE_AFTER * 2);
    first.heard(&fence, &beat("fetching")).await.unwrap();
    assert!(seen(&second, &application).await.observation.unwrap().stale, "nothing was asked yet");

    let way = Beside(Mutex::new(Some(first)));
    ask_once(&second, &way).await;
    let shown = seen(&second, &application).await;
    let observation = shown.observation.unwrap();
    assert!(!observation.stale, "{observation:?}");
    assert_eq!((shown.message.as_str(), observation.source.as_str()), ("fetching", "a/runner-0"));
    assert_eq!(shown.leadership.unwrap().standbys, ["b/runner-0"]);
    assert!(second.read_live().0.is_empty(), "what was heard elsewhere is not told on");

    way.0.lock().unwrap().take();
    clock.advance(STALE_AFTER + Duration::from_millis(1));
    ask_once(&second, &way).await;
    assert!(seen(&second, &application).await.observation.unwrap().stale);
}

#[tokio::test]
async fn a_leader_that_is_heard_here_hides_what_another_store_knows_of_an_earlier_one() {
    let (clock, first, second) = two().await;
    let application = submitted(&first, "live").await;
    let earlier = led(&first, &application, 1).await;
    first.heard(&earlier, &beat("the earlier leader")).await.unwrap();
    let later = led(&second, &application, 2).await;
    second.heard(&later, &beat("the later leader")).await.unwrap();
    clock.advance(Duration::from_millis(1));
    ask_once(&second, &Beside(Mutex::new(Some(first)))).await;
    assert_eq!(seen(&second, &application).await.message, "the later leader");
}

#[tokio::test]
async fn a_store_that_leaves_is_not_asked_any_more_and_a_silent_one_rests() {
    let (clock, first, second) = two().await;
    let application = submitted(&first, "live").await;
    let fence = led(&first, &application, 1).await;
    let way = Beside(Mutex::new(None));
    ask_once(&second, &way).await;
    *way.0.lock().unwrap() = Some(first.clone());
    first.heard(&fence, &beat("fetching")).await.unwrap();
    ask_once(&second, &way).await;
    assert_ne!(seen(&second, &application).await.message, "fetching", "it rests");
    clock.advance(REST);
    ask_once(&second, &way).await;
    assert_eq!(seen(&second, &application).await.message, "fetching");

    first.withdraw().await.unwrap();
    clock.advance(LOOK_EVERY);
    first.heard(&fence, &beat("running")).await.unwrap();
    ask_once(&second, &way).await;
    assert_eq!(seen(&second, &application).await.message, "fetching", "it was not asked");
}

/// A way on which one store answers, and a machine that is gone does not.
struct BesideOneThatIsGone(Service);

#[async_trait]
impl AskPeer for BesideOneThatIsGone {
    async fn ask(&self, endpoint: &str) -> Option<Vec<jobgraph::ReadLiveResponse>> {
        if endpoint == "tcp://gone:7070" {
            return std::future::pending().await;
        }
        let (leaders, queue) = self.0.read_live();
        Some(vec![jobgraph::ReadLiveResponse { leaders, queue }])
    }
}

/// Red where a round of questions ends with its slowest answer: 1.5 s pass between two rounds.
#[tokio::test]
async fn a_peer_that_is_gone_makes_no_other_one_wait() {
    let (clock, first, second) = two().await;
    let application = submitted(&first, "live").await;
    let fence = led(&first, &application, 1).await;
    first.clone().at(place("gone", 3)).introduce("tcp://gone:7070").await.unwrap();
    let way = BesideOneThatIsGone(first.clone());
    let mut following = Box::pin(second.follow_peers(&way, "tcp://b:7070"));
    for step in 0..200 {
        first.heard(&fence, &beat("fetching")).await.unwrap();
        clock.advance(Duration::from_millis(50));
        for _ in 0..10 {
            assert!(futures::poll!(&mut following).is_pending());
            tokio::task::yield_now().await;
        }
        let age = seen(&second, &application).await.observation.unwrap().age_millis;
        assert!(step < 20 || age <= 600, "after {step} steps what is shown is {age} ms old");
    }
}

#[tokio::test]
async fn a_store_that_was_given_up_or_found_no_room_says_again_where_it_is() {
    let (clock, first, second) = two().await;
    let known = async || {
        let view = first.metadata.read(vec![Read::all(peer::prefix())], None).await.unwrap();
        view.answers[0].len()
    };
    assert_eq!(known().await, 2);
    second.give_up_place(place("b", 2).uid(), "me@here", "its disk burnt").await.unwrap();
    assert_eq!(known().await, 1, "a store that was given up is asked by none");
    clock.advance(LOOK_EVERY);
    ask_once(&second, &Beside(Mutex::new(None))).await;
    assert_eq!(known().await, 2, "it was up all the same");
}
