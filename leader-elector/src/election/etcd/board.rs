//! Who leads, as etcd says: told by one watch for all applications (`seats.rs`), changed by
//! transactions.

use std::sync::Arc;
use std::time::Duration;

use ::etcd::{Error as EtcdError, Etcd, Lease, revision_of};
use chassis::tasks::{OwnedTask, owned};
use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};
use proto::ApplicationId;
use tokio::sync::watch;

use super::PATIENCE;
use super::keys::{Keys, Last, Part, Term};
use super::seats::{Led, Seat, Seats, seat_of};
use crate::error::Error;
use crate::model::Cause;

/// What came of taking a seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Take<T> {
    /// The seat is taken.
    Taken(T),
    /// The seat is not as it was seen: another contender was first.
    Beaten,
    /// The lease ended before the seat was taken under it.
    TooLate,
}

/// The seats of all applications.
pub(super) struct Board {
    etcd: Etcd,
    keys: Keys,
    seats: Arc<Seats>,
    /// Follows etcd for as long as the board is there.
    _follower: OwnedTask<()>,
}

impl Board {
    /// The board below `prefix`, as of now.
    pub(super) async fn open(etcd: Etcd, prefix: &str) -> Result<Self, Error> {
        let keys = Keys::below(prefix);
        let (seats, watch) = Seats::list(&etcd, &keys).await?;
        let seats = Arc::new(seats);
        let follow = seats.clone().follow(watch, etcd.clone(), keys.clone());
        Ok(Self { etcd, keys, seats, _follower: owned("election-follower", follow) })
    }

    /// The revision of the board, as a value to wait on.
    pub(super) fn changes(&self) -> watch::Receiver<i64> {
        self.seats.changes()
    }

    /// The seat, as far as this elector has heard, and the revision that it is of.
    pub(super) fn seat(&self, application: &ApplicationId) -> (Result<Seat, Error>, i64) {
        self.seats.seat(application)
    }

    /// The seat as it is now.
    pub(super) async fn look(
        &self,
        application: &ApplicationId,
        patience: Duration,
    ) -> Result<Seat, Error> {
        let look = Txn::new().and_then(self.looks(application));
        let answer = self.etcd.transact(patience, &look).await?;
        seat_of(&answer)
    }

    /// The seat as it is now; `None` if etcd does not answer within `patience`.
    pub(super) async fn look_briefly(
        &self,
        application: &ApplicationId,
        patience: Duration,
    ) -> Result<Option<Seat>, Error> {
        let look = Txn::new().and_then(self.looks(application));
        match self.etcd.transact(patience, &look).await {
            Ok(answer) => seat_of(&answer).map(Some),
            Err(error) if error.is_away() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the seat to this term, under this lease, if no contender has it and the counter is
    /// where `seen` says.
    pub(super) async fn take(
        &self,
        term: &Term,
        seen: Option<i64>,
        lease: &Lease,
    ) -> Result<Take<Led>, Error> {
        let id = &term.application.id;
        let (leader, last) = (self.keys.name(id, Part::Leader), self.keys.name(id, Part::Last));
        let counted = Last { epoch: term.epoch, ended: None };
        let txn = Txn::new()
            .when(vec![
                Compare::create_revision(leader.clone(), CompareOp::Equal, 0),
                Compare::mod_revision(last.clone(), CompareOp::Equal, seen.unwrap_or(0)),
            ])
            .and_then(vec![
                TxnOp::put(leader, written(term)?, Some(PutOptions::new().with_lease(lease.id()))),
                TxnOp::put(last, written(&counted)?, None),
            ])
            .or_else(self.looks(id));
        // A second transaction after a lost answer finds the key of the first one, whose lease no
        // other contender has.
        let ours = |seat: Seat| seat.leader.filter(|led| led.lease == lease.id());
        match self.etcd.transact(PATIENCE, &txn).await {
            Ok(answer) if answer.succeeded() => {
                let (lease, revision) = (lease.id(), revision_of(&answer));
                Ok(Take::Taken(Led { term: term.clone(), lease, revision }))
            }
            Ok(answer) => Ok(ours(seat_of(&answer)?).map_or(Take::Beaten, Take::Taken)),
            // The transaction that uses up etcd's room is done, and answered like those that are
            // not.
            Err(full @ EtcdError::Full(_)) => match ours(self.look(id, PATIENCE).await?) {
                Some(led) => Ok(Take::Taken(led)),
                None => Err(full.into()),
            },
            Err(EtcdError::LeaseGone) => Ok(Take::TooLate),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends a leadership before its lease does, and keeps why. `false`: it had ended.
    pub(super) async fn end(
        &self,
        application: &ApplicationId,
        led: &Led,
        cause: Cause,
    ) -> Result<bool, Error> {
        let leader = self.keys.name(application, Part::Leader);
        let ended = Last { epoch: led.term.epoch, ended: Some(cause) };
        let txn = Txn::new()
            .when(vec![Compare::mod_revision(leader.clone(), CompareOp::Equal, led.revision)])
            .and_then(vec![
                TxnOp::delete(leader, None),
                TxnOp::put(self.keys.name(application, Part::Last), written(&ended)?, None),
            ])
            .or_else(self.looks(application));
        let answer = self.etcd.transact(PATIENCE, &txn).await;
        let is_ended = |seat: Seat| seat.last.is_some_and(|(last, _)| last == ended);
        let done = match answer {
            Ok(answer) => answer.succeeded() || is_ended(seat_of(&answer)?),
            // As in `take`.
            Err(full @ EtcdError::Full(_)) => {
                if !is_ended(self.look(application, PATIENCE).await?) {
                    return Err(full.into());
                }
                true
            }
            Err(error) => return Err(error.into()),
        };
        revoke(Lease::of(&self.etcd, led.lease)).await;
        Ok(done)
    }

    fn looks(&self, application: &ApplicationId) -> Vec<TxnOp> {
        [Part::Leader, Part::Last]
            .map(|part| TxnOp::get(self.keys.name(application, part), None))
            .to_vec()
    }
}

/// Ends a lease that has no key any more, or none yet.
pub(super) async fn revoke(lease: Lease) {
    if let Err(error) = lease.revoke(PATIENCE).await {
        tracing::debug!(%error, "a lease without a key runs out by itself");
    }
}

fn written<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Internal(error.to_string()))
}
