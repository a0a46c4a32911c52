//! What a caller may do, asked by the methods. The deployment may do everything; everybody else only what is theirs.

use proto::Reason;
use tonic::{Code, Request, Status};

use crate::credential::Principal;
use crate::status::Problem;

/// Who calls. `Unauthenticated` only if the method is served without our stack.
pub fn principal<T>(request: &Request<T>) -> Result<&Principal, Status> {
    request.extensions().get::<Principal>().ok_or_else(|| {
        Problem::new(Code::Unauthenticated, Reason::CredentialMissing, "the call carries no credential")
            .into_status()
    })
}

/// Only the deployment: its host, services and owner.
pub fn require_deployment<T>(request: &Request<T>) -> Result<(), Status> {
    require(request, "the deployment", |_| false)
}

/// Only `main()` of this attempt.
pub fn require_attempt<T>(
    request: &Request<T>,
    application: &str,
    generation: u64,
    epoch: u64,
) -> Result<(), Status> {
    let wanted = Principal::Attempt { application: application.to_owned(), generation, epoch };
    require(request, &wanted.to_string(), |caller| *caller == wanted)
}

/// Only this life of the application's cluster.
pub fn require_incarnation<T>(
    request: &Request<T>,
    application: &str,
    generation: u64,
    incarnation: u64,
) -> Result<(), Status> {
    let wanted = Principal::Incarnation { application: application.to_owned(), generation, incarnation };
    require(request, &wanted.to_string(), |caller| *caller == wanted)
}

/// Only a contender of this generation.
pub fn require_contender<T>(request: &Request<T>, application: &str, generation: u64) -> Result<(), Status> {
    let wanted = Principal::Contender { application: application.to_owned(), generation };
    require(request, &wanted.to_string(), |caller| *caller == wanted)
}

/// Anybody who belongs to this generation: any of its attempts, incarnations and contenders.
pub fn require_application<T>(
    request: &Request<T>,
    application: &str,
    generation: u64,
) -> Result<(), Status> {
    require(request, &format!("any process of {application}@{generation}"), |caller| match caller {
        Principal::Deployment => true,
        Principal::Attempt { application: theirs, generation: of, .. }
        | Principal::Incarnation { application: theirs, generation: of, .. }
        | Principal::Contender { application: theirs, generation: of } => {
            theirs == application && *of == generation
        }
    })
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
    let text = format!("this call is for {wanted}; the credential is for {caller}");
    Err(Problem::new(Code::PermissionDenied, Reason::CredentialScope, text).into_status())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(principal: Principal) -> Request<()> {
        let mut request = Request::new(());
        request.extensions_mut().insert(principal);
        request
    }

    fn orders(number: u64) -> [Principal; 3] {
        let application = || "orders".to_owned();
        [
            Principal::Attempt { application: application(), generation: 4, epoch: number },
            Principal::Incarnation { application: application(), generation: 4, incarnation: number },
            Principal::Contender { application: application(), generation: 4 },
        ]
    }

    type Require = fn(&Request<()>, &str, u64, u64) -> Result<(), Status>;

    /// Who of attempt, incarnation and contender passes which requirement.
    const TABLE: [(Require, [bool; 3]); 5] = [
        (|r, _, _, _| require_deployment(r), [false, false, false]),
        (require_attempt, [true, false, false]),
        (require_incarnation, [false, true, false]),
        (|r, app, generation, _| require_contender(r, app, generation), [false, false, true]),
        (|r, app, generation, _| require_application(r, app, generation), [true, true, true]),
    ];

    #[test]
    fn everybody_may_do_what_is_theirs_and_the_deployment_everything() {
        for (require, pass) in TABLE {
            assert!(require(&from(Principal::Deployment), "orders", 4, 7).is_ok());
            for (caller, passes) in orders(7).into_iter().zip(pass) {
                let text = caller.to_string();
                assert_eq!(require(&from(caller), "orders", 4, 7).is_ok(), passes, "{text}");
            }
        }
    }

    #[test]
    fn a_credential_for_something_else_is_refused_by_name() {
        for (require, _) in TABLE {
            for (application, generation) in [("payments", 4), ("orders", 5)] {
                for caller in orders(7) {
                    let refusal =
                        require(&from(caller.clone()), application, generation, 7).expect_err("not theirs");
                    assert_eq!(refusal.code(), Code::PermissionDenied);
                    assert_eq!(crate::status::reason(&refusal), Some(Reason::CredentialScope));
                    assert!(refusal.message().contains(&caller.to_string()), "{}", refusal.message());
                }
            }
        }
        let [attempt, incarnation, _] = orders(7);
        assert!(require_attempt(&from(attempt), "orders", 4, 8).is_err(), "another epoch");
        assert!(require_incarnation(&from(incarnation), "orders", 4, 6).is_err(), "another incarnation");
    }

    #[test]
    fn without_our_stack_nobody_is_anybody() {
        let refusal = require_deployment(&Request::new(())).expect_err("no principal");
        assert_eq!(refusal.code(), Code::Unauthenticated);
    }
}
