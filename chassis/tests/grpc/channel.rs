use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chassis::channel::CONNECT_TIMEOUT;
use chassis::clock::{Clock as _, ManualClock};
use chassis::credential::{DeploymentKey, Principal};
use chassis::server::Limits;
use chassis::transport::{BoxedIo, Endpoint, Incoming, Transport};
use proto::Reason;
use proto::election::election_service_client::ElectionServiceClient;
use proto::problem::reason;
use tonic::{Code, Request};

use super::fixture::{Fixture, channel_to, observe, resign, soon};

#[tokio::test]
async fn without_a_server_a_call_is_unavailable_and_names_the_endpoint() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::Unix(dir.path().join("s.sock"));
    let mut client = ElectionServiceClient::new(channel_to(&endpoint, None));
    let refused = soon(client.resign(resign(""))).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().contains(&endpoint.to_string()), "{refused}");
}

#[tokio::test]
async fn a_channel_made_before_its_server_works_and_outlives_it() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::Unix(dir.path().join("s.sock"));
    let key = DeploymentKey::generate();
    let mut client =
        ElectionServiceClient::new(channel_to(&endpoint, Some(key.mint(&Principal::Deployment))));
    soon(client.resign(resign(""))).await.unwrap_err();
    let first = Fixture::start_at(dir, endpoint.clone(), key.clone(), Limits::default()).await;
    soon(client.resign(resign(""))).await.expect("it connects when it is used");
    first.shutdown.begin();
    soon(first.running).await.unwrap().unwrap();
    soon(client.resign(resign(""))).await.expect_err("nobody is there now");
    let second = Fixture::start_at(first.dir, endpoint, key, Limits::default()).await;
    soon(client.resign(resign(""))).await.expect("it connects again");
    assert_eq!(*second.calls.borrow(), 1);
}

#[tokio::test]
async fn a_call_cut_off_before_its_answer_is_unknown_and_not_repeated() {
    let server = Fixture::start().await;
    let mut client = server.client();
    let calling = {
        let mut client = client.clone();
        tokio::spawn(async move { client.resign(resign("hangs")).await })
    };
    let mut stream = soon(client.observe(observe("endless"))).await.unwrap().into_inner();
    soon(stream.message()).await.unwrap();
    soon(server.clock.wait_for_sleepers(1)).await;
    server.running.abort();
    let unknown = soon(calling).await.unwrap().unwrap_err();
    assert_eq!(unknown.code(), Code::Unknown, "{unknown}");
    let unknown = soon(stream.message()).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unknown, "{unknown}");
    assert!(unknown.message().contains(&server.endpoint.to_string()), "{unknown}");
    assert_eq!(*server.calls.borrow(), 1);
}

#[tokio::test]
async fn a_deadline_that_passes_at_the_caller_is_a_deadline() {
    let server = Fixture::start().await;
    let mut request = Request::new(resign("hangs"));
    request.set_timeout(Duration::from_millis(20));
    // The server's clock stands still, so only the caller's side can end this call.
    let status = soon(server.client().resign(request)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::DeadlineExceeded, Some(Reason::TimedOut)));
}

/// A network that swallows everything.
struct Void;

#[async_trait]
impl Transport for Void {
    async fn listen(&self, _: &Endpoint) -> io::Result<Incoming> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn connect(&self, _: &Endpoint) -> io::Result<BoxedIo> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn connecting_is_bounded_by_the_injected_clock() {
    let clock = Arc::new(ManualClock::new());
    let endpoint: Endpoint = "tcp://store.example:7070".parse().unwrap();
    let mut client = ElectionServiceClient::new(chassis::channel::connect(
        Arc::new(Void),
        clock.clone(),
        endpoint,
        None,
    ));
    let call = tokio::spawn(async move { client.resign(resign("")).await });
    soon(clock.wait_for_sleepers(1)).await;
    assert_eq!(clock.next_wakeup(), Some(clock.boot() + CONNECT_TIMEOUT));
    clock.advance(CONNECT_TIMEOUT);
    let refused = soon(call).await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().contains("tcp://store.example:7070"), "{refused}");
}

/// A network that reaches everywhere, and where every machine can read what is sent.
struct Overheard;

#[async_trait]
impl Transport for Overheard {
    async fn listen(&self, _: &Endpoint) -> io::Result<Incoming> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn connect(&self, _: &Endpoint) -> io::Result<BoxedIo> {
        Err(io::Error::other("it was connected"))
    }

    async fn connect_trusted(&self, _: &Endpoint) -> io::Result<BoxedIo> {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "anybody can read it there"))
    }
}

#[tokio::test]
async fn a_channel_goes_only_where_a_credential_may_be_sent() {
    let endpoint: Endpoint = "tcp://store.example:7070".parse().unwrap();
    let clock = Arc::new(ManualClock::new());
    let channel = chassis::channel::connect(Arc::new(Overheard), clock, endpoint, None);
    let refused = soon(ElectionServiceClient::new(channel).resign(resign(""))).await.unwrap_err();
    assert!(refused.message().contains("anybody can read it there"), "{refused}");
}
