//! Traces leave the process. The environment decides that, so each case is a child: this binary
//! again, with the variable set, running the one ignored test.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use chassis::telemetry::{OTLP_ENDPOINT_VARIABLE, TelemetryArgs, fields, init, trace};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

const PATIENCE: Duration = Duration::from_secs(20);
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Receiver(mpsc::Sender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).await.unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// What a service does: one span with a field in its parent's trace, then the flush.
#[test]
#[ignore = "runs as a child of the other tests"]
fn child() {
    chassis::install_crypto_provider();
    chassis::runtime().unwrap().block_on(async {
        let guard = init("otlp-test", &TelemetryArgs::default());
        assert!(guard.traces());
        let span =
            tracing::info_span!("work", { fields::APP_ID } = "orders", { fields::EPOCH } = 7_u64);
        trace::continue_from_environment(&span);
        span.in_scope(|| tracing::info!("a state changed"));
        drop(span);
        guard.shutdown().await;
    });
}

async fn run_child(endpoint: &str) -> ExitStatus {
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child"])
        .env(OTLP_ENDPOINT_VARIABLE, endpoint)
        .env(trace::TRACEPARENT_VARIABLE, PARENT)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    tokio::time::timeout(PATIENCE, child).await.expect("the child ends").unwrap()
}

#[tokio::test]
async fn spans_reach_the_collector_in_their_parents_trace_before_the_process_ends() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, mut received) = mpsc::channel(16);
    let collector = Server::builder().add_service(TraceServiceServer::new(Receiver(sender)));
    let collector = tokio::spawn(collector.serve_with_incoming(TcpListenerStream::new(listener)));
    assert!(run_child(&endpoint).await.success());
    // The child has ended, so nothing more is sent.
    let exported = received.try_recv().expect("the spans arrived before the exit");
    collector.abort();
    let resource = &exported.resource_spans[0];
    let name = resource
        .resource
        .as_ref()
        .unwrap()
        .attributes
        .iter()
        .find(|a| a.key == "service.name")
        .unwrap();
    assert_eq!(name.value.as_ref().unwrap().value, Some(Value::StringValue("otlp-test".into())));
    let span = &resource.scope_spans[0].spans[0];
    assert_eq!(span.name, "work");
    assert_eq!(hex::encode(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex::encode(&span.parent_span_id), "b7ad6b7169203331");
    let field = |name: &str| {
        span.attributes.iter().find(|a| a.key == name).and_then(|a| a.value.clone()?.value)
    };
    assert_eq!(field(fields::APP_ID), Some(Value::StringValue("orders".into())));
    // The bridge writes unsigned numbers as text.
    assert_eq!(field(fields::EPOCH), Some(Value::StringValue("7".into())));
}

#[tokio::test]
async fn a_collector_that_does_not_answer_holds_up_the_exit_for_two_seconds_at_most() {
    // This peer accepts connections and never says a word.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let began = Instant::now();
    assert!(run_child(&format!("http://{}", listener.local_addr().unwrap())).await.success());
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(5),
        "{took:?}: 2 s and what a busy machine needs to start a process"
    );
}
