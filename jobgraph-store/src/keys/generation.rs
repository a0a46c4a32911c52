//! `…/spec`: what was submitted, never changed. `…/state`: what became of it.

use std::time::SystemTime;

use proto::{ApplicationRef, api, jobgraph};

use super::Kind;
use crate::store::Key;

/// What a `Submit` made.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GenerationSpec {
    /// The spec with its defaults filled in.
    #[prost(message, optional, tag = "1")]
    pub spec: Option<api::ApplicationSpec>,
    /// Labels, in order, so that equal ones have equal bytes.
    #[prost(btree_map = "string, string", tag = "2")]
    pub labels: std::collections::BTreeMap<String, String>,
    /// Annotations, in order.
    #[prost(btree_map = "string, string", tag = "3")]
    pub annotations: std::collections::BTreeMap<String, String>,
    /// When it was accepted.
    #[prost(message, optional, tag = "4")]
    pub submitted_at: Option<prost_types::Timestamp>,
    /// The absolute deadline, if there is one.
    #[prost(message, optional, tag = "5")]
    pub deadline_at: Option<prost_types::Timestamp>,
    /// W3C trace context of the submission.
    #[prost(string, tag = "6")]
    pub traceparent: String,
    /// user@host.
    #[prost(string, tag = "7")]
    pub requested_by: String,
    /// This generation among those of all records; empty in one that is older than this field.
    #[prost(string, tag = "8")]
    pub uid: String,
}

impl GenerationSpec {
    /// When it was accepted: its place in the list is made of that.
    pub fn submitted(&self) -> SystemTime {
        self.submitted_at.and_then(|at| SystemTime::try_from(at).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl Kind for GenerationSpec {
    const NAME: &'static str = "generation";
}

/// Where the submitted part is.
pub fn spec_key(application: &ApplicationRef) -> Key {
    super::of_generation(application, "spec")
}

/// What became of a generation: the record without what is stored apart (spec, labels, jobs, artifacts, desired).
#[derive(Clone, PartialEq, prost::Message)]
pub struct GenerationState {
    /// The record as leaders read it, trimmed.
    #[prost(message, optional, tag = "1")]
    pub record: Option<jobgraph::Record>,
    /// The last lines of main()'s stderr when it ended.
    #[prost(string, tag = "2")]
    pub stderr_tail: String,
    /// Calls of main() overlapped, in this or an earlier attempt: ordinals tell nothing then.
    #[prost(bool, tag = "3")]
    pub overlapped: bool,
    /// Jobs so far. Moved by every new job, so that an end decided without it cannot commit.
    #[prost(uint32, tag = "4")]
    pub jobs: u32,
}

impl GenerationState {
    /// The application's part.
    pub fn application(&self) -> &api::Application {
        static NONE: std::sync::LazyLock<api::Application> =
            std::sync::LazyLock::new(api::Application::default);
        self.record.as_ref().and_then(|record| record.application.as_ref()).unwrap_or(&NONE)
    }

    /// The leader's part, to change.
    pub fn record_mut(&mut self) -> &mut jobgraph::Record {
        self.record.get_or_insert_default()
    }

    /// The application's part, to change.
    pub fn application_mut(&mut self) -> &mut api::Application {
        self.record_mut().application.get_or_insert_default()
    }
}

impl Kind for GenerationState {
    const NAME: &'static str = "state of a generation";
}

/// Where the state is.
pub fn state_key(application: &ApplicationRef) -> Key {
    super::of_generation(application, "state")
}
