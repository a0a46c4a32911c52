//! What each live application was given for an address. An application that asks again is given the
//! same bytes: a leader does not fetch again what its contender has warmed up, and an application
//! never has two versions of one artifact.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::{ApplicationRef, Digest};

use crate::model::Location;

/// How many addresses of one application are remembered. A forgotten address is fetched once more.
const MAX_ADDRESSES: usize = 1000;

/// How many applications are remembered. Each is forgotten at its release.
const MAX_APPLICATIONS: usize = 1000;

/// The memory is lost with the process: a fetcher that was started again asks the sources again.
#[derive(Debug, Default)]
pub(super) struct Brought(Mutex<HashMap<ApplicationRef, HashMap<Location, Digest>>>);

impl Brought {
    pub(super) fn note(&self, application: &ApplicationRef, location: Location, digest: Digest) {
        let mut all = self.lock();
        if all.len() >= MAX_APPLICATIONS && !all.contains_key(application) {
            all.clear();
        }
        let addresses = all.entry(application.clone()).or_default();
        if addresses.len() >= MAX_ADDRESSES {
            addresses.clear();
        }
        addresses.insert(location, digest);
    }

    pub(super) fn to(&self, application: &ApplicationRef, location: &Location) -> Option<Digest> {
        self.lock().get(application)?.get(location).copied()
    }

    pub(super) fn forget(&self, application: &ApplicationRef) {
        self.lock().remove(application);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ApplicationRef, HashMap<Location, Digest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
