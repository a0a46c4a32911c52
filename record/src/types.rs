//! What the record is told and what it answers, where a message of the contract would say too much
//! or too little.

use proto::{Place, api};

/// The process that leads: the record shows it, and knows a repeated call by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The contender's name, such as `runner-0`.
    pub name: String,
    /// Its process id on its host.
    pub pid: u32,
    /// The host; `None` if it is not known.
    pub place: Option<Place>,
}

impl Holder {
    /// A holder of this name and process id, on a host that is not known.
    pub fn new(name: impl Into<String>, pid: u32) -> Self {
        Self { name: name.into(), pid, place: None }
    }

    /// The same holder on this host.
    #[must_use]
    pub fn at(self, place: Option<Place>) -> Self {
        Self { place, ..self }
    }
}

/// A fact of which the first one wins: the record answers the one that stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing<T> {
    /// The fact of this call stands, recorded now or by an earlier call with the same content.
    pub recorded: bool,
    /// The fact that stands.
    pub stands: T,
}

/// Whether a fence holds, and the number that does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// The number that was asked about is the current one.
    pub holds: bool,
    /// The current epoch or incarnation; 0 if none has begun.
    pub current: u64,
    /// Where the current incarnation runs; `None` if that is not known, and for an epoch.
    pub place: Option<Place>,
    /// Whether the end of the application is recorded, so that no leader needs the cluster any
    /// more; not said of an epoch.
    pub application_ended: bool,
    /// Where the latest leader runs, who ends clusters of its own place; `None` as above.
    pub leader_place: Option<Place>,
}

/// How the process that runs main() ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MainExit {
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// The sender of that signal, for people; empty where the sender is not known.
    pub signal_sender: String,
}

/// The end of one execution of main().
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MainEnd {
    /// How the process ended.
    pub exit: MainExit,
    /// The last lines of its stderr, at most 4 KiB; a longer text is cut.
    pub stderr_tail: String,
    /// How often main() was killed from outside in this generation, this time included, if it is
    /// executed again. 0 means that this end is final.
    pub kills: u32,
}

/// The end of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplicationEnd {
    /// How it ended.
    pub outcome: api::Outcome,
    /// The stable reason; empty for a success.
    pub reason: String,
    /// The reason in a sentence, for people.
    pub message: String,
}

impl MainEnd {
    /// The end of a process that has exited by itself, with this code.
    pub fn exited(code: i32) -> Self {
        Self { exit: MainExit { code: Some(code), ..MainExit::default() }, ..Self::default() }
    }
}

impl ApplicationEnd {
    /// An end with this outcome, its stable reason, and a sentence for people.
    pub fn new(
        outcome: api::Outcome,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { outcome, reason: reason.into(), message: message.into() }
    }
}
