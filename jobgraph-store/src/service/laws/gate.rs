//! A backend that holds one commit back, between the read of its writer and the commit itself, so
//! that another writer comes in between, every time.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::store::over::Over;
use crate::store::{Commit, Key, Metadata, Operation, Read, StoreError, Transaction};

/// The armed gate: it holds the first commit that changes a key with this part in it.
struct Armed {
    part: String,
    reached: oneshot::Sender<()>,
    release: oneshot::Receiver<()>,
}

/// The backend behind the gate.
pub(crate) struct Gate {
    inner: Arc<dyn Metadata>,
    armed: Arc<Mutex<Option<Armed>>>,
}

/// A commit that is to be held, as the law that armed the gate sees it.
pub(crate) struct Held {
    reached: oneshot::Receiver<()>,
    release: oneshot::Sender<()>,
}

impl Gate {
    pub(crate) fn new(inner: Arc<dyn Metadata>) -> Self {
        Self { inner, armed: Arc::default() }
    }

    /// The gate of another store's backend over the same record: what one gate is told to hold is
    /// held at whichever gate it comes to first.
    pub(crate) fn beside(&self, inner: Arc<dyn Metadata>) -> Self {
        Self { inner, armed: self.armed.clone() }
    }

    /// The keys that begin with `prefix`, now.
    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        let view = self.inner.read(vec![Read::all(Key::from(prefix.to_owned()))], None).await;
        let entries = view.expect("the backend reads").answers.remove(0);
        entries.into_iter().map(|(key, _)| key.to_string()).collect()
    }

    /// Holds the next commit that changes a key with `part` in it.
    pub(crate) fn hold(&self, part: &str) -> Held {
        let ((reached, at), (go, release)) = (oneshot::channel(), oneshot::channel());
        *self.armed.lock().unwrap() = Some(Armed { part: part.into(), reached, release });
        Held { reached: at, release: go }
    }
}

impl Held {
    /// Waits until the commit is held.
    pub(crate) async fn reached(&mut self) {
        (&mut self.reached).await.expect("the commit comes");
    }

    /// Lets the commit go on.
    pub(crate) fn release(self) {
        self.release.send(()).expect("the commit waits");
    }
}

#[async_trait]
impl Over for Gate {
    fn below(&self) -> &dyn Metadata {
        &*self.inner
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError> {
        let armed = {
            let mut armed = self.armed.lock().unwrap();
            let changes = |part: &str| {
                transaction
                    .operations
                    .iter()
                    .map(Operation::key)
                    .any(|key| key.to_string().contains(part))
            };
            if armed.as_ref().is_some_and(|armed| changes(&armed.part)) {
                armed.take()
            } else {
                None
            }
        };
        if let Some(armed) = armed {
            armed.reached.send(()).expect("the law waits");
            armed.release.await.expect("the law lets it go on");
        }
        self.inner.commit(transaction).await
    }
}
