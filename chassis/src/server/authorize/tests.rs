#![allow(clippy::unwrap_used)]

use proto::Generation;
use tonic::Code;

use super::*;
use crate::credential::Kept;

fn from(principal: Principal) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(principal);
    request
}

/// One principal of each kind that belongs to an application.
fn orders(number: u64) -> [Principal; 6] {
    let application = || "orders".to_owned();
    let generation = 4;
    [
        Principal::Attempt { application: application(), generation, epoch: number },
        Principal::Incarnation { application: application(), generation, incarnation: number },
        Principal::Contender { application: application(), generation },
        Principal::Owner { application: application(), generation, kept: Kept::Main, number },
        Principal::Describe { application: application(), generation, epoch: number },
        Principal::Jobs { application: application(), generation, incarnation: number },
    ]
}

fn own<T>(request: &Request<T>, application: &str, generation: u64, _: u64) -> Result<(), Status> {
    let id = application.parse().unwrap();
    require_own(request, &ApplicationRef { id, generation: Generation(generation) })
}

type Require = fn(&Request<()>, &str, u64, u64) -> Result<(), Status>;

/// Which of attempt, incarnation, contender, owner, describe and jobs passes each requirement.
const TABLE: [(Require, [bool; 6]); 5] = [
    (|r, _, _, _| require_deployment(r), [false; 6]),
    (require_attempt, [true, false, false, false, false, false]),
    (require_incarnation, [false, true, false, false, false, false]),
    (
        |r, app, generation, _| require_contender(r, app, generation),
        [false, false, true, false, false, false],
    ),
    (own, [true; 6]),
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
                let refusal = require(&from(caller.clone()), application, generation, 7)
                    .expect_err("not theirs");
                assert_eq!(refusal.code(), Code::PermissionDenied);
                assert_eq!(proto::problem::reason(&refusal), Some(Reason::CredentialScope));
                assert!(refusal.message().contains(&caller.to_string()), "{}", refusal.message());
            }
        }
    }
    let [attempt, incarnation, ..] = orders(7);
    assert!(require_attempt(&from(attempt), "orders", 4, 8).is_err(), "another epoch");
    assert!(
        require_incarnation(&from(incarnation), "orders", 4, 6).is_err(),
        "another incarnation"
    );
}

#[test]
fn a_door_opens_for_the_kinds_of_the_table_and_for_the_deployment() {
    for doors in doors::DOORS {
        for method in doors.methods {
            let path = format!("/{}/{method}", doors.service);
            assert!(may_enter(&path, &Principal::Deployment).is_ok(), "{path}");
            for caller in orders(7) {
                let entered = may_enter(&path, &caller);
                assert_eq!(entered.is_ok(), doors.who.contains(&caller.kind()), "{path}: {caller}");
                if let Err(refusal) = entered {
                    assert_eq!(proto::problem::reason(&refusal), Some(Reason::CredentialScope));
                }
            }
        }
    }
}

#[test]
fn without_our_stack_nobody_is_anybody() {
    let refusal = require_deployment(&Request::new(())).expect_err("no principal");
    assert_eq!(refusal.code(), Code::Unauthenticated);
}
