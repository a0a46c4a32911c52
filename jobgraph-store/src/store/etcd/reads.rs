//! Reads at one instant: transactions of etcd that only read, page after page.

use ::etcd::revision_of;
use bytes::Bytes;
use etcd_client::{GetOptions, GetResponse, KeyValue, SortOrder, SortTarget};
use etcd_client::{Txn, TxnOp, TxnOpResponse, TxnResponse};
use futures::future::try_join_all;

use super::super::{Key, Read, Stored, View};
use super::keys::Keys;
use super::{Error, Etcd, FIRST_REVISION, PATIENCE, i64_of, u64_of};

/// How many reads go into one transaction. etcd takes 128 by default.
const AT_ONCE: usize = 100;

/// How many keys are read at once, all reads together: with values of 64 KiB at most, an answer
/// stays below what is read of one.
const PAGE: usize = 1_000;

/// How many transactions are under way at once, once it is known which revision they are of: etcd
/// answers some while the answers to others are read.
const ABREAST: usize = 4;

/// One read, and what has come of it.
struct Reading {
    number: usize,
    begin: Vec<u8>,
    end: Option<Vec<u8>>,
    left: usize,
    last: bool,
}

/// Reads all of it as of one revision: `at`, or the one that the first transaction is answered at.
pub(super) async fn read(
    etcd: &Etcd,
    keys: &Keys,
    reads: &[Read],
    at: Option<u64>,
) -> Result<View, Error> {
    let mut answers: Vec<Vec<(Key, Stored)>> = vec![Vec::new(); reads.len()];
    let all = reads.iter().enumerate().map(|(number, read)| Reading::new(number, read, keys));
    // etcd takes a limit of 0 for none.
    let mut open: Vec<Reading> = all.filter(|reading| reading.left > 0).collect();
    let mut revision = at;
    // A view of nothing has a revision, too.
    let mut first = true;
    while first || !open.is_empty() {
        let abreast = if revision.is_some() { ABREAST } else { 1 };
        let mut asked = Vec::new();
        while asked.len() < abreast && (first || !open.is_empty()) {
            let batch: Vec<Reading> = open.drain(..open.len().min(AT_ONCE)).collect();
            asked.push(ask(etcd, keys, batch, revision));
            first = false;
        }
        let mut further = Vec::new();
        for (batch, answer) in try_join_all(asked).await? {
            revision.get_or_insert(u64_of(revision_of(&answer)));
            for (reading, response) in batch.into_iter().zip(answer.op_responses()) {
                let TxnOpResponse::Get(mut got) = response else { continue };
                let number = reading.number;
                further.extend(reading.further(&got));
                answers[number].extend(got.take_kvs().into_iter().filter_map(|kv| entry(keys, kv)));
            }
        }
        open.splice(..0, further);
    }
    Ok(View { revision: revision.unwrap_or_default(), answers })
}

/// Asks for a page of each of these reads, in one transaction.
async fn ask(
    etcd: &Etcd,
    keys: &Keys,
    batch: Vec<Reading>,
    revision: Option<u64>,
) -> Result<(Vec<Reading>, TxnResponse), Error> {
    let page = PAGE / batch.len().max(1);
    let mut operations: Vec<TxnOp> =
        batch.iter().map(|reading| reading.operation(revision, page)).collect();
    if operations.is_empty() {
        operations.push(keys.look_at(revision.map_or(0, i64_of)));
    }
    let answer = etcd.transact(PATIENCE, &Txn::new().and_then(operations)).await?;
    Ok((batch, answer))
}

fn entry(keys: &Keys, kv: KeyValue) -> Option<(Key, Stored)> {
    let revision = u64_of(kv.mod_revision());
    let (name, value) = kv.into_key_value();
    Some((keys.read(&name)?, Stored { value: Bytes::from(value), revision }))
}

impl Reading {
    fn new(number: usize, read: &Read, keys: &Keys) -> Self {
        let whole = |prefix: &Key| keys.data(prefix);
        match read {
            Read::Key(key) => Self { number, begin: whole(key), end: None, left: 1, last: false },
            Read::Range { prefix, after, limit } => {
                let begin = match after {
                    Some(after) if after >= prefix => just_beyond(whole(after)),
                    _ => whole(prefix),
                };
                let end = Some(prefix_end(whole(prefix)));
                Self { number, begin, end, left: *limit, last: false }
            }
            Read::Last { prefix, until } => {
                let end = just_beyond(whole(until)).min(prefix_end(whole(prefix)));
                Self { number, begin: whole(prefix), end: Some(end), left: 1, last: true }
            }
        }
    }

    fn operation(&self, revision: Option<u64>, page: usize) -> TxnOp {
        let limit = i64::try_from(self.left.min(page)).unwrap_or(i64::MAX);
        let mut options = GetOptions::new().with_limit(limit);
        if let Some(revision) = revision {
            // etcd takes 0 for the latest revision, and begins with 1.
            options = options.with_revision(i64_of(revision.max(FIRST_REVISION)));
        }
        if let Some(end) = &self.end {
            options = options.with_range(end.clone());
        }
        if self.last {
            // etcd sorts by reading all keys of the range, and answers one. Pieces of one
            // generation's output are what is asked for so, and there are about a thousand of them
            // at most: 64 MiB are kept, and pieces are merged until they have 64 KiB.
            options = options.with_sort(SortTarget::Key, SortOrder::Descend);
        }
        TxnOp::get(self.begin.clone(), Some(options))
    }

    /// What is left to read after this page.
    fn further(mut self, got: &GetResponse) -> Option<Self> {
        self.left = self.left.saturating_sub(got.kvs().len());
        if self.last || self.end.is_none() || self.left == 0 || !got.more() {
            return None;
        }
        self.begin = just_beyond(got.kvs().last()?.key().to_vec());
        Some(self)
    }
}

/// The first name after this one.
fn just_beyond(mut name: Vec<u8>) -> Vec<u8> {
    name.push(0);
    name
}

/// The first name after all that begin with this one. Names begin with the deployment's prefix, so
/// there is one.
fn prefix_end(name: Vec<u8>) -> Vec<u8> {
    Key::new(name).prefix_end().map_or_else(Vec::new, |end| end.as_bytes().to_vec())
}
