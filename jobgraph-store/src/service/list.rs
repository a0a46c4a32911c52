//! Listing: pages at one revision.

use std::collections::HashMap;
use std::time::SystemTime;

use bytes::{BufMut as _, BytesMut};
use proto::{Digest, api};

use super::Service;
use crate::error::Error;
use crate::keys::listing;
use crate::model::{Facts, Refusal, timestamp};
use crate::store::{Key, Read};

/// The most applications of a page.
pub const MAX_PAGE: usize = 500;

/// Applications of a page that asks for no size.
const DEFAULT_PAGE: usize = 100;

/// Places that are read at once.
const READ_AHEAD: usize = 128;

/// Which applications are wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// All have to be equal.
    pub labels: HashMap<String, String>,
    /// One of them; empty: any.
    pub phases: Vec<api::Phase>,
    /// Submitted, or not yet clean, since then.
    pub since: Option<SystemTime>,
    /// Only the latest generation of each id.
    pub latest_only: bool,
}

/// A page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Newest first.
    pub applications: Vec<api::Application>,
    /// For the next page; empty when this is the last one.
    pub next: String,
    /// The revision of all pages.
    pub revision: u64,
}

impl Service {
    /// A page of the applications that pass the filter.
    pub async fn list(&self, filter: &Filter, page_size: usize, token: &str) -> Result<Page, Error> {
        let limit = if page_size == 0 { DEFAULT_PAGE } else { page_size.min(MAX_PAGE) };
        let (revision, mut after) = match token {
            "" => (self.metadata.read(Vec::new(), None).await?.revision, None),
            token => {
                let (revision, after) = parse(token, filter).ok_or(Refusal::PageTokenInvalid)?;
                (revision, Some(after))
            }
        };
        let mut applications = Vec::new();
        loop {
            let read = Read::Range { prefix: listing::prefix(), after: after.clone(), limit: READ_AHEAD };
            let mut view = self.metadata.read(vec![read], Some(revision)).await?;
            let places = view.answers.pop().unwrap_or_default();
            let last = places.len() < READ_AHEAD;
            for (place, _) in places {
                let application = listing::generation(&place)
                    .ok_or_else(|| Error::Internal(format!("{place} names no application")))?;
                let loaded = self.load(&application, Some(revision)).await?;
                let queued = self.queue.place(&application).is_some();
                if filter.passes(&loaded.facts, queued) {
                    if applications.len() == limit {
                        // One more than the page holds: there is a next one, after what is on this one.
                        let next = after.map(|after| format(revision, &after, filter)).unwrap_or_default();
                        return Ok(Page { applications, next, revision });
                    }
                    applications.push(self.show(&loaded));
                }
                after = Some(place);
            }
            if last {
                return Ok(Page { applications, next: String::new(), revision });
            }
        }
    }
}

impl Filter {
    fn passes(&self, facts: &Facts, queued: bool) -> bool {
        let state = facts.state.application();
        let later = |time: &Option<prost_types::Timestamp>, since: SystemTime| {
            let since = timestamp(since);
            time.is_some_and(|time| (time.seconds, time.nanos) >= (since.seconds, since.nanos))
        };
        let recent =
            |since| later(&facts.spec.submitted_at, since) || !state.clean || later(&state.cleaned_at, since);
        (!self.latest_only || facts.head.latest() == facts.application.generation)
            && self.shows(state.phase(), queued)
            && self.since.is_none_or(recent)
            && self.labels.iter().all(|(key, value)| facts.spec.labels.get(key) == Some(value))
    }

    /// Whether the phase is asked for. One that nobody leads yet is SUBMITTED whether or not it has a place in a queue.
    fn shows(&self, phase: api::Phase, queued: bool) -> bool {
        let queued = queued && phase == api::Phase::Submitted;
        self.phases.is_empty()
            || self.phases.contains(&phase)
            || (queued && self.phases.contains(&api::Phase::Queued))
    }

    /// Tells whether a token was given out for the same question.
    fn digest(&self) -> [u8; 8] {
        let mut labels: Vec<_> = self.labels.iter().collect();
        labels.sort();
        let all = format!("{labels:?}{:?}{:?}{}", self.phases, self.since, self.latest_only);
        let mut short = [0; 8];
        short.copy_from_slice(&Digest::of(all.as_bytes()).as_bytes()[..8]);
        short
    }
}

fn format(revision: u64, after: &Key, filter: &Filter) -> String {
    let mut bytes = BytesMut::new();
    bytes.put_u64(revision);
    bytes.put_slice(&filter.digest());
    bytes.put_slice(after.as_bytes());
    hex::encode(bytes)
}

fn parse(token: &str, filter: &Filter) -> Option<(u64, Key)> {
    let bytes = hex::decode(token).ok()?;
    let (revision, rest) = bytes.split_first_chunk()?;
    let after = rest.strip_prefix(&filter.digest())?;
    Some((u64::from_be_bytes(*revision), Key::new(after.to_vec())))
}
