//! Ships output to the record. The owner of a tether has one stream for each source, which it
//! resumes at the offset that the record has acknowledged.

use std::time::Duration;

use chassis::MAX_MESSAGE_BYTES;
use chassis::backoff::Backoff;
use chassis::channel::GrpcChannel;
use chassis::clock::Clock;
use proto::jobgraph::log_service_client::LogServiceClient;
use proto::jobgraph::{AppendLogsRequest, AppendLogsResponse, LogSource, OutputChunk};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::error::CallError;
use crate::tether::Tether;
use crate::tether::output::Chunk;

/// How many messages wait on their way to the store.
const ROOM: usize = 32;

/// The shortest and the longest pause between two tries to ship.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Client of the record's logs; cheap to clone.
#[derive(Debug, Clone)]
pub struct Logs {
    inner: LogServiceClient<GrpcChannel>,
}

/// One stream of output. Dropping it makes durable what the store has taken.
#[derive(Debug)]
pub struct LogStream {
    requests: Option<mpsc::Sender<AppendLogsRequest>>,
    answers: tonic::Streaming<AppendLogsResponse>,
    /// The offset behind the last byte that was sent.
    sent: u64,
    /// The offset up to which the record has everything durably.
    durable: u64,
}

impl Logs {
    /// A client over a channel that carries the deployment's credential.
    pub fn new(channel: GrpcChannel) -> Self {
        let inner = LogServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner }
    }

    /// Begins to ship a source. The answer has the offset from which to read on in the tether's
    /// output.
    pub async fn append(&self, source: LogSource) -> Result<(LogStream, u64), CallError> {
        let (requests, receiver) = mpsc::channel(ROOM);
        let first = AppendLogsRequest { source: Some(source), ..Default::default() };
        // The queue is new, so it has room for the first message.
        let _ = requests.try_send(first);
        let answers =
            self.inner.clone().append_logs(ReceiverStream::new(receiver)).await?.into_inner();
        let mut stream = LogStream { requests: Some(requests), answers, sent: 0, durable: 0 };
        let Some(offset) = stream.acknowledged().await? else { return Err(broken_off()) };
        stream.sent = offset;
        Ok((stream, offset))
    }

    /// Ships all output of a tether's tree, until the tree has ended and everything is durable.
    ///
    /// A refusal of the record, a full disk above all, may pass and is waited out. The one
    /// exception is an application that the record does not know, because its output will never be
    /// asked for. Dropping the future stops the shipping, and another owner goes on where the
    /// record's acknowledgement is.
    pub async fn ship(
        &self,
        tether: &Tether,
        source: &LogSource,
        clock: &dyn Clock,
    ) -> Result<(), CallError> {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        loop {
            match self.ship_once(tether, source, &mut backoff).await {
                Err(error) if error.code() == Code::NotFound => return Err(error),
                Err(error) => {
                    tracing::debug!("output of {} waits: {error}", source.role);
                    clock.sleep(backoff.next_delay()).await;
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    async fn ship_once(
        &self,
        tether: &Tether,
        source: &LogSource,
        backoff: &mut Backoff,
    ) -> Result<(), CallError> {
        let (mut stream, offset) = self.append(source.clone()).await?;
        let mut output = tether.read_output(offset, true).await?;
        loop {
            tokio::select! {
                chunk = output.next() => match chunk? {
                    Some(chunk) => {
                        stream.send(vec![wire(chunk)]).await?;
                        backoff.reset();
                    }
                    None => return stream.finish().await,
                },
                // Acknowledgements are taken as they come, so that the store never waits for this
                // client.
                answer = stream.acknowledged() => if answer?.is_none() {
                    return Err(broken_off());
                },
            }
        }
    }
}

impl LogStream {
    /// Sends chunks of the source, in their order.
    pub async fn send(&mut self, chunks: Vec<OutputChunk>) -> Result<(), CallError> {
        self.sent = chunks.last().map_or(self.sent, |chunk| chunk.next_offset);
        self.request(AppendLogsRequest { chunks, ..Default::default() }).await
    }

    /// The next offset up to which everything is durable; `None` when the store has ended the
    /// stream.
    pub async fn acknowledged(&mut self) -> Result<Option<u64>, CallError> {
        let answer = self.answers.message().await?.map(|answer| answer.acknowledged_offset);
        self.durable = answer.map_or(self.durable, |offset| offset.max(self.durable));
        Ok(answer)
    }

    /// Says that the source has no more output, and returns once all of it is durable. It is an
    /// error if the stream ends before that, because another stream brings this source's output
    /// now.
    pub async fn finish(mut self) -> Result<(), CallError> {
        self.request(AppendLogsRequest { complete: true, ..Default::default() }).await?;
        self.requests = None;
        while self.acknowledged().await?.is_some() {}
        if self.durable < self.sent { Err(broken_off()) } else { Ok(()) }
    }

    async fn request(&mut self, request: AppendLogsRequest) -> Result<(), CallError> {
        if let Some(requests) = &self.requests
            && requests.send(request).await.is_ok()
        {
            return Ok(());
        }
        // The store has ended the stream, and its last answer says why.
        while self.answers.message().await?.is_some() {}
        Err(broken_off())
    }
}

fn broken_off() -> CallError {
    tonic::Status::unavailable("the store ended the stream of output").into()
}

fn wire(chunk: Chunk) -> OutputChunk {
    OutputChunk {
        next_offset: chunk.next_offset,
        stream: chunk.stream.as_str().to_owned(),
        data: chunk.data,
        unix_nanos: chunk.unix_nanos,
        lost_before: chunk.lost_before,
    }
}
