//! Which of the generations that are over are kept: the newest ones, and those that ended not long
//! ago. Pure.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use proto::api::Application;
use proto::{ApplicationRef, Generation};

/// A generation that is clean, with the facts that decide how long it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) application: ApplicationRef,
    /// The revision at which it was seen, so that a forget is refused if it has changed since.
    pub(crate) revision: u64,
    /// When it became clean.
    over_at: SystemTime,
}

impl Past {
    /// The facts about an application; `None` for one that is not clean.
    pub(crate) fn of(shown: &Application) -> Option<Self> {
        if !shown.clean {
            return None;
        }
        let id = shown.application_id.parse().ok()?;
        let application = ApplicationRef { id, generation: Generation(shown.generation) };
        let at = shown.cleaned_at.or(shown.ended_at).or(shown.submitted_at);
        let over_at =
            at.and_then(|at| SystemTime::try_from(at).ok()).unwrap_or(SystemTime::UNIX_EPOCH);
        Some(Self { application, revision: shown.revision, over_at })
    }
}

/// The group among which the newest are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Newest {
    /// The newest of each application id, this many.
    OfEach(usize),
    /// The newest of all applications together, this many.
    OfAll(usize),
}

/// Which generations are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Generations that became clean less than this long ago are kept.
    pub(crate) younger_than: Duration,
    /// The newest generations are kept, however old they are.
    pub(crate) newest: Newest,
}

/// The generations that the rule does not keep, oldest first.
pub(crate) fn beyond(rule: Rule, mut past: Vec<Past>, now: SystemTime) -> Vec<Past> {
    past.sort_by(|a, b| {
        let key = |past: &Past| (past.over_at, past.application.generation);
        key(b).cmp(&key(a)).then_with(|| a.application.id.cmp(&b.application.id))
    });
    let (mut of_all, mut of_each) = (0, HashMap::new());
    past.retain(|past| {
        let seen = match rule.newest {
            Newest::OfAll(_) => &mut of_all,
            Newest::OfEach(_) => of_each.entry(past.application.id.clone()).or_insert(0),
        };
        *seen += 1;
        let (Newest::OfAll(kept) | Newest::OfEach(kept)) = rule.newest;
        // An instant in the future, of a clock that was set back, counts as now.
        let age = now.duration_since(past.over_at).unwrap_or_default();
        *seen > kept && age >= rule.younger_than
    });
    past.reverse();
    past
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn past(name: &str, days_ago: u32) -> Past {
        let (id, generation) = name.split_once('@').unwrap();
        let application = ApplicationRef {
            id: id.parse().unwrap(),
            generation: Generation(generation.parse().unwrap()),
        };
        Past { application, revision: 1, over_at: now() - DAY * days_ago }
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * 20_000
    }

    fn forgotten(younger_than: Duration, newest: Newest) -> Vec<String> {
        let all = vec![
            past("daily@3", 1),
            past("hourly@9", 40),
            past("daily@2", 31),
            past("daily@1", 32),
            past("once@1", 33),
            past("hourly@8", 41),
        ];
        let beyond = beyond(Rule { younger_than, newest }, all, now());
        beyond.iter().map(|past| past.application.to_string()).collect()
    }

    #[test]
    fn the_young_and_the_newest_are_kept() {
        let month = DAY * 30;
        for (younger_than, newest, expected) in [
            (month, Newest::OfAll(0), vec!["hourly@8", "hourly@9", "once@1", "daily@1", "daily@2"]),
            (month, Newest::OfAll(4), vec!["hourly@8", "hourly@9"]),
            (month, Newest::OfAll(100), vec![]),
            (month, Newest::OfEach(1), vec!["hourly@8", "daily@1", "daily@2"]),
            (Duration::ZERO, Newest::OfEach(2), vec!["daily@1"]),
            (Duration::ZERO, Newest::OfAll(5), vec!["hourly@8"]),
            (DAY * 40, Newest::OfAll(0), vec!["hourly@8", "hourly@9"]),
        ] {
            assert_eq!(forgotten(younger_than, newest), expected, "{younger_than:?} {newest:?}");
        }
    }

    #[test]
    fn what_is_not_clean_is_never_meant_and_a_clock_that_was_ahead_forgets_nothing() {
        let mut shown =
            Application { application_id: "a".into(), generation: 1, ..Default::default() };
        assert_eq!(Past::of(&shown), None);
        shown.terminal = true;
        assert_eq!(Past::of(&shown), None);
        shown.clean = true;
        shown.cleaned_at = Some(prost_types::Timestamp::from(now() + DAY));
        let rule = Rule { younger_than: DAY, newest: Newest::OfAll(0) };
        assert_eq!(beyond(rule, vec![Past::of(&shown).unwrap()], now()), []);
    }
}
