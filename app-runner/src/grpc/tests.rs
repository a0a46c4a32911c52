//! `ExecutionService` through the wire: a contender over the in-memory host, its front on a real
//! socket, and main() calling the front as the SDK does.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::channel::{GrpcChannel, connect};
use chassis::clock::{SharedClock, SystemClock, timeout};
use chassis::credential::{Credential, DeploymentKey, Kind as TokenKind, Principal};
use chassis::tasks::Shutdown;
use chassis::transport::{BoxedIo, Endpoint, Incoming, OsTransport, SharedTransport, Transport};
use client::execution::{ExecuteCall, ExecuteEvent, Execution, JobOutcome};
use client::places::{Kind, Places};
use futures::StreamExt as _;
use proto::runner::execution_service_client::ExecutionServiceClient;
use proto::runner::{ExecuteHeader, ExecuteRequest, GetAttemptRequest, execute_request};
use proto::{ApplicationRef, Digest, JobId, Reason, api};
use tokio::sync::watch;
use tonic::Code;

use super::{GrpcFront, MAX_GRAPH_BYTES};
use crate::ports::memory::{Behaviour, Program, World};
use crate::service::{Contender, Identity};

/// One application whose main() ends when the test says so.
struct Host {
    _state: tempfile::TempDir,
    world: World,
    places: Places,
    end: watch::Sender<bool>,
}

impl Host {
    async fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let (end, ended) = watch::channel(false);
        let program: Program = Arc::new(move |_| {
            let mut ended = ended.clone();
            Box::pin(async move {
                ended.wait_for(|ended| *ended).await.unwrap();
                0
            })
        });
        let spec = api::ApplicationSpec {
            application_id: "orders".into(),
            program: Some(api::Program {
                uri: "/programs/daily".into(),
                ..api::Program::default()
            }),
            engine: "memory".into(),
            ..api::ApplicationSpec::default()
        };
        let places = Places::new(state.path());
        Self { world: World::new(clock(), spec, program).await, places, end, _state: state }
    }

    fn application(&self) -> ApplicationRef {
        self.world.application()
    }

    fn contend(&self) -> tokio::task::JoinHandle<u8> {
        let contender = self.contender(Arc::new(OsTransport));
        tokio::spawn(async move { contender.run().await.unwrap() })
    }

    fn contender(&self, transport: SharedTransport) -> Contender {
        let ports = self.world.ports();
        let front = GrpcFront::new(self.places.clone(), transport, clock(), ports.keyring.clone());
        let identity = Identity { application: self.application(), holder: "runner-0".into() };
        Contender::new(identity, ports, Arc::new(front), Shutdown::new())
    }

    /// Where the first attempt serves.
    fn socket(&self) -> PathBuf {
        self.places.sockets(&self.application(), Kind::Attempt, 1).join("execution-0.sock")
    }

    fn token(&self, epoch: u64) -> Credential {
        self.world.key().mint(&Principal::Attempt {
            application: "orders".into(),
            generation: 1,
            epoch,
        })
    }

    fn channel(&self, credential: Option<Credential>) -> GrpcChannel {
        connect(Arc::new(OsTransport), clock(), Endpoint::Unix(self.socket()), credential)
    }

    /// A client of the first attempt, as main() has it.
    fn execution(&self) -> Execution {
        Execution::new(self.channel(Some(self.token(1))), clock())
    }

    async fn end(&self, contender: tokio::task::JoinHandle<u8>) {
        self.end.send_replace(true);
        assert_eq!(soon(contender).await.unwrap(), 0);
        assert!(!self.socket().exists(), "the attempt's socket is gone");
    }
}

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

/// Bounds a wait, because nothing here takes long: a wait that hangs is a failure.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(&clock(), Duration::from_secs(20), future).await.expect("waited too long")
}

fn call(name: &str) -> ExecuteCall {
    ExecuteCall {
        name: name.into(),
        graph: Bytes::from(format!("graph of {name}")),
        ..ExecuteCall::default()
    }
}

#[tokio::test]
async fn a_main_executes_jobs_reads_them_and_keeps_once_values() {
    let host = Host::new().await;
    let execution = host.execution();
    // The call comes before the server listens: a program is never told that its runner is away,
    // but waits.
    let asking = tokio::spawn({
        let execution = execution.clone();
        async move { execution.get_attempt().await }
    });
    let contender = host.contend();
    let attempt = soon(asking).await.unwrap().unwrap();
    assert_eq!(
        (attempt.application_id.as_str(), attempt.generation, attempt.epoch),
        ("orders", 1, 1)
    );
    assert!(!attempt.re_execution && !attempt.output_directory.is_empty());

    let (told, ordinal) =
        soon(execution.assign_job("call-1", "clean", Default::default())).await.unwrap();
    let jar = soon(execution.put_payload(Bytes::from_static(b"a jar"))).await.unwrap();
    let announced =
        ExecuteCall { call_id: "call-1".into(), payload_digests: vec![jar], ..call("clean") };
    let mut running = execution.execute(announced);
    let Some(Ok(ExecuteEvent::Accepted(accepted))) = soon(running.next()).await else {
        panic!("not accepted first")
    };
    assert_eq!((accepted.name.as_str(), accepted.found), ("clean", false));
    let end = soon(running.ended()).await.unwrap();
    assert_eq!(end.outcome(), JobOutcome::Succeeded);
    let job: JobId = accepted.job_id.parse().unwrap();
    assert_eq!((job, ordinal), (told, 0));
    assert_eq!(job, host.world.job_id("clean", 0));

    let mut states = std::pin::pin!(execution.watch_job(job));
    let last = soon(states.next()).await.unwrap().unwrap();
    assert_eq!(last.end, Some(end), "a job that has ended is said to have, at once");
    assert!(soon(states.next()).await.is_none());
    let refused =
        soon(std::pin::pin!(execution.read_result(job)).next()).await.unwrap().unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::ResultNone));

    assert_eq!(soon(execution.journal_get("mail")).await.unwrap(), None);
    let sent = soon(execution.journal_put("mail", Bytes::from_static(b"sent"))).await.unwrap();
    assert_eq!(sent, (Bytes::from_static(b"sent"), false));
    let again = soon(execution.journal_put("mail", Bytes::from_static(b"again"))).await.unwrap();
    assert_eq!(again, (Bytes::from_static(b"sent"), true));

    let large = Bytes::from(vec![7; 3 * 1024 * 1024 + 1]);
    assert_eq!(soon(execution.put_payload(large.clone())).await.unwrap(), Digest::of(&large));
    host.end(contender).await;
}

#[tokio::test]
async fn a_retry_of_a_call_is_the_same_call_and_a_second_call_of_that_name_is_not() {
    let host = Host::new().await;
    host.world.behave("long", Behaviour::Run);
    let contender = host.contend();
    let raw = || ExecutionServiceClient::new(host.channel(Some(host.token(1))));
    let requests = |call_id: &str| {
        let graph = Bytes::from_static(b"graph");
        let header = ExecuteHeader {
            call_id: call_id.into(),
            name: "long".into(),
            graph_digest: Digest::of(&graph).to_string(),
            graph_size_bytes: 5,
            ..ExecuteHeader::default()
        };
        let part = |part| ExecuteRequest { part: Some(part) };
        futures::stream::iter([
            part(execute_request::Part::Header(header)),
            part(execute_request::Part::Chunk(graph)),
        ])
    };
    soon(host.execution().get_attempt()).await.unwrap();
    let mut first = soon(raw().execute(requests("one"))).await.unwrap().into_inner();
    let mut retry = soon(raw().execute(requests("one"))).await.unwrap().into_inner();
    for answers in [&mut first, &mut retry] {
        let answer = soon(answers.message()).await.unwrap().unwrap();
        assert!(
            matches!(answer.item, Some(proto::runner::execute_response::Item::Accepted(_))),
            "{answer:?}"
        );
    }
    let refused = soon(raw().execute(requests("two"))).await.unwrap_err();
    assert_eq!(
        (refused.code(), proto::problem::reason(&refused)),
        (Code::AlreadyExists, Some(Reason::JobNameTaken))
    );
    soon(host.execution().cancel_job(host.world.job_id("long", 0), "")).await.unwrap();
    for answers in [&mut first, &mut retry] {
        let answer = soon(answers.message()).await.unwrap().unwrap();
        let Some(proto::runner::execute_response::Item::Ended(end)) = answer.item else {
            panic!("{answer:?}")
        };
        assert_eq!(end.outcome(), JobOutcome::Cancelled);
    }
    host.end(contender).await;
}

#[tokio::test]
async fn what_is_too_large_damaged_or_malformed_is_refused_by_name() {
    let host = Host::new().await;
    let contender = host.contend();
    soon(host.execution().get_attempt()).await.unwrap();
    let good =
        ExecuteHeader { call_id: "1".into(), name: "big".into(), ..ExecuteHeader::default() };
    let table = [
        (
            ExecuteHeader { graph_size_bytes: MAX_GRAPH_BYTES as u64 + 1, ..good.clone() },
            (Code::ResourceExhausted, Reason::GraphTooLarge, "\"big\""),
        ),
        (
            ExecuteHeader { graph_digest: Digest::of(b"other").to_string(), ..good.clone() },
            (Code::InvalidArgument, Reason::GraphDigestMismatch, "header says"),
        ),
        (
            ExecuteHeader { call_id: String::new(), ..good },
            (Code::InvalidArgument, Reason::RequestInvalid, "call_id"),
        ),
    ];
    for (header, (code, reason, word)) in table {
        let mut client = ExecutionServiceClient::new(host.channel(Some(host.token(1))));
        let request = ExecuteRequest { part: Some(execute_request::Part::Header(header)) };
        let refused = soon(client.execute(futures::stream::iter([request]))).await.unwrap_err();
        assert_eq!(
            (refused.code(), proto::problem::reason(&refused)),
            (code, Some(reason)),
            "{refused:?}"
        );
        assert!(refused.message().contains(word), "{}", refused.message());
    }
    let unknown = host.world.job_id("nobody", 0);
    let refused = soon(host.execution().cancel_job(unknown, "")).await.unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (Code::NotFound, Some(Reason::JobNotFound)));
    host.end(contender).await;
}

#[tokio::test]
async fn only_this_attempts_credential_is_taken() {
    let host = Host::new().await;
    let contender = host.contend();
    soon(host.execution().get_attempt()).await.unwrap();
    let cluster =
        Principal::Incarnation { application: "orders".into(), generation: 1, incarnation: 1 };
    let table = [
        (None, Code::Unauthenticated, Reason::CredentialMissing),
        (
            Some(DeploymentKey::generate().mint(&Principal::Deployment)),
            Code::Unauthenticated,
            Reason::CredentialInvalid,
        ),
        (Some(host.token(2)), Code::Unauthenticated, Reason::CredentialInvalid),
        (Some(host.world.key().mint(&cluster)), Code::Unauthenticated, Reason::CredentialInvalid),
        // The deployment's token is not taken either: a runner has no key to verify it with.
        (
            Some(host.world.key().mint(&Principal::Deployment)),
            Code::Unauthenticated,
            Reason::CredentialInvalid,
        ),
    ];
    for (credential, code, reason) in table {
        let mut client = ExecutionServiceClient::new(host.channel(credential));
        let refused = soon(client.get_attempt(GetAttemptRequest {})).await.unwrap_err();
        assert_eq!((refused.code(), proto::problem::reason(&refused)), (code, Some(reason)));
    }
    host.end(contender).await;
}

#[tokio::test]
async fn every_method_opens_for_main_of_this_attempt_and_for_nobody_else() {
    let host = Host::new().await;
    let contender = host.contend();
    soon(host.execution().get_attempt()).await.unwrap();
    let (channel, service) = (host.channel(None), "mainspring.runner.v1.ExecutionService");
    let tried = trespass::walk(
        &channel,
        &clock(),
        service,
        |who| host.world.key().mint(who),
        TokenKind::Attempt,
    )
    .await;
    trespass::assert_held(&tried, TokenKind::Attempt);
    host.end(contender).await;
}

/// Sockets that stop listening when the test says so.
struct Stops(watch::Receiver<bool>);

#[async_trait::async_trait]
impl Transport for Stops {
    async fn listen(&self, endpoint: &Endpoint) -> io::Result<Incoming> {
        let (incoming, mut stopped) = (OsTransport.listen(endpoint).await?, self.0.clone());
        let at = incoming.endpoint().clone();
        let until = async move { stopped.wait_for(|stopped| *stopped).await.map(drop) };
        Ok(Incoming::new(at, incoming.take_until(until)))
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        OsTransport.connect(endpoint).await
    }
}

#[tokio::test]
async fn a_runner_whose_socket_is_gone_does_not_lead_on() {
    let host = Host::new().await;
    let (stop, stopped) = watch::channel(false);
    let contender = tokio::spawn(host.contender(Arc::new(Stops(stopped))).run());
    soon(host.execution().get_attempt()).await.unwrap();

    stop.send_replace(true);
    let error = soon(contender).await.unwrap().unwrap_err();
    assert!(error.message.starts_with("task ExecutionService failed: "), "{error}");

    // main() of the next attempt is answered.
    host.end(host.contend()).await;
}
