//! `mainspring.api.v1.ApplicationsService`: what people and tooling ask of the record. Nothing is
//! retried here, because only the caller knows whether a repeat makes sense. `Submit` is harmless
//! to repeat with the same request id.

use std::time::Duration;

use bytes::Bytes;
use chassis::MAX_MESSAGE_BYTES;
use chassis::channel::GrpcChannel;
use futures::{Stream, StreamExt as _};
use proto::api::applications_service_client::ApplicationsServiceClient;
use proto::api::{
    AbandonRequest, Application, CancelRequest, Event, EventsRequest, ForgetRequest,
    ForgetResponse, GetGraphRequest, GetGraphResponse, GetRequest, GetVersionRequest,
    GetVersionResponse, ListRequest, ListResponse, LogLine, ReadLogsRequest, ReadResultRequest,
    RequestSavepointRequest, StopRequest, SubmitRequest, SubmitResponse, WaitFor, WaitRequest,
    WatchRequest, watch_response,
};
use proto::{ApplicationId, Generation};

use crate::error::CallError;

/// How long a call may take that does not wait for anything.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a wait may take beyond the time for which the caller asked.
const BEYOND_WAIT: Duration = Duration::from_secs(10);

/// Client of the applications of one deployment; cheap to clone.
#[derive(Debug, Clone)]
pub struct Applications {
    inner: ApplicationsServiceClient<GrpcChannel>,
}

fn bounded<T>(request: T, after: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(request);
    request.set_timeout(after);
    request
}

fn call<T>(request: T) -> tonic::Request<T> {
    bounded(request, CALL_TIMEOUT)
}

/// The number of a generation on the wire, where 0 means the latest one.
fn number(generation: Option<Generation>) -> u64 {
    generation.map_or(0, Generation::get)
}

impl Applications {
    /// A client over a channel that carries the deployment's credential.
    pub fn new(channel: GrpcChannel) -> Self {
        let inner = ApplicationsServiceClient::new(channel)
            // The size of a request has no limit here: the service refuses a request that is too
            // large with a reason, and a limit of the client would only break the call.
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner }
    }

    /// Makes a new generation. A repeat with the same request id is answered with that generation.
    pub async fn submit(&self, request: SubmitRequest) -> Result<SubmitResponse, CallError> {
        Ok(self.inner.clone().submit(call(request)).await?.into_inner())
    }

    /// One application: the named generation, or the latest one if none is named.
    pub async fn get(
        &self,
        id: &ApplicationId,
        generation: Option<Generation>,
    ) -> Result<Application, CallError> {
        let request = GetRequest { application_id: id.to_string(), generation: number(generation) };
        let answer = self.inner.clone().get(call(request)).await?.into_inner();
        Ok(answer.application.unwrap_or_default())
    }

    /// One page of the applications that the request selects.
    pub async fn list(&self, request: ListRequest) -> Result<ListResponse, CallError> {
        Ok(self.inner.clone().list(call(request)).await?.into_inner())
    }

    /// The applications of all pages of a list, and the revision that all pages are of.
    pub async fn list_all(
        &self,
        mut request: ListRequest,
    ) -> Result<(Vec<Application>, u64), CallError> {
        let mut applications = Vec::new();
        loop {
            let page = self.list(request.clone()).await?;
            applications.extend(page.applications);
            if page.next_page_token.is_empty() {
                return Ok((applications, page.revision));
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Forgets one generation. `seen_revision` is the revision of it that the caller saw; 0 accepts
    /// any. With `validate_only` the store only says whether it would refuse the call.
    pub async fn forget(
        &self,
        id: &ApplicationId,
        generation: Generation,
        seen_revision: u64,
        validate_only: bool,
    ) -> Result<ForgetResponse, CallError> {
        let (application_id, generation) = (id.to_string(), generation.get());
        let request = ForgetRequest { application_id, generation, seen_revision, validate_only };
        Ok(self.inner.clone().forget(call(request)).await?.into_inner())
    }

    /// A snapshot, the mark of its end, then changes and bookmarks. With `after_revision` the
    /// stream has only what came later.
    pub async fn watch(
        &self,
        request: WatchRequest,
    ) -> Result<
        impl Stream<Item = Result<watch_response::Item, CallError>> + Send + Unpin + use<>,
        CallError,
    > {
        let answers = self.inner.clone().watch(request).await?.into_inner();
        Ok(Box::pin(answers.filter_map(|answer| async move {
            // A newer store may send an item that this build does not know; such an item is left
            // out.
            answer.map(|answer| answer.item).map_err(CallError::from).transpose()
        })))
    }

    /// Waits for a condition for at most `at_most` (the store's limit is 10 min). The answer is the
    /// state at that time and whether the condition holds.
    pub async fn wait(
        &self,
        id: &ApplicationId,
        generation: Option<Generation>,
        wait_for: WaitFor,
        job_name: &str,
        at_most: Duration,
    ) -> Result<(Application, bool), CallError> {
        let request = WaitRequest {
            application_id: id.to_string(),
            generation: number(generation),
            wait_for: wait_for.into(),
            job_name: job_name.to_owned(),
            timeout: prost_types::Duration::try_from(at_most).ok(),
        };
        let request = bounded(request, at_most.saturating_add(BEYOND_WAIT));
        let answer = self.inner.clone().wait(request).await?.into_inner();
        Ok((answer.application.unwrap_or_default(), answer.met))
    }

    /// Asks for a cancel, which is durable when this returns. The answer is `true` if it was asked
    /// for before.
    pub async fn cancel(
        &self,
        id: &ApplicationId,
        generation: Option<Generation>,
        reason: &str,
        requested_by: &str,
    ) -> Result<(Application, bool), CallError> {
        let request = CancelRequest {
            application_id: id.to_string(),
            generation: number(generation),
            reason: reason.to_owned(),
            requested_by: requested_by.to_owned(),
        };
        let answer = self.inner.clone().cancel(call(request)).await?.into_inner();
        Ok((answer.application.unwrap_or_default(), answer.requested_earlier))
    }

    /// Asks for savepoints, which are durably wanted when this returns. The answer is `true` if the
    /// request was accepted before. The call is harmless to repeat with the same request id.
    pub async fn request_savepoint(
        &self,
        request: RequestSavepointRequest,
    ) -> Result<(Application, bool), CallError> {
        let answer = self.inner.clone().request_savepoint(call(request)).await?.into_inner();
        Ok((answer.application.unwrap_or_default(), answer.accepted_earlier))
    }

    /// Asks that all running jobs be stopped with savepoints. The answer is that of
    /// [`Self::request_savepoint`].
    pub async fn stop(&self, request: StopRequest) -> Result<(Application, bool), CallError> {
        let answer = self.inner.clone().stop(call(request)).await?.into_inner();
        Ok((answer.application.unwrap_or_default(), answer.accepted_earlier))
    }

    /// Ends a teardown or a publish that cannot finish.
    pub async fn abandon(
        &self,
        id: &ApplicationId,
        generation: Option<Generation>,
        reason: &str,
        requested_by: &str,
    ) -> Result<Application, CallError> {
        let request = AbandonRequest {
            application_id: id.to_string(),
            generation: number(generation),
            reason: reason.to_owned(),
            requested_by: requested_by.to_owned(),
        };
        let answer = self.inner.clone().abandon(call(request)).await?.into_inner();
        Ok(answer.application.unwrap_or_default())
    }

    /// What happened to an application, oldest first. With `follow` the stream goes on until the
    /// application is clean.
    pub async fn events(
        &self,
        request: EventsRequest,
    ) -> Result<impl Stream<Item = Result<Event, CallError>> + Send + Unpin + use<>, CallError>
    {
        let answers = self.inner.clone().events(request).await?.into_inner();
        Ok(answers.map(|answer| Ok(answer?.event.unwrap_or_default())))
    }

    /// The output of an application's processes, in batches of lines.
    pub async fn read_logs(
        &self,
        request: ReadLogsRequest,
    ) -> Result<impl Stream<Item = Result<Vec<LogLine>, CallError>> + Send + Unpin + use<>, CallError>
    {
        let answers = self.inner.clone().read_logs(request).await?.into_inner();
        Ok(answers.map(|answer| Ok(answer?.lines)))
    }

    /// The rows of a job, which is named by its id or its name, as chunks of an Arrow IPC stream.
    pub async fn read_result(
        &self,
        id: &ApplicationId,
        generation: Option<Generation>,
        job: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, CallError>> + Send + Unpin + use<>, CallError>
    {
        let request = ReadResultRequest {
            application_id: id.to_string(),
            generation: number(generation),
            job: job.to_owned(),
        };
        let answers = self.inner.clone().read_result(request).await?.into_inner();
        Ok(answers.map(|answer| Ok(answer?.data)))
    }

    /// A job, which is named by its id or its name, and its graph.
    pub async fn graph(
        &self,
        id: &ApplicationId,
        generation: Option<Generation>,
        job: &str,
    ) -> Result<GetGraphResponse, CallError> {
        let request = GetGraphRequest {
            application_id: id.to_string(),
            generation: number(generation),
            job: job.to_owned(),
        };
        Ok(self.inner.clone().get_graph(call(request)).await?.into_inner())
    }

    /// Version, build and protocol of the record's process.
    pub async fn version(&self) -> Result<GetVersionResponse, CallError> {
        Ok(self.inner.clone().get_version(call(GetVersionRequest {})).await?.into_inner())
    }
}
