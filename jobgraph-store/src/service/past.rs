//! How long the past of the record is kept for callers that watch and list: so many revisions at
//! most, and each of them only so long. So a host that rests does not keep for weeks what a busy
//! host keeps for minutes.

use std::collections::VecDeque;
use std::time::Duration;

use chassis::clock::{Boot, Clock as _};

use super::Service;

/// How many times the loop looks in the time that the past is kept.
const LOOKS: u32 = 4;

/// The shortest pause between two looks.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

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

impl Service {
    /// Gives up revisions that are older than `past`, again and again.
    pub async fn keep_past(&self, past: Duration) {
        let mut looks = Looks::default();
        let mut given_up = 0;
        loop {
            self.clock.sleep((past / LOOKS).max(SHORTEST_PAUSE)).await;
            let revision = *self.metadata.revisions().borrow();
            let Some(old) =
                looks.note(self.clock.boot(), revision, past).filter(|old| *old > given_up)
            else {
                continue;
            };
            match self.metadata.compact(old).await {
                Ok(()) => given_up = old,
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
}
