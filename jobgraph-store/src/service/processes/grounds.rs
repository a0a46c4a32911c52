//! What the record says of an application decides whether a process of it is kept. The commit
//! compares every key that the decision rests on.
//!
//! A leader may mark the application clean at the same time, and has to see every intent at another
//! place than its own. `service/record/clean.rs` has the argument; what an intent does for it is in
//! `admit_unclean`.

use proto::{ApplicationRef, EpochFence, Place, jobgraph};

use crate::error::Error;
use crate::keys::fence::{AttemptFence, ClusterFence};
use crate::keys::generation::GenerationState;
use crate::keys::unclean::Unclean;
use crate::keys::{Kind as _, fence, generation, head, process as stored, unclean};
use crate::model::{Refusal, place, process};
use crate::service::load::{absent, one, revision_of};
use crate::service::planted;
use crate::store::{Compare, Key, Operation, Transaction, View};

/// What the record says of an application, each part with the revision that it was read at.
pub(super) struct Grounds<'a> {
    application: &'a ApplicationRef,
    spec: Option<u64>,
    head: head::Head,
    attempt: (AttemptFence, Option<u64>),
    cluster: (ClusterFence, Option<u64>),
    unclean: (Option<Unclean>, Option<u64>),
    state: GenerationState,
}

/// Whether a process is kept.
pub(super) enum Admission {
    /// The process is kept by a commit that does this as well, under these compares.
    Kept(Transaction),
    /// There is nothing to keep: the process is gone, and so is what the record held of its
    /// application.
    NotNeeded,
}

impl<'a> Grounds<'a> {
    /// The keys that the grounds are read from, in this order.
    pub(super) fn keys(application: &ApplicationRef) -> [Key; 6] {
        let id = &application.id;
        [
            generation::spec_key(application),
            head::key(id),
            fence::attempt_key(id),
            fence::cluster_key(id),
            unclean::key(application),
            generation::state_key(application),
        ]
    }

    /// The grounds in a view whose answers to [`keys`](Self::keys) begin at `first`.
    pub(super) fn read(
        application: &'a ApplicationRef,
        view: &View,
        first: usize,
    ) -> Result<Self, Error> {
        Ok(Self {
            application,
            spec: revision_of(view, first),
            head: one(view, first + 1)?.unwrap_or_default(),
            attempt: (one(view, first + 2)?.unwrap_or_default(), revision_of(view, first + 2)),
            cluster: (one(view, first + 3)?.unwrap_or_default(), revision_of(view, first + 3)),
            unclean: (one(view, first + 4)?, revision_of(view, first + 4)),
            state: one(view, first + 5)?.unwrap_or_default(),
        })
    }

    /// Whether the process may be kept. With a fence, only while the fence admits the leader; an
    /// intent of a cluster, only while the cluster's fence names its incarnation and its place, and
    /// the generation is not clean.
    pub(super) fn admit(
        &self,
        process: &jobgraph::Process,
        leader: Option<&EpochFence>,
        own: Option<&Place>,
    ) -> Result<Admission, Error> {
        let mut kept = Transaction::default();
        let compares = &mut kept.compares;
        match self.spec {
            // The generation may be forgotten meanwhile; then no process of it may be written
            // again.
            Some(spec) => compares.push(Compare {
                key: generation::spec_key(self.application),
                revision: Some(spec),
            }),
            None => match absent(self.application, &self.head) {
                Refusal::Forgotten(_) if process.state() != jobgraph::ProcessState::Intended => {
                    return Ok(Admission::NotNeeded);
                }
                forgotten @ Refusal::Forgotten(_) => return Err(forgotten.into()),
                // Lifecycle may work for an application that another record holds.
                _ => {}
            },
        }
        if let Some(leader) = leader {
            compares.push(self.admit_leader(leader)?);
        }
        if process::is_intended_for_cluster(process) && !planted::intents_are_unfenced() {
            // A leader that marks the generation clean looks for intents below these keys only.
            if !process.key.starts_with(&stored::of_generation(self.application)) {
                let why = format!("process.key {:?} is not of {}", process.key, self.application);
                return Err(Refusal::RequestInvalid(why).into());
            }
            let (cluster, revision) = &self.cluster;
            process::admit(self.application, process, cluster, own)?;
            let key = fence::cluster_key(&self.application.id);
            compares.push(Compare { key, revision: *revision });
            self.admit_unclean(process, own, &mut kept)?;
        }
        Ok(Admission::Kept(kept))
    }

    /// Refuses an intent of a generation that is clean. An intent at another place than the latest
    /// leader's writes the mark of what is not clean anew, for that leader to see.
    fn admit_unclean(
        &self,
        process: &jobgraph::Process,
        own: Option<&Place>,
        kept: &mut Transaction,
    ) -> Result<(), Refusal> {
        let key = unclean::key(self.application);
        let (Some(mark), revision) = &self.unclean else {
            let (application, ended) = (self.application.clone(), self.state.application());
            let (outcome, reason) = (ended.outcome(), ended.reason.clone());
            return Err(Refusal::AlreadyEnded { application, outcome, reason });
        };
        kept.compares.push(Compare { key: key.clone(), revision: *revision });
        let (attempt, revision) = &self.attempt;
        let leader = Compare { key: fence::attempt_key(&self.application.id), revision: *revision };
        if !kept.compares.contains(&leader) {
            kept.compares.push(leader);
        }
        let asked = Place::read(process.place.clone())?;
        let leader = place::of_leader(attempt, own)?;
        if asked.as_ref().or(own).map(Place::uid) != leader.as_ref().map(Place::uid) {
            kept.operations.push(Operation::Put(key, mark.to_stored()));
        }
        Ok(())
    }

    fn admit_leader(&self, leader: &EpochFence) -> Result<Compare, Refusal> {
        let (attempt, revision) = &self.attempt;
        if attempt.admits(leader.application.generation, leader.epoch) {
            let key = fence::attempt_key(&self.application.id);
            return Ok(Compare { key, revision: *revision });
        }
        Err(Refusal::EpochSuperseded {
            application: self.application.clone(),
            epoch: leader.epoch.get(),
            current: attempt.epoch,
            holder: attempt.holder.clone(),
        })
    }
}
