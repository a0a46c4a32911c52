//! What the record says of an application decides whether a process of it is kept. The commit
//! compares every key that the decision rests on.

use proto::{ApplicationRef, EpochFence, Place, jobgraph};

use crate::error::Error;
use crate::keys::fence::{AttemptFence, ClusterFence};
use crate::keys::{fence, generation, head};
use crate::model::{Refusal, process};
use crate::service::load::{absent, one, revision_of};
use crate::service::planted;
use crate::store::{Compare, Key, View};

/// What the record says of an application, each part with the revision that it was read at.
pub(super) struct Grounds<'a> {
    application: &'a ApplicationRef,
    spec: Option<u64>,
    head: head::Head,
    attempt: (AttemptFence, Option<u64>),
    cluster: (ClusterFence, Option<u64>),
}

/// Whether a process is kept.
pub(super) enum Admission {
    /// The process is kept by a commit that compares these keys.
    Kept(Vec<Compare>),
    /// There is nothing to keep: the process is gone, and so is what the record held of its
    /// application.
    NotNeeded,
}

impl<'a> Grounds<'a> {
    /// The keys that the grounds are read from, in this order.
    pub(super) fn keys(application: &ApplicationRef) -> [Key; 4] {
        let id = &application.id;
        [
            generation::spec_key(application),
            head::key(id),
            fence::attempt_key(id),
            fence::cluster_key(id),
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
        })
    }

    /// Whether the process may be kept. With a fence, only while the fence admits the leader; an
    /// intent of a cluster, only while the cluster's fence names its incarnation and its place.
    pub(super) fn admit(
        &self,
        process: &jobgraph::Process,
        leader: Option<&EpochFence>,
        own: Option<&Place>,
    ) -> Result<Admission, Error> {
        let mut compares = Vec::new();
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
            let (cluster, revision) = &self.cluster;
            process::admit(self.application, process, cluster, own)?;
            let key = fence::cluster_key(&self.application.id);
            compares.push(Compare { key, revision: *revision });
        }
        Ok(Admission::Kept(compares))
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
