use std::time::Duration;

use chassis::clock::Clock as _;
use chassis::credential::{Credential, DeploymentKey, Principal};
use chassis::server::{Limits, UNARY_DEADLINE};
use proto::Reason;
use proto::election::election_service_client::ElectionServiceClient;
use proto::problem::{Problem, reason};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::fixture::{Fixture, observe, renew, resign, soon};

/// What the failing methods give away in their texts. The word has more than hex digits, because
/// trace ids are random.
const SECRET: &str = "secret";

fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, Option<Reason>) {
    let status = answer.unwrap_err();
    (status.code(), reason(&status))
}

#[tokio::test]
async fn a_call_needs_a_credential_of_this_deployment() {
    let server = Fixture::start().await;
    let call = |credential| {
        let mut client = ElectionServiceClient::new(server.channel(credential));
        async move { soon(client.resign(resign(""))).await }
    };
    assert_eq!(refusal(call(None).await), (Code::Unauthenticated, Some(Reason::CredentialMissing)));
    for token in [
        DeploymentKey::generate().mint(&Principal::Deployment),
        Credential::new("nonsense").unwrap(),
    ] {
        assert_eq!(
            refusal(call(Some(token)).await),
            (Code::Unauthenticated, Some(Reason::CredentialInvalid))
        );
    }
    assert_eq!(*server.calls.borrow(), 0, "no stranger reached a method");
    assert!(
        call(Some(server.credential(&Principal::Deployment)))
            .await
            .unwrap()
            .into_inner()
            .was_leader
    );
}

#[tokio::test]
async fn a_method_sees_who_calls() {
    let server = Fixture::start().await;
    let attempt = Principal::Attempt { application: "orders".into(), generation: 1, epoch: 7 };
    let request = || resign("is for the deployment");
    let refused = soon(server.client_as(&attempt).resign(request())).await;
    assert_eq!(refusal(refused), (Code::PermissionDenied, Some(Reason::CredentialScope)));
    soon(server.client().resign(request())).await.unwrap();
}

#[tokio::test]
async fn health_and_reflection_answer_strangers() {
    let server = Fixture::start().await;
    let mut health = HealthClient::new(server.channel(None));
    let check = || HealthCheckRequest { service: String::new() };
    let status = |answer: HealthCheckResponse| answer.status();
    assert_eq!(
        status(soon(health.check(check())).await.unwrap().into_inner()),
        ServingStatus::Serving
    );
    server.health.set_serving(false).await;
    assert_eq!(
        status(soon(health.check(check())).await.unwrap().into_inner()),
        ServingStatus::NotServing
    );

    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};
    let list = MessageRequest::ListServices(String::new());
    let ask = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut reflection = ServerReflectionClient::new(server.channel(None));
    let mut answers = soon(reflection.server_reflection_info(tokio_stream::iter([ask])))
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) =
        soon(answers.next()).await.unwrap().unwrap().message_response
    else {
        panic!("not a list of services");
    };
    let named = |wanted: &str| listed.service.iter().any(|ServiceResponse { name }| name == wanted);
    assert!(named("mainspring.election.v1.ElectionService"), "{listed:?}");
}

#[tokio::test]
async fn a_panic_is_one_calls_failure_and_tells_no_secrets() {
    let server = Fixture::start().await;
    let mut client = server.client();
    for holder in ["panics", "fails"] {
        let status = soon(client.resign(resign(holder))).await.unwrap_err();
        let problem = Problem::from_status(&status);
        assert_eq!((problem.code, problem.reason), (Code::Internal, Some(Reason::Internal)));
        assert!(!problem.message.contains(SECRET), "{}", problem.message);
        let trace_id = &problem.metadata["trace_id"];
        assert!(trace_id.len() == 32 && problem.message.contains(trace_id), "{}", problem.message);
        soon(client.resign(resign(""))).await.expect("the connection lives on");
    }
}

#[tokio::test]
async fn a_defect_at_the_end_of_a_stream_tells_no_secrets() {
    let server = Fixture::start().await;
    let mut answers = soon(server.client().observe(observe("fails"))).await.unwrap().into_inner();
    soon(answers.next()).await.unwrap().expect("what came before the defect is delivered");
    let status = soon(answers.next()).await.unwrap().unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::Internal, Some(Reason::Internal)));
    assert!(!status.message().contains(SECRET), "{}", status.message());
}

#[tokio::test]
async fn a_unary_call_ends_at_its_deadline_on_the_injected_clock() {
    let server = Fixture::start().await;
    let caller_s = Duration::from_secs(600);
    for (asked, deadline) in [(None, UNARY_DEADLINE), (Some(caller_s), caller_s)] {
        let mut request = Request::new(resign("hangs"));
        if let Some(asked) = asked {
            request.set_timeout(asked);
        }
        let mut client = server.client();
        let call = tokio::spawn(async move { client.resign(request).await });
        soon(server.clock.wait_for_sleepers(1)).await;
        assert_eq!(server.clock.next_wakeup(), Some(server.clock.boot() + deadline));
        server.clock.advance(deadline);
        assert_eq!(
            refusal(soon(call).await.unwrap()),
            (Code::DeadlineExceeded, Some(Reason::TimedOut))
        );
    }
}

#[tokio::test]
async fn streams_have_no_deadline() {
    let month = Duration::from_secs(30 * 86_400);
    let server = Fixture::start().await;
    let (asking, asked) = tokio::sync::mpsc::channel(1);
    let mut client = server.client();
    let campaign = tokio::spawn(async move { client.campaign(ReceiverStream::new(asked)).await });
    server.called(1).await;
    server.clock.advance(month);
    asking.send(renew(1)).await.unwrap();
    let mut answers =
        soon(campaign).await.unwrap().expect("its beginning may take a month").into_inner();
    soon(answers.next()).await.unwrap().unwrap();
    server.clock.advance(month);
    asking.send(renew(2)).await.unwrap();
    soon(answers.next()).await.unwrap().expect("a month later it still answers");
}

#[tokio::test]
async fn what_is_too_much_is_refused_at_once_with_a_delay() {
    let server = Fixture::start_with(Limits { calls: 1, ..Limits::default() }).await;
    let mut hanging = server.client();
    let held = tokio::spawn(async move { hanging.resign(resign("hangs")).await });
    soon(server.clock.wait_for_sleepers(1)).await;
    let mut client = server.client();
    let refused = Problem::from_status(&soon(client.resign(resign(""))).await.unwrap_err());
    assert_eq!((refused.code, refused.reason), (Code::ResourceExhausted, Some(Reason::Overloaded)));
    assert!(refused.retry_after.is_some());
    server.clock.advance(UNARY_DEADLINE);
    soon(held).await.unwrap().unwrap_err();
    soon(client.resign(resign(""))).await.expect("there is room again");
}

#[tokio::test]
async fn an_open_stream_takes_no_room_from_calls() {
    let server = Fixture::start_with(Limits { calls: 1, ..Limits::default() }).await;
    let mut client = server.client();
    let mut open = soon(client.observe(observe("endless"))).await.unwrap().into_inner();
    soon(open.next()).await.unwrap().unwrap();
    soon(client.resign(resign(""))).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_ends_streams_politely_and_removes_the_socket() {
    let server = Fixture::start().await;
    let mut open = soon(server.client().observe(observe("endless"))).await.unwrap().into_inner();
    soon(open.next()).await.unwrap().unwrap();
    let mut watched = {
        let mut health = HealthClient::new(server.channel(None));
        soon(health.watch(HealthCheckRequest { service: String::new() }))
            .await
            .unwrap()
            .into_inner()
    };
    assert_eq!(soon(watched.next()).await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.shutdown.begin();
    assert_eq!(soon(watched.next()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let ended = soon(open.next()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    drop((open, watched));
    soon(server.running).await.unwrap().unwrap();
    assert_eq!(std::fs::read_dir(server.dir.path()).unwrap().count(), 0, "the socket is gone");
}

#[tokio::test]
async fn a_call_under_way_may_finish_and_is_cut_when_the_grace_period_is_over() {
    let limits = Limits {
        unary_deadline: Duration::from_secs(2),
        grace: Duration::from_secs(5),
        ..Limits::default()
    };
    let server = Fixture::start_with(limits).await;
    let mut client = server.client();
    let finishing = tokio::spawn(async move { client.resign(resign("hangs")).await });
    soon(server.clock.wait_for_sleepers(1)).await;
    server.shutdown.begin();
    // The sleepers are the call's deadline and the grace period.
    soon(server.clock.wait_for_sleepers(2)).await;
    server.clock.advance(Duration::from_secs(2));
    let answer = soon(finishing).await.unwrap();
    assert_eq!(refusal(answer).1, Some(Reason::TimedOut), "it got its own answer");
    soon(server.running).await.unwrap().unwrap();

    let server =
        Fixture::start_with(Limits { unary_deadline: Duration::from_secs(60), ..limits }).await;
    let mut client = server.client();
    let cut = tokio::spawn(async move { client.resign(resign("hangs")).await });
    soon(server.clock.wait_for_sleepers(1)).await;
    server.shutdown.begin();
    soon(server.clock.wait_for_sleepers(2)).await;
    server.clock.advance(Duration::from_secs(5));
    soon(server.running).await.unwrap().unwrap();
    assert_eq!(refusal(soon(cut).await.unwrap()), (Code::Unknown, None), "sent, and no answer");
}

#[tokio::test]
async fn large_messages_pass_and_larger_ones_are_refused() {
    let server = Fixture::start().await;
    let mut client = server.client();
    soon(client.resign(resign(&"x".repeat(chassis::MAX_MESSAGE_BYTES - 64)))).await.unwrap();
    let refused = soon(client.resign(resign(&"x".repeat(chassis::MAX_MESSAGE_BYTES + 64))))
        .await
        .unwrap_err();
    assert_eq!(
        refusal::<()>(Err(refused)),
        (Code::ResourceExhausted, Some(Reason::MessageTooLarge))
    );
}

#[tokio::test]
async fn a_long_error_arrives_with_its_details() {
    let server = Fixture::start().await;
    let refused = Problem::from_status(
        &soon(server.client().resign(resign("refuses at length"))).await.unwrap_err(),
    );
    assert_eq!(
        (refused.code, refused.reason),
        (Code::InvalidArgument, Some(Reason::ProgramInvalid))
    );
    assert!(refused.message.len() > 4000 && refused.message.ends_with('…'));
    assert_eq!(refused.metadata["line"].len(), 8000);
}
