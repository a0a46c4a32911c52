//! One stream on which a host attends: when it renews, and when it is of no more use.

use std::time::Duration;

use chassis::clock::{Boot, Clock as _, SharedClock, timeout};
use proto::election::{self as wire, AttendRequest, AttendResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Host, Hosts, read};
use crate::error::CallError;

/// How long the elector may take until it answers the first message.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the elector may take to end a stream whose host has left.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// A lease is renewed so many times, which leaves time for another stream when one breaks.
const RENEWALS_IN_A_LEASE: u32 = 3;

/// The shortest lease that is believed, so that an elector which names none is not asked without a
/// pause.
const SHORTEST_LEASE: Duration = Duration::from_millis(500);

/// How many renewals may be under way, which is more than fit into a lease.
const UNDER_WAY: usize = 8;

/// An open stream, on which this host has its seat.
pub(super) struct Stream {
    say: mpsc::Sender<AttendRequest>,
    answers: Streaming<AttendResponse>,
    first: Vec<Host>,
    lease: Duration,
    heard_at: Boot,
    renew_at: Boot,
}

impl Stream {
    /// Opens a stream and takes the seat.
    pub(super) async fn open(hosts: &Hosts, host: &wire::Host) -> Result<Self, CallError> {
        let opened = timeout(&hosts.clock, OPEN_TIMEOUT, Self::opened(hosts, host)).await;
        opened.map_err(|elapsed| Status::unavailable(elapsed.to_string()))?
    }

    async fn opened(hosts: &Hosts, host: &wire::Host) -> Result<Self, CallError> {
        let (say, requests) = mpsc::channel(UNDER_WAY);
        let sent_at = hosts.clock.boot();
        // The queue is new and has room.
        let _ = say.try_send(AttendRequest { host: Some(host.clone()) });
        let requests = ReceiverStream::new(requests);
        let mut answers = hosts.inner.clone().attend(requests).await?.into_inner();
        let first = answers.message().await?.ok_or_else(ended)?;
        let lease = lease(&first);
        Ok(Self {
            say,
            answers,
            first: read(first.hosts),
            lease,
            heard_at: hosts.clock.boot(),
            renew_at: sent_at + lease / RENEWALS_IN_A_LEASE,
        })
    }

    /// The hosts of the first answer.
    pub(super) fn take_first(&mut self) -> Vec<Host> {
        std::mem::take(&mut self.first)
    }

    /// The hosts of the next answer; renews the seat meanwhile. A stream that has said nothing for
    /// a lease, while it was asked several times, is broken. Cancel safe.
    pub(super) async fn hear(&mut self, clock: &SharedClock) -> Result<Vec<Host>, CallError> {
        loop {
            tokio::select! {
                biased;
                answer = self.answers.message() => {
                    let answer = answer?.ok_or_else(ended)?;
                    self.lease = lease(&answer);
                    self.heard_at = clock.boot();
                    return Ok(read(answer.hosts));
                }
                () = clock.sleep_until(self.heard_at + self.lease) => {
                    let silence = format!("the elector is silent for {:?}", self.lease);
                    return Err(Status::unavailable(silence).into());
                }
                () = clock.sleep_until(self.renew_at) => {
                    // A queue that is full holds renewals that come in place of this one.
                    let _ = self.say.try_send(AttendRequest::default());
                    self.renew_at = clock.boot() + self.lease / RENEWALS_IN_A_LEASE;
                }
            }
        }
    }

    /// Ends this side of the stream, and waits until the elector has freed the seat.
    pub(super) async fn leave(self, clock: &SharedClock) {
        let Self { say, mut answers, .. } = self;
        drop(say);
        let rest = async { while let Ok(Some(_)) = answers.message().await {} };
        if timeout(clock, LEAVE_TIMEOUT, rest).await.is_err() {
            tracing::debug!("the elector does not answer: this host's seat is left to its lease");
        }
    }
}

fn ended() -> CallError {
    Status::unavailable("the elector ended the stream").into()
}

fn lease(answer: &AttendResponse) -> Duration {
    let lease = answer.lease.and_then(|lease| Duration::try_from(lease).ok());
    lease.unwrap_or_default().max(SHORTEST_LEASE)
}
