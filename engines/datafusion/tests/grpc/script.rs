//! `sql-main` as a process of its own, against a runner that runs each job in this process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chassis::credential::Principal;
use chassis::server::{Authenticator, Limits, Serve};
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport};
use futures::{Stream, StreamExt as _, stream};
use mainspring_datafusion::execute::{self, RunContext};
use mainspring_datafusion::graph::JobGraph;
use mainspring_datafusion::{publish, wire};
use proto::job::JobEnd;
use proto::runner::execution_service_server::{ExecutionService, ExecutionServiceServer};
use proto::runner::{
    Accepted, AssignJobRequest, AssignJobResponse, CancelJobRequest, CancelJobResponse,
    ExecuteRequest, ExecuteResponse, GetAttemptRequest, GetAttemptResponse, GetClusterRequest,
    GetClusterResponse, GetSavepointRequest, GetSavepointResponse, JournalRequest, JournalResponse,
    PutPayloadRequest, PutPayloadResponse, ReadResultRequest, ReadResultResponse,
    RequestSavepointRequest, RequestSavepointResponse, WatchJobRequest, WatchJobResponse,
    execute_request, execute_response,
};
use proto::{ApplicationRef, Generation, JobId, Problem, Reason};
use tonic::{Request, Response, Status, Streaming};

use crate::{ready, token};

#[derive(Default)]
struct Runner {
    work: PathBuf,
    jobs: Arc<Mutex<Vec<String>>>,
    results: Mutex<HashMap<String, Vec<u8>>>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn none<T>() -> Result<Response<T>, Status> {
    Err(Problem::new(Reason::Internal, "not part of this test").into_status())
}

#[tonic::async_trait]
impl ExecutionService for Runner {
    type ExecuteStream = Answers<ExecuteResponse>;
    type WatchJobStream = Answers<WatchJobResponse>;
    type ReadResultStream = Answers<ReadResultResponse>;

    async fn execute(
        &self,
        request: Request<Streaming<ExecuteRequest>>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        let mut parts = request.into_inner();
        let (mut header, mut graph) = (None, Vec::new());
        while let Some(part) = parts.message().await? {
            match part.part {
                Some(execute_request::Part::Header(h)) => header = Some(h),
                Some(execute_request::Part::Chunk(chunk)) => graph.extend_from_slice(&chunk),
                None => {}
            }
        }
        let header = header.unwrap();
        let (name, ordinal) = {
            let mut jobs = self.jobs.lock().unwrap();
            let ordinal = jobs.len() + 1;
            let name = if header.name.is_empty() { format!("job-{ordinal}") } else { header.name };
            jobs.push(name.clone());
            (name, ordinal)
        };
        let application =
            ApplicationRef { id: "script".parse().unwrap(), generation: Generation(1) };
        let id = JobId::derive(&application, "", &name, 0).to_string();
        let graph = JobGraph::decode(&graph).unwrap();
        assert_eq!(header.staging_locations, graph.staging_locations());
        assert!(header.description.unwrap().vertices.len() > 1);
        let context = RunContext::new(id.clone(), 1, self.work.join(ordinal.to_string()));
        let end = match execute::run(&graph, &context).await {
            Ok(output) => {
                publish::publish(&output.outputs, &[id.clone()].into()).unwrap();
                let mut end = wire::succeeded(&output, std::time::Duration::ZERO);
                if let Some(result) = &output.result {
                    self.results
                        .lock()
                        .unwrap()
                        .insert(id.clone(), std::fs::read(&result.path).unwrap());
                    end.result_digest = "there".to_owned();
                }
                end
            }
            Err(error) => wire::failed(&error, Default::default(), std::time::Duration::ZERO),
        };
        let accepted = Accepted { job_id: id, name, ..Default::default() };
        let items = [
            execute_response::Item::Accepted(accepted),
            execute_response::Item::Ended(JobEnd { ..end }),
        ];
        let answers = items.map(|item| Ok(ExecuteResponse { item: Some(item) }));
        Ok(Response::new(stream::iter(answers).boxed()))
    }

    async fn read_result(
        &self,
        request: Request<ReadResultRequest>,
    ) -> Result<Response<Self::ReadResultStream>, Status> {
        let rows = Bytes::from(self.results.lock().unwrap()[&request.into_inner().job_id].clone());
        let chunks: Vec<_> = rows
            .chunks(100)
            .map(|data| Ok(ReadResultResponse { data: Bytes::copy_from_slice(data) }))
            .collect();
        Ok(Response::new(stream::iter(chunks).boxed()))
    }

    async fn assign_job(
        &self,
        _: Request<AssignJobRequest>,
    ) -> Result<Response<AssignJobResponse>, Status> {
        none()
    }

    async fn request_savepoint(
        &self,
        _: Request<RequestSavepointRequest>,
    ) -> Result<Response<RequestSavepointResponse>, Status> {
        none()
    }

    async fn get_savepoint(
        &self,
        _: Request<GetSavepointRequest>,
    ) -> Result<Response<GetSavepointResponse>, Status> {
        none()
    }

    async fn get_cluster(
        &self,
        _: Request<GetClusterRequest>,
    ) -> Result<Response<GetClusterResponse>, Status> {
        none()
    }

    async fn cancel_job(
        &self,
        _: Request<CancelJobRequest>,
    ) -> Result<Response<CancelJobResponse>, Status> {
        none()
    }

    async fn put_payload(
        &self,
        _: Request<Streaming<PutPayloadRequest>>,
    ) -> Result<Response<PutPayloadResponse>, Status> {
        none()
    }

    async fn watch_job(
        &self,
        _: Request<WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        none()
    }

    async fn journal(
        &self,
        _: Request<JournalRequest>,
    ) -> Result<Response<JournalResponse>, Status> {
        none()
    }

    async fn get_attempt(
        &self,
        _: Request<GetAttemptRequest>,
    ) -> Result<Response<GetAttemptResponse>, Status> {
        none()
    }
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    jobs: Vec<String>,
    root: tempfile::TempDir,
}

impl Ran {
    fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }
}

async fn run(script: &Path, environment: &[(&str, &str)]) -> Ran {
    let root = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::Unix(root.path().join("s"));
    let shutdown = Shutdown::new();
    let token = token(Principal::Attempt { application: "script".into(), generation: 1, epoch: 1 });
    token.write_file(&root.path().join("token")).unwrap();
    let jobs = Arc::new(Mutex::new(Vec::new()));
    let runner =
        Runner { work: root.path().join("work"), jobs: jobs.clone(), ..Default::default() };
    std::fs::create_dir_all(&runner.work).unwrap();
    let serving = chassis::server::serve(Serve {
        name: "runner",
        endpoints: vec![endpoint.clone()],
        transport: Arc::new(OsTransport),
        clock: crate::clock(),
        authenticator: Authenticator::holding(token),
        routes: tonic::service::Routes::new(ExecutionServiceServer::new(runner)),
        shutdown: shutdown.clone(),
        limits: Limits::default(),
    });
    let serving = tokio::spawn(async move { serving.await.map_err(|e| e.to_string()) });
    ready(&endpoint).await;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mainspring-datafusion"));
    command
        .arg("sql-main")
        .arg(script)
        .current_dir("/")
        .env_clear()
        .env("MAINSPRING_ENDPOINT", endpoint.to_string())
        .env("MAINSPRING_TOKEN_FILE", root.path().join("token"))
        .env("MAINSPRING_OUTPUT_DIR", root.path().join("out"))
        .envs(environment.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    shutdown.begin();
    serving.await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let jobs = jobs.lock().unwrap().clone();
    Ran {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        jobs,
        root,
    }
}

async fn run_text(text: &str, environment: &[(&str, &str)]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("t.sql");
    std::fs::write(&script, text).unwrap();
    run(&script, environment).await
}

#[tokio::test]
async fn the_example_prints_its_table_and_writes_its_file() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flights/carriers.sql");
    let ran = run(&script, &[]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(ran.jobs, ["by_carrier", "report"]);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(
        lines[0].split('|').map(str::trim).collect::<Vec<_>>(),
        ["carrier", "flights", "mean", "p90", "cancelled"]
    );
    assert_eq!(*lines.last().unwrap(), "(16 rows)");
    let mut files: Vec<_> = std::fs::read_dir(ran.out().join("carriers"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    files.sort();
    assert!(files.len() == 2 && files[0] == "_SUCCESS", "{files:?}");
}

#[tokio::test]
async fn unnamed_jobs_run_in_order_and_settings_hold() {
    let ran = run_text(
        "SELECT 1 AS a; COPY (SELECT 2 AS b) TO 'x.csv';
         CREATE EXTERNAL TABLE x STORED AS CSV LOCATION 'x.csv' OPTIONS ('format.has_header' 'true'); SELECT b, 1.5 AS c FROM x",
        &[("MAINSPRING_DATAFUSION_SETTINGS", "datafusion.sql_parser.parse_float_as_decimal=true")],
    )
    .await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(ran.jobs, ["job-1", "job-2", "job-3"]);
    assert_eq!(ran.stdout, "a\n-\n1\n(1 row)\nb |   c\n--+----\n2 | 1.5\n(1 row)\n");
}

#[tokio::test]
async fn a_mistake_anywhere_stops_the_script_before_its_first_job() {
    let ran = run_text("SELECT 1;\nSELECT 2 FORM x y;", &[]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.jobs.is_empty());
    assert!(ran.stderr.starts_with("error[PROGRAM_INVALID]: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("2 | SELECT 2 FORM x y;\n  |               ^"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_job_that_fails_is_shown_at_its_statement() {
    let ran =
        run_text("SELECT 1;\n-- job: ratio\nSELECT 1 / column1 FROM (VALUES (0));\nSELECT 3", &[])
            .await;
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.jobs, ["job-1", "ratio"], "what comes after it does not run");
    assert!(ran.stderr.starts_with("error[JOB_FAILED]: job ratio: "), "{}", ran.stderr);
    assert!(ran.stderr.contains(":3:1\n"), "{}", ran.stderr);
}

#[test]
fn started_by_hand_it_says_what_it_is() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mainspring-datafusion"))
        .args(["sql-main", "x.sql", "--outputs", "/tmp"])
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("mainspring run"));
}
