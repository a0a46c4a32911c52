//! Follows an application's events, state and output through one queue. A stream that breaks is
//! opened again where it broke, by event id or by cursor, so that the service may be killed and
//! come back in the meantime.

use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, SharedClock};
use chassis::telemetry::trace;
use client::error::CallError;
use futures::StreamExt as _;
use proto::api::{Application, Bookmark, Event, LogLine, ReadLogsRequest, watch_response::Item};
use proto::{Code, Reason};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::api::Api;
use crate::application::Named;

/// How many messages may wait to be shown; the streams wait when there are more.
const QUEUE: usize = 256;

/// One message of the streams.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The next event.
    Event(Event),
    /// The last event was `clean`.
    EventsEnded,
    /// The application's state, at first and after each change.
    State(Box<Application>),
    /// A sign of life: the latest beat of its leader.
    Beat(Bookmark),
    /// Lines of output.
    Lines(Vec<LogLine>),
    /// The application is clean, and all its lines were read.
    LogsEnded,
    /// A stream broke and is being opened again.
    Away(CallError),
    /// A stream can never be opened.
    Refused(CallError),
}

/// The streams of one generation of an application. They end when this value is dropped.
pub(crate) struct Following {
    api: Api,
    clock: SharedClock,
    named: Named,
    sender: mpsc::Sender<Heard>,
    heard: mpsc::Receiver<Heard>,
    streams: JoinSet<()>,
}

impl Following {
    /// Follows nothing yet. `named` carries its generation, so that a later one is not followed
    /// instead.
    pub(crate) fn new(api: Api, clock: SharedClock, named: Named) -> Self {
        let (sender, heard) = mpsc::channel(QUEUE);
        Self { api, clock, named, sender, heard, streams: JoinSet::new() }
    }

    /// Follows the events after this id.
    pub(crate) fn events(&mut self, after: u64) {
        let stream = self.stream();
        self.streams.spawn(trace::carry(stream.events(after)));
    }

    /// Follows the state.
    pub(crate) fn state(&mut self) {
        let stream = self.stream();
        self.streams.spawn(trace::carry(stream.state()));
    }

    /// Follows the output from where the request says.
    pub(crate) fn logs(&mut self, request: ReadLogsRequest) {
        let stream = self.stream();
        self.streams.spawn(trace::carry(stream.logs(request)));
    }

    /// The next message; waits for ever when nothing is followed.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            tokio::select! {
                // The queue does not close, because `self` holds a sender.
                Some(heard) = self.heard.recv() => return heard,
                Some(ended) = self.streams.join_next() => {
                    if let Err(failed) = ended {
                        return Heard::Refused(CallError::new(Code::Internal, failed.to_string()));
                    }
                }
                else => std::future::pending().await,
            }
        }
    }

    fn stream(&self) -> Stream {
        Stream {
            api: self.api.clone(),
            clock: self.clock.clone(),
            named: self.named.clone(),
            sender: self.sender.clone(),
            backoff: Backoff::new(Duration::from_millis(20), Duration::from_secs(1)),
        }
    }
}

struct Stream {
    api: Api,
    clock: SharedClock,
    named: Named,
    sender: mpsc::Sender<Heard>,
    backoff: Backoff,
}

impl Stream {
    async fn events(mut self, mut after: u64) {
        loop {
            let ended = self.some_events(&mut after).await;
            match ended {
                Ok(true) => return self.say(Heard::EventsEnded).await,
                Ok(false) => self.clock.sleep(self.backoff.next_delay()).await,
                Err(error) if !self.try_again(&error).await => return,
                Err(_) => {}
            }
        }
    }

    /// Reads one stream of events; `true` once the application is clean.
    async fn some_events(&mut self, after: &mut u64) -> Result<bool, CallError> {
        let mut clean = false;
        let mut stream = self.api.events(&self.named, *after, true).await?;
        while let Some(event) = stream.next().await {
            let event = event?;
            *after = event.event_id;
            clean |= event.kind == "clean";
            self.backoff.reset();
            self.say(Heard::Event(event)).await;
        }
        // The end of a stream does not say whether the application is clean or the service leaves;
        // the record does.
        Ok(clean || self.api.get(&self.named).await?.clean)
    }

    async fn state(mut self) {
        let mut revision = 0;
        loop {
            let ended = self.some_state(&mut revision).await;
            match ended {
                Ok(()) => self.clock.sleep(self.backoff.next_delay()).await,
                Err(error) if error.reason() == Some(Reason::Compacted) => revision = 0,
                Err(error) if !self.try_again(&error).await => return,
                Err(_) => {}
            }
        }
    }

    async fn some_state(&mut self, revision: &mut u64) -> Result<(), CallError> {
        let mut stream = self.api.watch(Some(&self.named), *revision).await?;
        while let Some(item) = stream.next().await {
            self.backoff.reset();
            match item? {
                Item::Application(application) => {
                    *revision = application.revision;
                    self.say(Heard::State(Box::new(application))).await;
                }
                Item::Bookmark(bookmark) => {
                    *revision = bookmark.revision;
                    self.say(Heard::Beat(bookmark)).await;
                }
                Item::SnapshotEnd(_) | Item::Forgotten(_) => {}
            }
        }
        Ok(())
    }

    async fn logs(mut self, mut request: ReadLogsRequest) {
        loop {
            let ended = self.some_lines(&mut request).await;
            match ended {
                Ok(true) => return self.say(Heard::LogsEnded).await,
                Ok(false) => self.clock.sleep(self.backoff.next_delay()).await,
                Err(error) if !self.try_again(&error).await => return,
                Err(_) => {}
            }
        }
    }

    /// Reads one stream of lines; `true` if the application was clean before the stream was opened,
    /// because no line can follow then.
    async fn some_lines(&mut self, request: &mut ReadLogsRequest) -> Result<bool, CallError> {
        let mut stream = self.api.logs(request.clone()).await?;
        while let Some(lines) = stream.next().await {
            let lines = lines?;
            let Some(last) = lines.last() else { continue };
            request.cursor.clone_from(&last.cursor);
            request.tail = 0;
            self.backoff.reset();
            self.say(Heard::Lines(lines)).await;
        }
        Ok(self.api.get(&self.named).await?.clean)
    }

    /// Whether the stream is worth opening again; if it is, waits a little first.
    async fn try_again(&mut self, error: &CallError) -> bool {
        if !error.is_retryable() {
            self.say(Heard::Refused(error.clone())).await;
            return false;
        }
        self.say(Heard::Away(error.clone())).await;
        self.clock.sleep(self.backoff.next_delay()).await;
        true
    }

    async fn say(&self, heard: Heard) {
        // The receiver is gone only when this process is on its way out.
        let _ = self.sender.send(heard).await;
    }
}
