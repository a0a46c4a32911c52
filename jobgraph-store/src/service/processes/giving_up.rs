//! Giving up a place that will never come back: what it kept is forgotten, so that no application
//! waits for it, and each application that had something there is told.
//!
//! The word and the first of what is forgotten are one commit for each application. So a store that
//! dies in between has either told or forgotten nothing of that application, and the same call goes
//! on with the rest.

use std::collections::BTreeMap;

use proto::{ApplicationRef, Place, PlaceUid};

use super::REMOVED_AT_ONCE;
use crate::error::Error;
use crate::keys::process::{StoredProcess, key};
use crate::keys::{Kind as _, peer};
use crate::model::place::{GivingUp, tell_given_up};
use crate::model::{Refusal, process};
use crate::service::Service;
use crate::service::write::{Extra, Guard};
use crate::store::{Key, Operation, Read, Transaction};

/// What giving up a place came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GivenUp {
    /// How many processes were forgotten.
    pub processes: usize,
    /// The applications of whose clusters processes may have lived there.
    pub applications: Vec<ApplicationRef>,
}

/// What one application has at the place.
#[derive(Debug, Default)]
struct There {
    keys: Vec<Key>,
    /// Whether any of the processes may live.
    may_live: bool,
    /// Whether a process of a cluster is among those that may live.
    has_cluster: bool,
}

impl Service {
    /// Forgets every process of a place. A build that named no place meant the host of this store.
    pub async fn give_up_place(
        &self,
        uid: PlaceUid,
        requested_by: &str,
        reason: &str,
    ) -> Result<GivenUp, Error> {
        let own = self.place.as_ref();
        let mut host = own.filter(|own| own.uid() == uid).map(Place::to_string);
        let mut there: BTreeMap<Option<ApplicationRef>, There> = BTreeMap::new();
        let view = self.metadata.read(vec![Read::all(key(""))], None).await?;
        for (key, stored) in &view.answers[0] {
            let known = StoredProcess::from_stored(&stored.value)?.process.unwrap_or_default();
            if !process::is_at(&known, uid, own) {
                continue;
            }
            let there = there.entry(known.application.clone().try_into().ok()).or_default();
            there.keys.push(key.clone());
            there.may_live |= process::may_live(&known);
            there.has_cluster |= process::is_intended_for_cluster(&known);
            host = known.place.map(|place| place.name).or(host);
        }
        let host = host.unwrap_or_default();
        let word = GivingUp { host: &host, requested_by, reason };
        let mut given_up = GivenUp::default();
        for (application, there) in there {
            given_up.processes += self.give_up_all(application.as_ref(), &there, word).await?;
            given_up.applications.extend(application.filter(|_| there.has_cluster));
        }
        // No store asks the one of the place any more.
        let operations = vec![Operation::Delete(peer::key(uid))];
        self.commit(Transaction { compares: Vec::new(), operations }).await?;
        Ok(given_up)
    }

    /// Forgets what one application has at the place.
    async fn give_up_all(
        &self,
        application: Option<&ApplicationRef>,
        there: &There,
        word: GivingUp<'_>,
    ) -> Result<usize, Error> {
        let (mut processes, mut tells) = (0, there.may_live);
        for keys in there.keys.chunks(REMOVED_AT_ONCE) {
            let told = match application {
                Some(application) => self.give_up_some(application, keys, word, tells).await?,
                None => None,
            };
            processes += match told {
                Some(processes) => processes,
                None => {
                    let operations = keys.iter().cloned().map(Operation::Delete).collect();
                    self.commit(Transaction { compares: Vec::new(), operations }).await?;
                    keys.len()
                }
            };
            tells = false;
        }
        Ok(processes)
    }

    /// Forgets some of what an application has at the place, and tells of it in the same commit.
    /// Another caller may have done so meanwhile; then nothing is told. `None`: the record has no
    /// such application, or has it no more.
    async fn give_up_some(
        &self,
        application: &ApplicationRef,
        keys: &[Key],
        word: GivingUp<'_>,
        tells: bool,
    ) -> Result<Option<usize>, Error> {
        let beside: Vec<Read> = keys.iter().cloned().map(Read::Key).collect();
        let write = self.write_beside(application, Guard::Client, &beside, |draft, beside| {
            let there = beside.iter().flatten().map(|(key, _)| Operation::Delete(key.clone()));
            let operations: Vec<Operation> = there.collect();
            let processes = operations.len();
            if tells && processes > 0 {
                tell_given_up(draft, word, processes);
            }
            Ok((processes, Extra { operations, ..Extra::default() }))
        });
        match write.await {
            Ok((processes, _)) => Ok(Some(processes)),
            Err(Error::Refused(
                Refusal::IdNotFound(_) | Refusal::GenerationNotFound(_) | Refusal::Forgotten(_),
            )) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
