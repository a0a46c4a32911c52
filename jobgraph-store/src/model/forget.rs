//! What it takes to forget a generation: whether it may be, what goes with the commit that makes it one that was, and what a key of
//! it has elsewhere.

use proto::{ApplicationRef, Digest, jobgraph};

use super::{Facts, Refusal, timestamp};
use crate::keys::forgetting::{self, Forgetting};
use crate::keys::payload::{self, Use};
use crate::keys::{Kind, artifacts, desired, generation, job, listing, log, request, secrets, unclean};
use crate::store::{Key, Operation, StoreError, Stored};

/// Processes that are named in a refusal.
const NAMED: usize = 5;

/// Refuses to forget what something is left to do for, and what has changed since the caller looked at it. `seen` and `shown` are
/// revisions of what is shown of it; `seen` 0: whatever it is now.
pub fn decide(facts: &Facts, processes: &[jobgraph::Process], seen: u64, shown: u64) -> Result<(), Refusal> {
    let application = facts.application.clone();
    if !facts.is_clean() {
        return Err(Refusal::NotClean(application));
    }
    if seen > 0 && seen != shown {
        return Err(Refusal::RevisionMoved { application, what: "the record", seen, current: shown });
    }
    // Its record is how a lifecycle that was restarted knows what may live.
    let live = processes.iter().filter(|process| {
        matches!(process.state(), jobgraph::ProcessState::Intended | jobgraph::ProcessState::Unspecified)
    });
    let processes: Vec<String> = live.map(|process| process.key.clone()).take(NAMED).collect();
    if processes.is_empty() { Ok(()) } else { Err(Refusal::ProcessesLive { application, processes }) }
}

/// The commit from which on the generation is gone. Without its spec and state nothing shows it and no write to it commits; the mark
/// says that the rest is still to go.
pub fn mark(facts: &Facts, now: std::time::SystemTime) -> Vec<Operation> {
    let application = &facts.application;
    let gone = [
        generation::spec_key(application),
        generation::state_key(application),
        desired::key(application),
        artifacts::key(application),
        secrets::key(application),
        listing::key(application, facts.spec.submitted()),
        // Of a record whose end an older build has written it may be there.
        unclean::key(application),
    ];
    let since = Forgetting { since: Some(timestamp(now)) };
    let mark = Operation::Put(forgetting::key(application), since.to_stored());
    gone.into_iter().map(Operation::Delete).chain([mark]).collect()
}

/// What a key of a forgotten generation has elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// Payloads that it points to, and for what.
    pub payloads: Vec<(Digest, Use)>,
    /// A request that was answered with the generation, unless it was answered with another one since.
    pub request: Option<Key>,
}

/// Reads what a key of a generation has elsewhere. Artifacts and files of graphs are not among it: they were released at clean, and
/// the sweep releases what was not.
pub fn elsewhere(application: &ApplicationRef, key: &Key, stored: &Stored) -> Result<Elsewhere, StoreError> {
    let mut found = Elsewhere { request: request::named_by(application, key), ..Elsewhere::default() };
    let mut point =
        |digest: &str, used| found.payloads.extend(digest.parse().ok().map(|digest| (digest, used)));
    if key.strip(&job::prefix(application)).is_some() {
        let job = job::StoredJob::from_stored(&stored.value)?;
        point(&job.shown().graph_digest, Use::Graph);
        if let Some(end) = &job.shown().end {
            point(&end.result_digest, Use::Result);
            point(end.manifest.as_ref().map_or("", |manifest| &manifest.files_digest), Use::Manifest);
        }
    } else if key.strip(&log::chunk_prefix(application)).is_some() {
        point(&log::LogChunk::from_stored(&stored.value)?.digest, Use::Log);
    }
    Ok(found)
}

impl Elsewhere {
    /// The references that go with the key.
    pub fn references(&self, application: &ApplicationRef) -> impl Iterator<Item = Operation> {
        let key = |(digest, used): &(Digest, Use)| payload::reference_key(*digest, application, *used);
        self.payloads.iter().map(key).map(Operation::Delete)
    }
}
