//! Seats of hosts through the wire: hosts with the real client, and streams that say what a test
//! says.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chassis::channel::{GrpcChannel, connect};
use chassis::clock::Clock as _;
use chassis::credential::{Credential, Kind, Principal};
use chassis::transport::{Endpoint, OsTransport};
use client::hosts::{Attendance, Host as Seated};
use proto::election::hosts_service_client::HostsServiceClient;
use proto::election::{AttendRequest, AttendResponse, Host as Wired};
use proto::{Place, PlaceUid, Problem, Reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::host::{Host, clock, soon};

fn place(name: &str, uid: u8) -> Place {
    Place::host(name, PlaceUid::from_bytes([uid; 8])).unwrap()
}

fn channel(host: &Host) -> GrpcChannel {
    host.channel(&Principal::Deployment)
}

fn names(hosts: &[Seated]) -> Vec<&str> {
    hosts.iter().map(|host| host.place.name()).collect()
}

/// Waits until just these hosts are what an attendance tells of.
async fn told(attendance: &Attendance, wanted: &[&str]) {
    soon(attendance.hosts().wait_for(|hosts| names(hosts) == wanted)).await.unwrap();
}

/// Opens a stream with this first message.
async fn open(
    channel: GrpcChannel,
    first: AttendRequest,
) -> Result<(mpsc::Sender<AttendRequest>, Streaming<AttendResponse>), Status> {
    let (say, requests) = mpsc::channel(8);
    say.send(first).await.unwrap();
    let mut wire = HostsServiceClient::new(channel);
    let answers = soon(wire.attend(ReceiverStream::new(requests))).await?.into_inner();
    Ok((say, answers))
}

fn introduced(place: Place) -> AttendRequest {
    let host = Wired { place: Some(place.into()), version: "0.1.0".into(), since: None };
    AttendRequest { host: Some(host) }
}

#[tokio::test]
async fn hosts_see_each_other_and_one_that_leaves_is_gone_at_once() {
    let host = Host::here().await;
    assert!(host.hosts().list().await.unwrap().is_empty());
    let second = host.hosts().attend(place("b", 2), "0.2.0");
    told(&second, &["b"]).await;
    let first = host.hosts().attend(place("a", 1), "0.1.0");
    told(&first, &["a", "b"]).await;
    told(&second, &["a", "b"]).await;

    let listed = soon(host.hosts().list()).await.unwrap();
    assert_eq!(listed, *second.hosts().borrow());
    assert_eq!((&listed[0].place, listed[0].version.as_str()), (&place("a", 1), "0.1.0"));
    let since = listed[0].since.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(since.as_secs() > 1_600_000_000, "by the wall clock: {since:?}");

    soon(first.leave()).await;
    assert_eq!(names(&soon(host.hosts().list()).await.unwrap()), ["b"], "no lease is waited for");
    told(&second, &["b"]).await;
}

#[tokio::test]
async fn a_name_has_one_host_and_a_seat_one_stream() {
    let host = Host::here().await;
    let first = host.hosts().attend(place("a", 1), "0.1.0");
    told(&first, &["a"]).await;
    let other = host.hosts().attend(place("a", 2), "0.1.0");
    let refused = soon(other.refused()).await;
    let taken = (Code::AlreadyExists, Some(Reason::HostNameTaken));
    assert_eq!((refused.code(), refused.reason()), taken);
    let facts = Problem::from_status(refused.status()).metadata;
    assert_eq!(facts.get("host").map(String::as_str), Some("a"));

    let copy = host.hosts().attend(place("a", 1), "0.1.0");
    told(&copy, &["a"]).await;
    let refused = soon(first.refused()).await;
    let superseded = (Code::Aborted, Some(Reason::HostSuperseded));
    assert_eq!((refused.code(), refused.reason()), superseded);
    drop((first, other));
    assert_eq!(names(&soon(host.hosts().list()).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn each_message_is_answered_by_all_hosts_and_by_the_lease() {
    let host = Host::here().await;
    let (say, mut answers) = open(channel(&host), introduced(place("a", 1))).await.unwrap();
    for _ in 0..3 {
        let answer = soon(answers.message()).await.unwrap().unwrap();
        assert_eq!(answer.hosts.len(), 1);
        assert_eq!(answer.lease.map(|lease| lease.seconds), Some(10));
        say.send(AttendRequest::default()).await.unwrap();
    }
    soon(answers.message()).await.unwrap().unwrap();
    drop(say);
    assert!(soon(answers.message()).await.unwrap().is_none(), "its own end is no error");
    assert!(soon(host.hosts().list()).await.unwrap().is_empty());
}

/// A caller that says all it has to say in one breath is answered, too.
#[tokio::test]
async fn the_first_message_is_answered_although_nothing_follows() {
    let host = Host::here().await;
    let (say, mut answers) = open(channel(&host), introduced(place("a", 1))).await.unwrap();
    drop(say);
    let answer = soon(answers.message()).await.unwrap().unwrap();
    assert_eq!(answer.hosts.len(), 1);
    assert!(soon(answers.message()).await.unwrap().is_none());
    assert!(soon(host.hosts().list()).await.unwrap().is_empty());
}

/// Attends on a connection that goes as a killed process's does: nothing is said at the end.
fn attend_and_break_off(socket: PathBuf, credential: Credential) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let endpoint = Endpoint::Unix(socket);
        let channel = connect(Arc::new(OsTransport), clock(), endpoint, Some(credential));
        let (say, mut answers) = open(channel, introduced(place("a", 1))).await.unwrap();
        soon(answers.message()).await.unwrap().unwrap();
        // Neither end is dropped while the connection could still say so.
        std::mem::forget((say, answers));
    });
}

#[tokio::test]
async fn a_host_that_breaks_off_keeps_its_seat_for_a_lease() {
    let host = Host::here().await;
    let watching = host.hosts().attend(place("b", 2), "0.1.0");
    told(&watching, &["b"]).await;
    let (socket, credential) = (host.path("elector.sock"), host.mint(&Principal::Deployment));
    let began = clock().boot();
    let breaking = tokio::task::spawn_blocking(|| attend_and_break_off(socket, credential));
    soon(breaking).await.unwrap();
    told(&watching, &["a", "b"]).await;
    told(&watching, &["b"]).await;
    let kept = clock().boot().saturating_duration_since(began);
    assert!(kept >= Duration::from_secs(10), "the seat was free after {kept:?}");
}

#[tokio::test]
async fn what_is_malformed_is_named() {
    let host = Host::here().await;
    let of = |change: fn(&mut Wired)| {
        let mut first = introduced(place("a", 1));
        first.host.iter_mut().for_each(change);
        first
    };
    let in_place = |change: fn(&mut proto::fences::Place)| {
        let mut first = introduced(place("a", 1));
        first.host.iter_mut().filter_map(|host| host.place.as_mut()).for_each(change);
        first
    };
    for (first, field) in [
        (AttendRequest::default(), "host"),
        (of(|host| host.place = None), "host.place"),
        (of(|host| host.version = "x".repeat(129)), "host.version"),
        (in_place(|place| place.kind = "pod".to_owned()), "host.place.kind"),
        (in_place(|place| place.name.clear()), "host.place"),
        (in_place(|place| place.uid.clear()), "host.place"),
    ] {
        let status = open(channel(&host), first).await.map(drop).unwrap_err();
        let problem = Problem::from_status(&status);
        let invalid = (Code::InvalidArgument, Some(Reason::RequestInvalid));
        assert_eq!((problem.code, problem.reason), invalid, "{field}");
        assert_eq!(problem.fields.first().map(|named| named.path.as_str()), Some(field));
    }
    assert!(soon(host.hosts().list()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_stream_that_says_nothing_is_ended() {
    let host = Host::here().await;
    let (_say, requests) = mpsc::channel::<AttendRequest>(1);
    let mut wire = HostsServiceClient::new(channel(&host));
    let silent = soon(wire.attend(ReceiverStream::new(requests))).await;
    assert_eq!(silent.map(drop).unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn hosts_attend_again_by_themselves_when_the_elector_is_back() {
    let mut host = Host::here().await;
    let (first, second) =
        (host.hosts().attend(place("a", 1), "0.1.0"), host.hosts().attend(place("b", 2), "0.1.0"));
    told(&first, &["a", "b"]).await;
    host.stop().await;
    host.start_here().await;
    soon(async {
        let both = |hosts: Vec<Seated>| names(&hosts) == ["a", "b"];
        while !host.hosts().list().await.is_ok_and(both) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    told(&first, &["a", "b"]).await;
    told(&second, &["a", "b"]).await;
}

#[tokio::test]
async fn every_method_of_hosts_opens_for_the_deployment_alone() {
    let host = Host::here().await;
    let channel = channel(&host);
    let service = "mainspring.election.v1.HostsService";
    let tried =
        trespass::walk(&channel, &clock(), service, |who| host.mint(who), Kind::Deployment).await;
    trespass::assert_lawful(&tried, &[]);
}
