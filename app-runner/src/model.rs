//! One attempt as a pure state machine: [`Facts`] go in, [`Decision`]s come out. The module does no
//! I/O and reads no clock.
//!
//! [`decide`] is level-triggered: it answers *everything that should be under way now*, from what
//! the record says and what this process has seen since. A leader that takes over starts from the
//! record alone, so going on after a crash is not a case of its own: the same function is asked
//! with fewer facts.

mod cleaning;
mod decision;
mod ending;
pub mod exit;
mod fact;
mod facts;
mod failure;
mod recorded;
mod running;
mod savepoints;

pub use decision::{Decision, Leave};
pub use fact::Fact;
pub use facts::{Cluster, Facts, JobFacts, Main, Step};
pub use failure::Failure;
pub use recorded::{
    ClusterState, Desired, JobOutcome, MainState, Outcome, Recorded, RecordedCluster, RecordedJob,
    RecordedJobEnd, RecordedMain, Wish,
};

/// What should be under way now. The order means nothing. A decision that is under way already is
/// answered again; the driver begins each one only once.
pub fn decide(facts: &Facts) -> Vec<Decision> {
    if let Some(leave) = &facts.leave {
        return vec![Decision::Leave(leave.clone())];
    }
    if facts.suspended {
        // Past the lease's deadline nothing may be begun, but the same epoch may still be
        // confirmed.
        return Vec::new();
    }
    if facts.record.clean {
        let outcome = facts.record.outcome.unwrap_or(Outcome::Failed);
        return vec![Decision::Leave(Leave::Clean(outcome))];
    }
    if facts.record.terminal {
        return cleaning::decide(facts);
    }
    match ending::verdict(facts) {
        Some(verdict) => ending::decide(facts, &verdict),
        None => running::decide(facts),
    }
}

/// Whether main() may still begin jobs: not once the application has to end or has ended.
pub fn accepts_jobs(facts: &Facts) -> bool {
    facts.leave.is_none() && !facts.record.terminal && ending::verdict(facts).is_none()
}

#[cfg(test)]
mod tests;
