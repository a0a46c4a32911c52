//! The tokens that a leader is answered: one for each door that the leader opens, or that it has
//! main() open.

use chassis::credential::{DeploymentKey, Kept, Principal};
use proto::{ApplicationRef, EpochFence, Incarnation, jobgraph};

/// Mints tokens with the deployment's key, which only services hold.
#[derive(Debug, Clone)]
pub(super) struct Mint(DeploymentKey);

impl Mint {
    pub(super) fn new(key: DeploymentKey) -> Self {
        Self(key)
    }

    /// The tokens that the leader of an attempt needs; `incarnation` is the recorded one, 0 for
    /// none.
    pub(super) fn for_attempt(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
    ) -> jobgraph::AttemptTokens {
        let (application, generation) = named(&fence.application);
        let number = fence.epoch.get();
        let owner = |kept| {
            self.mint(&Principal::Owner {
                application: application.clone(),
                generation,
                kept,
                number,
            })
        };
        let (main_tether, describe_tether) = (owner(Kept::Main), owner(Kept::Describe));
        let attempt =
            Principal::Attempt { application: application.clone(), generation, epoch: number };
        let jobs = match incarnation {
            Incarnation(0) => String::new(),
            incarnation => self.for_jobs(&fence.application, incarnation),
        };
        jobgraph::AttemptTokens {
            execution: self.mint(&attempt),
            main_tether,
            describe: self.mint(&Principal::Describe { application, generation, epoch: number }),
            describe_tether,
            jobs,
        }
    }

    /// The token that opens `JobsService` of a cluster.
    pub(super) fn for_jobs(
        &self,
        application: &ApplicationRef,
        incarnation: Incarnation,
    ) -> String {
        let (application, generation) = named(application);
        self.mint(&Principal::Jobs { application, generation, incarnation: incarnation.get() })
    }

    fn mint(&self, principal: &Principal) -> String {
        self.0.mint(principal).expose().to_owned()
    }
}

fn named(application: &ApplicationRef) -> (String, u64) {
    (application.id.to_string(), application.generation.get())
}
