//! Random scripts of requests.

use etcd_client::{CompareOp, SortOrder, SortTarget};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// The letters of a script's keys.
pub(crate) const LETTERS: [char; 6] = ['a', 'b', 'c', 'd', 'e', 'f'];

/// The keys that a step is about, all of the script's own.
#[derive(Debug, Clone)]
pub(crate) enum Keys {
    One(char),
    Between(char, char),
    All,
    From(char),
}

/// A revision: the latest one, or one so many above the script's first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    Latest,
    Above(i64),
}

/// A lease by its number in the script; a number beyond the granted ones is of no lease.
pub(crate) type LeaseNumber = usize;

#[derive(Debug, Clone)]
pub(crate) struct Get {
    pub(crate) keys: Keys,
    pub(crate) at: At,
    pub(crate) limit: i64,
    pub(crate) by: SortTarget,
    pub(crate) order: SortOrder,
    pub(crate) keys_only: bool,
    pub(crate) count_only: bool,
    pub(crate) modified_since: Option<i64>,
    pub(crate) created_until: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Put {
    pub(crate) letter: char,
    pub(crate) value: u8,
    pub(crate) lease: Option<LeaseNumber>,
    pub(crate) previous: bool,
    pub(crate) keep_value: bool,
    pub(crate) keep_lease: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Delete {
    pub(crate) keys: Keys,
    pub(crate) previous: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Subject {
    Version(i64),
    Created(At),
    Modified(At),
    Value(u8),
    Lease(LeaseNumber),
}

#[derive(Debug, Clone)]
pub(crate) struct Compare {
    pub(crate) keys: Keys,
    pub(crate) relation: CompareOp,
    pub(crate) subject: Subject,
}

#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Get(Get),
    Put(Put),
    Delete(Delete),
    Txn(Txn),
}

#[derive(Debug, Clone)]
pub(crate) struct Txn {
    pub(crate) compares: Vec<Compare>,
    pub(crate) success: Vec<Operation>,
    pub(crate) failure: Vec<Operation>,
}

/// What a watcher leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    Nothing,
    Puts,
    Deletes,
}

#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) keys: Keys,
    /// `None`: from now on.
    pub(crate) from: Option<i64>,
    pub(crate) filter: Filter,
    pub(crate) previous: bool,
}

impl Watch {
    /// Whether the watcher hears of the mark, which is the last of all keys.
    pub(crate) fn hears_marks(&self) -> bool {
        matches!(self.keys, Keys::All | Keys::From(_))
    }
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Get(Get),
    Put(Put),
    Delete(Delete),
    Txn(Txn),
    /// Compacts so many revisions above the script's first.
    Compact(i64),
    /// Grants so many seconds, under the id of an earlier lease if there is one with the number.
    Grant(i64, Option<LeaseNumber>),
    Revoke(LeaseNumber),
    Renew(LeaseNumber),
    TimeToLive(LeaseNumber),
    Watch(Watch),
}

pub(crate) fn scripts() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => get().prop_map(Step::Get),
        8 => put().prop_map(Step::Put),
        3 => delete().prop_map(Step::Delete),
        6 => txn().prop_map(Step::Txn),
        1 => (0..12_i64).prop_map(Step::Compact),
        2 => (60..90_i64, option::weighted(0.2, lease())).prop_map(|(s, id)| Step::Grant(s, id)),
        1 => lease().prop_map(Step::Revoke),
        1 => lease().prop_map(Step::Renew),
        1 => lease().prop_map(Step::TimeToLive),
        1 => watch().prop_map(Step::Watch),
    ];
    vec(step, 1..20)
}

fn letter() -> impl Strategy<Value = char> {
    select(LETTERS.to_vec())
}

fn lease() -> impl Strategy<Value = LeaseNumber> {
    0..3_usize
}

fn keys() -> impl Strategy<Value = Keys> {
    prop_oneof![
        4 => letter().prop_map(Keys::One),
        1 => (letter(), letter()).prop_map(|(begin, end)| Keys::Between(begin, end)),
        1 => Just(Keys::All),
        1 => letter().prop_map(Keys::From),
    ]
}

fn at() -> impl Strategy<Value = At> {
    prop_oneof![2 => Just(At::Latest), 1 => (0..14_i64).prop_map(At::Above)]
}

fn get() -> impl Strategy<Value = Get> {
    let by = vec![
        SortTarget::Key,
        SortTarget::Version,
        SortTarget::Create,
        SortTarget::Mod,
        SortTarget::Value,
    ];
    let order = vec![SortOrder::None, SortOrder::Ascend, SortOrder::Descend];
    let bound = || option::weighted(0.1, 0..10_i64);
    let only = (proptest::bool::weighted(0.1), proptest::bool::weighted(0.1));
    (keys(), at(), 0..4_i64, select(by), select(order), only, bound(), bound()).prop_map(
        |(keys, at, limit, by, order, (keys_only, count_only), modified_since, created_until)| {
            Get { keys, at, limit, by, order, keys_only, count_only, modified_since, created_until }
        },
    )
}

fn put() -> impl Strategy<Value = Put> {
    let seldom = || proptest::bool::weighted(0.1);
    let lease = option::weighted(0.3, lease());
    (letter(), any::<u8>(), lease, any::<bool>(), seldom(), seldom()).prop_map(
        |(letter, value, lease, previous, keep_value, keep_lease)| Put {
            letter,
            value,
            lease,
            previous,
            keep_value,
            keep_lease,
        },
    )
}

fn delete() -> impl Strategy<Value = Delete> {
    (keys(), any::<bool>()).prop_map(|(keys, previous)| Delete { keys, previous })
}

/// A deletion with an end. etcd overlooks that one without an end overlaps the puts of the same
/// transaction; no client of this project deletes so, and the in-memory etcd refuses it.
fn bounded_delete() -> impl Strategy<Value = Delete> {
    delete().prop_map(|delete| match delete.keys {
        Keys::From(letter) => Delete { keys: Keys::One(letter), ..delete },
        _ => delete,
    })
}

fn compare() -> impl Strategy<Value = Compare> {
    let relations =
        vec![CompareOp::Equal, CompareOp::Greater, CompareOp::Less, CompareOp::NotEqual];
    let subject = prop_oneof![
        (0..3_i64).prop_map(Subject::Version),
        at().prop_map(Subject::Created),
        at().prop_map(Subject::Modified),
        any::<u8>().prop_map(Subject::Value),
        lease().prop_map(Subject::Lease),
    ];
    (keys(), select(relations), subject).prop_map(|(keys, relation, subject)| {
        // The ids of leases are different ones on each side, and so is their order.
        let relation = match (&subject, relation) {
            (Subject::Lease(_), CompareOp::Greater) => CompareOp::Equal,
            (Subject::Lease(_), CompareOp::Less) => CompareOp::NotEqual,
            (_, relation) => relation,
        };
        Compare { keys, relation, subject }
    })
}

fn simple() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => get().prop_map(Operation::Get),
        4 => put().prop_map(Operation::Put),
        1 => bounded_delete().prop_map(Operation::Delete),
    ]
}

/// A transaction of these operations.
fn txn_of<S>(operation: impl Fn() -> S) -> impl Strategy<Value = Txn>
where
    S: Strategy<Value = Operation>,
{
    (vec(compare(), 0..3), vec(operation(), 0..4), vec(operation(), 0..4))
        .prop_map(|(compares, success, failure)| Txn { compares, success, failure })
}

fn txn() -> impl Strategy<Value = Txn> {
    txn_of(|| {
        prop_oneof![
            6 => simple(),
            1 => txn_of(simple).prop_map(Operation::Txn),
        ]
    })
}

fn watch() -> impl Strategy<Value = Watch> {
    let wide = prop_oneof![Just(Keys::All), letter().prop_map(Keys::From)];
    let filters = || select(vec![Filter::Nothing, Filter::Puts, Filter::Deletes]);
    let wide = (wide, option::weighted(0.5, 0..8_i64), filters(), any::<bool>())
        .prop_map(|(keys, from, filter, previous)| Watch { keys, from, filter, previous });
    // How far a watcher of few keys has got is not known before the end, so such watchers ask for
    // nothing that a compaction may take away meanwhile.
    let narrow = prop_oneof![
        letter().prop_map(Keys::One),
        (letter(), letter()).prop_map(|(begin, end)| Keys::Between(begin, end)),
    ];
    let narrow = (narrow, filters()).prop_map(|(keys, filter)| Watch {
        keys,
        from: None,
        filter,
        previous: false,
    });
    prop_oneof![2 => wide, 1 => narrow]
}
