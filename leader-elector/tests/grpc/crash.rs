//! kill -9 of an elector that is a process of its own, with the embedded backend on a real disk.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chassis::clock::Clock as _;
use proto::Epoch;

use crate::host::{Host, LEASE, candidacy, clock, soon};

#[tokio::test]
async fn a_holder_resumes_its_epoch_after_kill_9_of_the_elector_and_nobody_overtakes_it() {
    let mut host = Host::in_a_child().await;
    let leadership = host.elect(candidacy("carriers", "runner-0")).await;
    let standby = host.election().campaign(candidacy("carriers", "runner-1"));
    host.until_queued("carriers", "runner-1").await;
    for _ in 0..3 {
        host.kill();
        let killed_at = clock().boot();
        host.start_child().await;
        soon(leadership.deadline().wait_for(|now| *now > killed_at + LEASE))
            .await
            .expect("resumed and renewed");
    }
    soon(standby.standby().wait_for(Option::is_some)).await.unwrap();
    let seen = standby.standby().borrow().clone().unwrap();
    assert_eq!((seen.holder.as_str(), seen.epoch), ("runner-0", leadership.epoch()));
}

#[tokio::test]
async fn after_kill_9_only_an_application_with_an_unresigned_holder_waits_a_lease() {
    let mut host = Host::in_a_child().await;
    let gone = host.elect(candidacy("held", "runner-0")).await;
    let resigned = host.elect(candidacy("resigned", "runner-0")).await;
    assert!(resigned.resign().await);
    host.kill();
    let (gone_epoch, resigned_epoch) = (gone.epoch(), resigned.epoch());
    drop(gone);
    let restarted_at = clock().boot();
    host.start_child().await;

    let (free, fresh) = tokio::join!(
        host.elect(candidacy("resigned", "runner-1")),
        host.elect(candidacy("fresh", "runner-1"))
    );
    assert!(free.epoch() > resigned_epoch);
    assert_eq!((free.cause(), fresh.epoch()), ("resigned", Epoch(1)));
    let next = host.elect(candidacy("held", "runner-1")).await;
    let waited = clock().boot().saturating_duration_since(restarted_at);
    assert!(waited >= LEASE, "granted after {waited:?}, while the earlier holder might still act");
    assert!(next.epoch() > gone_epoch);
}

#[tokio::test]
async fn epochs_never_decrease_over_kill_9_at_any_moment() {
    let mut host = Host::in_a_child().await;
    let mut highest = Epoch(0);
    for round in 0_u64..8 {
        // Leaders come and resign as fast as they can, and the elector dies somewhere in between.
        let election = host.election();
        let restarted = AtomicBool::new(false);
        let run = async {
            let mut epochs = Vec::new();
            loop {
                let last = restarted.load(Ordering::Relaxed);
                let campaign = election.campaign(candidacy("carriers", &format!("r{round}")));
                let leadership = soon(campaign.elected()).await.unwrap();
                epochs.push(leadership.epoch());
                // The resignation is `false` where the answer was lost in the crash. Durable or
                // not, the next epoch has to be higher.
                let _ = leadership.resign().await;
                if last {
                    return epochs;
                }
            }
        };
        let (epochs, ()) = tokio::join!(run, async {
            clock().sleep(Duration::from_millis(40 + 17 * round)).await;
            host.kill();
            host.start_child().await;
            restarted.store(true, Ordering::Relaxed);
        });
        for epoch in epochs {
            assert!(epoch > highest, "{epoch} after {highest} in round {round}");
            highest = epoch;
        }
    }
    assert!(highest > Epoch(8), "the elector was killed while it worked");
}

#[tokio::test]
async fn a_grant_that_reached_the_disk_and_nobody_else_is_never_given_again() {
    for (point, epoch, previous) in [
        ("elector.before-grant", Epoch(1), None),
        ("elector.after-grant", Epoch(2), Some(Epoch(1))),
    ] {
        let mut host = Host::in_a_child_that_dies_at(point).await;
        let campaign = host.election().campaign(candidacy("carriers", "runner-0"));
        host.dies().await;
        host.start_child().await;
        let leadership = soon(campaign.elected()).await.unwrap();
        assert_eq!((leadership.epoch(), leadership.previous_epoch()), (epoch, previous), "{point}");
    }
}
