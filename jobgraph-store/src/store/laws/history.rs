//! All laws of reading at once, over random histories.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Bed, KEPT, Verdict, committed, ensure, key};
use crate::store::{Key, Operation, Read, Stored};

/// A step of a random history.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    operations: Vec<(u8, Option<u8>)>,
    crash: bool,
}

/// Random histories of puts and deletes of a few keys, with crashes.
pub(crate) fn histories() -> impl Strategy<Value = Vec<Step>> {
    let operation = (0..6_u8, proptest::option::weighted(0.7, any::<u8>()));
    let step = (proptest::collection::vec(operation, 1..4), proptest::bool::weighted(0.1));
    proptest::collection::vec(
        step.prop_map(|(operations, crash)| Step { operations, crash }),
        1..25,
    )
}

/// All laws of reading at once: every revision of a random history reads as a plain map says.
pub(crate) async fn every_revision_reads_as_it_was(bed: &mut dyn Bed, history: &[Step]) -> Verdict {
    let mut store = bed.open().await;
    let mut maps: Vec<(u64, BTreeMap<Key, Stored>)> = vec![(0, BTreeMap::new())];
    for step in history {
        if step.crash {
            drop(store);
            bed.crash().await;
            store = bed.open().await;
        }
        let (before, mut map) = maps.last().unwrap().clone();
        let mut operations: BTreeMap<Key, Operation> = BTreeMap::new();
        for (name, value) in &step.operations {
            let key = key(&format!("k/{name}"));
            let operation = match value {
                Some(value) => Operation::Put(key.clone(), Bytes::copy_from_slice(&[*value])),
                None => Operation::Delete(key.clone()),
            };
            operations.insert(key, operation);
        }
        let revision = committed(&*store, operations.values().cloned().collect()).await?;
        ensure!(revision > before, "revision {revision} after {before}");
        for (key, operation) in operations {
            match operation {
                Operation::Put(_, value) => map.insert(key, Stored { value, revision }),
                Operation::Delete(_) => map.remove(&key),
            };
        }
        maps.push((revision, map));
    }
    let kept = maps.len().saturating_sub(usize::try_from(KEPT).unwrap());
    for (revision, map) in maps.iter().skip(kept) {
        let view = store
            .read(vec![Read::all(key("k/"))], Some(*revision))
            .await
            .map_err(|error| error.to_string())?;
        let read: BTreeMap<Key, Stored> = view.answers[0].iter().cloned().collect();
        ensure!(read == *map, "revision {revision} reads {read:?}, it was {map:?}");
        // Asks for the last key up to each of these, which lie among the keys, before all and
        // behind all.
        let untils: Vec<Key> = ["a", "k/", "k/0", "k/3", "k/31", "k/5", "z"].map(key).to_vec();
        let last = |until: &Key| Read::Last { prefix: key("k/"), until: until.clone() };
        let view = store.read(untils.iter().map(last).collect(), Some(*revision)).await;
        let view = view.map_err(|error| error.to_string())?;
        for (until, answer) in untils.iter().zip(&view.answers) {
            let was = map.range(..=until.clone()).next_back();
            let was: Vec<_> =
                was.map(|(key, stored)| (key.clone(), stored.clone())).into_iter().collect();
            ensure!(
                *answer == was,
                "at {revision} the last up to {until} is {answer:?}, it was {was:?}"
            );
        }
    }
    Ok(())
}
