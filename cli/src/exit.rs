//! What the exit code of the process says.

use proto::api::Outcome;

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    /// Answered, or the application succeeded.
    pub(crate) const SUCCEEDED: Self = Self(0);
    /// The application failed.
    pub(crate) const FAILED: Self = Self(1);
    /// The command line, or what it names, cannot work.
    pub(crate) const USAGE: Self = Self(2);
    /// The application was cancelled.
    pub(crate) const CANCELLED: Self = Self(3);
    /// The application's deadline passed.
    pub(crate) const DEADLINE_EXCEEDED: Self = Self(4);
    /// A service cannot be reached.
    pub(crate) const UNREACHABLE: Self = Self(5);
    /// Refused, or in conflict with what is there.
    pub(crate) const REFUSED: Self = Self(6);
    /// There is no such thing.
    pub(crate) const NOT_FOUND: Self = Self(7);
    /// The outcome is unknown; the error names the command that finds out.
    pub(crate) const UNKNOWN: Self = Self(8);
    /// A defect of ours, or of this machine.
    pub(crate) const INTERNAL: Self = Self(70);
    /// `serve app-runner`: an error that another start would not cure.
    pub(crate) const GAVE_UP: Self = Self(78);
    /// What was waited for did not come true in time.
    pub(crate) const WAIT_TIMED_OUT: Self = Self(124);
    /// No longer watched; the application goes on.
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

    /// A process's own code, as a shell would see it: signals are 128 + their number.
    pub(crate) fn of_process(exit_code: Option<i32>, signal: Option<i32>) -> Self {
        match (exit_code, signal) {
            (Some(code), _) => Self(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
            (None, Some(signal)) => Self(u8::try_from(128 + (signal & 0x7f)).unwrap_or(u8::MAX)),
            (None, None) => Self::UNKNOWN,
        }
    }

    /// Of several: the first that is not 0.
    pub(crate) fn or(self, next: Self) -> Self {
        if self == Self::SUCCEEDED { next } else { self }
    }

    /// The number.
    pub(crate) fn code(self) -> u8 {
        self.0
    }
}
