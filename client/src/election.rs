//! Leadership of an application. A [`Campaign`] waits its turn and becomes a [`Leadership`], which
//! is renewed in the background for as long as it lives, and which says until when its holder may
//! act.
//!
//! A deadline counts from the *sending* of the last renewal that was acknowledged, so the holder's
//! deadline is never later than the one that the elector counts. Dropping a campaign withdraws it;
//! dropping a leadership stops its renewals.

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

/// The shortest pause between two tries to reach the elector. It is short, because a leader has
/// only the rest of its lease.
const RETRY_MIN: Duration = Duration::from_millis(20);
/// The longest pause between two tries, because the elector is a local process or one hop away.
const RETRY_MAX: Duration = Duration::from_millis(250);

/// Client of the elector; cheap to clone.
#[derive(Clone)]
pub struct Election {
    inner: ElectionServiceClient<GrpcChannel>,
    clock: SharedClock,
}

/// What a contender says of itself when it enters a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidacy {
    /// The application to lead. Leadership is per application id, across generations.
    pub application: ApplicationRef,
    /// The name of the contender, such as `runner-0`; no other contender of the application has it.
    pub holder: String,
    /// The epoch that is granted is higher than this one. It is the epoch that the store knows; 0
    /// if none is known.
    pub at_least: Epoch,
    /// An absolute path on the elector's host. The file is locked (`flock`) for as long as the
    /// holder or a process that it started lives, so that the elector can grant a successor before
    /// a dead holder's lease ends. With `None` the successor of a dead holder waits for that end.
    pub lock_file: Option<PathBuf>,
}

/// The contender that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The contender's name.
    pub holder: String,
    /// The epoch of its leadership.
    pub epoch: Epoch,
}

/// What an observer sees of an application's election.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// The contender that leads, if there is one.
    pub leader: Option<Leader>,
    /// When the present leadership began, by the elector's wall clock.
    pub since: Option<prost_types::Timestamp>,
    /// The names of the contenders that wait, in their order.
    pub standbys: Vec<String>,
}

/// What a holder knows of its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lease {
    /// The holder may act until this instant. Past it the holder stops, and it goes on if a later
    /// instant comes, because an elector that was away can confirm the same epoch.
    Until(Boot),
    /// The leadership is over for good, for this cause.
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

    /// Enters a campaign. It has to be called inside the runtime, because a task renews in the
    /// background. While the elector is away the campaign asks again, for as long as the campaign
    /// lives.
    pub fn campaign(&self, candidacy: Candidacy) -> Campaign {
        let (won, elected) = oneshot::channel();
        let (leader, standby) = watch::channel(None);
        let holder = Holder::new(self.clone(), candidacy.clone(), leader, won);
        let renewals = owned("campaign", trace::carry(holder.run()));
        Campaign { election: self.clone(), candidacy, standby, elected, renewals }
    }

    /// The present state of an election first, then each change of it.
    pub async fn observe(
        &self,
        application: &ApplicationId,
    ) -> Result<impl Stream<Item = Result<View, CallError>> + Send + Unpin + use<>, CallError> {
        let request = ObserveRequest { application_id: application.to_string() };
        let answers = self.inner.clone().observe(request).await?.into_inner();
        Ok(answers.map(|answer| Ok(View::from(answer?))))
    }

    /// Gives a leadership up, which is durable when this returns. The answer is `false` if the
    /// holder no longer had it. A repeat is harmless.
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
        Self {
            leader: Leader::named(wire.leader, wire.epoch),
            since: wire.since,
            standbys: wire.standbys,
        }
    }
}

impl Leader {
    /// The leader of a message. An empty name on the wire means that no contender leads.
    fn named(holder: String, epoch: u64) -> Option<Self> {
        (!holder.is_empty()).then_some(Self { holder, epoch: Epoch(epoch) })
    }
}

/// A place in the queue of contenders. Dropping it withdraws the contender.
pub struct Campaign {
    election: Election,
    candidacy: Candidacy,
    standby: watch::Receiver<Option<Leader>>,
    elected: oneshot::Receiver<Result<Won, CallError>>,
    renewals: OwnedTask<()>,
}

impl Campaign {
    /// The contender that leads meanwhile, as far as the elector has said.
    pub fn standby(&self) -> watch::Receiver<Option<Leader>> {
        self.standby.clone()
    }

    /// Waits until this contender is elected, for as long as that takes. The answer is an error
    /// only if another campaign would meet it again.
    pub async fn elected(self) -> Result<Leadership, CallError> {
        let Self { election, candidacy, elected, renewals, .. } = self;
        let won = match elected.await {
            Ok(won) => won?,
            Err(_) => {
                return Err(
                    tonic::Status::internal("the campaign's task ended without a word").into()
                );
            }
        };
        Ok(Leadership { election, candidacy, won, renewals })
    }
}

/// One leadership. The elector grants it under an [`Epoch`] that no other leadership of the
/// application has, and a task renews it for as long as this value lives.
///
/// The holder watches [`Self::deadline`] or [`Self::lease`] and does nothing for the application
/// past the deadline; every write of it carries [`Self::fence`], so that the record refuses a
/// holder that has been superseded without knowing it.
pub struct Leadership {
    election: Election,
    candidacy: Candidacy,
    won: Won,
    renewals: OwnedTask<()>,
}

impl Leadership {
    /// The number of this leadership.
    pub fn epoch(&self) -> Epoch {
        self.won.epoch
    }

    /// The fence that the writes of this leadership carry.
    pub fn fence(&self) -> EpochFence {
        EpochFence { application: self.candidacy.application.clone(), epoch: self.won.epoch }
    }

    /// The epoch of the leadership before this one, if there was one.
    pub fn previous_epoch(&self) -> Option<Epoch> {
        self.won.previous
    }

    /// Why the previous leadership ended (`resigned`, `lease expired`, `process gone`); empty for
    /// the first one.
    pub fn cause(&self) -> &str {
        &self.won.cause
    }

    /// Ties the renewals to the holder's own loop. From now on each renewal waits until the loop
    /// has passed [`Pulse::due`], so that a loop that hangs loses its lease although this process
    /// lives. The loop polls the pulse beside everything else that it does.
    pub fn pulse(&self) -> Pulse {
        self.won.pulse.take()
    }

    /// Until when the holder may act: three quarters of the lease after the last acknowledged
    /// renewal was sent. The deadline grows with each renewal, unless the elector has come back
    /// with a shorter lease. The holder hands each value to main()'s tether.
    pub fn deadline(&self) -> watch::Receiver<Boot> {
        self.won.deadline.clone()
    }

    /// The deadline, and the loss of the leadership as the last value.
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
            // The wait cannot fail, because `self` holds a sender.
            let _ = lease.changed().await;
        }
    }

    /// Gives the leadership up, which is durable at the elector when the answer is `true`. The call
    /// is bounded. The renewals stop in any case, so that a leadership that could not be given up
    /// runs out.
    pub async fn resign(&self) -> bool {
        let resigned = timeout(&self.election.clock, RESIGN_TIMEOUT, self.resign_patiently())
            .await
            .unwrap_or(false);
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

/// Whether the elector is away, rather than that it has refused the call. A connection that broke
/// ends in one of several codes without a reason of ours.
fn is_away(error: &CallError) -> bool {
    let broke = matches!(error.code(), Code::Cancelled | Code::Internal);
    error.is_retryable() || (broke && error.reason().is_none())
}

#[cfg(test)]
mod tests;
