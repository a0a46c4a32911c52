//! Who has which seat, as etcd says: told by one watch for all streams of this elector, changed by
//! transactions.

use ::etcd::{Copied, Error as EtcdError, Etcd, Lease, Mirror, copy_of, revision_of};
use etcd_client::{
    Compare, CompareOp, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use tokio::sync::watch;

use super::PATIENCE;
use super::keys::{Keys, written};
use crate::error::Error;
use crate::model::hosts::{Held, Host, StreamId};

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

/// The seats of all hosts.
pub(super) struct Register {
    etcd: Etcd,
    keys: Keys,
    /// The seats, as far as this elector has heard. A key that cannot be read is no host's.
    present: Mirror<Held>,
}

impl Register {
    /// The register below `prefix`, as of now.
    pub(super) async fn open(etcd: Etcd, prefix: &str) -> Result<Self, Error> {
        let keys = Keys::below(prefix);
        let present = Mirror::open(&etcd, keys.all(), "hosts", reader(&keys)).await?;
        Ok(Self { etcd, keys, present })
    }

    /// Wakes when this elector hears of a change.
    pub(super) fn changes(&self) -> watch::Receiver<Copied<Held>> {
        self.present.changes()
    }

    /// All hosts that have a seat, for the stream that has this one.
    pub(super) fn seen_from(&self, own: &Seated) -> Result<Vec<Host>, Error> {
        let present = self.present.look();
        let key = self.keys.name(own.held.name());
        // The elector may not have heard yet that the seat was taken.
        if present.revision < own.revision {
            let mut seats = present.values.clone();
            seats.insert(key, own.held.clone());
            return Ok(seats.into_values().map(|held| held.host).collect());
        }
        own.held.stands(present.values.get(&key))?;
        Ok(present.values.values().map(|held| held.host.clone()).collect())
    }

    /// All hosts that have a seat now, by name.
    pub(super) async fn list(&self) -> Result<Vec<Host>, Error> {
        list(&self.etcd, &self.keys).await
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
    list(etcd, &Keys::below(prefix)).await
}

async fn list(etcd: &Etcd, keys: &Keys) -> Result<Vec<Host>, Error> {
    let present = copy_of(etcd, keys.all(), reader(keys)).await?;
    Ok(present.values.into_values().map(|held| held.host).collect())
}

/// What reads the key of a seat.
fn reader(keys: &Keys) -> impl Fn(&KeyValue) -> Option<Held> + Send + Sync + 'static {
    let keys = keys.clone();
    move |kv| match seated(&keys, kv) {
        Ok(seated) => Some(seated.held),
        // The other hosts do not lose sight of each other because of it.
        Err(error) => {
            tracing::error!("{error}");
            None
        }
    }
}

fn seated(keys: &Keys, kv: &KeyValue) -> Result<Seated, Error> {
    let host = keys.read(kv.key(), kv.value())?;
    let held = Held { host, stream: StreamId(kv.lease()) };
    Ok(Seated { held, revision: kv.mod_revision() })
}
