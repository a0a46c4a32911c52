//! `…/spec`: what was submitted, which is never changed. `…/state`: what became of it.

use std::time::SystemTime;

use proto::{ApplicationRef, api, jobgraph};

use super::Kind;
use crate::store::Key;

/// What a `Submit` made, as the submitter asked for it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GenerationSpec {
    /// The spec with its defaults filled in.
    #[prost(message, optional, tag = "1")]
    pub spec: Option<api::ApplicationSpec>,
    /// The labels, in order, so that equal labels have equal bytes.
    #[prost(btree_map = "string, string", tag = "2")]
    pub labels: std::collections::BTreeMap<String, String>,
    /// The annotations, in order for the same reason.
    #[prost(btree_map = "string, string", tag = "3")]
    pub annotations: std::collections::BTreeMap<String, String>,
    /// When the store accepted the submission.
    #[prost(message, optional, tag = "4")]
    pub submitted_at: Option<prost_types::Timestamp>,
    /// The absolute deadline, if there is one.
    #[prost(message, optional, tag = "5")]
    pub deadline_at: Option<prost_types::Timestamp>,
    /// The W3C trace context of the submission, which attempts and clusters continue.
    #[prost(string, tag = "6")]
    pub traceparent: String,
    /// The submitter, as user@host.
    #[prost(string, tag = "7")]
    pub requested_by: String,
    /// An id of this generation among those of all records; empty in a generation that is older
    /// than this field.
    #[prost(string, tag = "8")]
    pub uid: String,
}

impl GenerationSpec {
    /// When the store accepted the submission; the generation's place in the list is made of this
    /// time.
    pub fn submitted(&self) -> SystemTime {
        self.submitted_at
            .and_then(|at| SystemTime::try_from(at).ok())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl Kind for GenerationSpec {
    const NAME: &'static str = "generation";
}

/// The key of the submitted part.
pub fn spec_key(application: &ApplicationRef) -> Key {
    super::of_generation(application, "spec")
}

/// What became of a generation: the record without the parts that are stored under keys of their
/// own (spec, labels, jobs, artifacts, desired state).
#[derive(Clone, PartialEq, prost::Message)]
pub struct GenerationState {
    /// The record as leaders read it, without those parts.
    #[prost(message, optional, tag = "1")]
    pub record: Option<jobgraph::Record>,
    /// The last lines of main()'s stderr when it ended.
    #[prost(string, tag = "2")]
    pub stderr_tail: String,
    /// Whether calls of main() overlapped, in this attempt or an earlier one; ordinals tell nothing
    /// then.
    #[prost(bool, tag = "3")]
    pub overlapped: bool,
    /// The number of jobs so far. Every new job changes this number, so that an end that was
    /// decided without the job cannot commit.
    #[prost(uint32, tag = "4")]
    pub jobs: u32,
    /// How many clusters in a row were replaced by one of another host before they brought
    /// anything.
    #[prost(uint32, tag = "5")]
    pub moves: u32,
}

impl GenerationState {
    /// The part of the record that people see.
    pub fn application(&self) -> &api::Application {
        static NONE: std::sync::LazyLock<api::Application> =
            std::sync::LazyLock::new(api::Application::default);
        self.record.as_ref().and_then(|record| record.application.as_ref()).unwrap_or(&NONE)
    }

    /// The leader's part of the record, to change.
    pub fn record_mut(&mut self) -> &mut jobgraph::Record {
        self.record.get_or_insert_default()
    }

    /// The part that people see, to change.
    pub fn application_mut(&mut self) -> &mut api::Application {
        self.record_mut().application.get_or_insert_default()
    }
}

impl Kind for GenerationState {
    const NAME: &'static str = "state of a generation";
}

/// The key of the state.
pub fn state_key(application: &ApplicationRef) -> Key {
    super::of_generation(application, "state")
}
