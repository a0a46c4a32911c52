//! A runner with a record in memory: it answers a program what a real runner would, without a real
//! runner's processes. Jobs really run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chassis::clock::{SharedClock, SystemClock};
use chassis::credential::{DeploymentKey, Principal};
use chassis::server::{Authenticator, Limits, Serve};
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport};
use client::execution::{ExecuteCall, Execution};
use futures::{Stream, StreamExt as _, stream};
use proto::runner::execution_service_server::{ExecutionService, ExecutionServiceServer};
use proto::runner::*;
use proto::{JobId, Problem, Reason};
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::environment::Environment;
use crate::executor::{ByHand, Ended, Executor, Refusal};

/// What outlives a runner.
pub(super) struct MemoryRecord {
    engine: ByHand,
    /// The stored graph and the end of each job, by name.
    pub(super) jobs: Mutex<HashMap<String, (Bytes, Ended)>>,
    journal: Mutex<HashMap<String, Bytes>>,
    outputs: PathBuf,
}

/// One runner, on a socket in a directory of its own.
pub(super) struct MemoryRunner {
    record: Arc<MemoryRecord>,
    re_execution: bool,
    /// The names that this attempt has used.
    used: Mutex<Vec<String>>,
}

/// A record, and the socket where one runner after the other serves it.
pub(super) struct World {
    root: tempfile::TempDir,
    pub(super) record: Arc<MemoryRecord>,
    serving: Mutex<Option<(Shutdown, JoinHandle<()>)>>,
}

impl World {
    pub(super) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let record = MemoryRecord {
            engine: ByHand::new(Arc::new(SystemClock)).unwrap(),
            jobs: Mutex::default(),
            journal: Mutex::default(),
            outputs: root.path().join("out"),
        };
        Self { root, record: Arc::new(record), serving: Mutex::default() }
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// A client of the runner that serves now, or of a later one.
    pub(super) fn execution(&self) -> Execution {
        let key = DeploymentKey::from_bytes([7; 32]);
        let token = self.path("token");
        key.mint(&Principal::Deployment).write_file(&token).unwrap();
        Execution::at(&format!("unix:{}", self.path("runner.sock").display()), &token).unwrap()
    }

    /// One execution of a main(), with a runner of its own.
    pub(super) async fn main(&self, re_execution: bool) -> Environment {
        self.serve(re_execution).await;
        Environment::under(self.execution(), vec!["--year".to_owned()]).await.unwrap()
    }

    /// Ends the runner that serves, if there is one, and starts the next one.
    pub(super) async fn serve(&self, re_execution: bool) {
        self.stop().await;
        let runner =
            MemoryRunner { record: self.record.clone(), re_execution, used: Mutex::default() };
        let clock: SharedClock = Arc::new(SystemClock);
        let key = DeploymentKey::from_bytes([7; 32]);
        let shutdown = Shutdown::new();
        let server = chassis::server::bind(Serve {
            name: "runner",
            endpoints: vec![Endpoint::Unix(self.path("runner.sock"))],
            transport: Arc::new(OsTransport),
            clock,
            authenticator: Authenticator::holding(key.mint(&Principal::Deployment)),
            routes: Routes::new(ExecutionServiceServer::new(runner)),
            shutdown: shutdown.clone(),
            limits: Limits::default(),
        })
        .await
        .unwrap();
        let task = tokio::spawn(async move { server.run().await.unwrap() });
        *self.serving.lock().unwrap() = Some((shutdown, task));
    }

    pub(super) async fn stop(&self) {
        let serving = self.serving.lock().unwrap().take();
        if let Some((shutdown, task)) = serving {
            shutdown.begin();
            task.await.unwrap();
        }
    }

    /// Writes a CSV file of `n` rows and answers its path.
    pub(super) fn numbers(&self, n: u32) -> String {
        let path = self.path("numbers.csv");
        let rows: String = (0..n).map(|i| format!("{i},{}\n", i % 3)).collect();
        std::fs::write(&path, format!("n,third\n{rows}")).unwrap();
        text(&path)
    }
}

pub(super) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn status(refusal: Refusal) -> Status {
    Problem::new(refusal.reason.unwrap_or(Reason::Internal), refusal.message).into_status()
}

fn none<T>() -> Result<Response<T>, Status> {
    Err(Problem::new(Reason::Internal, "no program of these tests asks for it").into_status())
}

impl MemoryRunner {
    async fn job(&self, name: String, graph: Bytes) -> Result<Ended, Status> {
        {
            let mut used = self.used.lock().unwrap();
            if used.contains(&name) {
                let taken = Problem::new(Reason::JobNameTaken, "the name is taken");
                return Err(taken.into_status());
            }
            used.push(name.clone());
        }
        if let Some((_, ended)) = self.record.jobs.lock().unwrap().get(&name) {
            let mut ended = ended.clone();
            ended.accepted.found = true;
            return Ok(ended);
        }
        let call =
            ExecuteCall { name: name.clone(), graph: graph.clone(), ..ExecuteCall::default() };
        let ended = self.record.engine.execute(call).await.map_err(status)?;
        self.record.jobs.lock().unwrap().insert(name, (graph, ended.clone()));
        Ok(ended)
    }
}

#[tonic::async_trait]
impl ExecutionService for MemoryRunner {
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
        assert!(
            header.description.unwrap().vertices.len() > 1,
            "people see a picture of the graph"
        );
        let ended = self.job(header.name, graph.into()).await?;
        let items = [
            execute_response::Item::Accepted(ended.accepted),
            execute_response::Item::Ended(ended.end),
        ];
        let answers = items.map(|item| Ok(ExecuteResponse { item: Some(item) }));
        Ok(Response::new(stream::iter(answers).boxed()))
    }

    async fn read_result(
        &self,
        request: Request<ReadResultRequest>,
    ) -> Result<Response<Self::ReadResultStream>, Status> {
        let job: JobId = request.into_inner().job_id.parse().unwrap();
        let rows = self.record.engine.rows(job).await.map_err(status)?;
        let chunk = |at| Ok(ReadResultResponse { data: rows.slice(at..rows.len().min(at + 100)) });
        let chunks: Vec<_> = (0..rows.len()).step_by(100).map(chunk).collect();
        Ok(Response::new(stream::iter(chunks).boxed()))
    }

    async fn journal(
        &self,
        request: Request<JournalRequest>,
    ) -> Result<Response<JournalResponse>, Status> {
        let request = request.into_inner();
        let mut journal = self.record.journal.lock().unwrap();
        let found = journal.get(&request.key).cloned();
        if let (None, Some(value)) = (&found, request.value.clone()) {
            journal.insert(request.key, value);
        }
        Ok(Response::new(JournalResponse {
            value: found.clone().or(request.value),
            found: found.is_some(),
        }))
    }

    async fn get_attempt(
        &self,
        _: Request<GetAttemptRequest>,
    ) -> Result<Response<GetAttemptResponse>, Status> {
        Ok(Response::new(GetAttemptResponse {
            application_id: "numbers".to_owned(),
            generation: 1,
            epoch: 1,
            re_execution: self.re_execution,
            output_directory: text(&self.record.outputs),
        }))
    }

    async fn assign_job(
        &self,
        _: Request<AssignJobRequest>,
    ) -> Result<Response<AssignJobResponse>, Status> {
        none()
    }

    async fn request_savepoint(
        &self,
        _: Request<proto::runner::RequestSavepointRequest>,
    ) -> Result<Response<proto::runner::RequestSavepointResponse>, Status> {
        none()
    }

    async fn get_savepoint(
        &self,
        _: Request<proto::runner::GetSavepointRequest>,
    ) -> Result<Response<proto::runner::GetSavepointResponse>, Status> {
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
}
