//! The hosts of a context: one of them is asked first, another one when that one does not answer,
//! and the one that answers is kept.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chassis::backoff::Backoff;
use chassis::channel::{GrpcChannel, connect};
use chassis::clock::{SharedClock, timeout};
use chassis::credential::Credential;
use chassis::transport::{BoxedIo, Endpoint, Incoming, SharedTransport, Transport};
use client::applications::Applications;
use client::error::CallError;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use proto::Code;
use proto::api::GetVersionResponse;

/// How long a host may take to say its version, connecting included.
const ANSWER: Duration = Duration::from_secs(3);

/// How long one host is waited for before the next one is asked beside it.
const TURN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(400));

/// The hosts of a context, as one command sees them.
pub(super) struct Hosts {
    endpoints: Vec<Endpoint>,
    credential: Credential,
    transport: SharedTransport,
    clock: SharedClock,
    /// The position of the endpoint that is asked first: the one that answered last, unless a call
    /// to it has failed since.
    kept: AtomicUsize,
}

/// What one host said when it was asked for its version.
pub(super) type Said = Result<GetVersionResponse, CallError>;

/// No host answered: for each endpoint, what became of the question.
pub(super) struct Silence(pub(super) Vec<String>);

impl Hosts {
    pub(super) fn new(
        endpoints: Vec<Endpoint>,
        credential: Credential,
        transport: SharedTransport,
        clock: SharedClock,
    ) -> Self {
        Self { endpoints, credential, transport, clock, kept: AtomicUsize::new(0) }
    }

    /// A channel to a host that has just answered. When the channel's connection breaks, the next
    /// one leads to a host that answers then.
    pub(super) async fn channel(self: &Arc<Self>) -> Result<GrpcChannel, Silence> {
        let onward = || -> SharedTransport {
            Arc::new(Onward { hosts: self.clone(), begun: AtomicBool::new(false) })
        };
        self.first_answer(onward).await
    }

    /// Has another host asked first, because a call to the kept one has failed. A store says its
    /// version also when its record is away, so that otherwise that store would be kept.
    pub(super) fn turn_away(&self) {
        let next = (self.kept.load(Ordering::Relaxed) + 1) % self.endpoints.len();
        self.kept.store(next, Ordering::Relaxed);
    }

    /// What each host says, in the order of the endpoints.
    pub(super) async fn ask_all(&self) -> Vec<(Endpoint, Said)> {
        let asked = self.endpoints.iter().map(|endpoint| async move {
            let channel = self.channel_to(endpoint, self.transport.clone());
            (endpoint.clone(), self.ask(&channel).await)
        });
        futures::future::join_all(asked).await
    }

    /// Asks the hosts in turn, the kept one first, and answers with the channel of the first one
    /// that answers. A host that is silent keeps its turn for a moment only, and may still answer
    /// after it; a host that refuses the connection gives its turn away at once.
    async fn first_answer(
        &self,
        transport: impl Fn() -> SharedTransport,
    ) -> Result<GrpcChannel, Silence> {
        let (count, first) = (self.endpoints.len(), self.kept.load(Ordering::Relaxed));
        let mut turns = 0..count;
        let mut pause = Backoff::new(TURN.0, TURN.1);
        let mut asked = FuturesUnordered::new();
        let mut silent = Vec::new();
        loop {
            if let Some(turn) = turns.next() {
                let at = (first + turn) % count;
                let channel = self.channel_to(&self.endpoints[at], transport());
                asked.push(async move { (at, self.ask(&channel).await, channel) });
            }
            // The last host has the time that each question has.
            let wait = if turns.is_empty() { ANSWER * 2 } else { pause.next_delay() };
            match timeout(&self.clock, wait, asked.next()).await {
                Ok(Some((at, said, channel))) => match refusal(said, channel.endpoint()) {
                    None => {
                        if self.kept.swap(at, Ordering::Relaxed) != at {
                            tracing::info!(
                                "{} answers, and is asked from now on",
                                channel.endpoint()
                            );
                        }
                        return Ok(channel);
                    }
                    Some(why) => silent.push(why),
                },
                Ok(None) => return Err(Silence(silent)),
                Err(_) => {}
            }
        }
    }

    fn channel_to(&self, endpoint: &Endpoint, transport: SharedTransport) -> GrpcChannel {
        let credential = Some(self.credential.clone());
        connect(transport, self.clock.clone(), endpoint.clone(), credential)
    }

    async fn ask(&self, channel: &GrpcChannel) -> Said {
        let asked = Applications::new(channel.clone());
        match timeout(&self.clock, ANSWER, asked.version()).await {
            Ok(said) => said,
            Err(elapsed) => {
                let text = format!("{}: {elapsed}", channel.endpoint());
                Err(CallError::new(Code::DeadlineExceeded, text))
            }
        }
    }
}

/// Why what was said is no answer of a store; `None` if it is one. A store that refuses the
/// credential has answered: what is asked next is refused as well, and says what is wrong.
fn refusal(said: Said, endpoint: &Endpoint) -> Option<String> {
    let error = said.err()?;
    if error.reason().is_some() && !error.is_retryable() {
        return None;
    }
    let (endpoint, message) = (endpoint.to_string(), error.message());
    Some(if message.contains(&endpoint) {
        message.to_owned()
    } else {
        format!("{endpoint}: {message}")
    })
}

/// The transport of one channel. Its first connection leads where the channel was made for; each
/// later one leads to a host that answers by then, because the first one has broken.
struct Onward {
    hosts: Arc<Hosts>,
    begun: AtomicBool,
}

#[async_trait]
impl Transport for Onward {
    async fn listen(&self, endpoint: &Endpoint) -> io::Result<Incoming> {
        self.hosts.transport.listen(endpoint).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        self.hosts.transport.connect(endpoint).await
    }

    async fn connect_trusted(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        let hosts = &self.hosts;
        if !self.begun.swap(true, Ordering::Relaxed) {
            return hosts.transport.connect_trusted(endpoint).await;
        }
        let answered = hosts.first_answer(|| hosts.transport.clone()).await;
        let channel = answered.map_err(|Silence(all)| {
            io::Error::new(
                io::ErrorKind::NotConnected,
                format!("no host answers: {}", all.join("; ")),
            )
        })?;
        hosts.transport.connect_trusted(channel.endpoint()).await
    }
}

#[cfg(test)]
mod tests;
