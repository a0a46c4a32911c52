//! What the verbs ask of jobgraph-store's `ApplicationsService`, in the command line's own words.

use std::time::Duration;

use bytes::Bytes;
use chassis::channel::GrpcChannel;
use chassis::clock::{SharedClock, timeout};
use client::applications::Applications;
use client::error::CallError;
use futures::{Stream, StreamExt as _};
use proto::api::{
    Application, Event, EventsRequest, GetGraphResponse, GetVersionResponse, ListRequest,
    ListResponse, LogLine, Phase, ReadLogsRequest, RequestSavepointRequest, StopRequest,
    SubmitRequest, SubmitResponse, WaitFor, WatchRequest, watch_response::Item,
};
use proto::{ApplicationRef, Code, Problem, Reason};

use crate::application::Named;

/// How long an answer, or the beginning of a stream, may take: a person waits for it at a terminal.
const ANSWER: Duration = Duration::from_secs(10);

/// A client of the applications of one deployment. Questions and `forget` are bounded by
/// [`ANSWER`], all other calls by the longer limits of [`Applications`] itself.
#[derive(Clone)]
pub(crate) struct Api {
    inner: Applications,
    clock: SharedClock,
}

type Answer<T> = Result<T, CallError>;

impl Api {
    pub(crate) fn new(channel: GrpcChannel, clock: SharedClock) -> Self {
        Self { inner: Applications::new(channel), clock }
    }

    async fn bounded<T>(&self, call: impl Future<Output = Answer<T>>) -> Answer<T> {
        match timeout(&self.clock, ANSWER, call).await {
            Ok(answer) => answer,
            Err(elapsed) => {
                Err(CallError::new(Code::DeadlineExceeded, format!("jobgraph-store: {elapsed}")))
            }
        }
    }

    pub(crate) async fn submit(&self, request: SubmitRequest) -> Answer<SubmitResponse> {
        self.inner.submit(request).await
    }

    pub(crate) async fn get(&self, named: &Named) -> Answer<Application> {
        self.bounded(self.inner.get(&named.id, named.generation)).await
    }

    pub(crate) async fn list(&self, request: ListRequest) -> Answer<ListResponse> {
        self.bounded(self.inner.list(request)).await
    }

    /// Watches one application, or all of them when none is named.
    pub(crate) async fn watch(
        &self,
        named: Option<&Named>,
        after_revision: u64,
    ) -> Answer<impl Stream<Item = Answer<Item>> + Send + Unpin + use<>> {
        let request = WatchRequest {
            application_id: named.map(|named| named.id.to_string()).unwrap_or_default(),
            generation: named.map_or(0, Named::generation_or_latest),
            after_revision,
            ..WatchRequest::default()
        };
        self.bounded(self.inner.watch(request)).await
    }

    /// Watches everything, beginning with a snapshot of what is not clean. A store that is too old
    /// to know this question answers with a snapshot of everything.
    pub(crate) async fn watch_unclean(
        &self,
    ) -> Answer<impl Stream<Item = Answer<Item>> + Send + Unpin + use<>> {
        let request = WatchRequest { snapshot_unclean_only: true, ..WatchRequest::default() };
        self.bounded(self.inner.watch(request)).await
    }

    /// Forgets one generation as it was seen; with `validate_only` the store only says whether it
    /// would refuse. The answer is true if the generation was forgotten by an earlier call.
    pub(crate) async fn forget(
        &self,
        application: &ApplicationRef,
        seen_revision: u64,
        validate_only: bool,
    ) -> Answer<bool> {
        let ApplicationRef { id, generation } = application;
        let forget = self.inner.forget(id, *generation, seen_revision, validate_only);
        Ok(self.bounded(forget).await?.forgotten_earlier)
    }

    /// Waits for the condition. Answers with the application's state at the time when the condition
    /// came true or the time was up, and with whether it came true.
    pub(crate) async fn wait(
        &self,
        named: &Named,
        wait_for: WaitFor,
        job_name: &str,
        at_most: Duration,
    ) -> Answer<(Application, bool)> {
        self.inner.wait(&named.id, named.generation, wait_for, job_name, at_most).await
    }

    /// Asks the application to end. The answer is true if an earlier call had asked already.
    pub(crate) async fn cancel(&self, named: &Named, reason: &str) -> Answer<(Application, bool)> {
        self.inner.cancel(&named.id, named.generation, reason, &requester()).await
    }

    /// Asks for a savepoint. The answer is true if the store had accepted the same request before.
    pub(crate) async fn request_savepoint(
        &self,
        request: RequestSavepointRequest,
    ) -> Answer<(Application, bool)> {
        self.inner.request_savepoint(request).await
    }

    /// Asks for a stop with a savepoint. The answer is true if the store had accepted the same
    /// request before.
    pub(crate) async fn stop(&self, request: StopRequest) -> Answer<(Application, bool)> {
        self.inner.stop(request).await
    }

    pub(crate) async fn abandon(&self, named: &Named, reason: &str) -> Answer<Application> {
        self.inner.abandon(&named.id, named.generation, reason, &requester()).await
    }

    pub(crate) async fn events(
        &self,
        named: &Named,
        after_event_id: u64,
        follow: bool,
    ) -> Answer<impl Stream<Item = Answer<Event>> + Send + Unpin + use<>> {
        let request = EventsRequest {
            application_id: named.id.to_string(),
            generation: named.generation_or_latest(),
            after_event_id,
            follow,
        };
        self.bounded(self.inner.events(request)).await
    }

    /// The events so far, to their present end.
    pub(crate) async fn past_events(&self, named: &Named) -> Answer<Vec<Event>> {
        let mut stream = self.events(named, 0, false).await?;
        let mut events = Vec::new();
        while let Some(event) = stream.next().await {
            events.push(event?);
        }
        Ok(events)
    }

    pub(crate) async fn logs(
        &self,
        request: ReadLogsRequest,
    ) -> Answer<impl Stream<Item = Answer<Vec<LogLine>>> + Send + Unpin + use<>> {
        self.bounded(self.inner.read_logs(request)).await
    }

    /// The rows of a job, named by its id or its name, as chunks of an Arrow stream.
    pub(crate) async fn result(
        &self,
        named: &Named,
        job: &str,
    ) -> Answer<impl Stream<Item = Answer<Bytes>> + Send + Unpin + use<>> {
        self.bounded(self.inner.read_result(&named.id, named.generation, job)).await
    }

    pub(crate) async fn graph(&self, named: &Named, job: &str) -> Answer<GetGraphResponse> {
        self.bounded(self.inner.graph(&named.id, named.generation, job)).await
    }

    pub(crate) async fn version(&self) -> Answer<GetVersionResponse> {
        self.bounded(self.inner.version()).await
    }
}

/// The phases that an application passes before it is clean, for a filter.
pub(crate) fn unclean_phases() -> Vec<i32> {
    let phases =
        [Phase::Submitted, Phase::Starting, Phase::Running, Phase::Finishing, Phase::Cleaning];
    phases.map(i32::from).to_vec()
}

/// Whether the error says that the record once held what was asked for.
pub(crate) fn is_forgotten(error: &CallError) -> bool {
    error.reason() == Some(Reason::ApplicationNotFound)
        && Problem::from_status(error.status()).metadata.contains_key(proto::reason::FORGOTTEN)
}

/// Who makes the request, as the record keeps it: `user@host`.
pub(crate) fn requester() -> String {
    let user = std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .ok()
        .or_else(|| name_of(rustix::process::getuid().as_raw()))
        .unwrap_or_else(|| format!("uid{}", rustix::process::getuid().as_raw()));
    format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy())
}

/// The name of a user in `/etc/passwd`, for a process whose environment does not name its user.
fn name_of(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut entries = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let entry =
        entries.find(|entry| entry.get(2).is_some_and(|number| number.parse() == Ok(uid)))?;
    entry.first().map(|&name| name.to_owned())
}

#[cfg(test)]
pub(crate) mod tests;
