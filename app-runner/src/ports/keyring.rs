//! The tokens that a runner holds. The runner was given one at its start, the token of a contender.
//! The record answers all others to `BeginAttempt` and `BeginCluster`, and the keyring keeps them
//! for the ports that show them or hand them on. A runner mints no token.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use chassis::credential::Credential;
use proto::{EpochFence, Incarnation, Reason, jobgraph};

use super::PortResult;
use crate::error::PortError;

/// The tokens of an attempt, one for each of its doors.
#[derive(Debug, Clone)]
pub struct AttemptTokens {
    /// The token of main(). `ExecutionService` takes this one and no other.
    pub execution: Credential,
    /// The token of the owner of main()'s tether.
    pub main_tether: Credential,
    /// The token of the callers of the engine's `describe`.
    pub describe: Credential,
    /// The token of the owner of the tethers of `describe`.
    pub describe_tether: Credential,
}

/// All tokens of one runner. Clones share them.
#[derive(Clone, Default)]
pub struct Keyring(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    /// The tokens of the latest attempt. One is enough, because a runner leads one attempt at a
    /// time.
    attempt: Option<(EpochFence, AttemptTokens)>,
    jobs: BTreeMap<Incarnation, Credential>,
}

impl Keyring {
    /// Takes the tokens that `BeginAttempt` answered. `recorded` is the cluster of the record, 0
    /// for none.
    pub fn take_attempt(
        &self,
        fence: &EpochFence,
        recorded: Incarnation,
        tokens: Option<jobgraph::AttemptTokens>,
    ) -> PortResult<()> {
        let Some(tokens) = tokens else { return Err(unanswered("BeginAttempt")) };
        let token = |text: String| Credential::new(text).map_err(|_| unanswered("BeginAttempt"));
        let jobs = (recorded != Incarnation(0)).then(|| token(tokens.jobs)).transpose()?;
        let tokens = AttemptTokens {
            execution: token(tokens.execution)?,
            main_tether: token(tokens.main_tether)?,
            describe: token(tokens.describe)?,
            describe_tether: token(tokens.describe_tether)?,
        };
        let mut held = self.held();
        held.attempt = Some((fence.clone(), tokens));
        held.jobs.extend(jobs.map(|jobs| (recorded, jobs)));
        Ok(())
    }

    /// Takes the token that `BeginCluster` answered.
    pub fn take_cluster(&self, incarnation: Incarnation, jobs: String) -> PortResult<()> {
        let jobs = Credential::new(jobs).map_err(|_| unanswered("BeginCluster"))?;
        self.held().jobs.insert(incarnation, jobs);
        Ok(())
    }

    /// The tokens of an attempt that was begun by this runner, and that is its latest.
    pub fn of_attempt(&self, fence: &EpochFence) -> PortResult<AttemptTokens> {
        let held = self.held().attempt.clone();
        held.filter(|(of, _)| of == fence).map(|(_, tokens)| tokens).ok_or_else(|| {
            PortError::refused(
                Reason::CredentialMissing,
                format!(
                    "no tokens for epoch {} of {}: it was not begun here",
                    fence.epoch, fence.application
                ),
            )
        })
    }

    /// The token that opens the jobs of a cluster. The record has to know the cluster, or this
    /// runner has to have begun it.
    pub fn jobs(&self, incarnation: Incarnation) -> PortResult<Credential> {
        self.held().jobs.get(&incarnation).cloned().ok_or_else(|| {
            PortError::refused(
                Reason::CredentialMissing,
                format!("no token for the jobs of incarnation {incarnation}: the record did not answer one"),
            )
        })
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(***)")
    }
}

fn unanswered(call: &str) -> PortError {
    PortError::refused(
        Reason::CredentialMissing,
        format!(
            "the store answered {call} without the tokens that a leader needs: it is of an older build"
        ),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proto::{ApplicationRef, Epoch, Generation};

    use super::*;

    fn fence(epoch: u64) -> EpochFence {
        let application =
            ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(4) };
        EpochFence { application, epoch: Epoch(epoch) }
    }

    fn answered(jobs: &str) -> Option<jobgraph::AttemptTokens> {
        let text = |text: &str| text.to_owned();
        Some(jobgraph::AttemptTokens {
            execution: text("execution"),
            main_tether: text("main-tether"),
            describe: text("describe"),
            describe_tether: text("describe-tether"),
            jobs: text(jobs),
        })
    }

    #[test]
    fn tokens_are_of_the_attempt_that_was_begun_last_and_of_no_other() {
        let keyring = Keyring::default();
        assert_eq!(
            keyring.of_attempt(&fence(7)).unwrap_err().reason,
            Some(Reason::CredentialMissing)
        );
        keyring.take_attempt(&fence(7), Incarnation(0), answered("")).unwrap();
        assert_eq!(keyring.of_attempt(&fence(7)).unwrap().execution.expose(), "execution");
        keyring.take_attempt(&fence(9), Incarnation(0), answered("")).unwrap();
        assert!(keyring.of_attempt(&fence(7)).is_err());
        assert!(
            format!("{keyring:?} {:?}", keyring.of_attempt(&fence(9)))
                .find("main-tether")
                .is_none()
        );
    }

    #[test]
    fn the_token_for_jobs_comes_with_the_recorded_cluster_or_with_a_new_one() {
        let keyring = Keyring::default();
        keyring.take_attempt(&fence(7), Incarnation(3), answered("jobs-3")).unwrap();
        keyring.take_cluster(Incarnation(4), "jobs-4".to_owned()).unwrap();
        assert_eq!(keyring.jobs(Incarnation(3)).unwrap().expose(), "jobs-3");
        assert_eq!(keyring.jobs(Incarnation(4)).unwrap().expose(), "jobs-4");
        assert!(keyring.jobs(Incarnation(2)).is_err());
    }

    #[test]
    fn a_store_that_answers_no_tokens_is_refused_in_words() {
        let keyring = Keyring::default();
        for refused in [
            keyring.take_attempt(&fence(7), Incarnation(0), None),
            keyring.take_attempt(&fence(7), Incarnation(3), answered("")),
            keyring.take_cluster(Incarnation(4), String::new()),
        ] {
            assert!(refused.unwrap_err().message.contains("of an older build"));
        }
    }
}
