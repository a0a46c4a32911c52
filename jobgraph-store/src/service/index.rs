//! Indexes for records of older builds: the marks of what is not clean (`u/`), and the requests of
//! each generation (`…/request/`). A store brings both up to date when it opens the record, before
//! it serves any caller; other stores of this build may write meanwhile.
//!
//! The list says of each generation whether the indexes know it. An older build writes at the new
//! end of the list and does not say so. So the work ends at the first place that says so, and goes
//! from the oldest to the newest, so that a store which dies meanwhile goes on where it was.

use proto::ApplicationRef;

use super::load::revision_of;
use super::write::TRIES;
use super::{Service, load};
use crate::error::Error;
use crate::keys::Kind as _;
use crate::keys::generation::{GenerationState, spec_key, state_key};
use crate::keys::listing::{self, Listed};
use crate::keys::request::{self, AcceptedRequest, AnsweredWith};
use crate::keys::unclean::{self, Unclean};
use crate::store::{Commit, Compare, Key, Operation, Read, Stored, Transaction};

/// How many places are read at once.
const READ_AHEAD: usize = 512;

/// How many generations, or requests, are indexed in one commit: each takes two operations.
const INDEXED_AT_ONCE: usize = 40;

impl Service {
    /// Indexes what an older build has written, and answers how many generations that were. No
    /// store of an older build may write meanwhile.
    pub async fn index(&self) -> Result<usize, Error> {
        self.drop_cleaned().await?;
        let mut places = self.places_without_index().await?;
        if places.is_empty() {
            return Ok(0);
        }
        self.index_requests().await?;
        places.reverse();
        for some in places.chunks(INDEXED_AT_ONCE) {
            self.index_some(some).await?;
        }
        Ok(places.len())
    }

    /// Takes the generations that an older build has made clean out of the index.
    async fn drop_cleaned(&self) -> Result<(), Error> {
        let view = self.metadata.read(vec![Read::all(unclean::prefix())], None).await?;
        for (key, stored) in &view.answers[0] {
            let place = Unclean::from_stored(&stored.value)?.place();
            let application = named(&place)?;
            let view = self.metadata.read(vec![Read::Key(state_key(&application))], None).await?;
            let state: Option<GenerationState> = load::one(&view, 0)?;
            if state.is_none_or(|state| state.application().clean) {
                let operations = vec![Operation::Delete(key.clone())];
                self.commit(Transaction { compares: Vec::new(), operations }).await?;
            }
        }
        Ok(())
    }

    /// The places that the indexes do not know, newest first.
    async fn places_without_index(&self) -> Result<Vec<Key>, Error> {
        let (mut places, mut after) = (Vec::new(), None);
        loop {
            let read = Read::Range { prefix: listing::prefix(), after, limit: READ_AHEAD };
            let entries =
                self.metadata.read(vec![read], None).await?.answers.pop().unwrap_or_default();
            after = entries.last().map(|(place, _)| place.clone());
            let last = entries.len() < READ_AHEAD;
            for (place, stored) in entries {
                if Listed::from_stored(&stored.value)?.indexed {
                    return Ok(places);
                }
                places.push(place);
            }
            if last {
                return Ok(places);
            }
        }
    }

    async fn index_some(&self, places: &[Key]) -> Result<(), Error> {
        let each = places.iter().map(named).collect::<Result<Vec<_>, _>>()?;
        for _ in 0..TRIES {
            let states = each.iter().map(state_key);
            let reads = states.chain(places.iter().cloned()).map(Read::Key).collect();
            let view = self.metadata.read(reads, None).await?;
            let mut transaction = Transaction::default();
            for (index, (place, application)) in places.iter().zip(&each).enumerate() {
                // Another store may forget the generation meanwhile, or make it clean.
                let Some(listed) = revision_of(&view, each.len() + index) else { continue };
                let seen = revision_of(&view, index);
                transaction.compares.extend([
                    Compare { key: place.clone(), revision: Some(listed) },
                    Compare { key: state_key(application), revision: seen },
                ]);
                let state: GenerationState = load::one(&view, index)?.unwrap_or_default();
                if !state.application().clean {
                    let unclean = Unclean { place: place.to_string() };
                    let put = Operation::Put(unclean::key(application), unclean.to_stored());
                    transaction.operations.push(put);
                }
                let indexed = Listed { indexed: true }.to_stored();
                transaction.operations.push(Operation::Put(place.clone(), indexed));
            }
            if self.is_done(transaction).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Commits; `false`: another writer was faster.
    async fn is_done(&self, transaction: Transaction) -> Result<bool, Error> {
        Ok(transaction.operations.is_empty()
            || matches!(self.commit(transaction).await?, Commit::Committed(_)))
    }

    /// Names every request beside its generation.
    async fn index_requests(&self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let read = Read::Range { prefix: request::prefix(), after, limit: INDEXED_AT_ONCE };
            let entries =
                self.metadata.read(vec![read], None).await?.answers.pop().unwrap_or_default();
            let Some((last, _)) = entries.last() else { return Ok(()) };
            after = Some(last.clone());
            self.index_some_requests(&entries).await?;
        }
    }

    async fn index_some_requests(&self, requests: &[(Key, Stored)]) -> Result<(), Error> {
        let answered =
            |stored: &Stored| Ok(AcceptedRequest::from_stored(&stored.value)?.answered_with()?);
        let each = requests
            .iter()
            .map(|(_, stored)| answered(stored))
            .collect::<Result<Vec<_>, Error>>()?;
        for _ in 0..TRIES {
            let reads = each.iter().map(|application| Read::Key(spec_key(application))).collect();
            let view = self.metadata.read(reads, None).await?;
            let mut transaction = Transaction::default();
            for (index, ((request, _), application)) in requests.iter().zip(&each).enumerate() {
                // Another store may forget the generation meanwhile.
                let Some(spec) = revision_of(&view, index) else { continue };
                let compare = Compare { key: spec_key(application), revision: Some(spec) };
                if !transaction.compares.contains(&compare) {
                    transaction.compares.push(compare);
                }
                let key = request::of_generation_key(application, request);
                transaction.operations.push(Operation::Put(key, AnsweredWith {}.to_stored()));
            }
            if self.is_done(transaction).await? {
                return Ok(());
            }
        }
        Err(contended())
    }
}

fn contended() -> Error {
    Error::Contended("what an older build has written".into())
}

fn named(place: &Key) -> Result<ApplicationRef, Error> {
    listing::generation(place)
        .ok_or_else(|| Error::Internal(format!("{place} names no generation")))
}

#[cfg(test)]
mod tests;
