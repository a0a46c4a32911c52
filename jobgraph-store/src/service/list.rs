//! Listing: pages at one revision.

use std::collections::HashMap;
use std::time::SystemTime;

use bytes::{BufMut as _, BytesMut};
use proto::{ApplicationId, ApplicationRef, Digest, Generation, api};

use super::{Service, load};
use crate::error::Error;
use crate::keys::unclean::{self, Unclean};
use crate::keys::{Kind as _, generation, head, listing};
use crate::model::{Dossier, Refusal, timestamp};
use crate::store::{Key, Read};

/// The most applications of a page.
pub const MAX_PAGE: usize = 500;

/// How many applications a page holds when the caller asks for no size.
const DEFAULT_PAGE: usize = 100;

/// How many places are read at once.
const READ_AHEAD: usize = 128;

/// Which applications the caller wants: those that pass every condition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// The labels that an application must have, all of them with these values.
    pub labels: HashMap<String, String>,
    /// The phases of which an application must be in one; empty: any phase passes.
    pub phases: Vec<api::Phase>,
    /// The instant since when an application must have been submitted or have become clean; an
    /// application that is not clean passes, too.
    pub since: Option<SystemTime>,
    /// Whether only the latest generation of each id passes.
    pub latest_only: bool,
    /// The id whose generations alone pass; `None`: every id passes.
    pub application: Option<ApplicationId>,
}

/// A page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The applications of this page, newest first.
    pub applications: Vec<api::Application>,
    /// The token for the next page; empty when this page is the last one.
    pub next: String,
    /// The revision that all pages of this listing show.
    pub revision: u64,
}

impl Service {
    /// One page of the applications that pass the filter.
    pub async fn list(
        &self,
        filter: &Filter,
        page_size: usize,
        token: &str,
    ) -> Result<Page, Error> {
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
            let places = self.places(filter, revision, after.as_ref()).await?;
            let last = places.len() < READ_AHEAD;
            let named = |place: &Key| {
                let named = listing::generation(place);
                named.ok_or_else(|| Error::Internal(format!("{place} names no application")))
            };
            let each: Vec<_> = places.iter().map(named).collect::<Result<_, _>>()?;
            let mut loaded = self.load_all(&each, revision).await?.into_iter().peekable();
            for (place, application) in places.into_iter().zip(each) {
                let Some(loaded) =
                    loaded.next_if(|loaded| loaded.dossier.application == application)
                else {
                    continue;
                };
                let queued = self.queue.place(&application).is_some();
                if filter.passes(&loaded.dossier, queued) {
                    if applications.len() == limit {
                        // One more application passes than the page holds, so there is a next page
                        // after the last one on this page.
                        let next =
                            after.map(|after| format(revision, &after, filter)).unwrap_or_default();
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

    /// The next places where an application may stand that passes the filter: as few as the indexes
    /// can tell.
    async fn places(
        &self,
        filter: &Filter,
        revision: u64,
        after: Option<&Key>,
    ) -> Result<Vec<Key>, Error> {
        let read = |read| self.metadata.read(vec![read], Some(revision));
        let mut few = if let Some(id) = &filter.application {
            self.places_of(id, revision).await?
        } else if filter.wants_only_unclean() {
            let view = read(Read::all(unclean::prefix())).await?;
            let places = view.answers[0]
                .iter()
                .map(|(_, stored)| Ok(Unclean::from_stored(&stored.value)?.place()));
            places.collect::<Result<_, Error>>()?
        } else {
            let (prefix, after) = (listing::prefix(), after.cloned());
            let view = read(Read::Range { prefix, after, limit: READ_AHEAD }).await?;
            return Ok(view.answers.into_iter().flatten().map(|(place, _)| place).collect());
        };
        few.retain(|place| after.is_none_or(|after| place > after));
        few.sort_unstable();
        few.truncate(READ_AHEAD);
        Ok(few)
    }

    /// The places of all generations of an id.
    async fn places_of(&self, id: &ApplicationId, revision: u64) -> Result<Vec<Key>, Error> {
        let view = self.metadata.read(vec![Read::Key(head::key(id))], Some(revision)).await?;
        let head: head::Head = load::one(&view, 0)?.unwrap_or_default();
        let each = (1..=head.latest_generation).map(Generation);
        let each: Vec<_> =
            each.map(|generation| ApplicationRef { id: id.clone(), generation }).collect();
        let mut places = Vec::new();
        for some in each.chunks(READ_AHEAD) {
            let reads = some.iter().map(|each| Read::Key(generation::spec_key(each))).collect();
            let view = self.metadata.read(reads, Some(revision)).await?;
            for (index, each) in some.iter().enumerate() {
                let spec: Option<generation::GenerationSpec> = load::one(&view, index)?;
                places.extend(spec.map(|spec| listing::key(each, spec.submitted())));
            }
        }
        Ok(places)
    }
}

impl Filter {
    /// The filter that all applications pass which are not clean.
    pub fn unclean() -> Self {
        let phases = vec![
            api::Phase::Submitted,
            api::Phase::Starting,
            api::Phase::Running,
            api::Phase::Finishing,
            api::Phase::Cleaning,
        ];
        Self { phases, ..Self::default() }
    }

    fn passes(&self, dossier: &Dossier, queued: bool) -> bool {
        let state = dossier.state.application();
        let later = |time: &Option<prost_types::Timestamp>, since: SystemTime| {
            let since = timestamp(since);
            time.is_some_and(|time| (time.seconds, time.nanos) >= (since.seconds, since.nanos))
        };
        let recent = |since| {
            later(&dossier.spec.submitted_at, since)
                || !state.clean
                || later(&state.cleaned_at, since)
        };
        (!self.latest_only || dossier.head.latest() == dossier.application.generation)
            && self.shows(state.phase(), queued)
            && self.since.is_none_or(recent)
            && self.labels.iter().all(|(key, value)| dossier.spec.labels.get(key) == Some(value))
    }

    /// Whether the phase is asked for. An application that has no leader yet is SUBMITTED whether
    /// or not it has a place in a queue.
    fn shows(&self, phase: api::Phase, queued: bool) -> bool {
        let queued = queued && phase == api::Phase::Submitted;
        self.phases.is_empty()
            || self.phases.contains(&phase)
            || (queued && self.phases.contains(&api::Phase::Queued))
    }

    /// Whether only applications that are not clean can pass. The index of what is not clean then
    /// holds all that pass.
    fn wants_only_unclean(&self) -> bool {
        !self.phases.is_empty() && !self.phases.contains(&api::Phase::Ended)
    }

    /// The digest that tells whether a page token was given out for the same question.
    fn digest(&self) -> [u8; 8] {
        let mut labels: Vec<_> = self.labels.iter().collect();
        labels.sort();
        let application = &self.application;
        let all = format!(
            "{labels:?}{:?}{:?}{}{application:?}",
            self.phases, self.since, self.latest_only
        );
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
