//! What the exit code of the process says.

use proto::api::Outcome;

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    /// The question was answered, or the application succeeded.
    pub(crate) const SUCCEEDED: Self = Self(0);
    /// The application failed.
    pub(crate) const FAILED: Self = Self(1);
    /// The command line, or something that it names, cannot work.
    pub(crate) const USAGE: Self = Self(2);
    /// The application was cancelled.
    pub(crate) const CANCELLED: Self = Self(3);
    /// The application's deadline passed.
    pub(crate) const DEADLINE_EXCEEDED: Self = Self(4);
    /// A service cannot be reached.
    pub(crate) const UNREACHABLE: Self = Self(5);
    /// The request was refused, or conflicts with the state of the record.
    pub(crate) const REFUSED: Self = Self(6);
    /// The record does not hold what was named.
    pub(crate) const NOT_FOUND: Self = Self(7);
    /// The outcome is unknown; the error names the command that finds it out.
    pub(crate) const UNKNOWN: Self = Self(8);
    /// A defect of mainspring, or of this machine.
    pub(crate) const INTERNAL: Self = Self(70);
    /// `serve app-runner` met an error that another start would not cure.
    pub(crate) const GAVE_UP: Self = Self(78);
    /// The condition that was waited for did not come true in time.
    pub(crate) const WAIT_TIMED_OUT: Self = Self(124);
    /// The command no longer watches; the application goes on.
    pub(crate) const DETACHED: Self = Self(130);

    /// The code that mirrors how an application ended.
    pub(crate) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::SUCCEEDED,
            Outcome::Failed => Self::FAILED,
            Outcome::Cancelled => Self::CANCELLED,
            Outcome::DeadlineExceeded => Self::DEADLINE_EXCEEDED,
            Outcome::Unspecified => Self::UNKNOWN,
        }
    }

    /// The code of a process as a shell would see it: a signal is 128 plus its number.
    pub(crate) fn of_process(exit_code: Option<i32>, signal: Option<i32>) -> Self {
        match (exit_code, signal) {
            (Some(code), _) => Self(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
            (None, Some(signal)) => Self(u8::try_from(128 + (signal & 0x7f)).unwrap_or(u8::MAX)),
            (None, None) => Self::UNKNOWN,
        }
    }

    /// The first of several codes that is not 0.
    pub(crate) fn or(self, next: Self) -> Self {
        if self == Self::SUCCEEDED { next } else { self }
    }

    /// The number.
    pub(crate) fn code(self) -> u8 {
        self.0
    }
}
