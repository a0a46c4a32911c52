//! What etcd has told about all elections: read from its keys when a board is opened, and kept by
//! one watch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::etcd::{Etcd, Heard, Watch, revision_of};
use chassis::backoff::Backoff;
use chassis::clock::Clock as _;
use etcd_client::{EventType, GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse, TxnResponse};
use proto::ApplicationId;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::PATIENCE;
use super::keys::{Keys, Last, Part, Term};
use crate::error::Error;
use crate::model::Leader;

/// How many keys are read at once when a board is opened.
const PAGE: i64 = 1_000;

/// The first pause before elections are listed again that could not be listed.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause before elections are listed again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

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

impl Led {
    /// The leader, as standbys and observers see it.
    pub(super) fn leader(&self) -> Leader {
        let Term { holder, epoch, since_unix_ms, .. } = &self.term;
        Leader { holder: holder.clone(), epoch: *epoch, since_unix_ms: *since_unix_ms }
    }
}

/// The keys of one application. A key that cannot be read is there all the same: a seat with such a
/// leader is not free.
#[derive(Debug, Default)]
struct Told {
    leader: Option<Result<Led, Error>>,
    last: Option<Result<(Last, i64), Error>>,
}

/// The keys of all applications.
type AllTold = BTreeMap<ApplicationId, Told>;

/// The seats of all applications, as far as this elector has heard.
#[derive(Debug)]
pub(super) struct Seats {
    told: Mutex<AllTold>,
    /// The revision that the seats are of.
    revision: watch::Sender<i64>,
}

impl Seats {
    /// The seats as of now, and the watch of what happens to them from now on.
    pub(super) async fn list(etcd: &Etcd, keys: &Keys) -> Result<(Self, Watch), Error> {
        let (told, revision) = list(etcd, keys).await?;
        let watch = Watch::new(etcd.clone(), keys.all(), revision + 1);
        let revision = watch::Sender::new(revision);
        Ok((Self { told: Mutex::new(told), revision }, watch))
    }

    /// The revision of the seats, as a value to wait on.
    pub(super) fn changes(&self) -> watch::Receiver<i64> {
        self.revision.subscribe()
    }

    /// The seat, and the revision that it is of.
    pub(super) fn seat(&self, application: &ApplicationId) -> (Result<Seat, Error>, i64) {
        let all = self.told();
        let seat = all.get(application).map_or_else(|| Ok(Seat::default()), Told::seat);
        (seat, *self.revision.borrow())
    }

    /// Keeps the seats as etcd says, for as long as the board is there.
    pub(super) async fn follow(self: Arc<Self>, mut watch: Watch, etcd: Etcd, keys: Keys) {
        loop {
            match watch.next().await {
                Heard::Events(events) => {
                    let mut all = self.told();
                    let mut revision = 0;
                    for event in &events {
                        if let Some(kv) = event.kv() {
                            note(&mut all, &keys, kv, event.event_type());
                            revision = revision.max(kv.mod_revision());
                        }
                    }
                    self.revision.send_replace(revision);
                }
                Heard::Lost(lost) => {
                    tracing::warn!(lost, "changes of elections are lost to this elector: it lags");
                    let mut backoff = Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE);
                    while let Err(error) = self.relist(&etcd, &keys, &mut watch).await {
                        tracing::warn!(%error, "elections are listed again");
                        etcd.clock().sleep(backoff.next_delay()).await;
                    }
                }
            }
        }
    }

    async fn relist(&self, etcd: &Etcd, keys: &Keys, watch: &mut Watch) -> Result<(), Error> {
        let (listed, revision) = list(etcd, keys).await?;
        *watch = Watch::new(etcd.clone(), keys.all(), revision + 1);
        *self.told() = listed;
        self.revision.send_replace(revision);
        Ok(())
    }

    fn told(&self) -> MutexGuard<'_, AllTold> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn seat(&self) -> Result<Seat, Error> {
        Ok(Seat { leader: self.leader.clone().transpose()?, last: self.last.clone().transpose()? })
    }
}

/// The keys of all applications, and the revision that they are of.
async fn list(etcd: &Etcd, keys: &Keys) -> Result<(AllTold, i64), Error> {
    let mut all = AllTold::new();
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
            return Ok((all, revision));
        };
        got.kvs().iter().for_each(|kv| note(&mut all, keys, kv, EventType::Put));
        match got.kvs().last() {
            Some(last) if got.more() => begin = [last.key(), &[0]].concat(),
            _ => return Ok((all, revision)),
        }
    }
}

/// Notes what happened to one key.
fn note(all: &mut AllTold, keys: &Keys, kv: &KeyValue, event: EventType) {
    let Some((application, part)) = keys.read(kv.key()) else { return };
    let told = all.entry(application).or_default();
    let is_there = event == EventType::Put;
    let unreadable = match part {
        Part::Leader => {
            told.leader = is_there.then(|| led(kv));
            told.leader.as_ref().and_then(|leader| leader.as_ref().err())
        }
        Part::Last => {
            told.last = is_there.then(|| last(kv));
            told.last.as_ref().and_then(|last| last.as_ref().err())
        }
    };
    if let Some(error) = unreadable {
        tracing::error!("{error}");
    }
}

/// The seat in an answer to a look at its keys.
pub(super) fn seat_of(answer: &TxnResponse) -> Result<Seat, Error> {
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
    serde_json::from_slice(kv.value()).map_err(|error| Error::KeyUnreadable {
        key: String::from_utf8_lossy(kv.key()).into_owned(),
        why: error.to_string(),
    })
}
