//! `ExecutionService` on the wire, and the server that carries it for one attempt.

mod status;

use std::pin::Pin;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chassis::MAX_MESSAGE_BYTES;
use chassis::clock::SharedClock;
use chassis::server::{Authenticator, Limits, Serve, bind, require_attempt};
use chassis::tasks::Tasks;
use chassis::transport::{Endpoint, SharedTransport};
use client::places::{Kind, Places};
use futures::{Stream, StreamExt as _};
use proto::runner::execution_service_server::{ExecutionService, ExecutionServiceServer};
use proto::runner::{
    AssignJobRequest, AssignJobResponse, CancelJobRequest, CancelJobResponse, ExecuteHeader,
    ExecuteRequest, ExecuteResponse, GetAttemptRequest, GetAttemptResponse, GetClusterRequest,
    GetClusterResponse, GetSavepointRequest, GetSavepointResponse, JournalRequest, JournalResponse,
    PutPayloadRequest, PutPayloadResponse, ReadResultRequest, ReadResultResponse,
    RequestSavepointRequest, RequestSavepointResponse, WatchJobRequest, WatchJobResponse,
    execute_request, put_payload_request,
};
use proto::{Digest, EpochFence, JobId, Problem, Reason, api};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::error::PortError;
use crate::ports::PortResult;
use crate::ports::keyring::Keyring;
use crate::ports::workspace;
use crate::service::Front;
use crate::service::execution::{Call, MAX_GRAPH_BYTES, MainService};

/// Opens the server of each attempt on a socket of the attempt's own.
pub struct GrpcFront {
    places: Places,
    transport: SharedTransport,
    clock: SharedClock,
    keyring: Keyring,
}

impl GrpcFront {
    /// A front that serves on sockets below the places' runtime directory. Callers need the token
    /// of their attempt; no other token is taken.
    pub fn new(
        places: Places,
        transport: SharedTransport,
        clock: SharedClock,
        keyring: Keyring,
    ) -> Self {
        Self { places, transport, clock, keyring }
    }
}

#[async_trait]
impl Front for GrpcFront {
    async fn open(
        &self,
        fence: &EpochFence,
        execution: MainService,
        tasks: &Tasks,
    ) -> PortResult<String> {
        let directory =
            self.places.open().sockets(&fence.application, Kind::Attempt, fence.epoch.get());
        let socket = directory.join("execution-0.sock");
        let endpoint = Endpoint::Unix(socket.clone());
        let service = ExecutionServiceServer::new(Served { execution, fence: fence.clone() })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let serve = Serve {
            name: "execution",
            endpoints: vec![endpoint.clone()],
            transport: self.transport.clone(),
            clock: self.clock.clone(),
            authenticator: Authenticator::holding(self.keyring.of_attempt(fence)?.execution),
            routes: Routes::new(service),
            shutdown: tasks.shutdown().clone(),
            limits: Limits::default(),
        };
        let server = bind(serve)
            .await
            .map_err(|error| PortError::away(format!("cannot serve {endpoint}: {error}")))?;
        workspace::give_to_main(&self.places, &fence.application, &socket, 0o660)?;
        tasks.spawn("ExecutionService", server.run());
        Ok(endpoint.to_string())
    }
}

/// The service of one attempt.
struct Served {
    execution: MainService,
    fence: EpochFence,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Served {
    fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let application = &self.fence.application;
        require_attempt(
            request,
            application.id.as_str(),
            application.generation.get(),
            self.fence.epoch.get(),
        )
    }
}

#[async_trait]
impl ExecutionService for Served {
    type ExecuteStream = Answers<ExecuteResponse>;
    type WatchJobStream = Answers<WatchJobResponse>;
    type ReadResultStream = Answers<ReadResultResponse>;

    async fn execute(
        &self,
        request: Request<Streaming<ExecuteRequest>>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        self.check(&request)?;
        let mut parts = request.into_inner();
        let header = match parts.message().await?.and_then(|first| first.part) {
            Some(execute_request::Part::Header(header)) => header,
            _ => return Err(invalid("the first message of Execute has to be the header")),
        };
        let entered = self.execution.enter(&header.call_id, &header.name)?;
        let call = collect(header, parts).await?;
        let answers = self.execution.execute(call, entered).await?;
        let answers = ReceiverStream::new(answers).map(|answer| match answer {
            Ok(item) => Ok(ExecuteResponse { item: Some(item) }),
            Err(error) => Err(error.into()),
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn assign_job(
        &self,
        request: Request<AssignJobRequest>,
    ) -> Result<Response<AssignJobResponse>, Status> {
        self.check(&request)?;
        let request = request.into_inner();
        let (job, ordinal) =
            self.execution.assign_job(&request.call_id, &request.name, request.description).await?;
        Ok(Response::new(AssignJobResponse { job_id: job.to_string(), ordinal }))
    }

    async fn cancel_job(
        &self,
        request: Request<CancelJobRequest>,
    ) -> Result<Response<CancelJobResponse>, Status> {
        self.check(&request)?;
        let request = request.into_inner();
        self.execution.cancel_job(job_id(&request.job_id)?, request.reason).await?;
        Ok(Response::new(CancelJobResponse {}))
    }

    async fn request_savepoint(
        &self,
        request: Request<RequestSavepointRequest>,
    ) -> Result<Response<RequestSavepointResponse>, Status> {
        self.check(&request)?;
        let request = request.into_inner();
        let wish = api::SavepointWish {
            request_id: request.request_id,
            directory: request.directory,
            stop: request.stop,
            drain: request.drain,
            format: request.format,
            ..api::SavepointWish::default()
        };
        self.execution.request_savepoint(job_id(&request.job_id)?, wish).await?;
        Ok(Response::new(RequestSavepointResponse {}))
    }

    async fn get_savepoint(
        &self,
        request: Request<GetSavepointRequest>,
    ) -> Result<Response<GetSavepointResponse>, Status> {
        self.check(&request)?;
        let request = request.into_inner();
        let asked = self.execution.savepoint(job_id(&request.job_id)?, &request.request_id).await;
        Ok(Response::new(GetSavepointResponse { savepoint: asked? }))
    }

    async fn put_payload(
        &self,
        request: Request<Streaming<PutPayloadRequest>>,
    ) -> Result<Response<PutPayloadResponse>, Status> {
        self.check(&request)?;
        let mut parts = request.into_inner();
        let header = match parts.message().await?.and_then(|first| first.part) {
            Some(put_payload_request::Part::Header(header)) => header,
            _ => return Err(invalid("the first message of PutPayload has to be the header")),
        };
        let digest: Digest = header.digest.parse().map_err(malformed)?;
        // A stream that the program breaks off is short, and is refused by its digest.
        let chunks = parts.filter_map(|part| async move {
            match part.ok()?.part? {
                put_payload_request::Part::Chunk(chunk) => Some(chunk),
                put_payload_request::Part::Header(_) => None,
            }
        });
        let found = self.execution.put_payload(digest, header.size_bytes, chunks.boxed()).await?;
        Ok(Response::new(PutPayloadResponse { found }))
    }

    async fn watch_job(
        &self,
        request: Request<WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        self.check(&request)?;
        let states = self.execution.watch_job(job_id(&request.into_inner().job_id)?).await?;
        Ok(Response::new(Box::pin(states.map(|state| state.map_err(Status::from)))))
    }

    async fn read_result(
        &self,
        request: Request<ReadResultRequest>,
    ) -> Result<Response<Self::ReadResultStream>, Status> {
        self.check(&request)?;
        let rows = self.execution.read_result(job_id(&request.into_inner().job_id)?).await?;
        let rows =
            rows.map(|data| data.map(|data| ReadResultResponse { data }).map_err(Status::from));
        Ok(Response::new(Box::pin(rows)))
    }

    async fn journal(
        &self,
        request: Request<JournalRequest>,
    ) -> Result<Response<JournalResponse>, Status> {
        self.check(&request)?;
        let request = request.into_inner();
        let answer = self.execution.journal(&request.key, request.value).await?;
        Ok(Response::new(JournalResponse { value: answer.value, found: answer.found }))
    }

    async fn get_cluster(
        &self,
        request: Request<GetClusterRequest>,
    ) -> Result<Response<GetClusterResponse>, Status> {
        self.check(&request)?;
        Ok(Response::new(self.execution.cluster()))
    }

    async fn get_attempt(
        &self,
        request: Request<GetAttemptRequest>,
    ) -> Result<Response<GetAttemptResponse>, Status> {
        self.check(&request)?;
        Ok(Response::new(self.execution.attempt()))
    }
}

/// Reads all chunks of a graph, up to the limit.
async fn collect(
    header: ExecuteHeader,
    mut parts: Streaming<ExecuteRequest>,
) -> Result<Call, Status> {
    let said = usize::try_from(header.graph_size_bytes).unwrap_or(usize::MAX);
    let too_large = |size: usize| {
        let text = format!(
            "the graph of job {:?} has {size} bytes and a graph may have {MAX_GRAPH_BYTES}: put large data into files \
             or artifacts and let the graph name them",
            header.name
        );
        Problem::new(Reason::GraphTooLarge, text).into_status()
    };
    if said > MAX_GRAPH_BYTES {
        return Err(too_large(said));
    }
    let mut graph = BytesMut::with_capacity(said);
    while let Some(part) = parts.message().await? {
        let Some(execute_request::Part::Chunk(chunk)) = part.part else {
            return Err(invalid("after the header Execute takes chunks"));
        };
        if graph.len() + chunk.len() > MAX_GRAPH_BYTES {
            return Err(too_large(graph.len() + chunk.len()));
        }
        graph.extend_from_slice(&chunk);
    }
    Ok(Call {
        call_id: header.call_id,
        name: header.name,
        graph_digest: header.graph_digest,
        graph: Bytes::from(graph),
        description: header.description.unwrap_or_default(),
        staging_locations: header.staging_locations,
        payload_digests: header.payload_digests,
        name_is_literal: header.name_is_literal,
    })
}

fn job_id(text: &str) -> Result<JobId, Status> {
    text.parse().map_err(malformed)
}

fn malformed(error: proto::InvalidId) -> Status {
    Problem::new(Reason::IdMalformed, error.to_string()).into_status()
}

fn invalid(text: &str) -> Status {
    Problem::new(Reason::RequestInvalid, text).into_status()
}

#[cfg(test)]
mod tests;
