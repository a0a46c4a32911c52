//! The contenders of an application: how many there are, when one is started again, and when not.

use std::time::Duration;

use chassis::clock::Clock as _;
use client::tether::Exit;
use proto::engine::Role;
use proto::lifecycle::{ProvisionContendersRequest, RoleState};
use proto::{Incarnation, Reason};
use tonic::Code;

use crate::wire::{Wire, application, fence, role, within};

pub(crate) fn contenders(count: u32, script: &str) -> ProvisionContendersRequest {
    ProvisionContendersRequest {
        application: Some(application().into()),
        count,
        role: Some(Role {
            serves_jobs: false,
            fatal_exit_codes: vec![2, 78],
            ..role("contender", script)
        }),
        traceparent: String::new(),
        done_exit_codes: vec![0, 1, 3, 4],
        wish: 0,
    }
}

#[tokio::test]
async fn a_contender_that_gave_up_is_started_again_for_a_new_wish_and_for_nothing_else() {
    let mut wire = Wire::new().await;
    let ask = async |wire: &Wire, wish| {
        let wanted = ProvisionContendersRequest { wish, ..contenders(1, "sleep 1000") };
        within(wire.client.provision_contenders(wanted)).await.unwrap()
    };
    let key = "orders/4/contender/0/contender/0";
    ask(&wire, 3).await;
    wire.until("it runs", async || wire.memory.living() == [key]).await;
    assert!(wire.memory.crash(key, Exit { code: Some(78), ..Exit::default() }));
    let gave_up = async |wire: &Wire| {
        let processes = within(wire.client.list_processes(Some(&application()))).await.unwrap();
        processes[0].status.as_ref().unwrap().gave_up
    };
    while !gave_up(&wire).await {}
    wire.until("the record knows", async || wire.record.gave_up().await == [key]).await;

    for _ in 0..2 {
        for _ in 0..5 {
            wire.clock.advance(Duration::from_secs(60));
            ask(&wire, 3).await;
        }
        assert!(wire.memory.living().is_empty(), "neither time nor a repeat starts it again");
        wire = wire.killed_and_started_again();
        ask(&wire, 3).await;
        assert!(gave_up(&wire).await, "another lifecycle knows it, too");
    }
    ask(&wire, 4).await;
    wire.until("another wish starts it", async || wire.memory.living() == [key]).await;
    assert!(wire.record.gave_up().await.is_empty());
    assert_eq!(within(wire.client.teardown_contenders(&application())).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn contenders_are_kept_until_they_are_done() {
    let wire = Wire::new().await;
    within(wire.client.provision_contenders(contenders(2, "sleep 1000"))).await.unwrap();
    let keys = ["orders/4/contender/0/contender/0", "orders/4/contender/1/contender/0"];
    wire.until("both run", async || wire.memory.living() == keys).await;
    within(wire.client.provision_contenders(contenders(2, "sleep 1000"))).await.unwrap();

    assert!(wire.memory.crash(keys[0], Exit { signal: Some(9), ..Exit::default() }));
    wire.advance_until("it is started again", async || wire.memory.living() == keys).await;
    assert!(wire.memory.crash(keys[0], Exit { code: Some(70), ..Exit::default() }));
    wire.advance_until("our own failure is no end", async || wire.memory.living() == keys).await;
    assert!(wire.memory.crash(keys[0], Exit { code: Some(3), ..Exit::default() }));
    wire.until("it is known to be done", async || wire.memory.living() == keys[1..]).await;
    let done = async || {
        let processes = wire.client.list_processes(Some(&application())).await.unwrap();
        processes[0].status.as_ref().unwrap().exit_code == Some(3)
    };
    while !within(done()).await {}
    wire.until("its end is kept", async || wire.record.buried().await == keys[..1]).await;

    within(wire.client.provision_contenders(contenders(2, "sleep 1000"))).await.unwrap();
    assert_eq!(wire.memory.living(), &keys[1..], "a repeat right after does not start it again");
    wire.clock.advance(Duration::from_secs(11));
    within(wire.client.provision_contenders(contenders(2, "sleep 1000"))).await.unwrap();
    wire.until("who asks later knows better", async || wire.memory.living() == keys).await;

    within(wire.client.provision_contenders(contenders(1, "sleep 1000"))).await.unwrap();
    assert_eq!(wire.memory.living(), &keys[..1]);
    assert_eq!(within(wire.client.teardown_contenders(&application())).await.unwrap(), [""; 0]);
    assert!(wire.memory.living().is_empty() && wire.record.keys().await.is_empty());
    assert_eq!(within(wire.client.list_processes(None)).await.unwrap(), []);
}

#[tokio::test]
async fn a_contender_that_is_silent_for_too_long_is_killed_and_started_again() {
    let wire = Wire::new().await;
    within(wire.client.provision_contenders(contenders(1, "sleep 1000"))).await.unwrap();
    let key = "orders/4/contender/0/contender/0";
    let status = async || {
        let processes = wire.client.list_processes(None).await.unwrap();
        processes[0].status.clone().unwrap()
    };
    while within(status()).await.state() != RoleState::Ready {}
    // The contender answers, so an hour changes nothing.
    for _ in 0..1200 {
        wire.clock.advance(Duration::from_secs(3));
        tokio::task::yield_now().await;
    }
    assert_eq!(within(status()).await.starts, 1);
    wire.memory.set_answering(key, false);
    let silent_since = wire.clock.boot();
    while within(status()).await.starts < 2 {
        wire.clock.advance(Duration::from_secs(1));
    }
    let silent = wire.clock.boot().saturating_duration_since(silent_since);
    assert!(silent >= Duration::from_secs(27), "{silent:?}");
}

#[tokio::test]
async fn a_contender_lists_and_starts_no_contenders() {
    let wire = Wire::new().await;
    let contender = wire.as_contender();
    let refused = within(contender.list_processes(None)).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.reason()),
        (Code::PermissionDenied, Some(Reason::CredentialScope))
    );
    let refused =
        within(contender.provision_contenders(contenders(2, "sleep 1000"))).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::CredentialScope));
    // The contender may end clusters of its own application.
    let ended = within(contender.teardown(&fence(1), Incarnation(1), Duration::ZERO)).await;
    assert_eq!(ended.unwrap(), [""; 0]);
}
