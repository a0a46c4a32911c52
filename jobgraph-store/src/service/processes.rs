//! Intents and tombstones of processes.

mod giving_up;
mod grounds;

use std::time::UNIX_EPOCH;

use proto::{ApplicationRef, EpochFence, Place, PlaceUid, fences, jobgraph};

use super::load::revision_of;
use super::write::{Guard, TRIES};
use super::{Service, load};
use crate::error::Error;
use crate::keys::{Kind, process};
use crate::model::{Refusal, contender, place, process as model_process};
use crate::store::{Commit, Compare, Key, Operation, Read, Stored, Transaction};
use grounds::{Admission, Grounds};

pub use giving_up::GivenUp;

/// The largest detail of a process, in bytes.
pub(crate) const MAX_DETAIL_BYTES: usize = 32 * 1024;

/// Lifecycle's word for the processes that lead and stand by.
const CONTENDER: &str = "contender";

/// How many records are removed in one commit.
const REMOVED_AT_ONCE: usize = 90;

impl Service {
    /// Keeps one process under its key. With a fence, the write commits only while the fence admits
    /// it, like a leader's write. An intent of a cluster commits only while its incarnation is the
    /// current one and its place that of the incarnation, with and without a fence.
    pub async fn put_process(
        &self,
        process: jobgraph::Process,
        fence: Option<&EpochFence>,
    ) -> Result<(), Error> {
        if process.key.is_empty() || process.key.len() > 512 {
            return Err(Refusal::RequestInvalid("process.key has 1 to 512 bytes".into()).into());
        }
        if process.detail.len() > MAX_DETAIL_BYTES {
            let why = format!(
                "process.detail has {} bytes; at most {MAX_DETAIL_BYTES} are kept",
                process.detail.len()
            );
            return Err(Refusal::RequestInvalid(why).into());
        }
        if let Some(place) = Place::read(process.place.clone()).map_err(Refusal::from)? {
            let uid = place.uid().to_string();
            if process.key.split('/').nth(2) != Some(uid.as_str()) {
                let why = format!("process.key {:?} is not of its place {uid}", process.key);
                return Err(Refusal::RequestInvalid(why).into());
            }
        }
        self.keep_process(&process, fence).await?;
        self.tell_of_contender(&process).await
    }

    /// Shows what lifecycle knows of a contender where people look for it: in its application.
    async fn tell_of_contender(&self, process: &jobgraph::Process) -> Result<(), Error> {
        let gave_up = process.state() == jobgraph::ProcessState::GaveUp;
        if process.kind != CONTENDER || process.state() == jobgraph::ProcessState::Gone {
            return Ok(());
        }
        let Ok(application) = ApplicationRef::try_from(process.application.clone()) else {
            return Ok(());
        };
        let told = self.write(&application, Guard::Client, |draft| {
            contender::tell(draft, process.number, gave_up.then_some(process.exit.as_str()));
            Ok(())
        });
        match told.await {
            // A record that does not hold the application refuses; then no reader looks for the
            // contender there.
            Ok(_) | Err(Error::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn keep_process(
        &self,
        process: &jobgraph::Process,
        fence: Option<&EpochFence>,
    ) -> Result<(), Error> {
        let key = process::key(&process.key);
        let application = match fence {
            Some(fence) => Some(fence.application.clone()),
            None => ApplicationRef::try_from(process.application.clone()).ok(),
        };
        for _ in 0..TRIES {
            let grounds = application.iter().flat_map(Grounds::keys);
            let reads = std::iter::once(key.clone()).chain(grounds).map(Read::Key).collect();
            let view = self.metadata.read(reads, None).await?;
            let known: Option<process::StoredProcess> = load::one(&view, 0)?;
            let mut keep = Transaction::default();
            if let Some(application) = &application {
                let grounds = Grounds::read(application, &view, 1)?;
                match grounds.admit(process, fence, self.place.as_ref())? {
                    Admission::Kept(with) => keep = with,
                    Admission::NotNeeded => return Ok(()),
                }
            }
            keep.compares.push(Compare { key: key.clone(), revision: revision_of(&view, 0) });
            if known.as_ref().is_some_and(|known| known.process.as_ref() == Some(process))
                && fence.is_none()
            {
                return Ok(());
            }
            let now = self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let first_put =
                known.map_or(u64::try_from(now).unwrap_or(u64::MAX), |known| known.first_put);
            let stored = process::StoredProcess { process: Some(process.clone()), first_put };
            keep.operations.push(Operation::Put(key.clone(), stored.to_stored()));
            if let Commit::Committed(_) = self.commit(keep).await? {
                return Ok(());
            }
        }
        Err(Error::Contended(process.key.clone()))
    }

    /// Processes whose key begins with `prefix`, oldest first.
    pub async fn list_processes(&self, prefix: &str) -> Result<Vec<jobgraph::Process>, Error> {
        let view = self.metadata.read(vec![Read::all(process::key(prefix))], None).await?;
        stored(&view.answers[0])
    }

    /// Processes of one place whose key begins with `prefix`, oldest first. A build that named no
    /// place meant the host of this store.
    pub async fn list_processes_at(
        &self,
        prefix: &str,
        place: PlaceUid,
    ) -> Result<Vec<jobgraph::Process>, Error> {
        let mut processes = self.list_processes(prefix).await?;
        processes.retain(|process| model_process::is_at(process, place, self.place.as_ref()));
        Ok(processes)
    }

    /// The places where processes of any cluster of the generation may live, by what is kept now.
    pub(super) async fn cluster_places(
        &self,
        application: &ApplicationRef,
    ) -> Result<Vec<fences::Place>, Error> {
        let processes = self.list_processes(&process::of_generation(application)).await?;
        let shares = place::shares(&processes, self.place.as_ref())?;
        Ok(shares.into_iter().filter_map(|share| share.place).map(Into::into).collect())
    }

    /// Forgets the processes of a generation that is forgotten, but for the intents of clusters
    /// that an abandoned application has left elsewhere. By such an intent a place that comes back
    /// knows what it has to end; then the place forgets the intent.
    pub(super) async fn forget_processes(&self, application: &ApplicationRef) -> Result<(), Error> {
        let prefix = process::key(&process::of_generation(application));
        let mut after = None;
        loop {
            let read = Read::Range { prefix: prefix.clone(), after, limit: REMOVED_AT_ONCE };
            let mut view = self.metadata.read(vec![read], None).await?;
            let entries = view.answers.pop().unwrap_or_default();
            let Some((last, _)) = entries.last() else { return Ok(()) };
            after = Some(last.clone());
            let mut operations = Vec::new();
            for (key, stored) in &entries {
                let known = process::StoredProcess::from_stored(&stored.value)?.process;
                if !known.as_ref().is_some_and(model_process::is_intended_for_cluster) {
                    operations.push(Operation::Delete(key.clone()));
                }
            }
            if !operations.is_empty() {
                self.commit(Transaction { compares: Vec::new(), operations }).await?;
            }
        }
    }

    /// Forgets the processes whose key begins with `prefix`.
    pub async fn delete_processes(&self, prefix: &str) -> Result<(), Error> {
        loop {
            let read =
                Read::Range { prefix: process::key(prefix), after: None, limit: REMOVED_AT_ONCE };
            let mut view = self.metadata.read(vec![read], None).await?;
            let keys = view.answers.pop().unwrap_or_default();
            if keys.is_empty() {
                return Ok(());
            }
            let operations = keys.into_iter().map(|(key, _)| Operation::Delete(key)).collect();
            self.commit(Transaction { compares: Vec::new(), operations }).await?;
        }
    }
}

/// The processes of an answer, oldest first.
pub(super) fn stored(entries: &[(Key, Stored)]) -> Result<Vec<jobgraph::Process>, Error> {
    let decoded = |entry: &Stored| process::StoredProcess::from_stored(&entry.value);
    let stored = entries.iter().map(|(_, entry)| decoded(entry));
    let mut stored = stored.collect::<Result<Vec<_>, _>>()?;
    stored.sort_by_key(|process| process.first_put);
    Ok(stored.into_iter().filter_map(|stored| stored.process).collect())
}
