//! Who has which seat, as etcd says: told by one watch for all streams of this elector, changed by
//! transactions.

use std::collections::BTreeMap;
use std::time::Duration;

use ::etcd::{Error as EtcdError, Etcd, Heard, Lease, Watch, revision_of};
use chassis::backoff::Backoff;
use chassis::clock::Clock as _;
use chassis::tasks::{OwnedTask, owned};
use etcd_client::{
    Compare, CompareOp, EventType, GetOptions, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse,
    TxnResponse,
};
use tokio::sync::watch;

use super::PATIENCE;
use super::keys::{Keys, written};
use crate::error::Error;
use crate::model::hosts::{Held, Host, StreamId};

/// The first pause before seats are listed again that could not be listed.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause before seats are listed again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A seat, as etcd has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seated {
    /// The seat.
    pub(super) held: Held,
    /// The revision of its key.
    pub(super) revision: i64,
}

/// What came of taking a seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Take {
    /// The seat is taken.
    Taken(Seated),
    /// The seat is not as it was seen, but like this.
    Beaten(Option<Seated>),
    /// The lease ended before the seat was taken under it.
    TooLate,
}

/// The seats of all hosts, and the revision that they are of. A key that cannot be read is no
/// host's.
#[derive(Debug, Clone, Default)]
pub(super) struct Present {
    seats: BTreeMap<String, Held>,
    revision: i64,
}

/// The seats of all hosts.
pub(super) struct Register {
    etcd: Etcd,
    keys: Keys,
    /// The seats, as far as this elector has heard.
    present: watch::Sender<Present>,
    /// Follows etcd for as long as the register is there.
    _follower: OwnedTask<()>,
}

impl Register {
    /// The register below `prefix`, as of now.
    pub(super) async fn open(etcd: Etcd, prefix: &str) -> Result<Self, Error> {
        let keys = Keys::below(prefix);
        let listed = list(&etcd, &keys).await?;
        let watch = Watch::new(etcd.clone(), keys.all(), listed.revision + 1);
        let present = watch::Sender::new(listed);
        let follow = follow(present.clone(), watch, etcd.clone(), keys.clone());
        Ok(Self { etcd, keys, present, _follower: owned("hosts-follower", follow) })
    }

    /// Wakes when this elector hears of a change.
    pub(super) fn changes(&self) -> watch::Receiver<Present> {
        self.present.subscribe()
    }

    /// All hosts that have a seat, for the stream that has this one.
    pub(super) fn seen_from(&self, own: &Seated) -> Result<Vec<Host>, Error> {
        let present = self.present.borrow();
        // The elector may not have heard yet that the seat was taken.
        if present.revision < own.revision {
            let mut seats = present.seats.clone();
            seats.insert(own.held.name().to_owned(), own.held.clone());
            return Ok(hosts(&seats));
        }
        own.held.stands(present.seats.get(own.held.name()))?;
        Ok(hosts(&present.seats))
    }

    /// All hosts that have a seat now, by name.
    pub(super) async fn list(&self) -> Result<Vec<Host>, Error> {
        Ok(hosts(&list(&self.etcd, &self.keys).await?.seats))
    }

    /// The seat of this name as it is now; `None` if it is free.
    pub(super) async fn look(&self, host: &str) -> Result<Option<Seated>, Error> {
        let look = Txn::new().and_then(vec![TxnOp::get(self.keys.name(host), None)]);
        let answer = self.etcd.transact(PATIENCE, &look).await?;
        self.seated_in(&answer)
    }

    /// Gives the seat to this host, under this lease, if the seat's key is of the revision `seen`,
    /// or absent for `None`.
    pub(super) async fn take(
        &self,
        host: &Host,
        seen: Option<i64>,
        lease: &Lease,
    ) -> Result<Take, Error> {
        let (key, stream) = (self.keys.name(host.place.name()), StreamId(lease.id()));
        let under = PutOptions::new().with_lease(lease.id());
        let txn = Txn::new()
            .when(vec![Compare::mod_revision(key.clone(), CompareOp::Equal, seen.unwrap_or(0))])
            .and_then(vec![TxnOp::put(key.clone(), written(host)?, Some(under))])
            .or_else(vec![TxnOp::get(key, None)]);
        // A second transaction after a lost answer finds the key of the first one, whose lease no
        // other stream has.
        let is_ours = |seated: &Seated| seated.held.stream == stream;
        match self.etcd.transact(PATIENCE, &txn).await {
            Ok(answer) if answer.succeeded() => {
                let held = Held { host: host.clone(), stream };
                Ok(Take::Taken(Seated { held, revision: revision_of(&answer) }))
            }
            Ok(answer) => Ok(match self.seated_in(&answer)? {
                Some(seated) if is_ours(&seated) => Take::Taken(seated),
                present => Take::Beaten(present),
            }),
            // The transaction that uses up etcd's room is done, and answered like those that are
            // not.
            Err(full @ EtcdError::Full(_)) => match self.look(host.place.name()).await? {
                Some(seated) if is_ours(&seated) => Ok(Take::Taken(seated)),
                _ => Err(full.into()),
            },
            Err(EtcdError::LeaseGone) => Ok(Take::TooLate),
            Err(error) => Err(error.into()),
        }
    }

    /// The seat in an answer to a look at its key.
    fn seated_in(&self, answer: &TxnResponse) -> Result<Option<Seated>, Error> {
        let Some(TxnOpResponse::Get(got)) = answer.op_responses().into_iter().next() else {
            return Ok(None);
        };
        got.kvs().first().map(|kv| seated(&self.keys, kv)).transpose()
    }
}

/// All hosts that have a seat below `prefix` now, by name, for a look that follows nothing.
pub(super) async fn seats(etcd: &Etcd, prefix: &str) -> Result<Vec<Host>, Error> {
    Ok(hosts(&list(etcd, &Keys::below(prefix)).await?.seats))
}

/// Keeps the seats as etcd says, for as long as the register is there.
async fn follow(present: watch::Sender<Present>, mut watch: Watch, etcd: Etcd, keys: Keys) {
    loop {
        match watch.next().await {
            Heard::Events(events) => present.send_modify(|present| {
                for event in &events {
                    if let Some(kv) = event.kv() {
                        present.note(&keys, kv, event.event_type());
                        present.revision = present.revision.max(kv.mod_revision());
                    }
                }
            }),
            Heard::Lost(lost) => {
                tracing::warn!(lost, "changes of hosts are lost to this elector: it lags");
                let mut backoff = Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE);
                let listed = loop {
                    match list(&etcd, &keys).await {
                        Ok(listed) => break listed,
                        Err(error) => tracing::warn!(%error, "hosts are listed again"),
                    }
                    etcd.clock().sleep(backoff.next_delay()).await;
                };
                watch = Watch::new(etcd.clone(), keys.all(), listed.revision + 1);
                present.send_replace(listed);
            }
        }
    }
}

/// The seats of all hosts, in one answer: there are not more of them than machines.
async fn list(etcd: &Etcd, keys: &Keys) -> Result<Present, Error> {
    let all = TxnOp::get(keys.all(), Some(GetOptions::new().with_prefix()));
    let answer = etcd.transact(PATIENCE, &Txn::new().and_then(vec![all])).await?;
    let mut present = Present { revision: revision_of(&answer), ..Present::default() };
    if let Some(TxnOpResponse::Get(got)) = answer.op_responses().into_iter().next() {
        got.kvs().iter().for_each(|kv| present.note(keys, kv, EventType::Put));
    }
    Ok(present)
}

impl Present {
    /// Notes what happened to one key.
    fn note(&mut self, keys: &Keys, kv: &KeyValue, event: EventType) {
        let Some(host) = keys.host(kv.key()) else { return };
        self.seats.remove(host);
        if event == EventType::Put {
            match seated(keys, kv) {
                Ok(seated) => drop(self.seats.insert(host.to_owned(), seated.held)),
                // The other hosts do not lose sight of each other because of it.
                Err(error) => tracing::error!("{error}"),
            }
        }
    }
}

fn hosts(seats: &BTreeMap<String, Held>) -> Vec<Host> {
    seats.values().map(|held| held.host.clone()).collect()
}

fn seated(keys: &Keys, kv: &KeyValue) -> Result<Seated, Error> {
    let host = keys.read(kv.key(), kv.value())?;
    let held = Held { host, stream: StreamId(kv.lease()) };
    Ok(Seated { held, revision: kv.mod_revision() })
}
