//! The tether on the wire.

use std::convert::Infallible;
use std::time::Duration;

use chassis::clock::{Boot, SharedClock, timeout};
use chassis::tasks::{Fed, Feed, Tasks, fed};
use client::tether::{Chunk, OutputReader, Stream};
use proto::tether::tether_service_server::{TetherService, TetherServiceServer};
use proto::tether::{
    EndRequest, EndResponse, Frozen, Lease, OutputStream, OwnRequest, OwnResponse,
    ReadOutputRequest, ReadOutputResponse, ReleaseRequest, ReleaseResponse, Started, Thawed,
    own_request, own_response,
};
use proto::{Problem, Reason};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status as Refusal, Streaming};

use super::keeper::{Command, Status};
use super::leash::DEFAULT_KILL_AFTER;
use super::output::Progress;

/// How long a caller of `Own` may take to claim the tether.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(10);

/// How many chunks of output may be under way to a reader.
const CHUNKS_AHEAD: usize = 8;

/// How long output is gathered before it goes out: its reader pays for each message that it passes
/// on, and a program says one line after the other.
const GATHERED_FOR: Duration = Duration::from_millis(20);

/// The tether's rpcs, over its keeper.
#[derive(Clone)]
pub(crate) struct Grpc {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) progress: watch::Receiver<Progress>,
    pub(crate) output_dir: std::path::PathBuf,
    pub(crate) clock: SharedClock,
    pub(crate) tasks: Tasks,
}

impl Grpc {
    /// The tether's methods.
    pub(crate) fn routes(self) -> Routes {
        Routes::new(TetherServiceServer::new(self))
    }

    async fn tell(&self, command: Command) -> Result<(), Refusal> {
        self.commands.send(command).await.map_err(|_| Refusal::unavailable("the tether is leaving"))
    }

    async fn claim(&self, start: bool, lease: Option<Lease>) -> Result<u64, Refusal> {
        let (owner, claimed) = oneshot::channel();
        self.tell(Command::Claim { start, deadline: lease.map(deadline), owner }).await?;
        claimed.await.map_err(|_| Refusal::unavailable("the tether is leaving"))
    }
}

fn deadline(lease: Lease) -> Boot {
    Boot::from_nanos(lease.deadline_boot_nanos)
}

fn leaving() -> Refusal {
    Refusal::unavailable("the tether is leaving")
}

#[tonic::async_trait]
impl TetherService for Grpc {
    type OwnStream = ReceiverStream<Result<OwnResponse, Refusal>>;
    type ReadOutputStream = Fed<ReadOutputResponse, Refusal>;

    async fn own(
        &self,
        request: Request<Streaming<OwnRequest>>,
    ) -> Result<Response<Self::OwnStream>, Refusal> {
        let mut requests = request.into_inner();
        let first = timeout(&self.clock, CLAIM_TIMEOUT, requests.message()).await;
        let first = first.map_err(|elapsed| unclaimed(&elapsed.to_string()))??;
        let Some(own_request::Message::Claim(claim)) = first.and_then(|request| request.message)
        else {
            return Err(unclaimed("the first message has to be a claim"));
        };
        let owner = self.claim(claim.start, claim.lease).await?;
        let (answers, stream) = mpsc::channel(1);
        let ownership = Ownership {
            owner,
            commands: self.commands.clone(),
            status: self.status.clone(),
            told: Told::default(),
        };
        // The task is not cut with the stream, because the keeper has to hear that the owner is
        // gone.
        self.tasks.spawn_job("owner", async move {
            ownership.run(requests, answers).await;
            Ok::<(), Infallible>(())
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn end(&self, request: Request<EndRequest>) -> Result<Response<EndResponse>, Refusal> {
        let kill_after =
            request.into_inner().kill_after.map_or(Ok(DEFAULT_KILL_AFTER), Duration::try_from);
        let kill_after = kill_after.map_err(|error| {
            let text = format!("kill_after: {error}");
            Problem::new(Reason::RequestInvalid, &text).field("kill_after", text).into_status()
        })?;
        self.tell(Command::End { kill_after }).await?;
        let mut status = self.status.clone();
        let ended = status.wait_for(|status| status.exit.is_some()).await.map_err(|_| leaving())?;
        let exited = ended.exit_for(ended.owner).map(Into::into);
        Ok(Response::new(EndResponse { exited }))
    }

    async fn read_output(
        &self,
        request: Request<ReadOutputRequest>,
    ) -> Result<Response<Self::ReadOutputStream>, Refusal> {
        self.tell(Command::Contact).await?;
        let ReadOutputRequest { offset, follow } = request.into_inner();
        let reader = OutputReader::new(&self.output_dir, offset);
        let (progress, clock) = (self.progress.clone(), self.clock.clone());
        let answers =
            fed("output", CHUNKS_AHEAD, |feed| send_output(reader, follow, progress, clock, feed));
        Ok(Response::new(answers))
    }

    async fn release(
        &self,
        _: Request<ReleaseRequest>,
    ) -> Result<Response<ReleaseResponse>, Refusal> {
        let (accepted, answer) = oneshot::channel();
        self.tell(Command::Release { accepted }).await?;
        if answer.await.map_err(|_| leaving())? {
            return Ok(Response::new(ReleaseResponse {}));
        }
        let text = "processes below the tether are alive: end them first";
        Err(Problem::new(Reason::TreeAlive, text).into_status())
    }
}

fn unclaimed(text: &str) -> Refusal {
    Problem::new(Reason::RequestInvalid, format!("the tether was not claimed: {text}"))
        .field("claim", "it has to come first")
        .into_status()
}

/// One owner's stream.
struct Ownership {
    owner: u64,
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    told: Told,
}

/// What the owner knows already.
#[derive(Default)]
struct Told {
    started: bool,
    frozen: bool,
    exited: bool,
}

impl Ownership {
    async fn run(
        mut self,
        mut requests: Streaming<OwnRequest>,
        answers: mpsc::Sender<Result<OwnResponse, Refusal>>,
    ) {
        // The keeper hears of renewals also while this owner reads no answers.
        loop {
            let status = self.status.borrow_and_update().clone();
            let pending = self.next_answer(&status);
            let replaced = matches!(pending, Some(Err(_)));
            tokio::select! {
                permit = answers.reserve(), if pending.is_some() => {
                    let (Ok(permit), Some(pending)) = (permit, pending) else { break };
                    if let Ok(answer) = &pending {
                        self.told.note(answer);
                    }
                    permit.send(pending);
                    if replaced {
                        break;
                    }
                }
                () = answers.closed() => break,
                changed = self.status.changed() => if changed.is_err() { break },
                request = requests.message() => match request {
                    Ok(Some(OwnRequest { message: Some(own_request::Message::Lease(lease)) })) => {
                        let renew = Command::Renew { owner: self.owner, deadline: deadline(lease) };
                        if self.commands.send(renew).await.is_err() {
                            break;
                        }
                    }
                    // The message is a second claim on the same stream, or something newer: it
                    // changes nothing.
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break,
                }
            }
        }
        // A keeper that is gone needs no telling.
        let _ = self.commands.send(Command::Disconnected { owner: self.owner }).await;
    }

    /// The next thing that the owner does not know yet.
    fn next_answer(&self, status: &Status) -> Option<Result<OwnResponse, Refusal>> {
        if status.owner != Some(self.owner) {
            let text = "another owner has claimed this tether";
            return Some(Err(Problem::new(Reason::TetherReplaced, text).into_status()));
        }
        let message = match status {
            Status { pid: Some(pid), .. } if !self.told.started => {
                own_response::Message::Started(Started { pid: *pid })
            }
            Status { frozen: true, .. } if !self.told.frozen => {
                own_response::Message::Frozen(Frozen {})
            }
            Status { frozen: false, exit: None, .. } if self.told.frozen => {
                own_response::Message::Thawed(Thawed {})
            }
            _ if !self.told.exited => {
                own_response::Message::Exited(status.exit_for(Some(self.owner))?.into())
            }
            _ => return None,
        };
        Some(Ok(OwnResponse { message: Some(message) }))
    }
}

impl Told {
    fn note(&mut self, answer: &OwnResponse) {
        match &answer.message {
            Some(own_response::Message::Started(_)) => self.started = true,
            Some(own_response::Message::Frozen(_)) => self.frozen = true,
            Some(own_response::Message::Thawed(_)) => self.frozen = false,
            Some(own_response::Message::Exited(_)) => self.exited = true,
            None => {}
        }
    }
}

/// Sends the output that is there, and with `follow` what comes, until the output is complete.
async fn send_output(
    mut reader: OutputReader,
    follow: bool,
    mut progress: watch::Receiver<Progress>,
    clock: SharedClock,
    feed: Feed<ReadOutputResponse>,
) -> Result<(), Refusal> {
    loop {
        // The progress is seen before the files are read: output that is complete now is complete
        // in what is read next.
        let known = *progress.borrow_and_update();
        loop {
            let read = tokio::task::spawn_blocking(move || {
                let chunks = next_chunks(&mut reader);
                (reader, chunks)
            });
            let (back, chunks) =
                read.await.map_err(|error| Refusal::internal(error.to_string()))?;
            reader = back;
            if chunks.is_empty() {
                break;
            }
            for chunk in chunks {
                feed.send(chunk?).await;
            }
        }
        if known.complete && reader.offset() < known.end {
            // The disk took nothing of the end, which is told and not passed over.
            feed.send(lost_at_the_end(reader.offset(), known.end)).await;
        }
        if !follow || known.complete || progress.changed().await.is_err() {
            return Ok(());
        }
        // The output is complete, or its sender is gone: either way the files are looked at once
        // more.
        let complete = async { progress.wait_for(|progress| progress.complete).await.is_ok() };
        let _ = timeout(&clock, GATHERED_FOR, complete).await;
    }
}

fn lost_at_the_end(from: u64, to: u64) -> ReadOutputResponse {
    let stream = OutputStream::Stdout.into();
    ReadOutputResponse {
        next_offset: to,
        stream,
        lost_before: to - from,
        ..ReadOutputResponse::default()
    }
}

/// The chunks that are there, as many as may be under way at once.
fn next_chunks(reader: &mut OutputReader) -> Vec<Result<ReadOutputResponse, Refusal>> {
    let chunks = std::iter::from_fn(|| reader.next_chunk().transpose());
    let answer = |chunk: std::io::Result<Chunk>| match chunk {
        Ok(chunk) => Ok(wire_chunk(chunk)),
        Err(error) => Err(Refusal::data_loss(format!("the kept output cannot be read: {error}"))),
    };
    chunks.take(CHUNKS_AHEAD).map(answer).collect()
}

fn wire_chunk(chunk: Chunk) -> ReadOutputResponse {
    let stream = match chunk.stream {
        Stream::Stdout => OutputStream::Stdout,
        Stream::Stderr => OutputStream::Stderr,
    };
    ReadOutputResponse {
        next_offset: chunk.next_offset,
        stream: stream.into(),
        data: chunk.data,
        lost_before: chunk.lost_before,
        unix_nanos: chunk.unix_nanos,
    }
}
