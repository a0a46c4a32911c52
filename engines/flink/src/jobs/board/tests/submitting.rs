//! A submission over the real record, whose payloads come damaged.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::routing::{get, post};
use bytes::{BufMut as _, Bytes, BytesMut};
use chassis::credential::{DeploymentKey, Principal};
use chassis::server::{Authenticator, Limits, Serve};
use http_body_util::StreamBody;
use hyper::body::Frame;
use jobgraph_store::blobs::memory::MemoryBlobs;
use jobgraph_store::service::Service;
use jobgraph_store::store::memory::MemoryMetadata;
use prost::Message;
use proto::jobgraph::{
    BeginClusterRequest, GetPayloadRequest, GetPayloadResponse, PutJobGraphRequest,
};
use proto::{Digest, api};
use record::Holder;
use tonic::Status;

use super::*;
use crate::graph::GraphFile;

/// The payloads that the store gives out, by digest.
type Held = Arc<HashMap<String, Bytes>>;

/// The forms that a JobManager was sent whole.
type Uploads = Arc<Mutex<Vec<Bytes>>>;

/// A message as gRPC answers it.
fn grpc(message: &impl Message) -> Response {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut frame).unwrap();
    let ok = HeaderMap::from_iter([(
        HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    let frames = [Ok::<_, Infallible>(Frame::data(frame.freeze())), Ok(Frame::trailers(ok))];
    let body = axum::body::Body::new(StreamBody::new(futures::stream::iter(frames)));
    ([("content-type", "application/grpc")], body).into_response()
}

/// The record over memory, with a job of the one cluster there; it is led by epoch 1.
async fn record(clock: SharedClock) -> (Arc<dyn Record>, IncarnationFence, JobId) {
    let (metadata, blobs) = (MemoryMetadata::default(), MemoryBlobs::default());
    let store = Service::new(Arc::new(metadata), Arc::new(blobs), clock);
    let program = api::Program { uri: "/programs/orders.jar".into(), ..Default::default() };
    let spec = api::ApplicationSpec {
        application_id: "orders".into(),
        program: Some(program),
        engine: "flink".into(),
        ..Default::default()
    };
    let wish =
        api::SubmitRequest { request_id: "a wish".into(), spec: Some(spec), ..Default::default() };
    store.submit(wish).await.unwrap();
    let application = ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(1) };
    let leader = EpochFence { application: application.clone(), epoch: Epoch(1) };
    store.begin_attempt(&leader, &Holder::new("runner-0", 1), "").await.unwrap();
    let cluster = BeginClusterRequest { request_id: "a cluster".into(), ..Default::default() };
    let begun = store.begin_cluster(&leader, cluster).await.unwrap();
    let graph = store.put_bytes(Bytes::from_static(b"a graph")).await.unwrap();
    let call = PutJobGraphRequest {
        call_id: "a call".into(),
        name: "orders".into(),
        graph_digest: graph.to_string(),
        ..Default::default()
    };
    let job = store.put_job_graph(&leader, call).await.unwrap().job.unwrap();
    let fence = IncarnationFence { application, incarnation: Incarnation(begun.incarnation) };
    (Arc::new(store), fence, job.job_id.parse().unwrap())
}

/// A store that does not look at what it gives out.
fn payloads(held: Held) -> Router {
    let payload = async move |request: Bytes| {
        let asked = GetPayloadRequest::decode(request.slice(5..)).unwrap();
        grpc(&GetPayloadResponse { chunk: held[&asked.digest].clone() })
    };
    Router::new().route("/mainspring.jobgraph.v1.PayloadService/GetPayload", post(payload))
}

/// A JobManager without jobs, which refuses a form that is not whole.
fn jobmanager(uploads: Uploads) -> Router {
    let taken =
        async move |form: Result<Bytes, axum::extract::rejection::BytesRejection>| match form {
            Ok(form) => {
                uploads.lock().unwrap().push(form);
                (StatusCode::ACCEPTED, "{}")
            }
            Err(_) => (StatusCode::BAD_REQUEST, r#"{"errors": ["the connection broke"]}"#),
        };
    Router::new()
        .route("/jobs/overview", get(async || r#"{"jobs": []}"#))
        .route("/jobs", post(taken))
}

/// Submits a job with one jar, after `damage` has changed what the store gives out. Answers what
/// came of the submission, and what was uploaded.
async fn submitted(
    damage: impl FnOnce(&mut HashMap<String, Bytes>, Digest, Digest),
) -> (Result<bool, OrderRefusal>, Uploads) {
    let (transport, clock): (SharedTransport, SharedClock) =
        (Arc::new(OsTransport), Arc::new(SystemClock));
    let (record, fence, job) = record(clock.clone()).await;
    let jar = Bytes::from_static(b"the jar");
    let (name, digest, size_bytes) = ("app.jar".to_owned(), Digest::of(&jar), 7);
    let files = vec![GraphFile { name, digest, size_bytes, entry: None }];
    let graph = JobGraph { job, plan: Bytes::from_static(b"the plan"), files }.encode();
    let (of_graph, of_jar) = (Digest::of(&graph), digest);
    let mut held = HashMap::from([(of_graph.to_string(), graph), (of_jar.to_string(), jar)]);
    damage(&mut held, of_graph, of_jar);

    let directory = tempfile::tempdir().unwrap();
    let (store, key) =
        (Endpoint::Unix(directory.path().join("store.sock")), DeploymentKey::generate());
    let credential = key.mint(&Principal::Deployment);
    let server = chassis::server::bind(Serve {
        name: "jobgraph-store",
        endpoints: vec![store.clone()],
        transport: transport.clone(),
        clock: clock.clone(),
        authenticator: Authenticator::new(key),
        routes: payloads(Arc::new(held)).into(),
        shutdown: Shutdown::new(),
        limits: Limits::default(),
    });
    tokio::spawn(server.await.unwrap().run());
    let store =
        chassis::channel::connect(transport.clone(), clock.clone(), store, Some(credential));

    let uploads = Uploads::default();
    let incoming = transport.listen(&Endpoint::Tcp("127.0.0.1".into(), 0)).await.unwrap();
    let peer = incoming.endpoint().clone();
    let router = crate::served::served(jobmanager(uploads.clone()));
    tokio::spawn(chassis::http::serve(incoming, router, clock.clone(), Shutdown::new()));

    let jobmanager = JobManager::new(transport, clock.clone(), peer);
    let board = Board::new(fence, Tenancy::Own, record, Payloads::new(store), jobmanager, clock);
    board.orders().adopt(Epoch(1)).unwrap();
    let submission = NewJob {
        id: job,
        name: "orders".into(),
        graph: of_graph,
        epoch: Epoch(1),
        own_job_ids: HashSet::new(),
    };
    (board.submit(submission).await, uploads)
}

#[tokio::test]
async fn what_is_damaged_in_the_record_is_refused_by_its_name_and_never_runs() {
    let (done, uploads) = submitted(|_, _, _| {}).await;
    assert!(matches!(done, Ok(false)), "{done:?}");
    let form = uploads.lock().unwrap().concat();
    let has = |part: &[u8]| form.windows(part.len()).any(|window| window == part);
    assert!(has(b"the plan") && has(b"the jar"), "{}", String::from_utf8_lossy(&form));

    for graph_too in [false, true] {
        let mut damaged = None;
        let (done, uploads) = submitted(|held, graph, jar| {
            let of = if graph_too { graph } else { jar };
            let bytes = held.get_mut(&of.to_string()).unwrap();
            let mut changed = bytes.to_vec();
            *changed.last_mut().unwrap() ^= 1;
            *bytes = changed.into();
            damaged = Some(of);
        })
        .await;
        let status = Status::from(done.unwrap_err());
        assert_eq!(proto::problem::reason(&status), Some(Reason::DataCorrupt), "{status:?}");
        let named = format!("payload {} of the record is damaged", damaged.unwrap());
        assert!(status.message().contains(&named), "{status:?}");
        assert_eq!(*uploads.lock().unwrap(), [""; 0], "the JobManager has a whole form");
    }
}
