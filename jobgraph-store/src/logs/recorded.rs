//! What the record says of a generation's output, and how the log in memory is brought to it.
//!
//! Another store may have written lines, also of a source that this store has in memory: the
//! shipper went there and came back, or both stores have a stream of it. A commit of this store
//! whose outcome was not heard of is no different. So before a chunk is written, a stream is begun
//! or a reader goes on, what is in memory yields to the record: lines that the record has are left
//! out, and the other lines are numbered behind the record's last one.

use std::collections::{BTreeMap, BTreeSet};

use proto::ApplicationRef;

use super::AppLog;
use crate::error::Error;
use crate::keys::generation::spec_key;
use crate::keys::log::{LogHead, SourceState, chunk_prefix, head_key};
use crate::service::{Service, one, revision_of};
use crate::store::{Key, Read, Stored};

/// The state of a generation's output at one revision of the record.
///
/// Every commit that writes lines, chunks or the states of sources also writes the head. So a
/// commit that compares the head rests on all that is here.
pub(super) struct Recorded {
    pub(super) head: LogHead,
    /// The revision of the head; `None` if there is no output yet.
    pub(super) head_revision: Option<u64>,
    /// The revision of the generation's spec; `None` if the generation is forgotten.
    pub(super) spec: Option<u64>,
    /// The oldest chunks, with their keys.
    pub(super) oldest: Vec<(Key, Stored)>,
    /// The states of sources, by their keys.
    sources: BTreeMap<String, SourceState>,
}

impl Recorded {
    /// What the record says of a source that was asked for.
    pub(super) fn source(&self, name: &str) -> SourceState {
        self.sources.get(name).cloned().unwrap_or_default()
    }
}

impl Service {
    /// Reads the state of a generation's output, of the sources in memory and of one that begins,
    /// with so many of the oldest chunks. The caller has the log's lock, so that no other source
    /// comes to memory meanwhile.
    pub(super) async fn recorded(
        &self,
        application: &ApplicationRef,
        log: &AppLog,
        begins: Option<&str>,
        oldest: usize,
    ) -> Result<Recorded, Error> {
        let mut names: BTreeSet<String> = log.state().sources.keys().cloned().collect();
        names.extend(begins.map(str::to_owned));
        let mut reads = vec![
            Read::Key(head_key(application)),
            Read::Key(spec_key(application)),
            Read::Range { prefix: chunk_prefix(application), after: None, limit: oldest },
        ];
        let others = reads.len();
        reads.extend(names.iter().map(|name| Read::Key(Key::from(name.clone()))));
        let mut view = self.metadata.read(reads, None).await?;
        let mut sources = BTreeMap::new();
        for (number, name) in names.into_iter().enumerate() {
            sources.insert(name, one(&view, others + number)?.unwrap_or_default());
        }
        Ok(Recorded {
            head: one(&view, 0)?.unwrap_or_default(),
            head_revision: revision_of(&view, 0),
            spec: revision_of(&view, 1),
            oldest: std::mem::take(&mut view.answers[2]),
            sources,
        })
    }

    /// Brings the log in memory to the record, if the record has a line beyond those that this
    /// store knows of. `last_line` is the last line that the caller has seen there.
    pub(super) async fn catch_up(
        &self,
        application: &ApplicationRef,
        log: &AppLog,
        last_line: u64,
    ) -> Result<(), Error> {
        // While a commit of this store is under way, its lines are in the record and not known to
        // be there.
        let _alone = log.flushing.lock().await;
        if log.state().durable_line < last_line {
            log.learn(&self.recorded(application, log, None, 0).await?);
        }
        Ok(())
    }
}

impl AppLog {
    /// Lets what is in memory yield to the record. The caller has the log's lock.
    pub(super) fn learn(&self, recorded: &Recorded) {
        let mut state = self.state();
        for (name, stored) in &recorded.sources {
            if let Some(source) = state.sources.get_mut(name) {
                source.learn(stored);
            }
        }
        if state.renumber(recorded.head.last_line) {
            let (last, durable) = (state.last_line, state.durable_line);
            drop(state);
            self.last.send_replace(last);
            self.durable.send_replace(durable);
        }
    }
}
