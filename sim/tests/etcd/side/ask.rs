//! The steps of a script as requests of the client.

use etcd_client::{Compare, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp};

use super::Side;
use crate::script::{self, At, Keys, Operation, Subject};

/// The id of no lease.
const NO_LEASE: i64 = 4_242_424_242;

impl Side {
    pub(super) fn key(&self, letter: char) -> Vec<u8> {
        format!("{}{letter}", self.prefix).into_bytes()
    }

    /// The first key of a span, and its end as etcd writes it.
    pub(super) fn span(&self, keys: &Keys) -> (Vec<u8>, Vec<u8>) {
        match keys {
            Keys::One(letter) => (self.key(*letter), Vec::new()),
            Keys::Between(begin, end) => (self.key(*begin), self.key(*end)),
            Keys::All => (self.key('a'), self.key('~')),
            Keys::From(letter) => (self.key(*letter), vec![0]),
        }
    }

    pub(super) fn lease(&self, number: usize) -> i64 {
        self.leases.get(number).copied().unwrap_or(NO_LEASE)
    }

    fn revision(&self, at: At) -> i64 {
        match at {
            At::Latest => 0,
            At::Above(above) => self.base + above,
        }
    }

    pub(super) fn get(&self, get: &script::Get) -> (Vec<u8>, GetOptions) {
        let (key, end) = self.span(&get.keys);
        let mut options = GetOptions::new()
            .with_limit(get.limit)
            .with_revision(self.revision(get.at))
            .with_sort(get.by, get.order);
        if !end.is_empty() {
            options = options.with_range(end);
        }
        if get.keys_only {
            options = options.with_keys_only();
        }
        if get.count_only {
            options = options.with_count_only();
        }
        if let Some(above) = get.modified_since {
            options = options.with_min_mod_revision(self.base + above);
        }
        if let Some(above) = get.created_until {
            options = options.with_max_create_revision(self.base + above);
        }
        (key, options)
    }

    pub(super) fn put(&self, put: &script::Put) -> (Vec<u8>, Vec<u8>, PutOptions) {
        let mut options = PutOptions::new();
        if let Some(number) = put.lease {
            options = options.with_lease(self.lease(number));
        }
        if put.previous {
            options = options.with_prev_key();
        }
        if put.keep_value {
            options = options.with_ignore_value();
        }
        if put.keep_lease {
            options = options.with_ignore_lease();
        }
        let value = if put.keep_value { Vec::new() } else { put.value.to_string().into_bytes() };
        (self.key(put.letter), value, options)
    }

    pub(super) fn delete(&self, delete: &script::Delete) -> (Vec<u8>, DeleteOptions) {
        let (key, end) = self.span(&delete.keys);
        let mut options = DeleteOptions::new();
        if !end.is_empty() {
            options = options.with_range(end);
        }
        if delete.previous {
            options = options.with_prev_key();
        }
        (key, options)
    }

    pub(super) fn txn(&self, txn: &script::Txn) -> Txn {
        let compares: Vec<Compare> =
            txn.compares.iter().map(|compare| self.compare(compare)).collect();
        let operations = |operations: &[Operation]| -> Vec<TxnOp> {
            operations.iter().map(|operation| self.operation(operation)).collect()
        };
        Txn::new()
            .when(compares)
            .and_then(operations(&txn.success))
            .or_else(operations(&txn.failure))
    }

    fn operation(&self, operation: &Operation) -> TxnOp {
        match operation {
            Operation::Get(get) => {
                let (key, options) = self.get(get);
                TxnOp::get(key, Some(options))
            }
            Operation::Put(put) => {
                let (key, value, options) = self.put(put);
                TxnOp::put(key, value, Some(options))
            }
            Operation::Delete(delete) => {
                let (key, options) = self.delete(delete);
                TxnOp::delete(key, Some(options))
            }
            Operation::Txn(txn) => TxnOp::txn(self.txn(txn)),
        }
    }

    fn compare(&self, compare: &script::Compare) -> Compare {
        let (key, end) = self.span(&compare.keys);
        let relation = compare.relation;
        let compare = match &compare.subject {
            Subject::Version(version) => Compare::version(key, relation, *version),
            Subject::Created(at) => Compare::create_revision(key, relation, self.revision(*at)),
            Subject::Modified(at) => Compare::mod_revision(key, relation, self.revision(*at)),
            Subject::Value(value) => Compare::value(key, relation, value.to_string()),
            Subject::Lease(number) => Compare::lease(key, relation, self.lease(*number)),
        };
        if end.is_empty() { compare } else { compare.with_range(end) }
    }
}
