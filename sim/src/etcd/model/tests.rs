#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;

const START: Boot = Boot::from_nanos(1_000);

fn put(key: &str, value: &str) -> Put {
    Put { key: key.into(), value: value.into(), ..Put::default() }
}

fn delete(key: &str) -> Delete {
    Delete { span: Span::Key(key.into()), tell_previous: false }
}

fn at(revision: i64) -> Range {
    Range { revision, ..Range::of(Span::From(b"a".to_vec())) }
}

fn values(read: Result<Ranged, Refusal>) -> Vec<String> {
    let text = |kv: &KeyValue| String::from_utf8([&kv.key[..], b"=", &kv.value].concat()).unwrap();
    read.unwrap().kvs.iter().map(text).collect()
}

fn watcher(start: i64) -> WatchCreate {
    let span = Span::From(b"a".to_vec());
    WatchCreate { span, start, puts: true, deletes: true, with_before: true, id: 0 }
}

#[test]
fn the_past_is_read_until_it_is_compacted() {
    let mut state = State::default();
    assert_eq!(state.put(&put("a", "1")).unwrap().revision, 2);
    state.put(&put("a", "2")).unwrap();
    assert_eq!(state.delete(&delete("a")).unwrap().revision, 4);
    state.put(&put("b", "1")).unwrap();
    assert_eq!(values(state.range(&at(2))), ["a=1"]);
    assert_eq!(values(state.range(&at(3))), ["a=2"]);
    assert_eq!(values(state.range(&at(0))), ["b=1"]);
    assert_eq!(state.range(&at(6)), Err(Refusal::Future));
    assert_eq!(state.compact(6), Err(Refusal::Future));
    state.compact(3).unwrap();
    assert_eq!(values(state.range(&at(3))), ["a=2"]);
    assert_eq!(state.range(&at(2)), Err(Refusal::Compacted));
    assert_eq!(state.compact(3), Err(Refusal::Compacted));
}

#[test]
fn a_watch_from_the_compacted_revision_hears_the_deletion_there_and_an_older_one_ends() {
    let mut state = State::default();
    state.put(&put("a", "1")).unwrap();
    state.delete(&delete("a")).unwrap();
    state.put(&put("b", "1")).unwrap();
    state.compact(3).unwrap();
    let mut watchers = Watchers::default();
    assert_eq!(watchers.create(state.history(), watcher(2)), Told::Created { id: 0 });
    assert_eq!(watchers.create(state.history(), watcher(3)), Told::Created { id: 1 });
    let told = watchers.advance(state.history());
    assert_eq!(told[0], Told::Compacted { id: 0, revision: 3 });
    let Told::Events { id: 1, events } = &told[1] else { panic!("{told:?}") };
    let seen: Vec<_> = events.iter().map(|event| (event.put, event.now.modified)).collect();
    assert_eq!(seen, [(false, 3), (true, 4)]);
    // What was there before the deletion is given up.
    assert_eq!(events[0].before, None);
    assert_eq!(watchers.progress(state.history()), None);
    watchers.cancel(0);
    assert_eq!(watchers.progress(state.history()), Some(Told::Progress));
}

#[test]
fn a_transaction_is_one_revision_and_compares_what_was_before_it() {
    let mut state = State::default();
    state.put(&put("a", "1")).unwrap();
    let absent = |key: &str| Compare {
        span: Span::Key(key.into()),
        relation: Relation::Equal,
        subject: Subject::Version(0),
    };
    // The inner transaction does not see the outer one's put.
    let inner = Txn {
        compares: vec![absent("b")],
        success: vec![Operation::Put(put("c", "inner"))],
        failure: Vec::new(),
    };
    let txn = Txn {
        compares: vec![absent("a")],
        success: Vec::new(),
        failure: vec![
            Operation::Put(put("b", "outer")),
            Operation::Txn(inner),
            Operation::Range(at(0)),
        ],
    };
    let done = state.txn(&txn).unwrap();
    assert_eq!((done.revision, done.succeeded, state.revision()), (3, false, 3));
    let Some(Done::Range(read)) = done.answers.last() else { panic!("{done:?}") };
    assert_eq!(values(Ok(read.clone())), ["a=1", "b=outer", "c=inner"]);
    let twice = vec![Operation::Put(put("a", "2")), Operation::Delete(delete("a"))];
    let txn = Txn { success: twice, ..Txn::default() };
    assert_eq!(state.txn(&txn), Err(Refusal::DuplicateKey));
}

/// Which of two reasons etcd names depends on whether the put is by itself.
#[test]
fn a_put_without_its_lease_and_its_key_is_refused_for_the_lease_and_in_a_transaction_for_the_key() {
    let mut state = State::default();
    let lacking = Put { lease: 7, keep_value: true, ..put("a", "") };
    assert_eq!(state.put(&lacking), Err(Refusal::LeaseNotFound));
    let txn = Txn { success: vec![Operation::Put(lacking)], ..Txn::default() };
    assert_eq!(state.txn(&txn), Err(Refusal::KeyNotFound));
    assert_eq!(state.revision(), 1);
}

/// etcd takes a put for compatible with a deletion in a later inner transaction.
#[test]
fn two_changes_of_a_key_in_one_revision_are_two_events() {
    let mut state = State::default();
    let inner = |operation| Operation::Txn(Txn { success: vec![operation], ..Txn::default() });
    let steps = vec![inner(Operation::Put(put("a", "1"))), inner(Operation::Delete(delete("a")))];
    state.txn(&Txn { success: steps, ..Txn::default() }).unwrap();
    let mut watchers = Watchers::default();
    watchers.create(state.history(), watcher(2));
    let told = watchers.advance(state.history());
    let [Told::Events { events, .. }] = &told[..] else { panic!("{told:?}") };
    let seen: Vec<_> = events.iter().map(|event| (event.put, event.now.modified)).collect();
    assert_eq!(seen, [(true, 2), (false, 2)]);
    assert_eq!(values(state.range(&at(2))), Vec::<String>::new());
}

#[test]
fn the_write_that_uses_up_the_room_is_done_and_refused() {
    let mut state = State::default();
    state.set_space(Space::LastWrite);
    assert_eq!(state.put(&put("a", "1")), Err(Refusal::NoSpace));
    assert_eq!(state.put(&put("b", "1")), Err(Refusal::NoSpace));
    assert_eq!(state.grant(START, 0, 5), Err(Refusal::NoSpace));
    assert_eq!(values(state.range(&at(0))), ["a=1"]);
    // What needs no room goes on.
    let freeing = Txn { success: vec![Operation::Delete(delete("a"))], ..Txn::default() };
    assert!(state.txn(&freeing).unwrap().succeeded);
    state.set_space(Space::Enough);
    assert_eq!(state.put(&put("b", "2")).unwrap().revision, 4);
}

#[test]
fn a_lease_takes_its_keys_with_it_when_it_ends_and_not_before() {
    let mut state = State::default();
    let (id, granted) = state.grant(START, 0, 1).unwrap();
    assert_eq!(granted, MIN_TTL_SECONDS);
    let with = |key: &str, lease| Put { lease, ..put(key, "1") };
    state.put(&with("a", id)).unwrap();
    state.put(&with("b", id)).unwrap();
    // A put without the lease takes the key out of it.
    state.put(&with("b", 0)).unwrap();
    let ends = START + Duration::from_secs(2);
    assert_eq!(state.next_expiry(), Some(ends));
    assert_eq!(state.renew(START + Duration::from_secs(1), id), 2);
    assert!(!state.expire(ends));
    assert!(state.expire(ends + Duration::from_secs(1)));
    assert_eq!(values(state.range(&at(0))), ["b=1"]);
    assert_eq!((state.renew(ends, id), state.remaining(ends, id)), (0, None));
    assert_eq!(state.put(&with("a", id)), Err(Refusal::LeaseNotFound));
}

#[test]
fn a_lease_begins_anew_under_a_new_leader() {
    let mut state = State::default();
    let (id, _) = state.grant(START, 0, 5).unwrap();
    let late = START + Duration::from_secs(60);
    state.elect(late);
    assert!(!state.expire(late + Duration::from_secs(5)));
    assert_eq!(state.remaining(late, id).unwrap().seconds, 6);
    assert!(state.expire(late + Duration::from_secs(6)));
}
