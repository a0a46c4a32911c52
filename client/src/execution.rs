//! `ExecutionService`, as a main() calls it. A program is never told that its runner vanished. Each
//! call here waits and tries again, with jitter and the same call id, until the runner that leads
//! next answers it. If no runner comes, main()'s tether ends the program together with its waiting
//! calls, so the tether is the bound of the wait.

mod running;
mod wait;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use chassis::MAX_MESSAGE_BYTES;
use chassis::channel::GrpcChannel;
use chassis::clock::SharedClock;
use futures::future::ready;
use futures::{Stream, StreamExt as _, stream};
use proto::runner::execution_service_client::ExecutionServiceClient;
use proto::runner::{
    AssignJobRequest, CancelJobRequest, GetAttemptRequest, GetAttemptResponse, GetClusterRequest,
    GetClusterResponse, GetSavepointRequest, JournalRequest, JournalResponse, PutPayloadHeader,
    PutPayloadRequest, ReadResultRequest, RequestSavepointRequest, WatchJobRequest,
    WatchJobResponse, put_payload_request,
};
use proto::{Digest, JobId, api};

use record::limits::CHUNK_BYTES;
pub use record::limits::MAX_GRAPH_BYTES;

use crate::error::CallError;

pub use proto::job::{JobEnd, JobOutcome, Progress, Savepoint};
pub use proto::runner::Accepted;
pub use running::{ExecuteEvent, Running};

/// The environment variable that names the endpoint where the runner serves `ExecutionService` for
/// this main().
pub const ENDPOINT_VARIABLE: &str = "MAINSPRING_ENDPOINT";

/// The environment variable that names the file with this main()'s credential.
pub const TOKEN_FILE_VARIABLE: &str = "MAINSPRING_TOKEN_FILE";

/// This process was not started as the main() of an application.
#[derive(Debug, thiserror::Error)]
pub enum NoEnvironment {
    /// A variable that the runner sets is missing.
    #[error(
        "{0} is not set: this program was not started by mainspring (start it with `mainspring run`)"
    )]
    Unset(&'static str),
    /// The endpoint cannot be parsed.
    #[error("{ENDPOINT_VARIABLE}: {0}")]
    Endpoint(#[from] chassis::transport::InvalidEndpoint),
    /// The credential's file cannot be read.
    #[error("{TOKEN_FILE_VARIABLE}={path}: {error}")]
    Token {
        /// The file that the variable names.
        path: PathBuf,
        /// Why the file cannot be read.
        error: std::io::Error,
    },
}

/// One `execute()` of the program.
#[derive(Debug, Clone, Default)]
pub struct ExecuteCall {
    /// The id that [`Execution::assign_job`] was called with. If it is empty,
    /// [`Execution::execute`] draws one.
    pub call_id: String,
    /// The job's identity. A job without a name is named by its ordinal, and then no other call may
    /// be in flight.
    pub name: String,
    /// The job graph in the engine's bytes, [`MAX_GRAPH_BYTES`] at most.
    pub graph: Bytes,
    /// The same graph for people.
    pub description: api::GraphDescription,
    /// Absolute directories where the job may stage output.
    pub staging_locations: Vec<String>,
    /// Files that the graph needs (jars), which the program has put with
    /// [`Execution::put_payload`].
    pub payload_digests: Vec<Digest>,
    /// Whether the name stands in the program as it is, so that it is the same when main() is
    /// executed again.
    pub name_is_literal: bool,
}

/// The runner of this main(); cheap to clone.
///
/// A program has one of these, whichever runner leads. Every call is harmless to repeat, and is
/// repeated until a runner answers with a result or a refusal, so a caller needs no retries of its
/// own. An error is therefore final: a repeat would be answered the same.
#[derive(Clone)]
pub struct Execution {
    inner: ExecutionServiceClient<GrpcChannel>,
    clock: SharedClock,
}

impl std::fmt::Debug for Execution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Execution")
    }
}

impl Execution {
    /// A client over a channel that carries the attempt's token.
    pub fn new(channel: GrpcChannel, clock: SharedClock) -> Self {
        let inner = ExecutionServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner, clock }
    }

    /// The runner that started this process, as the environment names it. The first call connects.
    pub fn from_environment() -> Result<Self, NoEnvironment> {
        let endpoint = std::env::var(ENDPOINT_VARIABLE)
            .map_err(|_| NoEnvironment::Unset(ENDPOINT_VARIABLE))?;
        let token = std::env::var_os(TOKEN_FILE_VARIABLE)
            .ok_or(NoEnvironment::Unset(TOKEN_FILE_VARIABLE))?;
        Self::at(&endpoint, Path::new(&token))
    }

    /// The runner at an endpoint (`unix:/path` or `tcp://host:port`), with the credential in a
    /// file.
    pub fn at(endpoint: &str, token_file: &Path) -> Result<Self, NoEnvironment> {
        let endpoint = endpoint.parse()?;
        let credential = chassis::credential::Credential::from_file(token_file)
            .map_err(|error| NoEnvironment::Token { path: token_file.to_owned(), error })?;
        let clock: SharedClock = std::sync::Arc::new(chassis::clock::SystemClock);
        let transport = std::sync::Arc::new(chassis::transport::OsTransport);
        let channel =
            chassis::channel::connect(transport, clock.clone(), endpoint, Some(credential));
        Ok(Self::new(channel, clock))
    }

    /// Executes one job, whose events follow until the job has ended. Dropping the handle stops the
    /// watching, and the job goes on. Every retry of this call carries the call id; a call without
    /// one is given one here.
    pub fn execute(&self, call: ExecuteCall) -> Running {
        Running::start(self.inner.clone(), self.clock.clone(), call)
    }

    /// The id that the job of an [`execute`](Self::execute) with this call id and name will have,
    /// before its graph exists, and the call's position among all calls of this main(). The
    /// description finds a job whose name varies.
    pub async fn assign_job(
        &self,
        call_id: &str,
        name: &str,
        description: api::GraphDescription,
    ) -> Result<(JobId, u32), CallError> {
        let (call_id, name, description) = (call_id.to_owned(), name.to_owned(), Some(description));
        let request = AssignJobRequest { call_id, name, description };
        let answer = self
            .patiently(|mut client| {
                let request = request.clone();
                async move { Ok(client.assign_job(request).await?.into_inner()) }
            })
            .await?;
        let malformed =
            |error: proto::InvalidId| CallError::from(tonic::Status::internal(error.to_string()));
        Ok((answer.job_id.parse().map_err(malformed)?, answer.ordinal))
    }

    /// The rows that an ended job brought back, as chunks of an Arrow IPC stream. After a break the
    /// stream goes on where it was.
    pub fn read_result(
        &self,
        job: JobId,
    ) -> impl Stream<Item = Result<Bytes, CallError>> + Send + use<> {
        let (client, clock) = (self.inner.clone(), self.clock.clone());
        let request = ReadResultRequest { job_id: job.to_string() };
        stream::try_unfold((None, 0_usize), move |(open, mut got)| {
            let (client, clock, request) = (client.clone(), clock.clone(), request.clone());
            async move {
                let mut open: Option<tonic::Streaming<_>> = open;
                let mut skip = 0;
                let mut retry = wait::Retry::new(clock);
                loop {
                    let mut answers = match open.take() {
                        Some(answers) => answers,
                        None => {
                            skip = got;
                            retry.run(|| read_result(client.clone(), request.clone())).await?
                        }
                    };
                    match answers.message().await {
                        // The caller has this part already, from before the break.
                        Ok(Some(answer)) if answer.data.len() <= skip => {
                            skip -= answer.data.len();
                            open = Some(answers);
                        }
                        Ok(Some(answer)) => {
                            let data = answer.data.slice(skip..);
                            got += data.len();
                            return Ok(Some((data, (Some(answers), got))));
                        }
                        Ok(None) => return Ok(None),
                        Err(status) => retry.pause(status.into()).await?,
                    }
                }
            }
        })
    }

    /// Reads the value that is kept under a `once` key.
    pub async fn journal_get(&self, key: &str) -> Result<Option<Bytes>, CallError> {
        Ok(self.journal(key, None).await?.value)
    }

    /// Keeps a value under a `once` key if there is none. The answer is the value that stands, and
    /// whether it stood before.
    pub async fn journal_put(&self, key: &str, value: Bytes) -> Result<(Bytes, bool), CallError> {
        let answer = self.journal(key, Some(value.clone())).await?;
        Ok((answer.value.unwrap_or(value), answer.found))
    }

    async fn journal(&self, key: &str, value: Option<Bytes>) -> Result<JournalResponse, CallError> {
        let request = JournalRequest { key: key.to_owned(), value };
        self.patiently(|mut client| {
            let request = request.clone();
            async move { Ok(client.journal(request).await?.into_inner()) }
        })
        .await
    }

    /// Puts bytes into the record's payloads and answers their digest.
    pub async fn put_payload(&self, bytes: Bytes) -> Result<Digest, CallError> {
        let digest = Digest::of(&bytes);
        let header =
            PutPayloadHeader { digest: digest.to_string(), size_bytes: bytes.len() as u64 };
        let header = PutPayloadRequest { part: Some(put_payload_request::Part::Header(header)) };
        self.patiently(|mut client| {
            let chunks = chunks(bytes.clone()).map(|chunk| PutPayloadRequest {
                part: Some(put_payload_request::Part::Chunk(chunk)),
            });
            let parts = stream::iter(std::iter::once(header.clone()).chain(chunks));
            async move { Ok(client.put_payload(parts).await?.into_inner()) }
        })
        .await?;
        Ok(digest)
    }

    /// Puts a file of any size whose digest is known, and which does not change meanwhile.
    pub async fn put_payload_file(
        &self,
        digest: Digest,
        size_bytes: u64,
        path: &Path,
    ) -> Result<(), CallError> {
        let header = PutPayloadHeader { digest: digest.to_string(), size_bytes };
        self.patiently(|mut client| {
            let header =
                PutPayloadRequest { part: Some(put_payload_request::Part::Header(header.clone())) };
            async move {
                let file = tokio::fs::File::open(path).await;
                let file = file.map_err(|error| unreadable(path, &error))?;
                // A file that fails while it is read ends early, and the record refuses bytes that
                // are too few.
                let read = tokio_util::io::ReaderStream::with_capacity(file, CHUNK_BYTES);
                let chunks = read
                    .take_while(|chunk| ready(chunk.is_ok()))
                    .filter_map(|chunk| ready(chunk.ok()));
                let chunks = chunks.map(|chunk| PutPayloadRequest {
                    part: Some(put_payload_request::Part::Chunk(chunk)),
                });
                client.put_payload(stream::iter([header]).chain(chunks)).await?;
                Ok(())
            }
        })
        .await
    }

    /// Asks for a savepoint of one job, which is durably wanted when this returns.
    pub async fn request_savepoint(
        &self,
        request: RequestSavepointRequest,
    ) -> Result<(), CallError> {
        self.patiently(|mut client| {
            let request = request.clone();
            async move {
                client.request_savepoint(request).await?;
                Ok(())
            }
        })
        .await
    }

    /// The result of a savepoint that was asked for; `None` while it is being taken.
    pub async fn savepoint(
        &self,
        job: JobId,
        request_id: &str,
    ) -> Result<Option<Savepoint>, CallError> {
        let request =
            GetSavepointRequest { job_id: job.to_string(), request_id: request_id.to_owned() };
        self.patiently(|mut client| {
            let request = request.clone();
            async move { Ok(client.get_savepoint(request).await?.into_inner().savepoint) }
        })
        .await
    }

    /// The cluster that this attempt works with right now.
    pub async fn cluster(&self) -> Result<GetClusterResponse, CallError> {
        self.patiently(|mut client| async move {
            Ok(client.get_cluster(GetClusterRequest {}).await?.into_inner())
        })
        .await
    }

    /// A job's state and progress until the job has ended; the last item carries the end.
    pub fn watch_job(
        &self,
        job: JobId,
    ) -> impl Stream<Item = Result<WatchJobResponse, CallError>> + Send + use<> {
        let (client, clock) = (self.inner.clone(), self.clock.clone());
        let request = WatchJobRequest { job_id: job.to_string() };
        stream::try_unfold((None, false), move |(open, ended)| {
            let (client, clock, request) = (client.clone(), clock.clone(), request.clone());
            async move {
                let mut open: Option<tonic::Streaming<WatchJobResponse>> = open;
                let mut retry = wait::Retry::new(clock);
                if ended {
                    return Ok(None);
                }
                loop {
                    let mut answers = match open.take() {
                        Some(answers) => answers,
                        None => retry.run(|| watch_job(client.clone(), request.clone())).await?,
                    };
                    match answers.message().await {
                        Ok(Some(answer)) => {
                            let ended = answer.end.is_some();
                            return Ok(Some((answer, (Some(answers), ended))));
                        }
                        Ok(None) => retry.pause(wait::cut_off()).await?,
                        Err(status) => retry.pause(status.into()).await?,
                    }
                }
            }
        })
    }

    /// Asks one job of this application to end.
    pub async fn cancel_job(&self, job: JobId, reason: &str) -> Result<(), CallError> {
        let request = CancelJobRequest { job_id: job.to_string(), reason: reason.to_owned() };
        self.patiently(|mut client| {
            let request = request.clone();
            async move { Ok(client.cancel_job(request).await.map(drop)?) }
        })
        .await
    }

    /// The attempt whose main() this process is.
    pub async fn get_attempt(&self) -> Result<GetAttemptResponse, CallError> {
        self.patiently(|mut client| async move {
            Ok(client.get_attempt(GetAttemptRequest {}).await?.into_inner())
        })
        .await
    }

    /// Repeats a call, which has to be harmless to repeat, for as long as the runner is away.
    async fn patiently<T, F, Fut>(&self, call: F) -> Result<T, CallError>
    where
        F: Fn(ExecutionServiceClient<GrpcChannel>) -> Fut,
        Fut: Future<Output = Result<T, CallError>>,
    {
        wait::Retry::new(self.clock.clone()).run(|| call(self.inner.clone())).await
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> CallError {
    tonic::Status::data_loss(format!("{} cannot be read: {error}", path.display())).into()
}

type Client = ExecutionServiceClient<GrpcChannel>;

async fn read_result(
    mut client: Client,
    request: ReadResultRequest,
) -> Result<tonic::Streaming<proto::runner::ReadResultResponse>, CallError> {
    Ok(client.read_result(request).await?.into_inner())
}

async fn watch_job(
    mut client: Client,
    request: WatchJobRequest,
) -> Result<tonic::Streaming<WatchJobResponse>, CallError> {
    Ok(client.watch_job(request).await?.into_inner())
}

/// The bytes in pieces of [`CHUNK_BYTES`], without copying.
fn chunks(bytes: Bytes) -> impl Iterator<Item = Bytes> + Send {
    (0..bytes.len())
        .step_by(CHUNK_BYTES)
        .map(move |at| bytes.slice(at..bytes.len().min(at + CHUNK_BYTES)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_put_together_are_the_bytes() {
        for size in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let bytes = Bytes::from((0..size).map(|at| (at % 251) as u8).collect::<Vec<_>>());
            let pieces: Vec<_> = chunks(bytes.clone()).collect();
            assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= CHUNK_BYTES));
            assert_eq!(pieces.concat(), bytes);
        }
    }
}
