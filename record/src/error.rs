//! Why the record did not do what it was asked, in the terms of what the caller does about it.

use std::convert::Infallible;
use std::fmt;

use proto::{Problem, Reason};
use tonic::{Code, Status};

/// An answer of the record. `R` is what this operation alone may refuse.
pub type Answer<T, R = Nothing> = Result<T, Error<R>>;

/// What an operation refuses that has no refusals of its own.
pub type Nothing = Infallible;

/// The record did not do what it was asked. The variants are what a caller acts on: it waits, it
/// stops, it answers the refusal of the operation, or it gives up.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error<R: fmt::Debug = Nothing> {
    /// The record cannot be reached right now, has no room right now, or its answer was lost. The
    /// same call may be repeated later.
    #[error("{0}")]
    Away(Told),
    /// A later leader or a later incarnation has begun: the caller has to stop.
    #[error("{told}")]
    Superseded {
        /// The epoch or incarnation that writes; 0 if the record did not say.
        current: u64,
        /// What the record said.
        told: Told,
    },
    /// The operation refuses the call, for a reason that its callers act on.
    #[error("{1}")]
    Refused(R, Told),
    /// Every other refusal: the same call will be refused again.
    #[error("{0}")]
    Failed(Told),
}

/// The refusal in the record's own words, to be shown or passed on as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Told(Box<Problem>);

/// What one operation refuses, read from what goes over the wire.
pub trait Refused: Sized + fmt::Debug {
    /// Reads the refusal of this operation; `None` for a problem that is not this operation's own.
    fn read(problem: &Problem) -> Option<Self>;
}

impl Refused for Nothing {
    fn read(_: &Problem) -> Option<Self> {
        None
    }
}

/// What `pin_artifacts` refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinRefused {
    /// The bytes of an artifact are not in the record's payloads: the caller puts them, then
    /// repeats the call.
    PayloadMissing,
}

impl Refused for PinRefused {
    fn read(problem: &Problem) -> Option<Self> {
        (problem.reason == Some(Reason::PayloadMissing)).then_some(Self::PayloadMissing)
    }
}

/// What `begin_cluster` refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterRefused {
    /// Too many incarnations in a row came to nothing, so the application fails.
    KeepsDying,
}

impl Refused for ClusterRefused {
    fn read(problem: &Problem) -> Option<Self> {
        (problem.reason == Some(Reason::ClusterKeepsDying)).then_some(Self::KeepsDying)
    }
}

/// What `put_job_graph` refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphRefused {
    /// The bytes of the graph, or of a file that it needs, are not in the record's payloads: the
    /// caller puts them, then repeats the call.
    PayloadMissing,
    /// The re-executed main() asks for another job than the recorded one.
    Diverged,
    /// Another call of this attempt has the name.
    NameTaken,
}

impl Refused for GraphRefused {
    fn read(problem: &Problem) -> Option<Self> {
        match problem.reason? {
            Reason::PayloadMissing => Some(Self::PayloadMissing),
            Reason::MainDiverged => Some(Self::Diverged),
            Reason::JobNameTaken => Some(Self::NameTaken),
            _ => None,
        }
    }
}

/// What `end` refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndRefused {
    /// Desired state changed since it was read: the caller reads again and decides anew.
    Moved,
    /// A job has no end, an output is unpublished, or a savepoint has no result.
    WorkLeft,
}

impl Refused for EndRefused {
    fn read(problem: &Problem) -> Option<Self> {
        match problem.reason? {
            Reason::RevisionMoved => Some(Self::Moved),
            Reason::JobsNotEnded | Reason::OutputNotPublished | Reason::SavepointPending => {
                Some(Self::WorkLeft)
            }
            _ => None,
        }
    }
}

impl Told {
    /// The whole problem, with its reason and its details.
    pub fn problem(&self) -> &Problem {
        &self.0
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl<R: Refused> Error<R> {
    /// What the record said.
    pub fn told(&self) -> &Told {
        match self {
            Self::Away(told)
            | Self::Superseded { told, .. }
            | Self::Refused(_, told)
            | Self::Failed(told) => told,
        }
    }

    /// The stable reason, if the record gave one that this build knows.
    pub fn reason(&self) -> Option<Reason> {
        self.told().0.reason
    }

    /// Whether the same call may succeed later although nothing else has changed.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away(_))
    }

    /// Whether the caller has to stop, because a later leader or incarnation has begun.
    pub fn is_superseded(&self) -> bool {
        matches!(self, Self::Superseded { .. })
    }
}

impl<R: Refused> From<Problem> for Error<R> {
    fn from(problem: Problem) -> Self {
        let number = |key: &str| problem.metadata.get(key).and_then(|number| number.parse().ok());
        let superseded = match problem.reason {
            Some(Reason::EpochSuperseded) => Some(number("epoch")),
            Some(Reason::IncarnationSuperseded) => Some(number("incarnation")),
            _ => None,
        };
        if let Some(current) = superseded {
            return Self::Superseded {
                current: current.unwrap_or_default(),
                told: Told(Box::new(problem)),
            };
        }
        if let Some(refused) = R::read(&problem) {
            return Self::Refused(refused, Told(Box::new(problem)));
        }
        let is_away = match problem.reason {
            // Both pass without the caller's doing: an operator makes room, and the other writers
            // finish.
            Some(Reason::StoreFull | Reason::RevisionMoved) => true,
            Some(reason) => reason.is_retryable(),
            // A connection that broke ends in one of several codes without a reason of ours; a
            // newer build may give an unknown one.
            None if problem.reason_word.is_empty() => problem.code != Code::Unimplemented,
            None => {
                matches!(problem.code, Code::Unavailable | Code::DeadlineExceeded | Code::Unknown)
            }
        };
        let told = Told(Box::new(problem));
        if is_away { Self::Away(told) } else { Self::Failed(told) }
    }
}

impl<R: Refused> From<Status> for Error<R> {
    fn from(status: Status) -> Self {
        Problem::from_status(&status).into()
    }
}

impl<R: Refused> From<Error<R>> for Status {
    fn from(error: Error<R>) -> Self {
        match error {
            Error::Away(told)
            | Error::Superseded { told, .. }
            | Error::Refused(_, told)
            | Error::Failed(told) => told.0.into_status(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<R: Refused>(reason: Reason) -> Error<R> {
        Problem::new(reason, "x").into()
    }

    #[test]
    fn what_a_caller_does_follows_from_the_reason_and_the_operation() {
        assert!(of::<Nothing>(Reason::StoreUnavailable).is_away());
        assert!(of::<Nothing>(Reason::StoreFull).is_away());
        assert!(of::<Nothing>(Reason::RevisionMoved).is_away());
        assert!(matches!(of(Reason::RevisionMoved), Error::Refused(EndRefused::Moved, _)));
        assert!(matches!(of(Reason::SavepointPending), Error::Refused(EndRefused::WorkLeft, _)));
        assert!(matches!(of::<Nothing>(Reason::PayloadMissing), Error::Failed(_)));
        assert!(matches!(
            of(Reason::PayloadMissing),
            Error::Refused(PinRefused::PayloadMissing, _)
        ));
        assert!(matches!(
            of(Reason::PayloadMissing),
            Error::Refused(GraphRefused::PayloadMissing, _)
        ));
        let superseded = Problem::new(Reason::EpochSuperseded, "x").metadata("epoch", 9);
        assert!(matches!(
            Error::<PinRefused>::from(superseded),
            Error::Superseded { current: 9, .. }
        ));
    }

    #[test]
    fn a_connection_that_broke_is_away_and_another_service_is_not() {
        for (status, away) in [
            (Status::unavailable("connection refused"), true),
            (Status::internal("h2 protocol error"), true),
            (Status::cancelled("the connection broke"), true),
            (Status::unimplemented("another service"), false),
        ] {
            assert_eq!(Error::<Nothing>::from(status.clone()).is_away(), away, "{status:?}");
        }
        let mut newer = Problem::new(Reason::Internal, "?");
        newer.reason_word = "FROM_THE_FUTURE".into();
        (newer.reason, newer.code) = (None, Code::FailedPrecondition);
        assert!(!Error::<Nothing>::from(newer).is_away());
    }
}
