//! Tries every door of a served service with every kind of token, for tests of services. The
//! methods are those of the contract; the requests are as empty as may be, and name an application
//! wherever one can be named.

mod requests;
mod wire;

use std::collections::BTreeSet;
use std::time::Duration;

use chassis::channel::GrpcChannel;
use chassis::clock::{SharedClock, timeout};
use chassis::credential::{Credential, Kept, Kind, Principal};
use chassis::server::who_may;
use proto::Reason;

/// How long a method that lets its caller in may answer nothing: then it waits for more.
const QUIET: Duration = Duration::from_millis(500);

/// How long a method may take to refuse a caller. Only what is not refused takes this long, so a
/// busy machine has time.
const REFUSED_WITHIN: Duration = Duration::from_secs(20);

/// The application and generation that the tokens are for.
pub const OWN: (&str, u64) = ("orders", 1);

/// An application and generation that the tokens are not for.
pub const OTHER: (&str, u64) = ("payments", 1);

/// One try of one method with one token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The method, as `/package.Service/Method`.
    pub path: String,
    /// The kind of the token that was shown.
    pub kind: Kind,
    /// The application that the request named; `None` where the method's request names none.
    pub about: Option<&'static str>,
    /// Why the door stayed shut, if it did.
    pub shut: Option<Reason>,
}

/// A principal of each kind, for [`OWN`], with 1 for every number.
pub fn principal(kind: Kind) -> Principal {
    let (application, generation) = (OWN.0.to_owned(), OWN.1);
    match kind {
        Kind::Deployment => Principal::Deployment,
        Kind::Attempt => Principal::Attempt { application, generation, epoch: 1 },
        Kind::Incarnation => Principal::Incarnation { application, generation, incarnation: 1 },
        Kind::Contender => Principal::Contender { application, generation },
        Kind::Owner => Principal::Owner { application, generation, kept: Kept::Main, number: 1 },
        Kind::Describe => Principal::Describe { application, generation, epoch: 1 },
        Kind::Jobs => Principal::Jobs { application, generation, incarnation: 1 },
    }
}

/// Tries all methods of `service` (as `package.Service`) with a token of each kind. The token of
/// the kind `last` comes after all others, because the calls that it opens may end the server.
pub async fn walk(
    channel: &GrpcChannel,
    clock: &SharedClock,
    service: &str,
    mint: impl Fn(&Principal) -> Credential,
    last: Kind,
) -> Vec<Tried> {
    tries(channel, clock, service, mint, last, is_open).await
}

/// As [`walk`], where no method of the service may let a caller in.
pub async fn walk_around(
    channel: &GrpcChannel,
    clock: &SharedClock,
    service: &str,
    mint: impl Fn(&Principal) -> Credential,
) -> Vec<Tried> {
    tries(channel, clock, service, mint, Kind::Deployment, |_, _, _| false).await
}

/// Whether the table opens a method for a token of this kind, asked about this application.
fn is_open(path: &str, kind: Kind, about: Option<&str>) -> bool {
    // The processes that serve these kinds have no key, only the one token.
    let held = [Kind::Attempt, Kind::Owner, Kind::Describe, Kind::Jobs];
    let who = who_may(path);
    match kind {
        Kind::Deployment => !who.iter().any(|kind| held.contains(kind)),
        kind => who.contains(&kind) && about.is_none_or(|application| application == OWN.0),
    }
}

async fn tries(
    channel: &GrpcChannel,
    clock: &SharedClock,
    service: &str,
    mint: impl Fn(&Principal) -> Credential,
    last: Kind,
    lets_in: impl Fn(&str, Kind, Option<&str>) -> bool,
) -> Vec<Tried> {
    let mut tried = Vec::new();
    let mut kinds = Kind::ALL;
    kinds.sort_by_key(|kind| *kind == last);
    for kind in kinds {
        let channel = channel.with_credential(&mint(&principal(kind)));
        for method in requests::methods(service) {
            for (application, generation) in [OWN, OTHER] {
                let (request, names_it) = method.request(application, generation);
                let call = wire::call(&channel, &method.path, request);
                let about = names_it.then_some(application);
                let lets_in = lets_in(&method.path, kind, about);
                let patience = if lets_in { QUIET } else { REFUSED_WITHIN };
                let shut = match timeout(clock, patience, call).await {
                    Ok(Err(status)) => refusal(&status),
                    Ok(Ok(())) | Err(_) => None,
                };
                tried.push(Tried { path: method.path.clone(), kind, about, shut });
            }
        }
    }
    assert!(!tried.is_empty(), "{service} has no methods");
    tried
}

/// The reason, if a credential was what was wrong with the call.
fn refusal(status: &tonic::Status) -> Option<Reason> {
    let of_credentials =
        [Reason::CredentialMissing, Reason::CredentialInvalid, Reason::CredentialScope];
    proto::problem::reason(status).filter(|reason| of_credentials.contains(reason))
}

/// Panics unless every door opened for the kinds of the table, for their own application and for no
/// other. `unscoped` are the methods, by name, whose requests name no application and that other
/// callers than the deployment may call: each has to be argued for.
#[track_caller]
pub fn assert_lawful(tried: &[Tried], unscoped: &[&str]) {
    let mut without = BTreeSet::new();
    for Tried { path, kind, about, shut } in tried {
        let wanted = (!is_open(path, *kind, *about)).then_some(Reason::CredentialScope);
        assert_eq!(*shut, wanted, "{path}, shown {kind:?}, about {about:?}");
        if about.is_none() && !who_may(path).is_empty() {
            without.insert(path.rsplit('/').next().unwrap_or_default());
        }
    }
    assert_eq!(without, unscoped.iter().copied().collect(), "methods that name no application");
}

/// Panics unless every door opened for the one token of `held`, and for no other token, not even
/// the deployment's.
#[track_caller]
pub fn assert_held(tried: &[Tried], held: Kind) {
    for Tried { path, kind, shut, .. } in tried {
        let wanted = (*kind != held).then_some(Reason::CredentialInvalid);
        assert_eq!(*shut, wanted, "{path}, shown {kind:?}");
    }
}
