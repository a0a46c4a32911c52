//! Why etcd did not do what it was asked, in the terms of what the caller does about it.

use std::error::Error as _;

use chassis::channel::is_untrusted;
use chassis::clock::Elapsed;
use tonic::{Code, Status};

/// What etcd says when its data base has reached its quota.
const NO_SPACE: &str = "database space exceeded";

/// What etcd says of a revision that it keeps no longer.
const COMPACTED: &str = "required revision has been compacted";

/// What etcd says of a revision that it has not reached.
const FUTURE: &str = "required revision is a future revision";

/// What etcd says of a call whose token it does not know (any more), of one without a token, and of
/// one whose token is older than the users that etcd has now.
const NOT_ADMITTED: [&str; 3] =
    ["invalid auth token", "user name is empty", "revision of auth store is old"];

/// What etcd says of a password, or a user, that it does not know.
const WRONG_PASSWORD: &str = "invalid user ID or password";

/// What an etcd that asks for no user says when it is told one.
const ASKS_FOR_NO_USER: &str = "authentication is not enabled";

/// What etcd says of a key that the user may not touch.
const NOT_PERMITTED: &str = "permission denied";

/// What etcd says of a lease that has ended, and its client of one that is not renewed.
const LEASE_GONE: &str = "lease not found";

/// A call that etcd did not answer as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No member answered. Whether a write has happened is unknown.
    #[error("etcd does not answer: {0}")]
    Away(String),
    /// One side does not accept the other's certificate: the text says why, and what to do. Nothing
    /// was sent. Another member, or another certificate, may be accepted.
    #[error("{0}")]
    Untrusted(String),
    /// The quota of etcd's data base is used up. A write was not done before and will not be done
    /// later, but it may have been done: etcd says this also of the write that used the quota up.
    #[error("etcd has no room: {0}")]
    Full(String),
    /// The revision is compacted.
    #[error("etcd keeps that revision no longer")]
    Compacted,
    /// The revision has not been reached.
    #[error("etcd has not reached that revision")]
    Future,
    /// The lease has ended, or there never was one with this id. A write was not done.
    #[error("etcd has no such lease")]
    LeaseGone,
    /// The member does not know the user of the call, or knows its token no more. A write was not
    /// done; the next call brings a new token.
    #[error("etcd does not know the user of the call: {0}")]
    NotAdmitted(String),
    /// A setting has to be mended: the text names the setting, and what to do. Nothing was done.
    #[error("{0}")]
    Setting(String),
    /// etcd refuses the call, and would refuse it again. A write was not done.
    #[error("etcd refuses the call: {0}")]
    Refused(String),
}

impl Error {
    /// Whether another member, or a later call, may answer.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Untrusted(_) | Self::NotAdmitted(_))
    }

    /// Whether etcd does not take the password.
    pub(crate) fn is_wrong_password(&self) -> bool {
        matches!(self, Self::Refused(why) if why.contains(WRONG_PASSWORD))
    }

    /// Whether the user may not touch what the call is about.
    pub(crate) fn is_not_permitted(&self) -> bool {
        matches!(self, Self::Refused(why) if why.contains(NOT_PERMITTED))
    }

    /// Whether etcd asks for no user.
    pub(crate) fn is_without_users(&self) -> bool {
        matches!(self, Self::Refused(why) if why.contains(ASKS_FOR_NO_USER))
    }

    /// Why a member has ended a watch. The member says so in words alone.
    pub(crate) fn of_ended_watch(why: &str) -> Self {
        let text = format!("the watch was ended: {why}");
        if NOT_ADMITTED.iter().any(|known| why.contains(*known)) {
            Self::NotAdmitted(text)
        } else if why.contains(NOT_PERMITTED) {
            Self::Refused(text)
        } else {
            Self::Away(text)
        }
    }

    fn of_status(status: &Status) -> Self {
        let text = status.message().to_owned();
        if is_untrusted(status) {
            return Self::Untrusted(text);
        }
        match status.code() {
            Code::ResourceExhausted if text.contains(NO_SPACE) => Self::Full(text),
            Code::OutOfRange if text.contains(COMPACTED) => Self::Compacted,
            Code::OutOfRange if text.contains(FUTURE) => Self::Future,
            Code::NotFound if text.contains(LEASE_GONE) => Self::LeaseGone,
            Code::Unauthenticated => Self::NotAdmitted(text),
            Code::InvalidArgument if NOT_ADMITTED.iter().any(|known| text.contains(*known)) => {
                Self::NotAdmitted(text)
            }
            Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::NotFound
            | Code::OutOfRange
            | Code::PermissionDenied
            | Code::Unimplemented => Self::Refused(text),
            // A member answers Unavailable also for a write that was proposed and not confirmed in
            // time, so none of these codes says that a write has not happened.
            _ => Self::Away(text),
        }
    }
}

impl From<etcd_client::Error> for Error {
    fn from(error: etcd_client::Error) -> Self {
        use etcd_client::Error as Client;
        match error {
            Client::GRpcStatus(status) => Self::of_status(&status),
            Client::LeaseKeepAliveError(ref why) if why == LEASE_GONE => Self::LeaseGone,
            Client::InvalidArgs(_)
            | Client::InvalidUri(_)
            | Client::InvalidMetadataValue(_)
            | Client::Utf8Error(_)
            | Client::EndpointsNotManaged => Self::Refused(error.to_string()),
            _ => Self::Away(match error.source() {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            }),
        }
    }
}

impl From<Elapsed> for Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::Away(elapsed.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_says_that_nothing_happened() {
        for (status, expected) in [
            (Status::resource_exhausted("etcdserver: mvcc: database space exceeded"), "full"),
            (Status::resource_exhausted("etcdserver: too many requests"), "away"),
            (Status::out_of_range("etcdserver: mvcc: required revision has been compacted"), "old"),
            (
                Status::out_of_range("etcdserver: mvcc: required revision is a future revision"),
                "future",
            ),
            (Status::not_found("etcdserver: requested lease not found"), "lease gone"),
            (Status::not_found("etcdserver: member not found"), "refused"),
            (Status::permission_denied("etcdserver: permission denied"), "refused"),
            (Status::unauthenticated("etcdserver: invalid auth token"), "not admitted"),
            (Status::invalid_argument("etcdserver: user name is empty"), "not admitted"),
            (Status::invalid_argument("etcdserver: revision of auth store is old"), "not admitted"),
            (Status::invalid_argument("etcdserver: request is too large"), "refused"),
            (Status::unavailable("etcdserver: request timed out"), "away"),
            (Status::unknown("the connection broke"), "away"),
            (Status::deadline_exceeded("too late"), "away"),
        ] {
            let error = Error::from(etcd_client::Error::GRpcStatus(status.clone()));
            let kind = match error {
                Error::Away(_) => "away",
                Error::Untrusted(_) => "untrusted",
                Error::Full(_) => "full",
                Error::Compacted => "old",
                Error::Future => "future",
                Error::LeaseGone => "lease gone",
                Error::NotAdmitted(_) => "not admitted",
                Error::Setting(_) => "setting",
                Error::Refused(_) => "refused",
            };
            assert_eq!(kind, expected, "{status:?}");
        }
    }

    #[test]
    fn a_lease_that_is_not_renewed_any_more_is_gone() {
        let error = etcd_client::Error::LeaseKeepAliveError("lease not found".to_owned());
        assert_eq!(Error::from(error), Error::LeaseGone);
        let error = etcd_client::Error::LeaseKeepAliveError("channel closed".to_owned());
        assert!(Error::from(error).is_away());
    }
}
