//! A host against an elector that says what the test says, while time stands still.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use chassis::clock::{Clock as _, ManualClock};
use futures::FutureExt as _;
use proto::election::hosts_service_server::{HostsService, HostsServiceServer};
use proto::election::{AttendRequest, AttendResponse, ListHostsResponse};
use proto::{PlaceUid, Problem};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::elector_stand_in::{StandIn, soon};

const LEASE: Duration = Duration::from_secs(9);

/// The elector's end of one stream.
struct Conversation {
    asked: Streaming<AttendRequest>,
    say: mpsc::Sender<Result<AttendResponse, Status>>,
}

struct Puppet(mpsc::Sender<Conversation>);

#[tonic::async_trait]
impl HostsService for Puppet {
    type AttendStream = ReceiverStream<Result<AttendResponse, Status>>;

    async fn attend(
        &self,
        request: Request<Streaming<AttendRequest>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        let (say, said) = mpsc::channel(8);
        let _ = self.0.send(Conversation { asked: request.into_inner(), say }).await;
        Ok(Response::new(ReceiverStream::new(said)))
    }

    async fn list_hosts(
        &self,
        _: Request<ListHostsRequest>,
    ) -> Result<Response<ListHostsResponse>, Status> {
        Ok(Response::new(ListHostsResponse { hosts: vec![wired("a"), wired("b")] }))
    }
}

struct Stage {
    clock: Arc<ManualClock>,
    hosts: Hosts,
    conversations: mpsc::Receiver<Conversation>,
    _elector: StandIn,
}

fn place(name: &str) -> Place {
    Place::host(name, PlaceUid::from_bytes([7; 8])).unwrap()
}

fn wired(name: &str) -> wire::Host {
    wire::Host { place: Some(place(name).into()), version: "0.1.0".into(), since: None }
}

fn names(hosts: &[Host]) -> Vec<&str> {
    hosts.iter().map(|host| host.place.name()).collect()
}

impl Stage {
    async fn new() -> Self {
        let (sender, conversations) = mpsc::channel(8);
        let routes = Routes::new(HostsServiceServer::new(Puppet(sender)));
        let elector = StandIn::serving(routes).await;
        let clock = elector.clock.clone();
        let hosts = Hosts::new(elector.channel.clone(), clock.clone());
        Self { clock, hosts, conversations, _elector: elector }
    }

    fn attend(&self) -> Attendance {
        self.hosts.attend(place("a"), "0.1.0")
    }

    /// The host's next stream, on which it has introduced itself.
    async fn entered(&mut self) -> Conversation {
        let mut conversation = soon(self.conversations.recv()).await.unwrap();
        let first = conversation.asked().await.unwrap();
        assert_eq!(first.host, Some(wired("a")), "it says which host it is");
        conversation
    }

    /// The host's next stream, once the pause between two tries has passed.
    async fn entered_again(&mut self) -> Conversation {
        // What the host waits for otherwise is further away than a pause.
        let pauses = || {
            let now = self.clock.boot();
            self.clock.next_wakeup().is_some_and(|at| now < at && at <= now + RETRY_MIN * 4)
        };
        soon(async {
            while !pauses() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        self.clock.advance(RETRY_MAX);
        self.entered().await
    }

    /// Fails if the host opens another stream.
    async fn stays_away(&mut self) {
        self.clock.advance(LEASE * 3);
        for _ in 0..1000 {
            tokio::task::yield_now().await;
            assert!(self.conversations.try_recv().is_err(), "it attends again");
        }
    }

    /// A host that has a seat, alone.
    async fn seated(&mut self) -> (Attendance, Conversation) {
        let attendance = self.attend();
        let elector = self.entered().await;
        elector.tell(&["a"]).await;
        soon(attendance.hosts().wait_for(|hosts| names(hosts) == ["a"])).await.unwrap();
        (attendance, elector)
    }
}

impl Conversation {
    async fn asked(&mut self) -> Option<AttendRequest> {
        soon(self.asked.message()).await.ok().flatten()
    }

    async fn renewal(&mut self) {
        assert_eq!(self.asked().await, Some(AttendRequest::default()), "a renewal");
    }

    async fn tell(&self, hosts: &[&str]) {
        let hosts = hosts.iter().copied().map(wired).collect();
        let lease = prost_types::Duration::try_from(LEASE).ok();
        self.say.send(Ok(AttendResponse { hosts, lease })).await.unwrap();
    }

    async fn refuse(self, reason: Reason) {
        self.say.send(Err(Problem::new(reason, "no").into_status())).await.unwrap();
    }
}

#[tokio::test]
async fn a_seat_is_renewed_every_third_of_the_lease_and_tells_of_the_others() {
    let mut stage = Stage::new().await;
    let attendance = stage.attend();
    assert!(attendance.hosts().borrow().is_empty(), "nothing was told yet");
    let mut elector = stage.entered().await;
    elector.tell(&["a"]).await;
    let mut hosts = attendance.hosts();
    soon(hosts.wait_for(|hosts| names(hosts) == ["a"])).await.unwrap();
    for told in [&["a", "b"][..], &["a"][..]] {
        stage.clock.advance(LEASE / 3 - Duration::from_nanos(1));
        for _ in 0..1000 {
            tokio::task::yield_now().await;
            assert!(elector.asked.message().now_or_never().is_none(), "it renewed too early");
        }
        stage.clock.advance(Duration::from_nanos(1));
        elector.renewal().await;
        elector.tell(told).await;
        soon(hosts.wait_for(|hosts| names(hosts) == told)).await.unwrap();
    }
    // A change is told without a renewal.
    elector.tell(&["a", "c"]).await;
    soon(hosts.wait_for(|hosts| names(hosts) == ["a", "c"])).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_breaks_is_opened_again_after_a_pause_and_no_host_is_forgotten_meanwhile() {
    let mut stage = Stage::new().await;
    let (attendance, elector) = stage.seated().await;
    drop(elector);
    let mut elector = stage.entered_again().await;
    assert_eq!(names(&attendance.hosts().borrow()), ["a"], "as it was told last");
    elector.tell(&["a", "b"]).await;
    soon(attendance.hosts().wait_for(|hosts| names(hosts) == ["a", "b"])).await.unwrap();
    stage.clock.advance(LEASE / 3);
    elector.renewal().await;
    // One that is shutting down is away, too.
    elector.say.send(Err(Status::unavailable("shutting down"))).await.unwrap();
    stage.entered_again().await.tell(&["a"]).await;
    soon(attendance.hosts().wait_for(|hosts| names(hosts) == ["a"])).await.unwrap();
}

#[tokio::test]
async fn an_elector_that_is_silent_for_a_lease_is_asked_on_another_stream() {
    let mut stage = Stage::new().await;
    let (attendance, mut silent) = stage.seated().await;
    for _ in 0..2 {
        stage.clock.advance(LEASE / 3);
        silent.renewal().await;
    }
    stage.clock.advance(LEASE / 3);
    stage.entered_again().await.tell(&["a", "b"]).await;
    soon(attendance.hosts().wait_for(|hosts| names(hosts) == ["a", "b"])).await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_refused_for_good_says_why_and_attends_no_more() {
    for reason in [Reason::HostNameTaken, Reason::HostSuperseded, Reason::RequestInvalid] {
        let mut stage = Stage::new().await;
        let (attendance, elector) = stage.seated().await;
        elector.refuse(reason).await;
        assert_eq!(soon(attendance.refused()).await.reason(), Some(reason));
        stage.stays_away().await;
        soon(attendance.leave()).await;
    }
}

#[tokio::test]
async fn what_goes_by_is_no_refusal() {
    for reason in [Reason::StoreUnavailable, Reason::StoreFull, Reason::DataCorrupt] {
        let mut stage = Stage::new().await;
        let (attendance, elector) = stage.seated().await;
        elector.refuse(reason).await;
        stage.entered_again().await.tell(&["a"]).await;
        assert!(attendance.refused().now_or_never().is_none(), "{reason}");
    }
}

#[tokio::test]
async fn leaving_ends_one_side_of_the_stream_and_waits_for_the_other() {
    let mut stage = Stage::new().await;
    let (attendance, mut elector) = stage.seated().await;
    let (ended, ()) = tokio::join!(
        async {
            let ended = soon(elector.asked.message()).await;
            drop(elector);
            ended
        },
        attendance.leave()
    );
    assert!(matches!(ended, Ok(None)), "a stream that ends, not one that breaks: {ended:?}");
    stage.stays_away().await;
}

#[tokio::test]
async fn dropping_an_attendance_ends_its_stream() {
    let mut stage = Stage::new().await;
    let (attendance, mut elector) = stage.seated().await;
    drop(attendance);
    assert!(elector.asked().await.is_none(), "no more renewals");
    stage.stays_away().await;
}

#[tokio::test]
async fn a_list_names_the_hosts() {
    let stage = Stage::new().await;
    let listed = soon(stage.hosts.list()).await.unwrap();
    assert_eq!(names(&listed), ["a", "b"]);
    assert_eq!(listed[0].version, "0.1.0");
}
