//! What it takes to forget a generation: whether the generation may be forgotten, what goes with
//! the commit that marks it, and what a key of the generation has elsewhere in the record.

use proto::{ApplicationRef, Digest, Place, jobgraph};

use super::{Dossier, Refusal, place, process, timestamp};
use crate::keys::forgetting::{self, Forgetting};
use crate::keys::payload::{self, Use};
use crate::keys::{
    Kind, artifacts, desired, generation, job, listing, log, request, secrets, unclean,
};
use crate::store::{Key, Operation, StoreError, Stored};

/// How many processes a refusal names.
const NAMED: usize = 5;

/// Refuses to forget a generation for which something is left to do, or which has changed since the
/// caller looked at it. `seen` and `shown` are revisions of what people see of the generation; with
/// `seen` 0 any state is taken. `own` is the host that an older build meant, which named no place.
pub fn decide(
    dossier: &Dossier,
    processes: &[jobgraph::Process],
    own: Option<&Place>,
    seen: u64,
    shown: u64,
) -> Result<(), Refusal> {
    let application = dossier.application.clone();
    if !dossier.is_clean() {
        return Err(Refusal::NotClean(application));
    }
    if seen > 0 && seen != shown {
        return Err(Refusal::RevisionMoved {
            application,
            what: "the record",
            seen,
            current: shown,
        });
    }
    let leader = place::of_leader(&dossier.attempt, own)?;
    // The end of an abandoned application has told of these; they outlive the generation.
    let is_given_up = |known: &jobgraph::Process| {
        dossier.desired.abandon
            && process::is_intended_for_cluster(known)
            && leader.as_ref().is_some_and(|leader| !process::is_at(known, leader.uid(), own))
    };
    // By the record of such a process a restarted lifecycle knows what may live.
    let live = processes.iter().filter(|known| process::may_live(known) && !is_given_up(known));
    let processes: Vec<String> = live.map(|process| process.key.clone()).take(NAMED).collect();
    if processes.is_empty() {
        Ok(())
    } else {
        Err(Refusal::ProcessesLive { application, processes })
    }
}

/// The commit from which on the generation is gone. Without spec and state no verb shows the
/// generation and no write to it commits; the mark says that the rest is still to go.
pub fn mark(dossier: &Dossier, now: std::time::SystemTime) -> Vec<Operation> {
    let application = &dossier.application;
    let gone = [
        generation::spec_key(application),
        generation::state_key(application),
        desired::key(application),
        artifacts::key(application),
        secrets::key(application),
        listing::key(application, dossier.spec.submitted()),
        // The mark may be there if an older build has written the generation's end.
        unclean::key(application),
    ];
    let since = Forgetting { since: Some(timestamp(now)) };
    let mark = Operation::Put(forgetting::key(application), since.to_stored());
    gone.into_iter().map(Operation::Delete).chain([mark]).collect()
}

/// What a key of a forgotten generation has elsewhere in the record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// The payloads that the key's value points to, each with its use.
    pub payloads: Vec<(Digest, Use)>,
    /// The request that was answered with the generation, if the key names one.
    pub request: Option<Key>,
}

/// Reads what a key of a generation has elsewhere. Artifacts and files of graphs are not among it:
/// they were released at clean, and the sweep releases those that were not.
pub fn elsewhere(
    application: &ApplicationRef,
    key: &Key,
    stored: &Stored,
) -> Result<Elsewhere, StoreError> {
    let mut found =
        Elsewhere { request: request::named_by(application, key), ..Elsewhere::default() };
    let mut point = |digest: &str, used| {
        found.payloads.extend(digest.parse().ok().map(|digest| (digest, used)))
    };
    if key.strip(&job::prefix(application)).is_some() {
        let job = job::StoredJob::from_stored(&stored.value)?;
        point(&job.shown().graph_digest, Use::Graph);
        if let Some(end) = &job.shown().end {
            point(&end.result_digest, Use::Result);
            point(
                end.manifest.as_ref().map_or("", |manifest| &manifest.files_digest),
                Use::Manifest,
            );
        }
    } else if key.strip(&log::chunk_prefix(application)).is_some() {
        point(&log::LogChunk::from_stored(&stored.value)?.digest, Use::Log);
    }
    Ok(found)
}

impl Elsewhere {
    /// The removals of references that go with the key.
    pub fn references(&self, application: &ApplicationRef) -> impl Iterator<Item = Operation> {
        let key =
            |(digest, used): &(Digest, Use)| payload::reference_key(*digest, application, *used);
        self.payloads.iter().map(key).map(Operation::Delete)
    }
}
