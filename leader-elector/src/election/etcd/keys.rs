//! What the keys of an application's election are called, and what is in them.

use proto::{ApplicationId, ApplicationRef, Epoch};
use serde::{Deserialize, Serialize};

use crate::model::Cause;

/// The last part of the name of the leader's key.
const LEADER: &str = "/leader";

/// The last part of the name of the key that outlives every leader.
const LAST: &str = "/last";

/// The names below one deployment's prefix.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

/// One of an application's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The leader's key, which is there for as long as the leader's lease lasts.
    Leader,
    /// The counter of epochs, with how the last leadership ended.
    Last,
}

/// One leadership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Term {
    /// The application that is led.
    pub(super) application: ApplicationRef,
    /// The epoch of the leadership.
    pub(super) epoch: Epoch,
    /// The name of the contender that leads.
    pub(super) holder: String,
    /// When the leadership began: milliseconds since 1970, for people only.
    pub(super) since_unix_ms: u64,
    /// The epoch before, and why it ended.
    pub(super) previous: Option<(Epoch, Cause)>,
}

/// The highest epoch so far. It is raised in the transaction that creates the leader's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Last {
    /// The epoch.
    pub(super) epoch: Epoch,
    /// Why the leadership with this epoch was ended; `None` while it lasts, and if its lease ran
    /// out.
    pub(super) ended: Option<Cause>,
}

impl Keys {
    /// The names of the deployment with this prefix.
    pub(super) fn below(prefix: &str) -> Self {
        Self { prefix: format!("{}/election/", prefix.trim_end_matches('/')) }
    }

    /// What all keys of elections begin with.
    pub(super) fn all(&self) -> &str {
        &self.prefix
    }

    /// What a key is called.
    pub(super) fn name(&self, application: &ApplicationId, part: Part) -> Vec<u8> {
        let part = match part {
            Part::Leader => LEADER,
            Part::Last => LAST,
        };
        format!("{}{application}{part}", self.prefix).into_bytes()
    }

    /// The key that has this name; `None` for the name of something else.
    pub(super) fn read(&self, name: &[u8]) -> Option<(ApplicationId, Part)> {
        let rest = std::str::from_utf8(name).ok()?.strip_prefix(&self.prefix)?;
        let (application, part) = match rest.strip_suffix(LEADER) {
            Some(application) => (application, Part::Leader),
            None => (rest.strip_suffix(LAST)?, Part::Last),
        };
        Some((application.parse().ok()?, part))
    }
}
