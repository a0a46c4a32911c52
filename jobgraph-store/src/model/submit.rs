//! What a `Submit` comes to: a new generation, an existing one, or the answer to an earlier
//! request.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use prost::Message as _;
use proto::{ApplicationId, ApplicationRef, Digest, api};
use sha2::{Digest as _, Sha256};

use super::{Refusal, timestamp};
use crate::keys::generation::{GenerationSpec, GenerationState};
use crate::keys::head::Head;
use crate::keys::request::AcceptedRequest;
use crate::keys::secrets::Secrets;

/// What the record holds that decides a submission.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// What this request id was answered with before.
    pub accepted: Option<AcceptedRequest>,
    /// The latest generation of the id.
    pub head: Head,
    /// Whether the latest generation is clean.
    pub latest_clean: bool,
    /// Whether the latest generation was forgotten. Then it counts as one that never was, except
    /// for its number.
    pub latest_forgotten: bool,
}

/// What a submission comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Submission {
    /// The same request was answered before, with this generation; the flag says whether that
    /// generation was there before that request.
    AcceptedEarlier(ApplicationRef, bool),
    /// The request is answered with an existing generation, and is recorded.
    Existing(ApplicationRef),
    /// The request makes a new generation.
    New(Box<New>),
}

/// A new generation, as the commit writes it.
#[derive(Debug, Clone, PartialEq)]
pub struct New {
    /// The application id and the number of the new generation.
    pub application: ApplicationRef,
    /// What was submitted.
    pub spec: GenerationSpec,
    /// The state of a generation to which nothing has happened yet.
    pub state: GenerationState,
    /// The secret values, which only leaders get.
    pub secrets: Secrets,
}

/// Decides a request whose spec has no violations, for this id.
pub fn decide(
    known: &Known,
    request: &api::SubmitRequest,
    id: &ApplicationId,
    now: SystemTime,
) -> Result<Submission, Refusal> {
    if let Some(accepted) = &known.accepted {
        let application = accepted.answered_with()?;
        if accepted.content != content_digest(request).as_bytes() {
            return Err(Refusal::RequestIdReused {
                request_id: request.request_id.clone(),
                application,
            });
        }
        return Ok(Submission::AcceptedEarlier(application, accepted.existing));
    }
    let latest = ApplicationRef { id: id.clone(), generation: known.head.latest() };
    if latest.generation.get() > 0 && !known.latest_forgotten {
        match (request.if_exists(), known.latest_clean) {
            (api::IfExists::Skip, _) | (api::IfExists::Attach, false) => {
                return Ok(Submission::Existing(latest));
            }
            (_, false) => return Err(Refusal::ApplicationExists(latest)),
            (_, true) => {}
        }
    }
    let application = ApplicationRef { id: id.clone(), generation: latest.generation.next() };
    let mut spec = super::spec::with_defaults(request.spec.clone().unwrap_or_default());
    spec.application_id = id.to_string();
    let deadline_at = spec
        .deadline
        .and_then(|deadline| Duration::try_from(deadline).ok())
        .and_then(|after| now.checked_add(after));
    let sorted = |map: &std::collections::HashMap<String, String>| -> BTreeMap<String, String> {
        map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let mut state = GenerationState::default();
    state.application_mut().set_phase(api::Phase::Submitted);
    let uid = uid(&application, &request.request_id, now);
    Ok(Submission::New(Box::new(New {
        application,
        spec: GenerationSpec {
            spec: Some(spec),
            labels: sorted(&request.labels),
            annotations: sorted(&request.annotations),
            submitted_at: Some(timestamp(now)),
            deadline_at: deadline_at.map(timestamp),
            traceparent: request.traceparent.clone(),
            requested_by: request.requested_by.clone(),
            uid,
        },
        state,
        secrets: Secrets { values: sorted(&request.secret_values) },
    })))
}

/// The id of a generation among those of all records. Each caller draws its own request id, so no
/// other generation has the same request id and the same moment.
fn uid(application: &ApplicationRef, request_id: &str, now: SystemTime) -> String {
    let at = timestamp(now);
    let mut hasher = Sha256::new();
    for text in [application.id.as_str(), request_id] {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(application.generation.get().to_be_bytes());
    hasher.update(at.seconds.to_be_bytes());
    hasher.update(at.nanos.to_be_bytes());
    hex::encode(&hasher.finalize()[..16])
}

/// The digest of what a request asks for. The name of the caller, the trace and the order of a
/// map's entries are not part of it.
pub fn content_digest(request: &api::SubmitRequest) -> Digest {
    let mut bare = request.clone();
    bare.requested_by.clear();
    bare.traceparent.clear();
    bare.validate_only = false;
    let mut maps = vec![
        std::mem::take(&mut bare.labels),
        std::mem::take(&mut bare.annotations),
        std::mem::take(&mut bare.secret_values),
    ];
    if let Some(spec) = &mut bare.spec {
        maps.push(std::mem::take(&mut spec.settings));
        maps.push(std::mem::take(&mut spec.environment));
        if let Some(program) = &mut spec.program {
            maps.push(std::mem::take(&mut program.python));
        }
    }
    let mut hasher = Sha256::new();
    let mut feed = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    feed(&bare.encode_to_vec());
    for map in maps {
        feed(&(map.len() as u64).to_be_bytes());
        for (key, value) in map.into_iter().collect::<BTreeMap<_, _>>() {
            feed(key.as_bytes());
            feed(value.as_bytes());
        }
    }
    Digest::from_bytes(hasher.finalize().into())
}
