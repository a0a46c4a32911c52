use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Boot {
    Boot::from_nanos(seconds * 1_000_000_000)
}

fn running(grace: Duration, deadline: Option<Boot>) -> Leash {
    let mut leash = Leash::new(grace, at(0));
    leash.claimed(1, deadline);
    leash.phase = Phase::Running;
    leash
}

#[test]
fn unclaimed_it_leaves_after_a_minute_and_not_while_somebody_is_connected() {
    let mut leash = Leash::new(Duration::ZERO, at(0));
    assert_eq!((leash.decide(at(59)), leash.wake_at()), (Action::Wait, at(60)));
    assert_eq!(leash.decide(at(60)), Action::Leave);
    leash.claimed(1, None);
    assert_eq!(leash.decide(at(1000)), Action::Wait);
    leash.disconnected(1, at(1000));
    assert_eq!((leash.decide(at(1001)), leash.wake_at()), (Action::Wait, at(1060)));
}

#[test]
fn without_grace_a_broken_ownership_kills_at_once_and_with_grace_it_asks_first() {
    let mut main = running(Duration::ZERO, None);
    assert_eq!(main.decide(at(5)), Action::Wait);
    main.disconnected(1, at(5));
    assert_eq!(main.decide(at(5)), Action::Kill);
    let mut role = running(60 * SECOND, None);
    role.disconnected(1, at(5));
    assert_eq!((role.decide(at(64)), role.wake_at()), (Action::Wait, at(65)));
    assert_eq!(role.decide(at(65)), Action::Terminate);
    role.terminated();
    assert_eq!((role.decide(at(66)), role.wake_at()), (Action::Wait, at(67)));
    assert_eq!(role.decide(at(67)), Action::Kill);
}

#[test]
fn a_new_owner_within_the_grace_keeps_the_tree_and_the_late_end_of_the_old_one_means_nothing() {
    let mut leash = running(60 * SECOND, None);
    leash.disconnected(1, at(5));
    leash.claimed(2, None);
    assert_eq!(leash.decide(at(500)), Action::Wait);
    leash.claimed(3, None);
    leash.disconnected(2, at(501));
    assert_eq!(leash.decide(at(900)), Action::Wait);
}

#[test]
fn past_the_deadline_the_tree_freezes_and_a_later_one_thaws_it() {
    let mut leash = running(Duration::ZERO, Some(at(10)));
    assert_eq!((leash.decide(at(9)), leash.wake_at()), (Action::Wait, at(10)));
    assert_eq!(leash.decide(at(10)), Action::Freeze);
    leash.frozen = true;
    assert_eq!(leash.decide(at(11)), Action::Wait);
    leash.deadline = Some(at(20));
    assert_eq!(leash.decide(at(12)), Action::Thaw);
    leash.frozen = false;
    assert_eq!(leash.wake_at(), at(20));
}

#[test]
fn a_tree_that_is_stopped_in_part_is_thawed_when_the_deadline_moves_before_all_of_it_is() {
    let mut leash = running(Duration::ZERO, Some(at(10)));
    assert_eq!(leash.decide(at(10)), Action::Freeze);
    assert_eq!(leash.decide(at(11)), Action::Freeze, "something could not be stopped yet");
    leash.deadline = Some(at(20));
    assert_eq!(leash.decide(at(12)), Action::Thaw);
    assert_eq!((leash.decide(at(12)), leash.wake_at()), (Action::Wait, at(20)));
}

#[test]
fn a_frozen_tree_is_not_asked_to_end() {
    let mut leash = running(Duration::ZERO, Some(at(10)));
    leash.frozen = true;
    leash.end(5 * SECOND, at(11));
    assert_eq!(leash.decide(at(11)), Action::Kill);
}

#[test]
fn an_earlier_kill_is_not_put_off() {
    let mut leash = running(Duration::ZERO, None);
    leash.end(2 * SECOND, at(1));
    leash.end(60 * SECOND, at(2));
    leash.terminated();
    assert_eq!(leash.decide(at(3)), Action::Kill);
}

#[test]
fn what_outlives_the_child_is_killed() {
    let mut leash = running(60 * SECOND, None);
    leash.exited();
    assert_eq!(leash.decide(at(1)), Action::Kill);
}

#[test]
fn an_exit_is_seen_only_by_an_owner_that_stays() {
    let mut stays = running(Duration::ZERO, None);
    assert_eq!(stays.exited(), Some(1));
    stays.phase = Phase::Ended(at(5));
    assert_eq!((stays.decide(at(5)), stays.wake_at()), (Action::Wait, at(5) + SETTLE));
    assert_eq!(stays.decide(at(5) + SETTLE), Action::Settle);
    let mut killed = running(Duration::ZERO, None);
    killed.exited();
    killed.phase = Phase::Ended(at(5));
    killed.disconnected(1, at(5));
    assert_eq!(killed.decide(at(6)), Action::Wait);
    killed.claimed(2, None);
    assert_eq!(killed.decide(at(7)), Action::Wait, "a later owner has not seen it");
}

#[test]
fn an_owner_that_comes_while_an_abandoned_tree_is_ended_has_not_seen_why() {
    let mut leash = running(Duration::ZERO, None);
    leash.disconnected(1, at(5));
    assert_eq!(leash.decide(at(5)), Action::Kill);
    leash.claimed(2, None);
    assert_eq!(leash.exited(), None);
}

#[test]
fn an_ended_tether_leaves_when_released_or_forgotten() {
    let mut leash = running(90 * SECOND, None);
    leash.phase = Phase::Ended(at(5));
    assert_eq!(leash.decide(at(1000)), Action::Wait, "its owner is connected");
    leash.disconnected(1, at(1000));
    assert_eq!((leash.decide(at(1089)), leash.wake_at()), (Action::Wait, at(1090)));
    assert_eq!(leash.decide(at(1090)), Action::Leave);
    leash.release();
    assert_eq!(leash.decide(at(1001)), Action::Leave);
}

#[test]
fn a_dismissed_tether_tells_its_owner_the_exit_and_waits_for_nobody_else() {
    let mut leash = running(90 * SECOND, None);
    leash.dismiss();
    leash.exited();
    leash.phase = Phase::Ended(at(5));
    assert_eq!((leash.decide(at(5)), leash.wake_at()), (Action::Wait, at(5) + SETTLE));
    assert_eq!(leash.decide(at(5) + SETTLE), Action::Settle);
    leash.disconnected(1, at(5));
    assert_eq!(leash.decide(at(5)), Action::Leave);
}

#[test]
fn nothing_is_started_past_the_deadline() {
    let mut leash = running(Duration::ZERO, Some(at(5)));
    leash.phase = Phase::Locking(at(10));
    assert!(leash.may_start(at(4)));
    assert!(!leash.may_start(at(5)));
    leash.deadline = Some(at(9));
    assert!(leash.may_start(at(6)));
    assert!(matches!(leash.decide(at(10)), Action::GiveUp(why) if why.contains("lease")));
}

#[test]
fn a_lock_that_stays_held_is_given_up() {
    let mut leash = running(Duration::ZERO, None);
    leash.phase = Phase::Locking(at(10));
    assert_eq!(leash.decide(at(9)), Action::Wait);
    assert!(matches!(leash.decide(at(10)), Action::GiveUp(_)));
    leash.disconnected(1, at(1));
    assert!(matches!(leash.decide(at(1)), Action::GiveUp(_)));
}
