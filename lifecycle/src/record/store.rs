//! The record in jobgraph-store, over the wire.

use std::sync::Arc;
use std::time::Duration;

use ::record::Record;
use chassis::channel::GrpcChannel;
use chassis::clock::{SharedClock, timeout};
use chassis::failpoint;
use chassis::tasks::owned;
use client::error::CallError;
use client::logs::{LogStream, Logs};
use client::places::Kind;
use client::processes::Processes;
use client::tether::Chunk;
use futures::TryFutureExt as _;
use proto::jobgraph::{self, OutputChunk, Process, ProcessState};
use proto::reason::FORGOTTEN;
use proto::{
    ApplicationRef, Code, Epoch, EpochFence, Incarnation, IncarnationFence, Place, PlaceUid,
    Problem, Reason,
};
use tokio::sync::{mpsc, watch};

use super::{
    COMPLETE, Intent, IntentState, Kept, Log, LogBatch, LogSource, RecordError, kind_of,
    wire_source,
};
use crate::model::{GroupId, Slot, kind_prefix_at};

/// How long one call may take. The callers try again.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How many batches of output may wait for the store.
const BATCHES_AHEAD: usize = 4;

/// The record as jobgraph-store serves it, as far as lifecycle needs it. Clones share the
/// connection.
///
/// The service writes an intent before every start, and after an end it writes a tombstone or
/// forgets the intent, because lifecycle itself stores nothing: a lifecycle that is killed, or one
/// on another host, learns here what may live. All calls may be repeated, so an unknown outcome is
/// one to repeat.
#[derive(Clone)]
pub struct Store {
    record: Arc<dyn Record>,
    processes: Processes,
    logs: Logs,
    clock: SharedClock,
    place: Place,
    /// Whether the deployment has other hosts, too.
    is_shared: bool,
}

impl Store {
    /// The record that answers for epochs, and the processes and logs that are kept beside it, over
    /// a channel that carries the deployment's credential. `place` is the host whose processes are
    /// kept.
    pub fn new(
        record: Arc<dyn Record>,
        channel: GrpcChannel,
        clock: SharedClock,
        place: Place,
    ) -> Self {
        let (processes, logs) = (Processes::new(channel.clone()), Logs::new(channel));
        Self { record, processes, logs, clock, place, is_shared: false }
    }

    /// The record of a deployment with several hosts, or with this one alone. Each of several hosts
    /// counts contenders of its own, so their output is told apart by the host's name.
    #[must_use]
    pub fn shared(self, is_shared: bool) -> Self {
        Self { is_shared, ..self }
    }

    /// Refuses an epoch that holds no more.
    pub async fn confirm_epoch(&self, fence: &EpochFence) -> Result<(), RecordError> {
        let confirm = self.record.confirm_epoch(fence).map_err(CallError::from);
        let confirmed = self.call(Some(fence), confirm).await?;
        if confirmed.holds {
            return Ok(());
        }
        Err(RecordError::Superseded { fence: fence.clone(), current: Epoch(confirmed.current) })
    }

    /// Keeps or replaces an intent, fenced by `epoch` if there is one.
    pub async fn put(&self, intent: &Intent, epoch: Option<Epoch>) -> Result<(), RecordError> {
        let application = intent.slot.group.application.clone();
        let fence = epoch.map(|epoch| EpochFence { application, epoch });
        self.call(fence.as_ref(), self.processes.put(wire_intent(intent, &self.place), epoch)).await
    }

    /// All intents of this host, oldest first.
    pub async fn list(&self) -> Result<Vec<Kept>, RecordError> {
        let host = self.place.uid();
        let processes = self.call(None, self.processes.list_at("", host)).await?;
        Ok(processes.into_iter().filter_map(|process| read_intent(process, host)).collect())
    }

    /// Refuses a cluster that is not of the current incarnation of its application, one whose
    /// incarnation was begun on another host, and one that no leader needs: its application is
    /// clean, or its application is led on another host and either has ended and is cleaned up from
    /// there, or its outputs are `ungated`: a leader there waits until no such cluster lives here,
    /// and begins one of its own. A leader on this host ends its cluster itself.
    pub async fn confirm_cluster(
        &self,
        cluster: &GroupId,
        ungated: bool,
    ) -> Result<(), RecordError> {
        let (application, incarnation) = (cluster.application.clone(), Incarnation(cluster.number));
        let fence = IncarnationFence { application, incarnation };
        let confirm = self.record.confirm_incarnation(&fence).map_err(CallError::from);
        let confirmed = self.call(None, confirm).await?;
        if !confirmed.holds && confirmed.application_ended && confirmed.current == cluster.number {
            return Err(RecordError::Unneeded("its application is clean".to_owned()));
        }
        if !confirmed.holds {
            return Err(RecordError::IncarnationOver { current: Incarnation(confirmed.current) });
        }
        // A test plants the bug to see that it would be noticed.
        if let Some(place) = confirmed.place
            && place.uid() != self.place.uid()
            && !failpoint::is_planted("places.same-incarnation")
        {
            let why = format!("{cluster} runs on {place}, not on this host");
            return Err(RecordError::Elsewhere(why));
        }
        let Some(leader) = confirmed.leader_place.filter(|leader| leader.uid() != self.place.uid())
        else {
            return Ok(());
        };
        if confirmed.application_ended {
            let why = format!("its application has ended, and is led on {leader}");
            return Err(RecordError::Unneeded(why));
        }
        if ungated {
            let why = format!("its application is led on {leader}, which waits for its end");
            return Err(RecordError::Unneeded(why));
        }
        Ok(())
    }

    /// Whether nothing is left to do for a generation: it is clean, or it was, and is forgotten. A
    /// generation that this record has never held is another record's, and is refused.
    pub async fn is_over(&self, application: &ApplicationRef) -> Result<bool, RecordError> {
        let asked = async {
            match self.record.read(application).await.map_err(CallError::from) {
                Ok(record) => Ok(record.application.is_some_and(|shown| shown.clean)),
                Err(error) if is_forgotten(&error) => Ok(true),
                Err(error) => Err(error),
            }
        };
        self.call(None, asked).await
    }

    /// Forgets the intents of a group on this host.
    pub async fn forget(&self, group: &GroupId) -> Result<(), RecordError> {
        self.delete(&group.key_prefix_at(self.place.uid())).await
    }

    /// Forgets the intents of all contenders of an application on this host.
    pub async fn forget_contenders(&self, application: &ApplicationRef) -> Result<(), RecordError> {
        self.delete(&kind_prefix_at(application, Kind::Contender, self.place.uid())).await
    }

    /// Forgets the intents of a group that an older build has kept, under keys that name no host.
    pub async fn forget_old(&self, group: &GroupId) -> Result<(), RecordError> {
        self.delete(&group.key_prefix()).await
    }

    async fn delete(&self, key_prefix: &str) -> Result<(), RecordError> {
        self.call(None, self.processes.delete(key_prefix)).await
    }

    /// Opens a log to append to.
    pub async fn open_log(&self, source: &LogSource) -> Result<Log, RecordError> {
        let (stream, from) = self.call(None, self.logs.append(self.named(source))).await?;
        let (batches, taken) = mpsc::channel(BATCHES_AHEAD);
        let (acknowledge, acknowledged) = watch::channel(from);
        // The pump ends when the connection breaks, too.
        let pump = owned("log", pump(stream, taken, acknowledge));
        Ok(Log { batches, acknowledged, _pump: pump })
    }

    /// The source as it is named among those of all hosts.
    fn named(&self, source: &LogSource) -> jobgraph::LogSource {
        let is_of_host = self.is_shared && source.is_of_contender();
        let host = if is_of_host { self.place.name().to_owned() } else { String::new() };
        jobgraph::LogSource { host, ..wire_source(source) }
    }

    async fn call<T>(
        &self,
        fence: Option<&EpochFence>,
        call: impl Future<Output = Result<T, CallError>> + Send,
    ) -> Result<T, RecordError> {
        let answer = timeout(&self.clock, CALL_TIMEOUT, call).await;
        let answer = answer
            .unwrap_or_else(|elapsed| Err(CallError::new(Code::Unavailable, elapsed.to_string())));
        answer.map_err(|error| refusal(&error, fence))
    }
}

/// Whether the error says that the record once held the application that was asked for.
fn is_forgotten(error: &CallError) -> bool {
    error.reason() == Some(Reason::ApplicationNotFound)
        && Problem::from_status(error.status()).metadata.contains_key(FORGOTTEN)
}

/// What an error of the store means. All that lifecycle writes may be repeated, so an unknown
/// outcome is one to repeat.
fn refusal(error: &CallError, fence: Option<&EpochFence>) -> RecordError {
    let text = error.message().to_owned();
    let number = |key: &str| -> u64 {
        let problem = Problem::from_status(error.status());
        problem.metadata.get(key).and_then(|number| number.parse().ok()).unwrap_or_default()
    };
    match (error.reason(), fence) {
        (Some(Reason::EpochSuperseded), Some(fence)) => {
            RecordError::Superseded { fence: fence.clone(), current: Epoch(number("epoch")) }
        }
        (Some(Reason::IncarnationSuperseded), _) => {
            RecordError::IncarnationOver { current: Incarnation(number("incarnation")) }
        }
        (Some(Reason::IncarnationElsewhere), _) => RecordError::Elsewhere(text),
        _ if error.is_retryable() => RecordError::Away(text),
        // Another writer has changed the record, or the store is ending or has no room right now.
        _ if matches!(error.code(), Code::Aborted | Code::Cancelled | Code::ResourceExhausted) => {
            RecordError::Away(text)
        }
        _ if error.reason() == Some(Reason::ApplicationNotFound) => RecordError::Unknown(text),
        _ => RecordError::Refused(text),
    }
}

/// Carries batches to the store and acknowledgements back. The end of the pump is how the log
/// learns that the stream broke.
async fn pump(
    mut stream: LogStream,
    mut batches: mpsc::Receiver<LogBatch>,
    acknowledge: watch::Sender<u64>,
) {
    loop {
        tokio::select! {
            batch = batches.recv() => {
                let Some(LogBatch { chunks, complete }) = batch else { return };
                let chunks = chunks.into_iter().map(wire_chunk).collect();
                if let Err(error) = stream.send(chunks).await {
                    tracing::debug!("a log broke: {error}");
                    return;
                }
                if complete {
                    // From here on all that was sent is durable, or else the source is shipped
                    // again.
                    if stream.finish().await.is_ok() {
                        acknowledge.send_replace(COMPLETE);
                    }
                    return;
                }
            }
            answer = stream.acknowledged() => match answer {
                Ok(Some(durable)) => { acknowledge.send_replace(durable); }
                Ok(None) | Err(_) => return,
            },
        }
    }
}

fn wire_intent(intent: &Intent, place: &Place) -> Process {
    let state = match intent.state {
        IntentState::Intended => ProcessState::Intended,
        IntentState::Gone => ProcessState::Gone,
        IntentState::GaveUp => ProcessState::GaveUp,
    };
    Process {
        key: intent.slot.key_at(place.uid()),
        application: Some(intent.slot.group.application.clone().into()),
        kind: intent.slot.group.kind.as_str().to_owned(),
        number: intent.slot.group.number,
        role: intent.slot.role.clone(),
        replica: intent.slot.replica,
        starts: intent.start,
        state: state.into(),
        tether_endpoint: intent.keeper.clone(),
        endpoint: intent.endpoint.clone(),
        detail: intent.detail.clone().into(),
        exit: intent.exit.clone(),
        place: Some(place.clone().into()),
    }
}

/// The intent in a record; `None` for a record that this build cannot read (a newer lifecycle has
/// written the record and minds its process) and for one of another host.
fn read_intent(process: Process, host: PlaceUid) -> Option<Kept> {
    let place = Place::read(process.place.clone()).ok()?;
    if place.is_some_and(|place| place.uid() != host) {
        return None;
    }
    let state = match process.state() {
        ProcessState::Gone => IntentState::Gone,
        ProcessState::GaveUp => IntentState::GaveUp,
        ProcessState::Intended | ProcessState::Unspecified => IntentState::Intended,
    };
    let application: ApplicationRef = process.application.try_into().ok()?;
    let group = GroupId { application, kind: kind_of(&process.kind)?, number: process.number };
    let slot = Slot { group, role: process.role, replica: process.replica };
    let is_old = process.key != slot.key_at(host);
    let intent = Intent {
        slot,
        start: process.starts,
        keeper: process.tether_endpoint,
        endpoint: process.endpoint,
        detail: process.detail.into(),
        exit: process.exit,
        state,
    };
    Some(Kept { intent, is_old })
}

fn wire_chunk(chunk: Chunk) -> OutputChunk {
    OutputChunk {
        next_offset: chunk.next_offset,
        stream: chunk.stream.as_str().to_owned(),
        data: chunk.data,
        unix_nanos: chunk.unix_nanos,
        lost_before: chunk.lost_before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_application_that_the_record_does_not_know_is_nobodys() {
        let refused = |reason| refusal(&CallError::from(Problem::new(reason, "no")), None);
        let text = "no".to_owned();
        for (reason, expected) in [
            (Reason::ApplicationNotFound, RecordError::Unknown(text.clone())),
            (Reason::EpochSuperseded, RecordError::Refused(text.clone())),
            (Reason::CredentialScope, RecordError::Refused(text.clone())),
            (
                Reason::IncarnationSuperseded,
                RecordError::IncarnationOver { current: Incarnation(0) },
            ),
            (Reason::IncarnationElsewhere, RecordError::Elsewhere(text.clone())),
            (Reason::StoreFull, RecordError::Away(text.clone())),
            (Reason::StoreUnavailable, RecordError::Away(text)),
        ] {
            assert_eq!(format!("{:?}", refused(reason)), format!("{expected:?}"));
        }
    }
}
