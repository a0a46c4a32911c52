//! Processes of a cluster that die and are started again. Each death is told while it happens, with
//! its cause, because a cluster whose processes keep dying looks from outside as if nothing
//! happened at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::Boot;
use proto::{JobId, api};

use super::Shared;
use crate::ports::substrate::Death;

/// The first so many deaths of a process, or restarts of a job, are each told. Of a loop that goes
/// on, only counts that are powers of two are told after that.
const TOLD_EACH: u32 = 4;

/// The condition that is false while a process of the present incarnation has died.
pub(in crate::service) const CONDITION: &str = "ProcessesLive";

/// One line for a death: `taskmanager-0: restart 3; cause: exit code 1 (java.lang.OutOfMemoryError:
/// Java heap space)`.
pub(in crate::service) fn sentence(death: &Death) -> String {
    format!("{}: restart {}; cause: {}", death.process, death.count, death.cause)
}

fn is_told(count: u32) -> bool {
    count <= TOLD_EACH || count.is_power_of_two()
}

/// The restarts of jobs in one attempt: the last cause of each job's, and how many there were.
#[derive(Debug, Default)]
pub(in crate::service) struct Restarts(BTreeMap<JobId, (String, u32)>);

impl Restarts {
    /// Takes in that a job is restarted for this cause. An engine says so again and again, so only
    /// another cause is another restart. True if the restart is to be told.
    pub(in crate::service) fn note(&mut self, job: JobId, cause: &str) -> bool {
        let (last, count) = self.0.entry(job).or_default();
        if last == cause {
            return false;
        }
        cause.clone_into(last);
        *count = count.saturating_add(1);
        is_told(*count)
    }
}

/// Tells each death in the log, as an event, and as a condition that stands until another
/// incarnation is begun.
pub(super) async fn told(shared: Arc<Shared>) {
    let mut deaths = shared.deaths.subscribe();
    let mut said = BTreeMap::new();
    loop {
        let known = deaths.borrow_and_update().clone();
        for (process, death) in &known.latest {
            let key = (known.incarnation, process.clone());
            if said.get(&key).is_some_and(|count| *count >= death.count) {
                continue;
            }
            said.insert(key, death.count);
            shared.note_death(death);
            if is_told(death.count) {
                tell(&shared, known.incarnation.get(), death).await;
            }
        }
        // An error means that the attempt is gone.
        if deaths.changed().await.is_err() {
            return;
        }
    }
}

async fn tell(shared: &Shared, incarnation: u64, death: &Death) {
    let text = sentence(death);
    if is_in_record(shared, incarnation, &text) {
        return;
    }
    tracing::warn!("{text}");
    let condition = api::Condition {
        r#type: CONDITION.to_owned(),
        status: api::ConditionStatus::False.into(),
        message: text.clone(),
        ..api::Condition::default()
    };
    let event = api::Event {
        kind: "restart".to_owned(),
        message: text,
        source: shared.holder.clone(),
        incarnation,
        attributes: [
            ("process".to_owned(), death.process.clone()),
            ("restart".to_owned(), death.count.to_string()),
            ("cause".to_owned(), death.cause.clone()),
        ]
        .into(),
        ..api::Event::default()
    };
    let told = || {
        let (event, condition) = (event.clone(), condition.clone());
        shared.ports.record.append_events(&shared.fence, vec![event], vec![condition])
    };
    if let Err(error) = shared.patiently("tell of a process that died", told).await {
        tracing::debug!("not recorded: {error}");
    }
}

/// Whether an earlier leader of the same incarnation has told the death.
fn is_in_record(shared: &Shared, incarnation: u64, text: &str) -> bool {
    let record = shared.record.borrow();
    let Some(application) = &record.application else { return false };
    let is_current =
        application.cluster.as_ref().is_some_and(|cluster| cluster.incarnation == incarnation);
    is_current
        && application
            .conditions
            .iter()
            .any(|known| known.r#type == CONDITION && known.message == text)
}

/// The last death of each process. The end of an application names those of its last minute,
/// because the application may have ended of them.
#[derive(Default)]
pub(in crate::service) struct Recent(BTreeMap<String, (Boot, Death)>);

/// How long before an end a death counts as one of its causes.
const RECENT: Duration = Duration::from_secs(60);

impl Recent {
    pub(in crate::service) fn note(&mut self, now: Boot, death: &Death) {
        self.0.insert(death.process.clone(), (now, death.clone()));
    }

    /// The deaths that may have caused an end now, one sentence each.
    pub(in crate::service) fn before(&self, now: Boot) -> Vec<String> {
        let recent = self.0.values().filter(|(at, _)| now.saturating_duration_since(*at) <= RECENT);
        recent.map(|(_, death)| sentence(death)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_loop_is_told_at_first_and_then_ever_more_seldom() {
        let told: Vec<u32> = (1..=40).filter(|count| is_told(*count)).collect();
        assert_eq!(told, [1, 2, 3, 4, 8, 16, 32]);
    }

    /// Red where every other cause is told: two causes that take turns would be told for ever.
    #[test]
    fn restarts_of_a_job_are_told_like_deaths_and_a_cause_that_stays_once() {
        let mut restarts = Restarts::default();
        let [job, other] = ["0", "1"].map(|digit| digit.repeat(32).parse::<JobId>().unwrap());
        assert!(restarts.note(job, "no memory"));
        assert!(!restarts.note(job, "no memory"));
        assert!(restarts.note(other, "no memory"));
        let cause = |number: &u32| if number.is_multiple_of(2) { "no disk" } else { "no memory" };
        let told: Vec<u32> = (2..=40).filter(|number| restarts.note(job, cause(number))).collect();
        assert_eq!(told, [2, 3, 4, 8, 16, 32]);
    }

    #[test]
    fn what_died_long_ago_is_no_cause_of_an_end() {
        let death = Death {
            process: "taskmanager-0".into(),
            count: 3,
            cause: "exit code 1 (no room)".into(),
        };
        let mut recent = Recent::default();
        let at = Boot::from_nanos(7);
        recent.note(at, &death);
        assert_eq!(
            recent.before(at + RECENT),
            ["taskmanager-0: restart 3; cause: exit code 1 (no room)"]
        );
        assert!(recent.before(at + RECENT * 2).is_empty());
    }
}
