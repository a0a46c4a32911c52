//! Requests, as etcd understands them.

use std::ops::Bound;

/// The keys that a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// One key.
    Key(Vec<u8>),
    /// The keys from the first one up to the second one, without the second one.
    Between(Vec<u8>, Vec<u8>),
    /// All keys from this one on.
    From(Vec<u8>),
}

impl Span {
    /// The span as etcd writes it: no end for one key, a zero byte for no end.
    pub fn new(key: Vec<u8>, end: Vec<u8>) -> Self {
        match end.as_slice() {
            [] => Self::Key(key),
            [0] => Self::From(key),
            _ => Self::Between(key, end),
        }
    }

    /// The first key.
    pub fn begin(&self) -> &[u8] {
        match self {
            Self::Key(key) | Self::Between(key, _) | Self::From(key) => key,
        }
    }

    /// Whether no key can be in the span.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Between(begin, end) if begin >= end)
    }

    /// Whether this key is in the span.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Key(only) => only.as_slice() == key,
            Self::Between(begin, end) => begin.as_slice() <= key && key < end.as_slice(),
            Self::From(begin) => begin.as_slice() <= key,
        }
    }

    /// The bounds of a span that is not empty.
    pub(super) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        match self {
            Self::Key(key) => (Bound::Included(key.as_slice()), Bound::Included(key.as_slice())),
            Self::Between(begin, end) => {
                (Bound::Included(begin.as_slice()), Bound::Excluded(end.as_slice()))
            }
            Self::From(begin) => (Bound::Included(begin.as_slice()), Bound::Unbounded),
        }
    }
}

/// The order of what is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// As it comes: by key, unless something else is sorted by.
    #[default]
    Any,
    /// The lowest first.
    Ascending,
    /// The highest first.
    Descending,
}

/// What is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SortBy {
    /// The key.
    #[default]
    Key,
    /// How often the key was put since it was created.
    Version,
    /// The revision that created the key.
    Created,
    /// The revision that put the key last.
    Modified,
    /// The value.
    Value,
}

/// Revisions between two bounds, both included; 0 is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Between {
    /// The lowest.
    pub least: i64,
    /// The highest.
    pub most: i64,
}

impl Between {
    /// Whether the revision is between the bounds.
    pub fn contains(self, revision: i64) -> bool {
        (self.least == 0 || revision >= self.least) && (self.most == 0 || revision <= self.most)
    }

    /// Whether there is a bound.
    pub fn is_bounded(self) -> bool {
        self != Self::default()
    }
}

/// Reads keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The keys.
    pub span: Span,
    /// How many keys are answered at most; 0: all.
    pub limit: usize,
    /// The revision that is read; 0 or less: the latest.
    pub revision: i64,
    /// The order.
    pub order: Order,
    /// What is sorted by.
    pub by: SortBy,
    /// Values are left out.
    pub keys_only: bool,
    /// Only the number of keys is answered.
    pub count_only: bool,
    /// Only keys that were put last within.
    pub modified: Between,
    /// Only keys that were created within.
    pub created: Between,
}

impl Range {
    /// Reads all of a span as of now.
    pub fn of(span: Span) -> Self {
        Self {
            span,
            limit: 0,
            revision: 0,
            order: Order::Any,
            by: SortBy::Key,
            keys_only: false,
            count_only: false,
            modified: Between::default(),
            created: Between::default(),
        }
    }
}

/// Puts a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Put {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// The lease that the key lasts by; 0: none.
    pub lease: i64,
    /// The answer tells what was there before.
    pub tell_previous: bool,
    /// The value stays as it is.
    pub keep_value: bool,
    /// The lease stays as it is.
    pub keep_lease: bool,
}

/// Deletes keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// The keys.
    pub span: Span,
    /// The answer tells what was there before.
    pub tell_previous: bool,
}

/// A condition on each key of a span. If there is none, a missing key is compared, whose numbers
/// are 0 and which has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The keys.
    pub span: Span,
    /// How what is there has to be to what is given.
    pub relation: Relation,
    /// What is compared, and with what.
    pub subject: Subject,
}

/// How two things are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The same.
    Equal,
    /// What is there is above.
    Greater,
    /// What is there is below.
    Less,
    /// Not the same.
    NotEqual,
}

/// What is compared, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// How often the key was put since it was created.
    Version(i64),
    /// The revision that created the key.
    Created(i64),
    /// The revision that put the key last.
    Modified(i64),
    /// The value.
    Value(Vec<u8>),
    /// The lease.
    Lease(i64),
}

/// One step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Reads keys.
    Range(Range),
    /// Puts a value.
    Put(Put),
    /// Deletes keys.
    Delete(Delete),
    /// A transaction inside, which compares before anything is done.
    Txn(Txn),
}

/// Operations that happen together, depending on conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// The conditions.
    pub compares: Vec<Compare>,
    /// What is done if all hold.
    pub success: Vec<Operation>,
    /// What is done otherwise.
    pub failure: Vec<Operation>,
}

impl Txn {
    /// Whether the transaction does more than read, in either branch.
    pub fn may_write(&self) -> bool {
        let reads = |operation: &Operation| matches!(operation, Operation::Range(_));
        !self.success.iter().chain(&self.failure).all(reads)
    }

    /// Whether the transaction may put, in either branch.
    pub fn may_put(&self) -> bool {
        self.success.iter().chain(&self.failure).any(|operation| match operation {
            Operation::Put(_) => true,
            Operation::Txn(txn) => txn.may_put(),
            Operation::Range(_) | Operation::Delete(_) => false,
        })
    }
}
