//! One contender's entry, over the board.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use ::etcd::Lease;
use async_trait::async_trait;
use chassis::clock::{Boot, Clock as _};
use chassis::failpoint;
use chassis::tasks::{OwnedTask, owned};
use chassis::telemetry::fields;
use proto::ApplicationId;

use super::board::{Take, revoke};
use super::desk::Broken;
use super::keys::Term;
use super::seats::{Led, Seat};
use super::{PATIENCE, Shared};
use crate::election::Campaign;
use crate::error::Error;
use crate::model::{Cause, Elected, Enter, EntryId, Position};

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

/// A seat that is being taken for an entry that has gone, and the application that it is for.
pub(super) struct Abandoned {
    /// The application.
    pub(super) application: ApplicationId,
    /// What takes the seat.
    pub(super) taking: OwnedTask<Result<Take<Leads>, Error>>,
}

/// What a leader's entry knows of its leadership.
pub(super) struct Leads {
    elected: Elected,
    lease: Lease,
    led: Led,
    /// When the leader's key was known to be there.
    looked_at: Boot,
}

impl Leads {
    /// The leadership, as etcd has it.
    pub(super) fn led(&self) -> &Led {
        &self.led
    }
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
        let looked_at = self.shared.clock.boot();
        let seat = self.shared.board.look(application, PATIENCE).await?;
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
        Ok(State::Leads(Leads { elected, lease, led, looked_at }))
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
    fn note_loss(&mut self) -> Result<(), Error> {
        let State::Leads(leads) = &self.state else { return Ok(()) };
        let application = &self.enter.application.id;
        let (seat, at) = self.shared.board.seat(application);
        let ours = |led: &Led| led.lease == leads.lease.id();
        // The board may not have heard yet of the grant itself.
        if at >= leads.led.revision {
            let seat = seat?;
            if !seat.leader.as_ref().is_some_and(ours) {
                self.state = State::Lost(self.cause(&seat));
                return Ok(());
            }
        }
        if !self.shared.desks.leads(application, self.id) {
            self.state = State::Lost(Cause::Resumed);
        }
        Ok(())
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
                    let seat = seat?;
                    let is_free = seat.leader.is_none() && at > self.beaten_at;
                    if !is_free || !self.shared.desks.is_first(&application, self.id) {
                        return Ok(());
                    }
                    let take = take(self.shared.clone(), self.enter.clone(), self.id, seat);
                    self.state = State::Takes(owned("take-seat", take), at);
                }
                State::Leads(_) => {
                    self.note_loss()?;
                    return Ok(());
                }
                State::Lost(_) => return Ok(()),
            }
        }
    }

    fn position(&self) -> Result<Position, Error> {
        Ok(match &self.state {
            State::Leads(leads) => Position::Elected(leads.elected.clone()),
            State::Lost(cause) => Position::Lost(*cause),
            State::Waits | State::Takes(..) => {
                let (seat, _) = self.shared.board.seat(&self.enter.application.id);
                Position::Standby(seat?.leader.as_ref().map(Led::leader))
            }
        })
    }
}

/// Takes a seat that was seen to be free, for an entry.
async fn take(
    shared: Arc<Shared>,
    enter: Enter,
    entry: EntryId,
    seen: Seat,
) -> Result<Take<Leads>, Error> {
    let (lease, mut granted) = Lease::grant(&shared.etcd, shared.lease, PATIENCE).await?;
    // A test plants the bug to see that it would be noticed.
    if failpoint::is_planted("elector.trusts-asked-lease") {
        granted = shared.lease;
    }
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
    // An entry that has gone needs no seat, and no epoch is used up for it.
    if !shared.desks.is_first(&enter.application.id, entry) {
        revoke(lease).await;
        return Ok(Take::Beaten);
    }
    let looked_at = shared.clock.boot();
    let led = match shared.board.take(&term, counted, &lease).await? {
        Take::Taken(led) => led,
        Take::Beaten => {
            revoke(lease).await;
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
    Ok(Take::Taken(Leads { elected, lease, led, looked_at }))
}

/// Renews a leader's lease. Answers the seat if the leadership is lost.
///
/// A lease outlives its key if the key is deleted by hand, and what the board has heard of may be
/// late. So the key is looked at once in each granted lease, after the holder has sent its renewal;
/// at each renewal that would cost etcd four times as many reads.
async fn renew(
    shared: &Shared,
    application: &ApplicationId,
    leads: &mut Leads,
) -> Result<Option<Seat>, Error> {
    let now = shared.clock.boot();
    let is_due = now >= leads.looked_at + leads.elected.lease;
    let look = async {
        if !is_due {
            return Ok(None);
        }
        // Renewals are answered one after the other, and a quarter of a lease apart, so a look that
        // is in vain must not take that long.
        shared.board.look_briefly(application, shared.lease / 8).await
    };
    let (renewed, seat) = tokio::join!(leads.lease.renew(shared.lease / 2), look);
    if !renewed? {
        return shared.board.look(application, PATIENCE).await.map(Some);
    }
    // The lease was renewed, so a look in vain says nothing about the holder; the next renewal
    // looks again.
    let Some(seat) = seat? else { return Ok(None) };
    leads.looked_at = now;
    let id = leads.lease.id();
    let is_there = seat.leader.as_ref().is_some_and(|led| led.lease == id);
    Ok((!is_there).then_some(seat))
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
            let position = self.position()?;
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
        self.note_loss()?;
        let leads = match &mut self.state {
            State::Leads(leads) => leads,
            State::Lost(cause) => return Ok(Err(*cause)),
            State::Waits | State::Takes(..) => return Ok(Err(Cause::Superseded)),
        };
        match renew(&self.shared, &self.enter.application.id, leads).await {
            Ok(None) => Ok(Ok(())),
            Ok(Some(seat)) => {
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
        let application = &self.enter.application.id;
        let broken = match std::mem::replace(&mut self.state, State::Waits) {
            State::Leads(leads) if !self.left_open => {
                let (epoch, revision) = (leads.elected.epoch, leads.led.revision);
                self.enter.lock_file.clone().map(|lock| Broken { epoch, revision, lock })
            }
            State::Takes(taking, _) => {
                let abandoned = Abandoned { application: application.clone(), taking };
                if self.shared.abandoned.try_send(abandoned).is_err() {
                    tracing::debug!(%application, "a seat without a holder is left to its lease");
                }
                None
            }
            _ => None,
        };
        self.shared.desks.leave(application, self.id, broken);
    }
}
