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
    second.ask_peers(&way).await;
    let shown = seen(&second, &application).await;
    let observation = shown.observation.unwrap();
    assert!(!observation.stale, "{observation:?}");
    assert_eq!((shown.message.as_str(), observation.source.as_str()), ("fetching", "a/runner-0"));
    assert_eq!(shown.leadership.unwrap().standbys, ["b/runner-0"]);
    assert!(second.read_live().0.is_empty(), "what was heard elsewhere is not told on");

    way.0.lock().unwrap().take();
    clock.advance(STALE_AFTER + Duration::from_millis(1));
    second.ask_peers(&way).await;
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
    second.ask_peers(&Beside(Mutex::new(Some(first)))).await;
    assert_eq!(seen(&second, &application).await.message, "the later leader");
}

#[tokio::test]
async fn a_store_that_leaves_is_not_asked_any_more_and_a_silent_one_rests() {
    let (clock, first, second) = two().await;
    let application = submitted(&first, "live").await;
    let fence = led(&first, &application, 1).await;
    let way = Beside(Mutex::new(None));
    second.ask_peers(&way).await;
    *way.0.lock().unwrap() = Some(first.clone());
    first.heard(&fence, &beat("fetching")).await.unwrap();
    second.ask_peers(&way).await;
    assert_ne!(seen(&second, &application).await.message, "fetching", "it rests");
    clock.advance(REST);
    second.ask_peers(&way).await;
    assert_eq!(seen(&second, &application).await.message, "fetching");

    first.withdraw().await.unwrap();
    clock.advance(LOOK_EVERY);
    first.heard(&fence, &beat("running")).await.unwrap();
    second.ask_peers(&way).await;
    assert_eq!(seen(&second, &application).await.message, "fetching", "it was not asked");
}
