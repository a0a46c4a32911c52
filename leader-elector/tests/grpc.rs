//! Through the wire: contenders with the real client, and an elector over a unix socket with the
//! embedded backend.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "grpc/crash.rs"]
mod crash;
#[path = "grpc/host.rs"]
mod host;
#[path = "grpc/hosts.rs"]
mod hosts;

use std::fs::File;

use chassis::clock::Clock as _;
use chassis::credential::{Kind, Principal};
use client::election::Lease;
use futures::StreamExt as _;
use host::{Host, LEASE, app, candidacy, clock, soon};
use proto::election::campaign_request::Message as Said;
use proto::election::campaign_response::Message as Answered;
use proto::election::election_service_client::ElectionServiceClient;
use proto::election::{CampaignRequest, Enter, Renew};
use proto::{Epoch, Reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Not a test, but the process that `Host::in_a_child` starts.
#[tokio::test]
#[ignore = "serves for the tests that kill it"]
async fn child_that_serves() {
    host::serve_as_child().await;
}

#[tokio::test]
async fn a_standby_sees_the_leader_and_succeeds_at_once_when_it_resigns() {
    let host = Host::here().await;
    let first = host.elect(candidacy("carriers", "runner-0")).await;
    assert_eq!((first.previous_epoch(), first.cause()), (None, ""));

    let campaign = host.election().campaign(candidacy("carriers", "runner-1"));
    let mut standby = campaign.standby();
    let seen = soon(standby.wait_for(Option::is_some)).await.unwrap().clone().unwrap();
    assert_eq!((seen.holder.as_str(), seen.epoch), ("runner-0", first.epoch()));

    let began = clock().boot();
    assert!(first.resign().await, "durable");
    let second = soon(campaign.elected()).await.unwrap();
    assert!(clock().boot().saturating_duration_since(began) < LEASE, "nobody waits for a lease");
    assert!(second.epoch() > first.epoch());
    assert_eq!((second.previous_epoch(), second.cause()), (Some(first.epoch()), "resigned"));
    assert_eq!(soon(first.lost()).await, "resigned");
    assert!(
        !host.election().resign(&first.fence(), "runner-0").await.unwrap(),
        "no longer held: no error"
    );
}

#[tokio::test]
async fn the_deadline_is_three_quarters_of_a_lease_ahead_and_grows_while_the_holder_lives() {
    let host = Host::here().await;
    let before = clock().boot();
    let leadership = host.elect(candidacy("carriers", "runner-0")).await;
    let mut deadline = leadership.deadline();
    let first = *deadline.borrow_and_update();
    assert!(
        first > before && first <= clock().boot() + LEASE * 3 / 4,
        "counted from a sending that is past"
    );
    let standby = host.election().campaign(candidacy("carriers", "runner-1"));
    soon(deadline.wait_for(|now| *now > first + LEASE * 2)).await.unwrap();
    assert_eq!(*leadership.lease().borrow(), Lease::Until(*leadership.deadline().borrow()));
    let still = standby.standby().borrow().clone();
    assert_eq!(still.map(|leader| leader.epoch), Some(leadership.epoch()));
}

#[tokio::test]
async fn an_epoch_is_above_at_least_and_above_all_earlier_ones_also_of_another_generation() {
    let host = Host::here().await;
    let mut wanted = candidacy("carriers", "runner-0");
    wanted.at_least = Epoch(41);
    let first = host.elect(wanted).await;
    assert_eq!(first.epoch(), Epoch(42));
    assert!(first.resign().await);
    let mut next = candidacy("carriers", "runner-0");
    next.application.generation = proto::Generation(2);
    assert_eq!(host.elect(next).await.epoch(), Epoch(43));
    assert_eq!(
        host.elect(candidacy("other", "runner-0")).await.epoch(),
        Epoch(1),
        "applications are apart"
    );
}

#[tokio::test]
async fn a_dropped_leader_keeps_its_lease_while_its_lock_is_held_and_loses_it_early_once_that_is_free()
 {
    let host = Host::here().await;
    let path = host.path("main.lock");
    let lock = File::create(&path).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut locked = candidacy("carriers", "runner-0");
    locked.lock_file = Some(path);

    let held = host.elect(locked.clone()).await;
    let dropped = clock().boot();
    drop(held);
    let second = host.elect(locked).await;
    let waited = clock().boot().saturating_duration_since(dropped);
    assert!(waited >= LEASE / 2, "the lease was freed after {waited:?} although its lock was held");
    assert_eq!(second.cause(), "lease expired");

    drop(lock);
    drop(second);
    let third = host.elect(candidacy("carriers", "runner-2")).await;
    assert_eq!(third.cause(), "process gone");
}

#[tokio::test]
async fn a_leader_that_is_silent_on_an_open_stream_loses_its_lease() {
    let host = Host::here().await;
    let (say, requests) = mpsc::channel(8);
    let application = Some(app("carriers").into());
    let enter = Enter { application, holder: "hung".into(), ..Enter::default() };
    say.send(CampaignRequest { message: Some(Said::Enter(enter)) }).await.unwrap();
    let mut wire = ElectionServiceClient::new(host.channel(&Principal::Deployment));
    let mut answers = wire.campaign(ReceiverStream::new(requests)).await.unwrap().into_inner();
    let elected = loop {
        match soon(answers.message()).await.unwrap().unwrap().message {
            Some(Answered::Elected(elected)) => break elected,
            Some(Answered::Standby(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    let next = host.elect(candidacy("carriers", "runner-1")).await;
    assert_eq!(
        (next.previous_epoch(), next.cause()),
        (Some(Epoch(elected.epoch)), "lease expired")
    );
    let lost = soon(answers.message()).await.unwrap().unwrap().message;
    assert!(
        matches!(&lost, Some(Answered::Lost(lost)) if lost.cause == "lease expired"),
        "{lost:?}"
    );
    // The contender woke up too late, and its renewal changes nothing.
    let _ = say.send(CampaignRequest { message: Some(Said::Renew(Renew { sequence: 1 })) }).await;
    assert!(soon(answers.message()).await.unwrap().is_none(), "`Lost` was the last word");
}

#[tokio::test]
async fn an_observer_sees_the_present_state_first_and_then_each_change() {
    let host = Host::here().await;
    let id = app("carriers").id;
    let mut views = host.election().observe(&id).await.unwrap();
    assert_eq!(soon(views.next()).await.unwrap().unwrap(), client::election::View::default());
    let first = host.elect(candidacy("carriers", "runner-0")).await;
    let seen = soon(async {
        loop {
            let view = views.next().await.unwrap().unwrap();
            if let Some(leader) = view.leader {
                return (leader, view.since);
            }
        }
    })
    .await;
    assert_eq!((seen.0.holder.as_str(), seen.0.epoch), ("runner-0", first.epoch()));
    assert!(
        seen.1.is_some_and(|since| since.seconds > 1_600_000_000),
        "since when, by the wall clock"
    );
    assert!(first.resign().await);
    soon(async { while views.next().await.unwrap().unwrap().leader.is_some() {} }).await;
}

#[tokio::test]
async fn every_method_opens_for_contenders_of_the_application_and_for_nobody_else() {
    let host = Host::here().await;
    let channel = host.channel(&Principal::Deployment);
    let service = "mainspring.election.v1.ElectionService";
    let tried =
        trespass::walk(&channel, &clock(), service, |who| host.mint(who), Kind::Deployment).await;
    trespass::assert_lawful(&tried, &[]);
}

#[tokio::test]
async fn a_contender_campaigns_for_its_own_application_and_what_is_malformed_is_named() {
    let host = Host::here().await;
    let contender = |id: &str| Principal::Contender { application: id.into(), generation: 1 };
    let of = |id: &str| client::election::Election::new(host.channel(&contender(id)), clock());
    let refused = soon(of("others").campaign(candidacy("carriers", "runner-0")).elected()).await;
    assert_eq!(refused.err().unwrap().code(), tonic::Code::PermissionDenied);
    assert!(of("others").observe(&app("carriers").id).await.is_err());
    let elected =
        soon(of("carriers").campaign(candidacy("carriers", "runner-0")).elected()).await.unwrap();
    assert!(of("carriers").observe(&app("carriers").id).await.is_ok());
    assert!(elected.resign().await);

    let mut relative = candidacy("carriers", "runner-0");
    relative.lock_file = Some("main.lock".into());
    for (wanted, field) in
        [(candidacy("carriers", ""), "enter.holder"), (relative, "enter.lock_file")]
    {
        let error = soon(host.election().campaign(wanted).elected()).await.err().unwrap();
        assert_eq!(
            (error.code(), error.reason()),
            (tonic::Code::InvalidArgument, Some(Reason::RequestInvalid))
        );
        let fields = proto::Problem::from_status(error.status()).fields;
        assert_eq!(fields.first().map(|violation| violation.path.as_str()), Some(field));
    }
}

#[tokio::test]
async fn a_shutdown_ends_all_streams_and_the_leader_goes_on_with_its_epoch_afterwards() {
    let mut host = Host::here().await;
    let leadership = host.elect(candidacy("carriers", "runner-0")).await;
    let standby = host.election().campaign(candidacy("carriers", "runner-1"));
    host.until_queued("carriers", "runner-1").await;
    host.stop().await;
    let stopped_at = clock().boot();
    host.start_here().await;
    let mut deadline = leadership.deadline();
    soon(deadline.wait_for(|now| *now > stopped_at + LEASE * 2))
        .await
        .expect("resumed, and renewed again");
    let seen = standby.standby().borrow().clone().unwrap();
    assert_eq!((seen.holder.as_str(), seen.epoch), ("runner-0", leadership.epoch()));
}

#[tokio::test]
async fn a_holder_whose_loop_hangs_loses_its_lease_although_its_process_lives() {
    let host = Host::here().await;
    let leadership = host.elect(candidacy("carriers", "runner-0")).await;
    let mut pulse = leadership.pulse();
    let turned_until = clock().boot() + LEASE * 2;
    while clock().boot() < turned_until {
        soon(pulse.due()).await;
    }
    assert!(
        matches!(*leadership.lease().borrow(), Lease::Until(_)),
        "it turned, and kept its lease"
    );
    assert_eq!(soon(leadership.lost()).await, "lease expired");
    let next = host.elect(candidacy("carriers", "runner-1")).await;
    assert_eq!(next.cause(), "lease expired");
}
