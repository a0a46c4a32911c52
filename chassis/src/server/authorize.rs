//! What a caller may do. Which kinds of credential open a method stands in [`doors`], and is asked
//! before the method is called. The methods themselves ask whose application, attempt or cluster a
//! credential is for. The deployment may do everything.

mod doors;

use proto::{ApplicationRef, Problem, Reason};
use tonic::{Request, Status};

use crate::credential::{Kind, Principal};

pub(super) use doors::is_listed;
pub use doors::who_may;

/// Whether a credential of this kind opens the method at all.
pub(super) fn may_enter(path: &str, caller: &Principal) -> Result<(), Status> {
    let who = who_may(path);
    if *caller == Principal::Deployment || who.contains(&caller.kind()) {
        return Ok(());
    }
    let wanted: Vec<&str> = match who {
        [] => vec![Kind::Deployment.as_str()],
        who => who.iter().map(|kind| kind.as_str()).collect(),
    };
    Err(out_of_scope(&wanted.join(" or "), caller))
}

/// The principal of the caller. `Unauthenticated` only if the method is served without this stack.
pub fn principal<T>(request: &Request<T>) -> Result<&Principal, Status> {
    request.extensions().get::<Principal>().ok_or_else(|| {
        Problem::new(Reason::CredentialMissing, "the call carries no credential").into_status()
    })
}

/// Admits only the deployment: its host, services and owner.
pub fn require_deployment<T>(request: &Request<T>) -> Result<(), Status> {
    require(request, "the deployment", |_| false)
}

/// Admits only `main()` of this attempt.
pub fn require_attempt<T>(
    request: &Request<T>,
    application: &str,
    generation: u64,
    epoch: u64,
) -> Result<(), Status> {
    let wanted = Principal::Attempt { application: application.to_owned(), generation, epoch };
    require(request, &wanted.to_string(), |caller| *caller == wanted)
}

/// Admits only this life of the application's cluster.
pub fn require_incarnation<T>(
    request: &Request<T>,
    application: &str,
    generation: u64,
    incarnation: u64,
) -> Result<(), Status> {
    let wanted =
        Principal::Incarnation { application: application.to_owned(), generation, incarnation };
    require(request, &wanted.to_string(), |caller| *caller == wanted)
}

/// Admits only a contender of this generation.
pub fn require_contender<T>(
    request: &Request<T>,
    application: &str,
    generation: u64,
) -> Result<(), Status> {
    let wanted = Principal::Contender { application: application.to_owned(), generation };
    require(request, &wanted.to_string(), |caller| *caller == wanted)
}

/// Admits only principals of this application and generation. The table says which kinds of them.
pub fn require_own<T>(request: &Request<T>, application: &ApplicationRef) -> Result<(), Status> {
    check_own(principal(request)?, application)
}

/// As [`require_own`], for a caller whose stream tells only later which application it is about.
pub fn check_own(caller: &Principal, application: &ApplicationRef) -> Result<(), Status> {
    let own = Some((application.id.as_str(), application.generation.get()));
    if *caller == Principal::Deployment || caller.application() == own {
        return Ok(());
    }
    Err(out_of_scope(&format!("processes of {application}"), caller))
}

fn require<T>(
    request: &Request<T>,
    wanted: &str,
    may: impl FnOnce(&Principal) -> bool,
) -> Result<(), Status> {
    let caller = principal(request)?;
    if *caller == Principal::Deployment || may(caller) {
        return Ok(());
    }
    Err(out_of_scope(wanted, caller))
}

fn out_of_scope(wanted: &str, caller: &Principal) -> Status {
    let text = format!("this call is for {wanted}; the credential is for {caller}");
    Problem::new(Reason::CredentialScope, text).into_status()
}

#[cfg(test)]
mod tests;
