//! A copy of the keys below a prefix, kept by one watch. For a few keys: they are read in one
//! answer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::Clock as _;
use chassis::tasks::{OwnedTask, owned};
use etcd_client::{Event, EventType, GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse};
use tokio::sync::watch;

use crate::error::Error;
use crate::link::Etcd;
use crate::transact::revision_of;
use crate::watch::{Heard, Watch};

/// How long a call goes from member to member. An election of etcd's own leader takes one to two
/// seconds.
const PATIENCE: Duration = Duration::from_secs(8);

/// The first pause before keys are read again that could not be read.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause before keys are read again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a key's value means; `None` for a key that means nothing to the reader.
type Read<T> = Arc<dyn Fn(&KeyValue) -> Option<T> + Send + Sync>;

/// What the keys below a prefix meant at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied<T> {
    /// By the whole names of the keys.
    pub values: BTreeMap<Vec<u8>, T>,
    /// The revision that the values are of.
    pub revision: i64,
}

/// A copy of the keys below a prefix that follows etcd for as long as the mirror is there.
pub struct Mirror<T> {
    copied: watch::Sender<Copied<T>>,
    _follower: OwnedTask<()>,
}

impl<T: Send + Sync + 'static> Mirror<T> {
    /// The keys below `prefix` as of now, read by `read`. `name` is that of the task that follows
    /// etcd, and what the keys are called in the log.
    pub async fn open(
        etcd: &Etcd,
        prefix: &str,
        name: &'static str,
        read: impl Fn(&KeyValue) -> Option<T> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let followed =
            Followed { etcd: etcd.clone(), prefix: prefix.to_owned(), name, read: Arc::new(read) };
        let copied = watch::Sender::new(followed.list().await?);
        let follower = owned(name, followed.follow(copied.clone()));
        Ok(Self { copied, _follower: follower })
    }

    /// What has been heard so far.
    pub fn look(&self) -> watch::Ref<'_, Copied<T>> {
        self.copied.borrow()
    }

    /// What has been heard so far, as a value to wait on.
    pub fn changes(&self) -> watch::Receiver<Copied<T>> {
        self.copied.subscribe()
    }
}

impl<T> fmt::Debug for Mirror<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").finish_non_exhaustive()
    }
}

/// What the keys below `prefix` mean now, for a look that follows nothing.
pub async fn copy_of<T>(
    etcd: &Etcd,
    prefix: &str,
    read: impl Fn(&KeyValue) -> Option<T>,
) -> Result<Copied<T>, Error> {
    let all = TxnOp::get(prefix, Some(GetOptions::new().with_prefix()));
    let answer = etcd.transact(PATIENCE, &Txn::new().and_then(vec![all])).await?;
    let mut copied = Copied { values: BTreeMap::new(), revision: revision_of(&answer) };
    if let Some(TxnOpResponse::Get(got)) = answer.op_responses().into_iter().next() {
        for kv in got.kvs() {
            copied.values.extend(read(kv).map(|value| (kv.key().to_vec(), value)));
        }
    }
    Ok(copied)
}

/// What a mirror follows.
struct Followed<T> {
    etcd: Etcd,
    prefix: String,
    name: &'static str,
    read: Read<T>,
}

impl<T: Send + Sync + 'static> Followed<T> {
    async fn list(&self) -> Result<Copied<T>, Error> {
        copy_of(&self.etcd, &self.prefix, &*self.read).await
    }

    fn watch_from(&self, revision: i64) -> Watch {
        Watch::new(self.etcd.clone(), self.prefix.as_str(), revision + 1)
    }

    async fn follow(self, copied: watch::Sender<Copied<T>>) {
        let listed_at = copied.borrow().revision;
        let mut watch = self.watch_from(listed_at);
        loop {
            match watch.next().await {
                Heard::Events(events) => copied.send_modify(|copied| {
                    events.iter().for_each(|event| self.note(copied, event));
                }),
                Heard::Lost(lost) => {
                    tracing::warn!(lost, "changes of {} are lost here: they lag", self.name);
                    let listed = self.list_again().await;
                    watch = self.watch_from(listed.revision);
                    copied.send_replace(listed);
                }
            }
        }
    }

    async fn list_again(&self) -> Copied<T> {
        let mut backoff = Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE);
        loop {
            match self.list().await {
                Ok(listed) => return listed,
                Err(error) => tracing::warn!(%error, "{} are read again", self.name),
            }
            self.etcd.clock().sleep(backoff.next_delay()).await;
        }
    }

    fn note(&self, copied: &mut Copied<T>, event: &Event) {
        let Some(kv) = event.kv() else { return };
        copied.revision = copied.revision.max(kv.mod_revision());
        let value = if event.event_type() == EventType::Put { (self.read)(kv) } else { None };
        match value {
            Some(value) => drop(copied.values.insert(kv.key().to_vec(), value)),
            None => drop(copied.values.remove(kv.key())),
        }
    }
}
