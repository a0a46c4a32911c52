//! Answers as texts that do not depend on which etcd has answered.

use etcd_client::{
    DeleteResponse, Error, GetResponse, KeyValue, PutResponse, ResponseHeader, TxnOpResponse,
    TxnResponse,
};

use super::Side;

pub(super) fn revision(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, ResponseHeader::revision)
}

pub(super) fn refused(error: &Error) -> String {
    match error {
        Error::GRpcStatus(status) => format!("{:?}: {}", status.code(), status.message()),
        error => error.to_string(),
    }
}

impl Side {
    pub(super) fn at(&self, revision: i64) -> String {
        distance(self.base, revision)
    }

    pub(super) fn name(&self, key: &[u8]) -> String {
        name(&self.prefix, key)
    }

    /// A key with its value and its lease.
    fn kv(&self, kv: &KeyValue) -> String {
        let lease = match kv.lease() {
            0 => "none".to_owned(),
            id => format!("{:?}", self.leases.iter().position(|lease| *lease == id)),
        };
        format!("{} lease {lease}", versioned(&self.prefix, self.base, kv))
    }

    fn kvs(&self, kvs: &[KeyValue]) -> Vec<String> {
        kvs.iter().map(|kv| self.kv(kv)).collect()
    }

    pub(super) fn got(&self, got: &GetResponse) -> String {
        let at = self.at(revision(got.header()));
        format!("got {:?} of {} more {} at {at}", self.kvs(got.kvs()), got.count(), got.more())
    }

    pub(super) fn was_put(&self, done: &PutResponse) -> String {
        let before = done.prev_key().map(|kv| self.kv(kv));
        format!("put at {}, before: {before:?}", self.at(revision(done.header())))
    }

    pub(super) fn deleted(&self, done: &DeleteResponse) -> String {
        let at = self.at(revision(done.header()));
        format!("deleted {} at {at}: {:?}", done.deleted(), self.kvs(done.prev_kvs()))
    }

    pub(super) fn done(&self, done: &TxnResponse) -> String {
        let answers: Vec<String> = done
            .op_responses()
            .iter()
            .map(|answer| match answer {
                TxnOpResponse::Get(got) => self.got(got),
                TxnOpResponse::Put(done) => self.was_put(done),
                TxnOpResponse::Delete(done) => self.deleted(done),
                TxnOpResponse::Txn(done) => self.done(done),
            })
            .collect();
        let at = self.at(revision(done.header()));
        format!("held {} at {at}: {answers:?}", done.succeeded())
    }
}

pub(super) fn versioned(prefix: &str, base: i64, kv: &KeyValue) -> String {
    let value = String::from_utf8_lossy(kv.value());
    let (created, modified) =
        (distance(base, kv.create_revision()), distance(base, kv.mod_revision()));
    format!("{}={value} {created}..{modified} v{}", name(prefix, kv.key()), kv.version())
}

pub(super) fn distance(base: i64, revision: i64) -> String {
    if revision == 0 { "nowhere".to_owned() } else { format!("{:+}", revision - base) }
}

fn name(prefix: &str, key: &[u8]) -> String {
    let key = String::from_utf8_lossy(key);
    key.strip_prefix(prefix).unwrap_or(&key).to_owned()
}
