//! Lifecycle through the wire, on processes in memory and over a real record.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "grpc/contenders.rs"]
mod contenders;
#[path = "grpc/cut_off.rs"]
mod cut_off;
#[path = "grpc/following.rs"]
mod following;
#[path = "support/host.rs"]
mod host;
#[path = "support/laws.rs"]
mod laws;
#[path = "support/memory.rs"]
mod memory;
#[path = "grpc/outbox.rs"]
mod outbox;
#[path = "grpc/two_hosts.rs"]
mod two_hosts;
#[path = "support/wire.rs"]
mod wire;

use std::time::Duration;

use chassis::credential::Kind;
use client::lifecycle::Provisioning;
use client::tether::Exit;
use futures::StreamExt as _;
use lifecycle::record::LogSource;
use lifecycle::substrate::Substrate as _;
use proto::engine::{RestartPolicy, Role};
use proto::lifecycle::RoleState;
use proto::{Incarnation, Reason};
use tonic::Code;

use contenders::contenders;
use wire::{Wire, application, fence, gated, role, within};

#[tokio::test]
async fn a_plan_becomes_ready_and_says_where_jobs_are_served() {
    let wire = Wire::new().await;
    let helper = Role { serves_jobs: false, replicas: 2, ..role("helper", "sleep 1000") };
    let plan = vec![role("worker", "sleep 1000"), helper];
    let mut answers =
        Box::pin(wire.client.provision(&fence(1), Incarnation(1), gated(plan), "").await.unwrap());
    let mut seen = Vec::new();
    let ready = loop {
        match within(answers.next()).await.unwrap().unwrap() {
            Provisioning::Role(status) => {
                seen.push((format!("{}-{}", status.role, status.replica), status.state()))
            }
            Provisioning::Ready(ready) => break ready,
        }
    };
    assert!(within(answers.next()).await.is_none(), "ready is the last answer");
    assert!(seen.contains(&("helper-1".into(), RoleState::Ready)));
    assert_eq!(ready.roles.len(), 3);
    assert_eq!(ready.jobs_endpoint, "unix:/memory/orders/4/cluster/1/worker/0");
    assert_eq!(wire.record.keys().await, wire.memory.living(), "an intent for each process");

    let again = wire.provision(&fence(1), 1, vec![role("worker", "sleep 1000")]).await.unwrap();
    assert_eq!(again, ready, "a repeat answers ready at once");
    assert_eq!(wire.memory.living().len(), 3, "and starts nothing");
}

#[tokio::test]
async fn a_higher_incarnation_ends_every_lower_one_first_and_a_lower_one_is_refused() {
    let wire = Wire::new().await;
    wire.provision(&fence(1), 1, vec![role("worker", "sleep 1000")]).await.unwrap();
    wire.provision(&fence(1), 3, vec![role("worker", "sleep 1000")]).await.unwrap();
    assert_eq!(wire.memory.living(), ["orders/4/cluster/3/worker/0"]);
    assert_eq!(wire.record.keys().await, ["orders/4/cluster/3/worker/0"]);
    let refused =
        wire.provision(&fence(1), 2, vec![role("worker", "sleep 1000")]).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::IncarnationSuperseded));
    assert!(refused.is_superseded());
}

#[tokio::test]
async fn named_ports_stay_for_an_incarnation_and_are_new_for_the_next() {
    let plan = || {
        let jobmanager = Role {
            serves_jobs: false,
            ports: vec!["rest".into(), "rpc".into()],
            ..role("jobmanager", "sleep 1000")
        };
        vec![role("worker", "sleep 1000"), jobmanager]
    };
    let wire = Wire::new().await;
    let ready = wire.provision(&fence(1), 1, plan()).await.unwrap();
    let mut names: Vec<&String> = ready.addresses.keys().collect();
    names.sort();
    assert_eq!(names, ["jobmanager/rest", "jobmanager/rpc"]);

    let wire = wire.killed_and_started_again();
    let again = wire.provision(&fence(1), 1, plan()).await.unwrap();
    assert_eq!(again.addresses, ready.addresses, "processes that live have them already");
    let next = wire.provision(&fence(1), 2, plan()).await.unwrap();
    assert_ne!(next.addresses["jobmanager/rest"], ready.addresses["jobmanager/rest"]);
}

#[tokio::test]
async fn a_plan_with_a_port_that_nobody_could_find_is_refused_by_name() {
    let wire = Wire::new().await;
    let many =
        Role { ports: vec!["rest".into()], replicas: 2, serves_jobs: false, ..role("helper", "") };
    let probe = proto::engine::readiness::Probe::TcpPortName("rest".into());
    let readiness = proto::engine::Readiness { timeout: None, probe: Some(probe) };
    let nameless = Role { readiness: Some(readiness), serves_jobs: false, ..role("helper", "") };
    for (helper, field) in [(many, "roles[1].ports"), (nameless, "roles[1].readiness")] {
        let refused =
            wire.provision(&fence(1), 1, vec![role("worker", ""), helper]).await.unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::PlanInvalid));
        assert!(refused.message().contains(field), "{refused}");
    }
}

#[tokio::test]
async fn a_superseded_epoch_starts_and_ends_nothing() {
    let wire = Wire::new().await;
    wire.record.begin(5).await;
    wire.provision(&fence(5), 1, vec![role("worker", "sleep 1000")]).await.unwrap();
    wire.record.begin(6).await;
    let refused =
        wire.provision(&fence(5), 2, vec![role("worker", "sleep 1000")]).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.reason()),
        (Code::FailedPrecondition, Some(Reason::EpochSuperseded))
    );
    let refused =
        within(wire.client.teardown(&fence(5), Incarnation(1), Duration::ZERO)).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::EpochSuperseded));
    assert_eq!(wire.memory.living(), ["orders/4/cluster/1/worker/0"]);
}

#[tokio::test]
async fn a_leader_that_is_superseded_in_the_middle_starts_nothing_and_the_next_one_may() {
    let wire = Wire::new().await;
    wire.record.begin(5).await;
    wire.record.backend.set_read_only(true);
    let first = tokio::spawn({
        let client = wire.client.clone();
        async move {
            let plan = vec![role("worker", "sleep 1000")];
            let answers = client.provision(&fence(5), Incarnation(1), gated(plan), "").await?;
            let mut answers = Box::pin(answers);
            while let Some(answer) = answers.next().await {
                answer?;
            }
            Ok::<(), client::error::CallError>(())
        }
    });
    while within(wire.client.list_processes(None)).await.unwrap().is_empty() {}
    wire.record.begin(6).await;
    wire.record.backend.set_read_only(false);
    wire.advance_until("the first one is told", async || first.is_finished()).await;
    let refused = within(first).await.unwrap().unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::EpochSuperseded));
    assert!(wire.memory.living().is_empty());
    wire.provision(&fence(6), 1, vec![role("worker", "sleep 1000")]).await.unwrap();
    assert_eq!(wire.memory.living(), ["orders/4/cluster/1/worker/0"]);
}

#[tokio::test]
async fn a_role_that_exits_before_it_is_ready_is_named_with_its_exit() {
    let wire = Wire::new().await;
    let refused =
        wire.provision(&fence(1), 1, vec![role("worker", "echo no; exit 3")]).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.reason()),
        (Code::FailedPrecondition, Some(Reason::RoleExited))
    );
    assert!(
        refused.message().contains("worker-0") && refused.message().contains("exit code 3"),
        "{refused}"
    );
    let program = Role { command: vec!["/nonexistent".into()], ..role("worker", "") };
    let refused = wire.provision(&fence(1), 2, vec![program]).await.unwrap_err();
    assert!(refused.message().contains("not started: cannot start /nonexistent"), "{refused}");
}

#[tokio::test]
async fn a_role_that_is_never_ready_is_given_up_by_name() {
    let wire = Wire::new().await;
    let key = "orders/4/cluster/1/worker/0";
    let never = Role {
        readiness: Some(proto::engine::Readiness {
            timeout: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
            probe: None,
        }),
        ..role("worker", "sleep 1000")
    };
    wire.memory.set_answering_at_start(false);
    let provision = tokio::spawn({
        let client = wire.client.clone();
        async move {
            let answers =
                client.provision(&fence(1), Incarnation(1), gated(vec![never]), "").await.unwrap();
            let mut answers = Box::pin(answers);
            loop {
                if let Err(error) = answers.next().await.unwrap() {
                    return error;
                }
            }
        }
    });
    wire.until("it runs", async || wire.memory.living() == [key]).await;
    while !provision.is_finished() {
        wire.clock.advance(Duration::from_millis(500));
        tokio::task::yield_now().await;
    }
    let refused = within(provision).await.unwrap();
    assert_eq!(
        (refused.code(), refused.reason()),
        (Code::DeadlineExceeded, Some(Reason::RoleNotReady))
    );
    assert!(refused.message().contains("worker-0"), "{refused}");
    assert_eq!(wire.memory.living(), Vec::<String>::new(), "it is ended");
}

#[tokio::test]
async fn a_plan_that_contradicts_itself_is_refused_by_field_before_anything_is_started() {
    let wire = Wire::new().await;
    let unset = Role { restart: RestartPolicy::Unspecified.into(), ..role("worker", "sleep 1000") };
    for (plan, field) in [
        (vec![], "roles"),
        (vec![unset], "roles[0].restart"),
        (vec![role("W", "")], "roles[0].name"),
    ] {
        let refused = wire.provision(&fence(1), 1, plan).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.reason()),
            (Code::InvalidArgument, Some(Reason::PlanInvalid))
        );
        assert!(refused.message().contains(field), "{refused}");
    }
    assert!(wire.memory.living().is_empty());
}

#[tokio::test]
async fn a_watch_tells_of_a_death_and_of_the_end() {
    let wire = Wire::new().await;
    wire.provision(&fence(1), 1, vec![role("worker", "sleep 1000")]).await.unwrap();
    let mut watch =
        Box::pin(wire.client.watch_cluster(&application(), Incarnation(1)).await.unwrap());
    let now = within(watch.next()).await.unwrap().unwrap();
    assert_eq!((now.roles[0].state(), now.failed, now.gone), (RoleState::Ready, false, false));
    wire.memory.crash("orders/4/cluster/1/worker/0", Exit { signal: Some(9), ..Exit::default() });
    let failed = loop {
        let answer = within(watch.next()).await.unwrap().unwrap();
        if answer.failed {
            break answer;
        }
    };
    assert_eq!(
        (failed.roles[0].state(), failed.roles[0].exit.as_str()),
        (RoleState::Exited, "signal 9")
    );
    let left =
        within(wire.client.teardown(&fence(1), Incarnation(1), Duration::ZERO)).await.unwrap();
    assert_eq!(left, Vec::<String>::new());
    let mut gone = false;
    while let Some(answer) = within(watch.next()).await {
        gone = answer.unwrap().gone;
    }
    assert!(gone, "the last answer says so, and the stream ends");
    let mut unknown =
        Box::pin(wire.client.watch_cluster(&application(), Incarnation(9)).await.unwrap());
    assert!(within(unknown.next()).await.unwrap().unwrap().gone);
}

#[tokio::test]
async fn a_role_that_ends_at_once_is_given_no_grace_and_the_others_are() {
    let wire = Wire::new().await;
    let helper = Role { serves_jobs: false, ends_at_once: true, ..role("helper", "sleep 1000") };
    wire.provision(&fence(1), 1, vec![role("worker", "sleep 1000"), helper]).await.unwrap();
    let mut watch =
        Box::pin(wire.client.watch_cluster(&application(), Incarnation(1)).await.unwrap());
    within(watch.next()).await.unwrap().unwrap();
    within(wire.client.teardown(&fence(1), Incarnation(1), Duration::from_secs(5))).await.unwrap();
    let mut exits = std::collections::BTreeMap::new();
    while let Some(answer) = within(watch.next()).await {
        let exited = answer.unwrap().roles.into_iter().filter(|role| !role.exit.is_empty());
        exits.extend(exited.map(|role| (role.role, role.exit)));
    }
    let expected = [("helper", "signal 9"), ("worker", "signal 15")];
    assert_eq!(exits, expected.map(|(role, exit)| (role.to_owned(), exit.to_owned())).into());
}

#[tokio::test]
async fn a_role_that_is_always_restarted_is() {
    let wire = Wire::new().await;
    let always = Role { restart: RestartPolicy::Always.into(), ..role("worker", "sleep 1000") };
    wire.provision(&fence(1), 1, vec![always]).await.unwrap();
    let key = "orders/4/cluster/1/worker/0";
    assert!(wire.memory.crash(key, Exit { code: Some(1), ..Exit::default() }));
    let started_again = async || {
        let processes = wire.client.list_processes(None).await.unwrap();
        let status = processes[0].status.clone().unwrap();
        status.starts == 2 && status.state() == RoleState::Ready
    };
    while !within(started_again()).await {
        wire.clock.advance(Duration::from_millis(50));
    }
}

#[tokio::test]
async fn an_incarnation_that_the_record_does_not_have_changes_nothing() {
    let wire = Wire::new().await;
    wire.provision(&fence(1), 1, vec![role("worker", "sleep 1000")]).await.unwrap();
    let plan = vec![role("worker", "sleep 1000")];
    let asked = within(wire.client.provision(&fence(1), Incarnation(7), gated(plan), "")).await;
    let refused = asked.map(drop).unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::IncarnationSuperseded));
    assert_eq!(wire.memory.living(), ["orders/4/cluster/1/worker/0"], "the lower one goes on");
}

#[tokio::test]
async fn a_process_of_a_superseded_incarnation_is_not_started_again() {
    let wire = Wire::new().await;
    let always = Role { restart: RestartPolicy::Always.into(), ..role("worker", "sleep 1000") };
    wire.provision(&fence(1), 1, vec![always]).await.unwrap();
    let mut watch =
        Box::pin(wire.client.watch_cluster(&application(), Incarnation(1)).await.unwrap());
    within(watch.next()).await.unwrap().unwrap();
    // The leader has begun another incarnation, and has not asked for its processes yet.
    wire.record.incarnation(2).await;
    let key = "orders/4/cluster/1/worker/0";
    assert!(wire.memory.crash(key, Exit { code: Some(1), ..Exit::default() }));
    let given_up =
        tokio::spawn(async move { while !watch.next().await.unwrap().unwrap().failed {} });
    wire.advance_until("it is given up", async || given_up.is_finished()).await;
    assert!(wire.memory.living().is_empty());
    let processes = within(wire.client.list_processes(None)).await.unwrap();
    assert_eq!(processes[0].status.as_ref().unwrap().starts, 1);
}

#[tokio::test]
async fn a_role_that_is_always_restarted_may_say_that_the_cluster_cannot_go_on() {
    let wire = Wire::new().await;
    let always = Role {
        restart: RestartPolicy::Always.into(),
        fatal_exit_codes: vec![3],
        ..role("worker", "sleep 1000")
    };
    wire.provision(&fence(1), 1, vec![always]).await.unwrap();
    assert!(
        wire.memory.crash("orders/4/cluster/1/worker/0", Exit { code: Some(3), ..Exit::default() })
    );
    let mut watch =
        Box::pin(wire.client.watch_cluster(&application(), Incarnation(1)).await.unwrap());
    while !within(watch.next()).await.unwrap().unwrap().failed {}
}

#[tokio::test]
async fn a_teardown_ends_exactly_one_incarnation_after_its_output_is_kept() {
    let wire = Wire::new().await;
    wire.provision(&fence(1), 1, vec![role("worker", "echo last words; sleep 1000")])
        .await
        .unwrap();
    assert_eq!(
        within(wire.client.teardown(&fence(1), Incarnation(7), Duration::ZERO)).await.unwrap(),
        [""; 0]
    );
    assert_eq!(wire.memory.living().len(), 1, "another incarnation");
    for _ in 0..2 {
        assert_eq!(
            within(wire.client.teardown(&fence(1), Incarnation(1), Duration::ZERO)).await.unwrap(),
            [""; 0]
        );
        assert!(wire.memory.living().is_empty());
        assert!(wire.record.keys().await.is_empty(), "no record is left");
    }
    let source = LogSource::new(&laws::order(1, "").slot, 1);
    assert_eq!(wire.record.log(&source).await, (b"last words\n".to_vec(), true));
    assert_eq!(wire.memory.outbox().await, [], "what is in the record waits for nobody");
    let refused =
        wire.provision(&fence(1), 1, vec![role("worker", "sleep 1000")]).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::IncarnationSuperseded), "it does not come back");
}

#[tokio::test]
async fn while_the_record_is_away_nothing_is_started_and_callers_are_told_to_wait() {
    let wire = Wire::new().await;
    wire.provision(&fence(1), 1, vec![role("worker", "sleep 1000")]).await.unwrap();
    wire.record.backend.set_away(true);
    let refused =
        wire.provision(&fence(1), 2, vec![role("worker", "sleep 1000")]).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.reason()),
        (Code::Unavailable, Some(Reason::StoreUnavailable))
    );
    assert!(
        refused.is_retryable() && !refused.may_have_happened() && refused.retry_after().is_some()
    );
    assert_eq!(wire.memory.living(), ["orders/4/cluster/1/worker/0"]);
}

#[tokio::test]
async fn every_method_opens_for_whom_the_table_says_and_for_their_own_application() {
    let wire = Wire::new().await;
    let clock: chassis::clock::SharedClock = std::sync::Arc::new(chassis::clock::SystemClock);
    let service = "mainspring.lifecycle.v1.LifecycleService";
    let tried =
        trespass::walk(&wire.channel(), &clock, service, wire::mint, Kind::Deployment).await;
    trespass::assert_lawful(&tried, &[]);
}

#[tokio::test]
async fn a_lifecycle_that_was_killed_goes_on_where_it_was() {
    let wire = Wire::new().await;
    wire.provision(&fence(1), 1, vec![role("worker", "echo before; sleep 1000")]).await.unwrap();
    within(wire.client.provision_contenders(contenders(2, "sleep 1000"))).await.unwrap();
    wire.until("all run", async || wire.memory.living().len() == 3).await;
    let before = within(wire.client.list_processes(None)).await.unwrap();
    let wire = wire.killed_and_started_again();
    // A contender died while lifecycle was away.
    wire.memory
        .crash("orders/4/contender/1/contender/0", Exit { signal: Some(9), ..Exit::default() });
    let ready = wire.provision(&fence(1), 1, vec![role("worker", "sleep 1000")]).await.unwrap();
    assert_eq!(
        Some(ready.roles[0].pid),
        before[0].status.as_ref().map(|status| status.pid),
        "the same process"
    );
    wire.advance_until("the contender is started again", async || wire.memory.living().len() == 3)
        .await;
    wire.memory.crash("orders/4/cluster/1/worker/0", Exit { code: Some(2), ..Exit::default() });
    let mut watch =
        Box::pin(wire.client.watch_cluster(&application(), Incarnation(1)).await.unwrap());
    while !within(watch.next()).await.unwrap().unwrap().failed {}
    assert_eq!(
        within(wire.client.teardown(&fence(1), Incarnation(1), Duration::ZERO)).await.unwrap(),
        [""; 0]
    );
    let source = LogSource::new(&laws::order(1, "").slot, 1);
    assert_eq!(wire.record.log(&source).await, (b"before\n".to_vec(), true), "each byte once");
}

#[tokio::test]
async fn the_memory_substrate_obeys_the_laws() {
    let memory = memory::Memory::new();
    let subject = laws::Subject {
        substrate: std::sync::Arc::new(memory.clone()),
        another: std::sync::Arc::new(memory),
        clock: std::sync::Arc::new(chassis::clock::SystemClock),
    };
    laws::all(&subject).await;
}
