//! Leadership of an application. A [`Campaign`] waits its turn; the [`Leadership`] that comes out of it is renewed in the
//! background for as long as it lives, and says until when its holder may act.
//!
//! A deadline counts from the *sending* of the last renewal that was acknowledged, so it is never later than what the elector
//! counts. Dropping a campaign withdraws it; dropping a leadership stops its renewals.

mod holder;
mod pulse;
mod talk;

use std::path::PathBuf;
use std::time::Duration;

use chassis::MAX_MESSAGE_BYTES;
use chassis::backoff::Backoff;
use chassis::channel::GrpcChannel;
use chassis::clock::{Boot, Clock as _, SharedClock, timeout};
use chassis::tasks::{OwnedTask, owned};
use chassis::telemetry::trace;
use futures::{Stream, StreamExt as _};
use proto::election::election_service_client::ElectionServiceClient;
use proto::election::{ObserveRequest, ObserveResponse, ResignRequest};
use proto::{ApplicationId, ApplicationRef, Epoch, EpochFence};
use tokio::sync::{oneshot, watch};
use tonic::Code;

use crate::error::CallError;
use holder::{Holder, Won};
pub use pulse::Pulse;

/// How long a resignation may take.
const RESIGN_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits between two tries to reach the elector: short, because a leader has only the rest of its lease.
const RETRY_MIN: Duration = Duration::from_millis(20);
/// The longest of them: the elector is a local process or one hop away.
const RETRY_MAX: Duration = Duration::from_millis(250);

/// Client of the elector; cheap to clone.
#[derive(Clone)]
pub struct Election {
    inner: ElectionServiceClient<GrpcChannel>,
    clock: SharedClock,
}

/// Who wants to lead what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidacy {
    /// The application; leadership is per id, across generations.
    pub application: ApplicationRef,
    /// Unique name of the contender among those of the application, such as `runner-0`.
    pub holder: String,
    /// The epoch granted is above this: the store's own epoch, 0 if nothing is known.
    pub at_least: Epoch,
    /// A file on the elector's host, absolute, that is locked (`flock`) while the holder or what it started lives. With it a dead
    /// holder is succeeded before its lease ends. `None`: never early.
    pub lock_file: Option<PathBuf>,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The contender's name.
    pub holder: String,
    /// Its leadership.
    pub epoch: Epoch,
}

/// What an observer sees.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// Who leads, if anybody does.
    pub leader: Option<Leader>,
    /// Since when, by the elector's wall clock.
    pub since: Option<prost_types::Timestamp>,
    /// Who waits, in order.
    pub standbys: Vec<String>,
}

/// What is known of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lease {
    /// Act until then; past it stop, and go on if a later instant comes: the elector was away, and confirms the same epoch.
    Until(Boot),
    /// Over for good, and why.
    Lost(String),
}

impl Election {
    /// A client over a channel that carries the deployment's credential.
    pub fn new(channel: GrpcChannel, clock: SharedClock) -> Self {
        let inner = ElectionServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner, clock }
    }

    /// Enters a campaign. Call it inside the runtime. An elector that is away is asked again for as long as the campaign lives.
    pub fn campaign(&self, candidacy: Candidacy) -> Campaign {
        let (won, elected) = oneshot::channel();
        let (leader, standby) = watch::channel(None);
        let holder = Holder::new(self.clone(), candidacy.clone(), leader, won);
        let renewals = owned("campaign", trace::carry(holder.run()));
        Campaign { election: self.clone(), candidacy, standby, elected, renewals }
    }

    /// Who leads, and each change of that; the present state first.
    pub async fn observe(
        &self,
        application: &ApplicationId,
    ) -> Result<impl Stream<Item = Result<View, CallError>> + Send + Unpin + use<>, CallError> {
        let request = ObserveRequest { application_id: application.to_string() };
        let answers = self.inner.clone().observe(request).await?.into_inner();
        Ok(answers.map(|answer| Ok(View::from(answer?))))
    }

    /// Gives a leadership up, durable when this returns; `false` if the holder does not hold it any more. A repeat is harmless.
    pub async fn resign(&self, fence: &EpochFence, holder: &str) -> Result<bool, CallError> {
        let mut request = tonic::Request::new(ResignRequest {
            fence: Some(fence.clone().into()),
            holder: holder.to_owned(),
        });
        request.set_timeout(RESIGN_TIMEOUT);
        Ok(self.inner.clone().resign(request).await?.into_inner().was_leader)
    }
}

impl From<ObserveResponse> for View {
    fn from(wire: ObserveResponse) -> Self {
        Self { leader: Leader::named(wire.leader, wire.epoch), since: wire.since, standbys: wire.standbys }
    }
}

impl Leader {
    /// The wire says "nobody" by an empty name.
    fn named(holder: String, epoch: u64) -> Option<Self> {
        (!holder.is_empty()).then_some(Self { holder, epoch: Epoch(epoch) })
    }
}

/// A place in the queue. Dropping it withdraws.
pub struct Campaign {
    election: Election,
    candidacy: Candidacy,
    standby: watch::Receiver<Option<Leader>>,
    elected: oneshot::Receiver<Result<Won, CallError>>,
    renewals: OwnedTask<()>,
}

impl Campaign {
    /// Who leads meanwhile, as far as it was said.
    pub fn standby(&self) -> watch::Receiver<Option<Leader>> {
        self.standby.clone()
    }

    /// Waits until elected, for as long as that takes. An error is one that a repeat would meet again.
    pub async fn elected(self) -> Result<Leadership, CallError> {
        let Self { election, candidacy, elected, renewals, .. } = self;
        let won = match elected.await {
            Ok(won) => won?,
            Err(_) => return Err(tonic::Status::internal("the campaign's task ended without a word").into()),
        };
        Ok(Leadership { election, candidacy, won, renewals })
    }
}

/// One leadership, renewed for as long as this lives.
pub struct Leadership {
    election: Election,
    candidacy: Candidacy,
    won: Won,
    renewals: OwnedTask<()>,
}

impl Leadership {
    /// Its number.
    pub fn epoch(&self) -> Epoch {
        self.won.epoch
    }

    /// Its fence.
    pub fn fence(&self) -> EpochFence {
        EpochFence { application: self.candidacy.application.clone(), epoch: self.won.epoch }
    }

    /// The leadership before this one, if there was one.
    pub fn previous_epoch(&self) -> Option<Epoch> {
        self.won.previous
    }

    /// Why that ended (`resigned`, `lease expired`, `process gone`); empty for the first.
    pub fn cause(&self) -> &str {
        &self.won.cause
    }

    /// Ties the renewals to the holder's own loop: from now on each waits until the loop has passed [`Pulse::due`], so that a loop
    /// that hangs loses its lease even though this process lives. To be polled beside everything else that the loop does.
    pub fn pulse(&self) -> Pulse {
        self.won.pulse.take()
    }

    /// Until when the holder may act: the sending of the last acknowledged renewal plus three quarters of the lease. It only
    /// grows; each value is to be handed to main()'s tether.
    pub fn deadline(&self) -> watch::Receiver<Boot> {
        self.won.deadline.clone()
    }

    /// The deadline, and the loss as the last value.
    pub fn lease(&self) -> watch::Receiver<Lease> {
        self.won.lease.subscribe()
    }

    /// Waits until the leadership is over, and says why.
    pub async fn lost(&self) -> String {
        let mut lease = self.lease();
        loop {
            if let Lease::Lost(cause) = &*lease.borrow_and_update() {
                return cause.clone();
            }
            // Cannot fail: a sender is in `self`.
            let _ = lease.changed().await;
        }
    }

    /// Gives it up: durable at the elector when this answers `true`. Bounded; renewals stop in any case, so that what could not be
    /// given up runs out.
    pub async fn resign(&self) -> bool {
        let resigned =
            timeout(&self.election.clock, RESIGN_TIMEOUT, self.resign_patiently()).await.unwrap_or(false);
        self.renewals.cut();
        self.won.lease.send_if_modified(|lease| {
            let held = matches!(lease, Lease::Until(_));
            if held {
                *lease = Lease::Lost("resigned".to_owned());
            }
            held
        });
        resigned
    }

    async fn resign_patiently(&self) -> bool {
        let mut backoff = retry_backoff();
        loop {
            match self.election.resign(&self.fence(), &self.candidacy.holder).await {
                Ok(was_leader) => return was_leader,
                Err(error) if is_away(&error) => {
                    tracing::debug!("resigning again soon: {error}");
                    self.election.clock.sleep(backoff.next_delay()).await;
                }
                Err(error) => {
                    tracing::warn!("the leadership runs out instead of being resigned: {error}");
                    return false;
                }
            }
        }
    }
}

fn retry_backoff() -> Backoff {
    Backoff::new(RETRY_MIN, RETRY_MAX)
}

/// Nobody refused it: the elector is away, or the connection broke in one of the ways that carry no reason of ours.
fn is_away(error: &CallError) -> bool {
    let broke = matches!(error.code(), Code::Cancelled | Code::Internal);
    error.is_retryable() || (broke && error.reason().is_none())
}

#[cfg(test)]
mod tests;
