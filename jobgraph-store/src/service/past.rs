//! How long the past of the record is kept for callers that watch and list: so many revisions at
//! most, and each of them only so long. So a host that rests does not keep for weeks what a busy
//! host keeps for minutes.

use std::collections::VecDeque;
use std::time::Duration;

use chassis::clock::{Boot, Clock as _};

use super::Service;
use crate::store::KEPT_REVISIONS;

/// How many times the loop looks in the time that the past is kept.
const LOOKS: u32 = 4;

/// The shortest and the longest pause between two looks.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// So many revisions are kept at most, however young. A file keeps fewer; etcd keeps every value
/// that was ever replaced until it is told to give the past up, and a busy deployment would fill it
/// long before the time is over.
const MOST_REVISIONS: u64 = 10 * KEPT_REVISIONS;

/// The latest revision at each look, oldest look first.
#[derive(Debug, Default)]
struct Looks(VecDeque<(Boot, u64)>);

impl Looks {
    /// Notes the latest revision. Answers the newest revision that was noted `past` ago or earlier,
    /// if there is one: the revisions before it are old.
    fn note(&mut self, now: Boot, revision: u64, past: Duration) -> Option<u64> {
        self.0.push_back((now, revision));
        let mut old = None;
        while let Some((_, revision)) = self.0.pop_front_if(|(at, _)| *at + past <= now) {
            old = Some(revision);
        }
        old
    }
}

/// The revision to give the past up to, if it is time or the past is too long. `old` is the newest
/// one that is old, and `given_up` the one that was given up last.
fn due(old: u64, latest: u64, given_up: u64, is_time: bool) -> Option<u64> {
    let too_many = latest.saturating_sub(MOST_REVISIONS);
    let is_too_long = too_many >= given_up + KEPT_REVISIONS;
    Some(old.max(too_many)).filter(|until| *until > given_up && (is_time || is_too_long))
}

impl Service {
    /// Gives up revisions that are older than `past`, and those that are too many, again and again.
    pub async fn keep_past(&self, past: Duration) {
        let mut looks = Looks::default();
        let (mut given_up, mut old, mut last) = (0, 0, self.clock.boot());
        loop {
            self.clock.sleep((past / LOOKS).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
            let (now, latest) = (self.clock.boot(), *self.metadata.revisions().borrow());
            old = looks.note(now, latest, past).unwrap_or(old);
            let is_time = now >= last + past / LOOKS;
            let Some(until) = due(old, latest, given_up, is_time) else { continue };
            match self.metadata.compact(until).await {
                Ok(()) => (given_up, last) = (until, now),
                Err(error) => tracing::warn!(%error, "the past of the record stays for now"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_the_latest_long_ago_is_given_up_and_nothing_younger() {
        let (minute, begin) = (Duration::from_secs(60), Boot::from_nanos(1));
        let mut looks = Looks::default();
        let noted: Vec<_> = [(0, 5), (5, 80), (10, 81), (15, 90), (40, 95), (41, 99)]
            .into_iter()
            .map(|(minutes, revision)| looks.note(begin + minute * minutes, revision, minute * 15))
            .collect();
        assert_eq!(noted, [None, None, None, Some(5), Some(90), None]);
    }

    #[test]
    fn what_is_too_much_is_given_up_before_its_time_and_not_in_crumbs() {
        let (many, step) = (MOST_REVISIONS, KEPT_REVISIONS);
        for (old, latest, given_up, is_time, expected) in [
            (0, many, 0, false, None),
            (7, many, 0, true, Some(7)),
            (7, many, 0, false, None),
            (7, many, 7, true, None),
            (0, many + step - 1, 0, false, None),
            (0, many + step, 0, false, Some(step)),
            (0, many + step + 1, step, false, None),
            (0, many + step + 1, step, true, Some(step + 1)),
        ] {
            let found = due(old, latest, given_up, is_time);
            assert_eq!(found, expected, "{old}, {latest}, {given_up}, {is_time}");
        }
    }
}
