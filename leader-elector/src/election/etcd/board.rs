//! Who leads, as etcd says: kept here by one watch for all applications, changed by transactions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::etcd::{Error as EtcdError, Etcd, Heard, Lease, Watch, revision_of};
use chassis::clock::Clock as _;
use chassis::tasks::{OwnedTask, owned};
use etcd_client::{Compare, CompareOp, EventType, GetOptions, KeyValue, PutOptions};
use etcd_client::{Txn, TxnOp, TxnOpResponse, TxnResponse};
use proto::ApplicationId;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::PATIENCE;
use super::keys::{Keys, Last, Part, Term};
use crate::error::Error;
use crate::model::Cause;

/// How many keys are read at once when a board is opened.
const PAGE: i64 = 1_000;

/// The pause before elections are listed again that could not be listed.
const RELIST_PAUSE: Duration = Duration::from_millis(200);

/// What etcd says of one application's leadership.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seat {
    /// The present leader.
    pub(super) leader: Option<Led>,
    /// The highest epoch so far, and the revision of its key.
    pub(super) last: Option<(Last, i64)>,
}

/// A leadership that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Led {
    /// The leadership.
    pub(super) term: Term,
    /// The lease that it lasts by.
    pub(super) lease: i64,
    /// The revision of its key.
    pub(super) revision: i64,
}

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
    shared: Arc<Posted>,
    /// Follows etcd for as long as the board is there.
    _follower: OwnedTask<()>,
}

#[derive(Debug)]
struct Posted {
    seats: Mutex<BTreeMap<ApplicationId, Seat>>,
    /// The revision that the seats are of.
    revision: watch::Sender<i64>,
}

impl Board {
    /// The board below `prefix`, as of now.
    pub(super) async fn open(etcd: Etcd, prefix: &str) -> Result<Self, Error> {
        let keys = Keys::below(prefix);
        let (seats, revision) = list(&etcd, &keys).await?;
        let shared =
            Arc::new(Posted { seats: Mutex::new(seats), revision: watch::Sender::new(revision) });
        let watch = Watch::new(etcd.clone(), keys.all(), revision + 1);
        let follower =
            owned("election-follower", follow(watch, etcd.clone(), keys.clone(), shared.clone()));
        Ok(Self { etcd, keys, shared, _follower: follower })
    }

    /// The revision of the board, as a value to wait on.
    pub(super) fn changes(&self) -> watch::Receiver<i64> {
        self.shared.revision.subscribe()
    }

    /// The seat, as far as this elector has heard, and the revision that it is of.
    pub(super) fn seat(&self, application: &ApplicationId) -> (Seat, i64) {
        let seats = self.shared.seats();
        (seats.get(application).cloned().unwrap_or_default(), *self.shared.revision.borrow())
    }

    /// The seat as it is now.
    pub(super) async fn look(&self, application: &ApplicationId) -> Result<Seat, Error> {
        let look = Txn::new().and_then(self.looks(application));
        let answer = self.etcd.transact(PATIENCE, &look).await?;
        seat_of(&answer)
    }

    /// Gives the seat to this term, under this lease, if no contender has it and the counter is
    /// where `seen` says. Answers the revision of the leader's key.
    pub(super) async fn take(
        &self,
        term: &Term,
        seen: Option<i64>,
        lease: &Lease,
    ) -> Result<Take<i64>, Error> {
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
            Ok(answer) if answer.succeeded() => Ok(Take::Taken(revision_of(&answer))),
            Ok(answer) => Ok(match ours(seat_of(&answer)?) {
                Some(led) => Take::Taken(led.revision),
                None => Take::Beaten,
            }),
            // The transaction that uses up etcd's room is done, and answered like those that are
            // not.
            Err(full @ EtcdError::Full(_)) => match ours(self.look(id).await?) {
                Some(led) => Ok(Take::Taken(led.revision)),
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
                if !is_ended(self.look(application).await?) {
                    return Err(full.into());
                }
                true
            }
            Err(error) => return Err(error.into()),
        };
        if let Err(error) = Lease::of(&self.etcd, led.lease).revoke(PATIENCE).await {
            tracing::debug!(%error, "a lease without a key runs out by itself");
        }
        Ok(done)
    }

    fn looks(&self, application: &ApplicationId) -> Vec<TxnOp> {
        [Part::Leader, Part::Last]
            .map(|part| TxnOp::get(self.keys.name(application, part), None))
            .to_vec()
    }
}

impl Posted {
    fn seats(&self) -> MutexGuard<'_, BTreeMap<ApplicationId, Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All seats, and the revision that they are of.
async fn list(etcd: &Etcd, keys: &Keys) -> Result<(BTreeMap<ApplicationId, Seat>, i64), Error> {
    let mut seats = BTreeMap::new();
    let mut revision = 0;
    let mut begin = keys.all().as_bytes().to_vec();
    let end = {
        let mut end = begin.clone();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        end
    };
    loop {
        let options =
            GetOptions::new().with_range(end.clone()).with_limit(PAGE).with_revision(revision);
        let page = Txn::new().and_then(vec![TxnOp::get(begin.clone(), Some(options))]);
        let answer = etcd.transact(PATIENCE, &page).await?;
        if revision == 0 {
            revision = revision_of(&answer);
        }
        let Some(TxnOpResponse::Get(got)) = answer.op_responses().into_iter().next() else {
            return Ok((seats, revision));
        };
        got.kvs().iter().for_each(|kv| post(&mut seats, keys, kv, EventType::Put));
        match got.kvs().last() {
            Some(last) if got.more() => begin = [last.key(), &[0]].concat(),
            _ => return Ok((seats, revision)),
        }
    }
}

/// Keeps the seats as etcd says, for as long as the board is there.
async fn follow(mut watch: Watch, etcd: Etcd, keys: Keys, posted: Arc<Posted>) {
    loop {
        match watch.next().await {
            Heard::Events(events) => {
                let mut seats = posted.seats();
                let mut revision = 0;
                for event in &events {
                    if let Some(kv) = event.kv() {
                        post(&mut seats, &keys, kv, event.event_type());
                        revision = revision.max(kv.mod_revision());
                    }
                }
                posted.revision.send_replace(revision);
            }
            Heard::Lost(lost) => {
                tracing::warn!(lost, "changes of elections are lost to this elector, which lags");
                while let Err(error) = relist(&etcd, &keys, &posted, &mut watch).await {
                    tracing::warn!(%error, "elections are listed again");
                    etcd.clock().sleep(RELIST_PAUSE).await;
                }
            }
        }
    }
}

async fn relist(etcd: &Etcd, keys: &Keys, posted: &Posted, watch: &mut Watch) -> Result<(), Error> {
    let (listed, revision) = list(etcd, keys).await?;
    *watch = Watch::new(etcd.clone(), keys.all(), revision + 1);
    *posted.seats() = listed;
    posted.revision.send_replace(revision);
    Ok(())
}

fn post(seats: &mut BTreeMap<ApplicationId, Seat>, keys: &Keys, kv: &KeyValue, event: EventType) {
    let Some((application, part)) = keys.read(kv.key()) else { return };
    let seat = seats.entry(application).or_default();
    let there = event == EventType::Put;
    match part {
        Part::Leader => seat.leader = if there { led(kv).ok() } else { None },
        Part::Last => seat.last = if there { last(kv).ok() } else { None },
    }
}

fn seat_of(answer: &TxnResponse) -> Result<Seat, Error> {
    let mut answers = answer.op_responses().into_iter();
    let mut next = || match answers.next() {
        Some(TxnOpResponse::Get(mut got)) => got.take_kvs().into_iter().next(),
        _ => None,
    };
    let (leader, counter) = (next(), next());
    let leader = leader.as_ref().map(led).transpose()?;
    Ok(Seat { leader, last: counter.as_ref().map(last).transpose()? })
}

fn led(kv: &KeyValue) -> Result<Led, Error> {
    Ok(Led { term: read(kv)?, lease: kv.lease(), revision: kv.mod_revision() })
}

fn last(kv: &KeyValue) -> Result<(Last, i64), Error> {
    Ok((read(kv)?, kv.mod_revision()))
}

fn read<T: DeserializeOwned>(kv: &KeyValue) -> Result<T, Error> {
    serde_json::from_slice(kv.value()).map_err(|error| Error::LedgerUnreadable {
        path: String::from_utf8_lossy(kv.key()).into_owned().into(),
        application: String::from_utf8_lossy(kv.key()).into_owned(),
        why: error.to_string(),
    })
}

fn written<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Internal(error.to_string()))
}
