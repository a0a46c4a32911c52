//! One `execute()` under way.

use bytes::Bytes;
use chassis::clock::SharedClock;
use chassis::tasks::{OwnedTask, owned};
use chassis::telemetry::trace;
use futures::stream;
use proto::Digest;
use proto::job::{JobEnd, Progress};
use proto::runner::{Accepted, ExecuteHeader, ExecuteRequest, execute_request, execute_response};
use tokio::sync::mpsc;

use super::{Client, ExecuteCall, chunks, wait};
use crate::error::CallError;

/// How many events wait for a slow reader. A reader that is slower still holds the stream back.
const QUEUE: usize = 16;

/// An event of an `execute()`.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecuteEvent {
    /// The graph is in the record, from where on the job survives. This is the first event, and it
    /// comes once.
    Accepted(Accepted),
    /// The job's counters.
    Progress(Progress),
    /// The end is recorded and the outputs are published. This is the last event, and it comes
    /// once, also for a job that failed.
    Ended(JobEnd),
}

/// The events of one `execute()`. Dropping this value stops the watching, and the job goes on.
#[derive(Debug)]
pub struct Running {
    events: mpsc::Receiver<Result<ExecuteEvent, CallError>>,
    call_id: String,
    _task: OwnedTask<()>,
}

impl Running {
    pub(super) fn start(client: Client, clock: SharedClock, call: ExecuteCall) -> Self {
        let drawn = || hex::encode(rand::random::<[u8; 16]>());
        let call_id = if call.call_id.is_empty() { drawn() } else { call.call_id };
        let (sender, events) = mpsc::channel(QUEUE);
        let header = ExecuteHeader {
            call_id: call_id.clone(),
            name: call.name,
            graph_digest: Digest::of(&call.graph).to_string(),
            graph_size_bytes: call.graph.len() as u64,
            description: Some(call.description),
            staging_locations: call.staging_locations,
            payload_digests: call.payload_digests.iter().map(Digest::to_string).collect(),
            name_is_literal: call.name_is_literal,
        };
        let work = async move {
            if let Err(error) = follow(client, clock, header, call.graph, &sender).await {
                // The send fails when the reader has gone, and then no caller waits for the error.
                let _ = sender.send(Err(error)).await;
            }
        };
        // The call belongs to the trace of its caller.
        let task = owned("execute", trace::carry(work));
        Self { events, call_id, _task: task }
    }

    /// The id that every retry of this call carries.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The next event; `None` after the last one or an error.
    pub async fn next(&mut self) -> Option<Result<ExecuteEvent, CallError>> {
        self.events.recv().await
    }

    /// Waits for the job's end, be it a success or not. An error is a refusal of the call.
    pub async fn ended(mut self) -> Result<JobEnd, CallError> {
        while let Some(event) = self.next().await {
            if let ExecuteEvent::Ended(end) = event? {
                return Ok(end);
            }
        }
        Err(wait::cut_off())
    }
}

/// The reader of the events has gone.
struct Unread;

/// Calls until the job has ended, through any number of runners.
async fn follow(
    client: Client,
    clock: SharedClock,
    header: ExecuteHeader,
    graph: Bytes,
    events: &mpsc::Sender<Result<ExecuteEvent, CallError>>,
) -> Result<(), CallError> {
    let mut retry = wait::Retry::new(clock);
    let mut accepted = false;
    loop {
        let error = match once(&client, &header, &graph, &mut accepted, &mut retry, events).await {
            Ok(Ok(()) | Err(Unread)) => return Ok(()),
            Err(error) => error,
        };
        retry.pause(error).await?;
    }
}

/// One try. The outer `Ok` says that the end was handed on or that the reader has gone; an error is
/// that of the call.
async fn once(
    client: &Client,
    header: &ExecuteHeader,
    graph: &Bytes,
    accepted: &mut bool,
    retry: &mut wait::Retry,
    events: &mpsc::Sender<Result<ExecuteEvent, CallError>>,
) -> Result<Result<(), Unread>, CallError> {
    let header = ExecuteRequest { part: Some(execute_request::Part::Header(header.clone())) };
    let parts = chunks(graph.clone())
        .map(|chunk| ExecuteRequest { part: Some(execute_request::Part::Chunk(chunk)) });
    let requests = stream::iter(std::iter::once(header).chain(parts));
    let mut answers = client.clone().execute(requests).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        retry.reset();
        let (event, last) = match answer.item {
            // Each runner accepts the call again, and the program hears it once.
            Some(execute_response::Item::Accepted(_)) if *accepted => continue,
            Some(execute_response::Item::Accepted(answer)) => {
                *accepted = true;
                (ExecuteEvent::Accepted(answer), false)
            }
            Some(execute_response::Item::Progress(progress)) => {
                (ExecuteEvent::Progress(progress), false)
            }
            Some(execute_response::Item::Ended(end)) => (ExecuteEvent::Ended(end), true),
            None => continue,
        };
        if events.send(Ok(event)).await.is_err() {
            return Ok(Err(Unread));
        }
        if last {
            return Ok(Ok(()));
        }
    }
    Err(wait::cut_off())
}
