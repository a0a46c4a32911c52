//! What was learnt lately of payloads or applications: a bounded memory whose loss costs a read and
//! nothing else.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The latest values, as many as have room together. The value is cheap to clone, and all clones
/// are one.
#[derive(Debug, Clone)]
pub(crate) struct Recent<K, V> {
    kept: Arc<Mutex<Kept<K, V>>>,
    room: usize,
}

#[derive(Debug)]
struct Kept<K, V> {
    values: HashMap<K, (V, usize)>,
    /// What the values are of, those that came first in front.
    order: VecDeque<K>,
    /// What all values weigh together.
    weight: usize,
}

impl<K: Clone + Eq + Hash, V: Clone> Recent<K, V> {
    /// An empty memory for values that weigh so much together.
    pub(crate) fn with_room(room: usize) -> Self {
        let kept = Kept { values: HashMap::new(), order: VecDeque::new(), weight: 0 };
        Self { kept: Arc::new(Mutex::new(kept)), room }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<K, V>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of this one.
    pub(crate) fn get(&self, of: &K) -> Option<V> {
        self.kept().values.get(of).map(|(value, _)| value.clone())
    }

    /// Keeps a value in the place of an earlier one. The values that came first make room for it;
    /// one that would need all the room is not kept.
    pub(crate) fn put(&self, of: K, value: V, weight: usize) {
        let kept = &mut *self.kept();
        if weight > self.room {
            return;
        }
        match kept.values.insert(of.clone(), (value, weight)) {
            Some((_, earlier)) => kept.weight -= earlier,
            None => kept.order.push_back(of),
        }
        kept.weight += weight;
        while kept.weight > self.room
            && let Some(first) = kept.order.pop_front()
        {
            if let Some((_, weight)) = kept.values.remove(&first) {
                kept.weight -= weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_first_makes_room_and_a_later_value_replaces_an_earlier_one() {
        let recent = Recent::with_room(3);
        let [a, b, c, d] = ["a", "b", "c", "d"];
        for (digest, value) in [(a, 1), (b, 2), (a, 3), (c, 4)] {
            recent.put(digest, value, 1);
        }
        assert_eq!([a, b, c].map(|of| recent.get(&of)), [Some(3), Some(2), Some(4)]);
        recent.put(d, 5, 2);
        assert_eq!([a, b, c, d].map(|of| recent.get(&of)), [None, None, Some(4), Some(5)]);
        recent.put(a, 6, 4);
        assert_eq!([a, c, d].map(|of| recent.get(&of)), [None, Some(4), Some(5)]);
    }
}
