//! One contender's entry, and one observer's look, over the board.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use ::etcd::Lease;
use async_trait::async_trait;
use chassis::clock::Clock as _;
use chassis::failpoint;
use chassis::tasks::{OwnedTask, owned};
use chassis::telemetry::fields;
use proto::ApplicationId;

use super::board::{Led, Seat, Take};
use super::desk::Broken;
use super::keys::Term;
use super::{PATIENCE, Shared};
use crate::election::{Campaign, Observation};
use crate::error::Error;
use crate::model::{Cause, Elected, Enter, EntryId, Leader, Position, View};

/// One contender's entry.
pub(super) struct EtcdCampaign {
    shared: Arc<Shared>,
    enter: Enter,
    id: EntryId,
    state: State,
    /// The revision at which the seat looked free when it was not. Nothing new is known of the seat
    /// until the board is beyond it.
    beaten_at: i64,
    told: Option<Position>,
    left_open: bool,
}

enum State {
    Waits,
    /// The seat is being taken, which looked free at this revision. The task goes on when a call of
    /// [`Campaign::next`] is cut off.
    Takes(OwnedTask<Result<Take<Leads>, Error>>, i64),
    Leads(Leads),
    Lost(Cause),
}

/// What a leader's entry knows of its leadership.
struct Leads {
    elected: Elected,
    lease: Lease,
    /// The revision of the leader's key.
    revision: i64,
}

impl EtcdCampaign {
    /// A contender enters: it goes on with its epoch, or it waits.
    pub(super) async fn enter(shared: Arc<Shared>, enter: Enter) -> Result<Self, Error> {
        let id = shared.desks.entry();
        // The campaign is made before anything else is done, so that dropping it takes the entry
        // back even when a later step is cut off.
        let mut campaign = Self {
            shared,
            enter,
            id,
            state: State::Waits,
            beaten_at: 0,
            told: None,
            left_open: false,
        };
        if campaign.enter.resume.is_some() {
            campaign.state = campaign.resume().await?;
        } else {
            // Only this entry waits. One that resumes would keep its turn from all behind it.
            let Enter { application, holder, .. } = &campaign.enter;
            campaign.shared.desks.queue(&application.id, id, holder);
        }
        Ok(campaign)
    }

    async fn resume(&self) -> Result<State, Error> {
        let (application, holder) = (&self.enter.application.id, &self.enter.holder);
        let seat = self.shared.board.look(application).await?;
        let ours =
            |led: &Led| Some(led.term.epoch) == self.enter.resume && led.term.holder == *holder;
        let Some(led) = seat.leader.clone().filter(ours) else {
            return Ok(State::Lost(self.cause(&seat)));
        };
        let mut lease = Lease::of(&self.shared.etcd, led.lease);
        let Some(granted) = lease.granted_for(PATIENCE).await? else {
            return Ok(State::Lost(Cause::LeaseExpired));
        };
        if !lease.renew(self.shared.lease).await? {
            return Ok(State::Lost(Cause::LeaseExpired));
        }
        self.shared.desks.lead(application, self.id);
        tracing::info!({ fields::APP_ID } = %self.enter.application, holder, "resumes");
        let (epoch, previous) = (led.term.epoch, led.term.previous);
        let elected = Elected { epoch, previous, lease: granted };
        Ok(State::Leads(Leads { elected, lease, revision: led.revision }))
    }

    /// Why the entry's epoch, or the one that it would resume, holds no more.
    fn cause(&self, seat: &Seat) -> Cause {
        let epoch = match &self.state {
            State::Leads(leads) => Some(leads.elected.epoch),
            _ => self.enter.resume,
        };
        // A successor's key keeps how the leadership before it ended.
        let before = seat.leader.as_ref().and_then(|led| led.term.previous);
        match (&seat.last, before) {
            (Some((last, _)), _) if Some(last.epoch) == epoch => {
                last.ended.unwrap_or(Cause::LeaseExpired)
            }
            (_, Some((previous, cause))) if Some(previous) == epoch => cause,
            _ => Cause::Superseded,
        }
    }

    /// Loses the leadership if this elector has heard that it is lost.
    fn note_loss(&mut self) {
        let State::Leads(leads) = &self.state else { return };
        let application = &self.enter.application.id;
        let (seat, at) = self.shared.board.seat(application);
        let ours = |led: &Led| led.lease == leads.lease.id();
        // The board may not have heard yet of the grant itself.
        if at >= leads.revision && !seat.leader.as_ref().is_some_and(ours) {
            self.state = State::Lost(self.cause(&seat));
        } else if !self.shared.desks.leads(application, self.id) {
            self.state = State::Lost(Cause::Resumed);
        }
    }

    /// Lets happen what is due for this entry.
    async fn settle(&mut self) -> Result<(), Error> {
        let application = self.enter.application.id.clone();
        loop {
            match &mut self.state {
                State::Takes(taking, seen_at) => {
                    let seen_at = *seen_at;
                    let taken = taking.await.map_err(|failed| Error::Internal(failed.to_string()));
                    self.state = State::Waits;
                    match taken?? {
                        Take::Taken(leads) => {
                            self.shared.desks.lead(&application, self.id);
                            self.state = State::Leads(leads);
                        }
                        Take::Beaten => self.beaten_at = seen_at,
                        Take::TooLate => {}
                    }
                }
                State::Waits => {
                    let (seat, at) = self.shared.board.seat(&application);
                    let is_free = seat.leader.is_none() && at > self.beaten_at;
                    if !is_free || !self.shared.desks.is_first(&application, self.id) {
                        return Ok(());
                    }
                    let take = take(self.shared.clone(), self.enter.clone(), seat);
                    self.state = State::Takes(owned("take-seat", take), at);
                }
                State::Leads(_) => {
                    self.note_loss();
                    return Ok(());
                }
                State::Lost(_) => return Ok(()),
            }
        }
    }

    fn position(&self) -> Position {
        match &self.state {
            State::Leads(leads) => Position::Elected(leads.elected.clone()),
            State::Lost(cause) => Position::Lost(*cause),
            State::Waits | State::Takes(..) => {
                let (seat, _) = self.shared.board.seat(&self.enter.application.id);
                Position::Standby(seat.leader.as_ref().map(leader))
            }
        }
    }
}

/// Takes a seat that was seen to be free.
async fn take(shared: Arc<Shared>, enter: Enter, seen: Seat) -> Result<Take<Leads>, Error> {
    let (lease, granted) = Lease::grant(&shared.etcd, shared.lease, PATIENCE).await?;
    let highest =
        seen.last.as_ref().map_or(enter.at_least, |(last, _)| last.epoch.max(enter.at_least));
    let previous =
        seen.last.as_ref().map(|(last, _)| (last.epoch, last.ended.unwrap_or(Cause::LeaseExpired)));
    let since = shared.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    let term = Term {
        application: enter.application.clone(),
        epoch: highest.next(),
        holder: enter.holder.clone(),
        since_unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        previous,
    };
    failpoint::hit("elector.before-grant").await;
    let counted = seen.last.as_ref().map(|(_, revision)| *revision);
    let revision = match shared.board.take(&term, counted, &lease).await? {
        Take::Taken(revision) => revision,
        Take::Beaten => {
            if let Err(error) = lease.revoke(PATIENCE).await {
                tracing::debug!(%error, "a lease without a key runs out by itself");
            }
            return Ok(Take::Beaten);
        }
        Take::TooLate => return Ok(Take::TooLate),
    };
    failpoint::hit("elector.after-grant").await;
    tracing::info!(
        { fields::APP_ID } = %enter.application,
        { fields::EPOCH } = term.epoch.get(),
        holder = enter.holder,
        "elected"
    );
    let elected = Elected { epoch: term.epoch, previous, lease: granted };
    Ok(Take::Taken(Leads { elected, lease, revision }))
}

fn leader(led: &Led) -> Leader {
    Leader {
        holder: led.term.holder.clone(),
        epoch: led.term.epoch,
        since_unix_ms: led.term.since_unix_ms,
    }
}

#[async_trait]
impl Campaign for EtcdCampaign {
    async fn next(&mut self) -> Result<Position, Error> {
        let mut board = self.shared.board.changes();
        let mut desks = self.shared.desks.changes();
        loop {
            board.borrow_and_update();
            desks.borrow_and_update();
            self.settle().await?;
            let position = self.position();
            if self.told.as_ref() != Some(&position) {
                self.told = Some(position.clone());
                return Ok(position);
            }
            tokio::select! {
                // Waiting cannot fail: the senders are in `self`.
                _ = board.changed() => {}
                _ = desks.changed() => {}
            }
        }
    }

    async fn renew(&mut self) -> Result<Result<(), Cause>, Error> {
        self.note_loss();
        let leads = match &mut self.state {
            State::Leads(leads) => leads,
            State::Lost(cause) => return Ok(Err(*cause)),
            State::Waits | State::Takes(..) => return Ok(Err(Cause::Superseded)),
        };
        let seat = match leads.lease.renew(self.shared.lease / 2).await {
            Ok(true) => return Ok(Ok(())),
            Ok(false) => self.shared.board.look(&self.enter.application.id).await,
            Err(error) => Err(error.into()),
        };
        match seat {
            Ok(seat) => {
                let cause = self.cause(&seat);
                self.state = State::Lost(cause);
                Ok(Err(cause))
            }
            // The conversation ends here because etcd is away, which says nothing about the holder.
            Err(error) => {
                self.left_open = true;
                Err(error)
            }
        }
    }

    fn leave_open(mut self: Box<Self>) {
        self.left_open = true;
    }
}

impl Drop for EtcdCampaign {
    fn drop(&mut self) {
        let broken = match &self.state {
            State::Leads(leads) if !self.left_open => {
                let (epoch, revision) = (leads.elected.epoch, leads.revision);
                self.enter.lock_file.clone().map(|lock| Broken { epoch, revision, lock })
            }
            _ => None,
        };
        self.shared.desks.leave(&self.enter.application.id, self.id, broken);
    }
}

/// One observer's look.
pub(super) struct EtcdObservation {
    shared: Arc<Shared>,
    application: ApplicationId,
    told: Option<View>,
}

impl EtcdObservation {
    pub(super) fn of(shared: Arc<Shared>, application: ApplicationId) -> Self {
        Self { shared, application, told: None }
    }
}

#[async_trait]
impl Observation for EtcdObservation {
    async fn next(&mut self) -> Result<View, Error> {
        let mut board = self.shared.board.changes();
        let mut desks = self.shared.desks.changes();
        loop {
            board.borrow_and_update();
            desks.borrow_and_update();
            let (seat, _) = self.shared.board.seat(&self.application);
            let standbys = self.shared.desks.waiting(&self.application);
            let view = View { leader: seat.leader.as_ref().map(leader), standbys };
            if self.told.as_ref() != Some(&view) {
                self.told = Some(view.clone());
                return Ok(view);
            }
            tokio::select! {
                _ = board.changed() => {}
                _ = desks.changed() => {}
            }
        }
    }
}
