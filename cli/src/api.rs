//! What the verbs ask of the one service that people and tooling talk to, in the command line's own words.

#[cfg(test)]
pub(crate) mod puppet;

use std::time::Duration;

use bytes::Bytes;
use chassis::channel::GrpcChannel;
use chassis::clock::{SharedClock, timeout};
use client::applications::Applications;
use client::error::CallError;
use futures::{Stream, StreamExt as _};
use proto::api::{
    Application, Event, EventsRequest, GetGraphResponse, GetVersionResponse, ListRequest, ListResponse,
    LogLine, Phase, ReadLogsRequest, RequestSavepointRequest, StopRequest, SubmitRequest, SubmitResponse,
    WaitFor, WatchRequest, watch_response::Item,
};
use proto::{ApplicationRef, Problem, Reason};
use tonic::Status;

use crate::application::Named;

/// How long an answer, or the beginning of a stream, may take: somebody waits at a terminal.
const ANSWER: Duration = Duration::from_secs(10);

/// A client of the applications of one deployment.
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
            Err(elapsed) => Err(Status::deadline_exceeded(format!("jobgraph-store: {elapsed}")).into()),
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

    /// Of one application or of all.
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

    /// Of all that is not clean, and of every change. A store that is older than this one's question answers with all of it.
    pub(crate) async fn watch_unclean(
        &self,
    ) -> Answer<impl Stream<Item = Answer<Item>> + Send + Unpin + use<>> {
        let request = WatchRequest { snapshot_unclean_only: true, ..WatchRequest::default() };
        self.bounded(self.inner.watch(request)).await
    }

    /// Forgets one generation as it was seen; with `validate_only` it is only refused, or not. True: it was forgotten before.
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

    /// The state when it is so, or when the time is up; and whether it is so.
    pub(crate) async fn wait(
        &self,
        named: &Named,
        wait_for: WaitFor,
        job_name: &str,
        at_most: Duration,
    ) -> Answer<(Application, bool)> {
        self.inner.wait(&named.id, named.generation, wait_for, job_name, at_most).await
    }

    /// True: it was asked for before.
    pub(crate) async fn cancel(&self, named: &Named, reason: &str) -> Answer<(Application, bool)> {
        self.inner.cancel(&named.id, named.generation, reason, &requester()).await
    }

    /// True: it was accepted before.
    pub(crate) async fn request_savepoint(
        &self,
        request: RequestSavepointRequest,
    ) -> Answer<(Application, bool)> {
        self.inner.request_savepoint(request).await
    }

    /// True: it was accepted before.
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

    /// All events so far.
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

    /// Rows of a job, by id or name, as chunks of an Arrow stream.
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

/// The phases of all that is not clean, for a filter.
pub(crate) fn unclean_phases() -> Vec<i32> {
    let phases = [Phase::Submitted, Phase::Starting, Phase::Running, Phase::Finishing, Phase::Cleaning];
    phases.map(i32::from).to_vec()
}

/// Whether the error says that the record once held what was asked for.
pub(crate) fn is_forgotten(error: &CallError) -> bool {
    error.reason() == Some(Reason::ApplicationNotFound)
        && Problem::from_status(error.status()).metadata.contains_key(proto::reason::FORGOTTEN)
}

/// Who asks, for the record: `user@host`.
pub(crate) fn requester() -> String {
    let user = std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .ok()
        .or_else(|| name_of(rustix::process::getuid().as_raw()))
        .unwrap_or_else(|| format!("uid{}", rustix::process::getuid().as_raw()));
    format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy())
}

/// The user's name, where the machine keeps it in its plain file.
fn name_of(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut entries = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let entry = entries.find(|entry| entry.get(2).is_some_and(|number| number.parse() == Ok(uid)))?;
    entry.first().map(|&name| name.to_owned())
}
