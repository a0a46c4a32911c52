//! A crash after every arrow: the next leader goes on from what the record says.

use super::world::{Led, World};
use super::*;

pub(super) const NEVER: usize = usize::MAX;

/// The orders in which things that are wanted at once may come to happen.
pub(super) const ORDERS: [fn(usize) -> usize; 3] =
    [|_| 0, |_| usize::MAX - 7, |step| step.wrapping_mul(0x9E37_79B9) >> 7];

/// How many steps an undisturbed run takes.
pub(super) fn length(world: &World, order: fn(usize) -> usize) -> usize {
    (0..1000).find(|&steps| world.clone().lead(1, steps, order) != Led::Crashed).unwrap()
}

/// What holds at the end of every run, however many leaders the run took.
pub(super) fn check(world: &World, outcome: Outcome, context: &str) {
    assert_eq!(world.application_ends, [outcome], "one end: {context}");
    assert!(world.record.clean, "{context}");
    assert!(world.ends.values().all(|&times| times == 1), "an ended job ran again: {context}");
    if outcome == Outcome::Succeeded {
        assert_eq!(world.ends.len(), 2, "{context}");
    }
}

#[test]
fn an_undisturbed_run_ends_once_in_any_order_of_what_happens_at_once() {
    for (code, outcome) in [(0, Outcome::Succeeded), (3, Outcome::Failed)] {
        for order in ORDERS {
            let mut world = World::default();
            world.exit_code = code;
            assert_eq!(world.lead(1, NEVER, order), Led::Left(Leave::Clean(outcome)));
            assert_eq!(world.executions, 1);
            check(&world, outcome, "undisturbed");
        }
    }
}

#[test]
fn a_leader_may_be_lost_after_any_step_alone_or_with_its_cluster() {
    let mut runs = 0;
    for order in ORDERS {
        for steps in 0..length(&World::default(), order) {
            for with_cluster in [false, true] {
                let mut world = World::default();
                assert_eq!(world.lead(1, steps, order), Led::Crashed);
                world.crash(with_cluster);
                assert_eq!(
                    world.lead(2, NEVER, order),
                    Led::Left(Leave::Clean(Outcome::Succeeded))
                );
                assert!(world.executions <= 2);
                check(
                    &world,
                    Outcome::Succeeded,
                    &format!("lost after step {steps}, cluster too: {with_cluster}"),
                );
                runs += 1;
            }
        }
    }
    assert!(runs > 100, "the run is too short to mean anything: {runs}");
}

#[test]
fn where_what_is_lost_is_final_no_job_is_begun_twice() {
    let mut lost = 0;
    for order in ORDERS {
        for steps in 0..length(&World::default(), order) {
            let mut world = World::default();
            world.record.lost_is_final = true;
            assert_eq!(world.lead(1, steps, order), Led::Crashed);
            world.crash(true);
            let context = format!("lost with its cluster after step {steps}");
            assert!(matches!(world.lead(2, NEVER, order), Led::Left(Leave::Clean(_))), "{context}");
            assert!(world.begun.values().all(|&times| times == 1), "{context}: {:?}", world.begun);
            assert_eq!(world.application_ends.len(), 1, "{context}");
            let outcomes = world.record.jobs.values().filter_map(|job| job.end.as_ref());
            lost += outcomes.filter(|end| end.outcome == JobOutcome::Lost).count();
        }
    }
    assert!(lost > 0, "no job was ever lost");
}

#[test]
fn two_leaders_may_be_lost_after_any_steps() {
    let order = ORDERS[2];
    let length = length(&World::default(), order);
    for first in 0..length {
        for second in 0..length {
            let mut world = World::default();
            world.lead(1, first, order);
            world.crash(false);
            if world.lead(2, second, order) == Led::Crashed {
                world.crash(true);
                assert_eq!(
                    world.lead(3, NEVER, order),
                    Led::Left(Leave::Clean(Outcome::Succeeded))
                );
            }
            check(&world, Outcome::Succeeded, &format!("lost after {first}, then after {second}"));
        }
    }
}

#[test]
fn a_cancel_that_was_acknowledged_outlives_the_leader() {
    let order = ORDERS[0];
    for steps in 0..length(&World::default(), order) {
        let mut world = World::default();
        world.lead(1, steps, order);
        let late = world.record.terminal;
        world.cancel();
        world.crash(false);
        let outcome = if late { Outcome::Succeeded } else { Outcome::Cancelled };
        assert_eq!(
            world.lead(2, NEVER, order),
            Led::Left(Leave::Clean(outcome)),
            "cancelled after step {steps}"
        );
        check(&world, outcome, &format!("cancelled after step {steps}"));
    }
}

#[test]
fn a_cancel_may_come_at_any_step_and_nothing_outlives_the_end() {
    for order in ORDERS {
        for steps in 0..length(&World::default(), order) {
            let mut world = World::default();
            world.cancel_at = Some(steps);
            let Led::Left(Leave::Clean(outcome)) = world.lead(1, NEVER, order) else {
                panic!("cancelled at step {steps}")
            };
            check(&world, outcome, &format!("cancelled at step {steps}"));
        }
    }
}

#[test]
fn a_main_that_must_not_be_repeated_is_executed_once_at_most() {
    let order = ORDERS[0];
    for steps in 0..length(&World::default(), order) {
        let mut world = World::default();
        world.record.not_repeatable = true;
        world.lead(1, steps, order);
        world.crash(false);
        let Led::Left(Leave::Clean(outcome)) = world.lead(2, NEVER, order) else {
            panic!("after step {steps}")
        };
        assert!(world.executions <= 1, "after step {steps}");
        check(&world, outcome, &format!("lost after step {steps}"));
    }
}

#[test]
fn a_main_may_be_killed_at_any_step_and_nothing_else_notices() {
    let mut kills = 0;
    for order in ORDERS {
        for steps in 0..length(&World::default(), order) {
            let mut world = World::killed_at(steps);
            let first = world.lead(1, NEVER, order);
            let context = format!("killed at step {steps}");
            let done = Led::Left(Leave::Clean(Outcome::Succeeded));
            if world.record.main.kills > 0 {
                kills += 1;
                assert_eq!(first, Led::Left(Leave::MainKilled), "{context}");
                world.kill_at = None;
                assert_eq!(world.lead(2, NEVER, order), done, "{context}");
                assert_eq!((world.record.main.kills, world.executions), (1, 2), "{context}");
            } else {
                assert_eq!((first, world.executions), (done, 1), "{context}");
            }
            assert!(
                world.begun.values().all(|&times| times == 1),
                "a job was begun again: {context}"
            );
            check(&world, Outcome::Succeeded, &context);
        }
    }
    assert!(kills > 10, "main() was hardly ever killed: {kills}");
}

#[test]
fn a_main_that_was_killed_and_its_leader_lost_is_counted_once_at_most() {
    let order = ORDERS[0];
    let length = length(&World::default(), order);
    for kill in 0..length {
        for lost in kill..length {
            let mut world = World::killed_at(kill);
            let first = world.lead(1, lost, order);
            world.kill_at = None;
            world.crash(false);
            if first != Led::Left(Leave::Clean(Outcome::Succeeded)) {
                let context = format!("killed at step {kill}, lost after step {lost}");
                let second = world.lead(2, NEVER, order);
                assert_eq!(second, Led::Left(Leave::Clean(Outcome::Succeeded)), "{context}");
                assert!(world.record.main.kills <= 1 && world.executions <= 2, "{context}");
            }
        }
    }
}
