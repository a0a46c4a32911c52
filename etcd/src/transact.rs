//! A transaction: the one shape that reads and writes of several keys have.

use std::time::Duration;

use etcd_client::{Client, ResponseHeader, Txn, TxnResponse};

use crate::error::Error;
use crate::link::{Etcd, MAX_ANSWER_BYTES};

impl Etcd {
    /// Sends a transaction until a member answers, for at most `patience`. For what may be done
    /// twice: an earlier member may have done it, and its answer was lost.
    pub async fn transact(&self, patience: Duration, txn: &Txn) -> Result<TxnResponse, Error> {
        self.call(patience, |client| send(client, txn.clone())).await
    }

    /// Sends a transaction once. [`Error::Away`] leaves open whether it has happened, and whether
    /// it will.
    pub async fn transact_once(&self, txn: &Txn) -> Result<TxnResponse, Error> {
        self.once(|client| send(client, txn.clone())).await
    }
}

/// The revision of a transaction that has put something, and the latest revision for one that only
/// read.
pub fn revision_of(answer: &TxnResponse) -> i64 {
    answer.header().map_or(0, ResponseHeader::revision)
}

async fn send(client: Client, txn: Txn) -> Result<TxnResponse, etcd_client::Error> {
    client.kv_client().max_decoding_message_size(MAX_ANSWER_BYTES).txn(txn).await
}
