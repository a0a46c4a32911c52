//! Who waits at which elector, as etcd has it: one key per elector, under a lease, so that an
//! elector that is gone takes its standbys with it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::etcd::{Copied, Error as EtcdError, Etcd, Lease, Mirror};
use chassis::backoff::Backoff;
use chassis::clock::Clock as _;
use etcd_client::{PutOptions, Txn, TxnOp};
use proto::ApplicationId;
use tokio::sync::watch;

use crate::error::Error;

/// How long the standbys of an elector that is gone are told of.
const LEASE: Duration = Duration::from_secs(6);

/// A third of the lease, so that a renewal may fail.
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// How long a call may take. It ends before the lease does.
const PATIENCE: Duration = Duration::from_secs(2);

/// Contenders come and go together, and a first contender waits only until it leads: one write
/// tells of all that happened in this time.
const TOGETHER: Duration = Duration::from_millis(250);

/// The first pause after etcd did not take what was told.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause after etcd did not take what was told.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The names of standbys, in the order of their entries.
type Names = BTreeMap<ApplicationId, Vec<String>>;

/// The standbys of this elector, by the number of the entry.
type Here = BTreeMap<u64, (ApplicationId, String)>;

/// The roll of standbys.
pub(super) struct Roll {
    etcd: Etcd,
    prefix: String,
    entries: AtomicU64,
    here: watch::Sender<Here>,
    all: Mirror<Names>,
    /// The name of this elector's own key, once there was something to tell.
    own: OnceLock<Vec<u8>>,
}

/// What this elector has on etcd.
struct Told {
    lease: Lease,
    names: Names,
}

impl Roll {
    /// The roll below `prefix`, as of now.
    pub(super) async fn open(etcd: Etcd, prefix: &str) -> Result<Self, Error> {
        let prefix = format!("{}/standbys/", prefix.trim_end_matches('/'));
        let all = Mirror::open(&etcd, &prefix, "standbys", |kv| {
            let read = serde_json::from_slice(kv.value());
            read.inspect_err(|error| tracing::debug!("standbys of an elector: {error}")).ok()
        });
        let all = all.await?;
        let (entries, here, own) = (AtomicU64::new(0), watch::Sender::default(), OnceLock::new());
        Ok(Self { etcd, prefix, entries, here, all, own })
    }

    /// Wakes when this elector hears of a change.
    pub(super) fn changes(&self) -> watch::Receiver<Copied<Names>> {
        self.all.changes()
    }

    /// A contender waits here. The answer is the number that it leaves by.
    pub(super) fn enter(&self, application: &ApplicationId, holder: &str) -> u64 {
        let number = self.entries.fetch_add(1, Ordering::Relaxed);
        self.here.send_modify(|here| {
            here.insert(number, (application.clone(), holder.to_owned()));
        });
        number
    }

    /// The contender waits no more.
    pub(super) fn leave(&self, number: u64) {
        self.here.send_modify(|here| {
            here.remove(&number);
        });
    }

    /// The standbys of an application that wait at other electors.
    pub(super) fn elsewhere(&self, application: &ApplicationId) -> Vec<String> {
        let all = self.all.look();
        let others = all.values.iter().filter(|(key, _)| Some(*key) != self.own.get());
        others.filter_map(|(_, names)| names.get(application)).flatten().cloned().collect()
    }

    /// Tells the other electors who waits here, for as long as the elector is there.
    pub(super) async fn keep_telling(self: Arc<Self>) {
        let mut changes = self.here.subscribe();
        let mut backoff = Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE);
        let mut told = None;
        loop {
            let names = names(&changes.borrow_and_update());
            match self.tell(&mut told, names).await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    tracing::debug!("other hosts do not hear who waits here: {error}");
                    self.etcd.clock().sleep(backoff.next_delay()).await;
                    continue;
                }
            }
            // An elector without standbys has no lease to renew.
            let renew = async {
                match told.is_some() {
                    true => self.etcd.clock().sleep(RENEW_EVERY).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                // Waiting cannot fail: the sender is in `self`.
                _ = changes.changed() => self.etcd.clock().sleep(TOGETHER).await,
                () = renew => {}
            }
        }
    }

    /// Has etcd say that these wait here.
    async fn tell(&self, told: &mut Option<Told>, names: Names) -> Result<(), EtcdError> {
        if names.is_empty() {
            let Some(before) = told.take() else { return Ok(()) };
            // The key goes with the lease, at its end if not now.
            return before.lease.revoke(PATIENCE).await;
        }
        if let Some(before) = told.as_mut()
            && !before.lease.renew(PATIENCE).await?
        {
            *told = None;
        }
        if told.as_ref().is_some_and(|before| before.names == names) {
            return Ok(());
        }
        let mut told_now = match told.take() {
            Some(before) => before,
            None => {
                let (lease, _) = Lease::grant(&self.etcd, LEASE, PATIENCE).await?;
                Told { lease, names: Names::new() }
            }
        };
        let value = serde_json::to_vec(&names).map_err(|e| EtcdError::Refused(e.to_string()))?;
        let lease = told_now.lease.id();
        // The number of its first lease is what no other elector has.
        let key = self.own.get_or_init(|| format!("{}{lease:016x}", self.prefix).into_bytes());
        let put = TxnOp::put(key.clone(), value, Some(PutOptions::new().with_lease(lease)));
        let put = self.etcd.transact(PATIENCE, &Txn::new().and_then(vec![put])).await;
        // A lease that is gone is granted anew by the next try.
        if !matches!(put, Err(EtcdError::LeaseGone)) {
            told_now.names = if put.is_ok() { names } else { Names::new() };
            *told = Some(told_now);
        }
        put.map(drop)
    }
}

fn names(here: &Here) -> Names {
    let mut names = Names::new();
    for (application, holder) in here.values() {
        names.entry(application.clone()).or_default().push(holder.clone());
    }
    names
}
