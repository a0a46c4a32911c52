#![allow(clippy::unwrap_used)]
use std::time::SystemTime;

use proto::api::{Condition, ConditionStatus, Desired, Leadership};

use super::*;

const NOW: Boot = Boot::from_nanos(1_000_000_000_000);

const MOMENT: Moment = Moment { boot: NOW, wall: SystemTime::UNIX_EPOCH };

/// A host with room for so many.
fn wanted(max_running: usize) -> Wanted {
    Wanted::new(Terms { max_running, share_by: "team".into() })
}

fn application(id: &str, clean: bool) -> Application {
    Application { application_id: id.into(), generation: 1, clean, ..Application::default() }
}

fn reference(id: &str) -> ApplicationRef {
    key(&application(id, false)).unwrap()
}

fn names(asks: &[Ask]) -> Vec<(String, bool)> {
    let mut names: Vec<_> =
        asks.iter().map(|ask| (ask.application.id.to_string(), ask.clean)).collect();
    names.sort();
    names
}

#[test]
fn contenders_are_kept_for_what_is_not_clean_and_ended_for_what_is() {
    let mut wanted = wanted(8);
    wanted.note(&application("runs", false), MOMENT);
    let asked = wanted.due(NOW);
    assert_eq!(names(&asked), [("runs".to_owned(), false)]);
    assert_eq!(wanted.due(NOW), [], "it is under way");
    wanted.answered(&asked[0], true, NOW);
    assert_eq!((wanted.due(NOW), wanted.next_due()), (vec![], None));
    wanted.note(&application("runs", true), MOMENT);
    let asked = wanted.due(NOW);
    assert_eq!(names(&asked), [("runs".to_owned(), true)]);
    assert_eq!(wanted.work(), Work { known: true, applications: 1, finished: 1 });
    wanted.answered(&asked[0], true, NOW);
    assert_eq!(wanted.work(), Work { known: true, applications: 0, finished: 1 });
}

#[test]
fn what_became_clean_while_contenders_were_asked_for_is_ended_next() {
    let mut wanted = wanted(8);
    wanted.note(&application("short", false), MOMENT);
    let asked = wanted.due(NOW);
    wanted.note(&application("short", true), MOMENT);
    wanted.answered(&asked[0], true, NOW);
    assert_eq!(names(&wanted.due(NOW)), [("short".to_owned(), true)]);
}

#[test]
fn a_new_wish_is_told_to_contenders_that_are_kept_already() {
    let mut wanted = wanted(8);
    wanted.note(&application("runs", false), MOMENT);
    let asked = wanted.due(NOW);
    wanted.answered(&asked[0], true, NOW);
    let desired = Some(proto::api::Desired { cancel: true, revision: 7, ..Default::default() });
    wanted.note(&Application { desired, ..application("runs", false) }, MOMENT);
    assert_eq!(wanted.due(NOW).iter().map(|ask| ask.wish).collect::<Vec<_>>(), [7]);
}

#[test]
fn a_refused_question_is_asked_again_later() {
    let mut wanted = wanted(8);
    wanted.note(&application("runs", false), MOMENT);
    let asked = wanted.due(NOW);
    wanted.answered(&asked[0], false, NOW);
    let due = wanted.next_due().unwrap();
    assert!(due > NOW && due <= NOW + LONGEST_PAUSE);
    assert_eq!(wanted.due(NOW), []);
    assert_eq!(wanted.due(due).len(), 1);
}

#[test]
fn a_snapshot_tells_what_is_gone_and_lifecycle_what_was_left_behind() {
    let mut wanted = wanted(8);
    wanted.note(&application("gone", false), MOMENT);
    wanted.note(&application("ended-unseen", false), MOMENT);
    let shown = [application("runs", false), application("of-an-older-store", true)];
    let seen: HashSet<_> = shown.iter().filter_map(|shown| wanted.see(shown, MOMENT)).collect();
    assert_eq!(seen, HashSet::from([reference("runs")]));
    wanted.snapshot_ended(&seen, vec![reference("left"), reference("ended-unseen")], NOW);
    let (over, goes_on) = (|name: &str| (name.to_owned(), true), ("runs".to_owned(), false));
    assert_eq!(names(&wanted.due(NOW)), [over("ended-unseen"), over("left"), goes_on]);
    assert_eq!(wanted.work().finished, 1, "one that was known to run has ended");
}

#[test]
fn in_doubt_everything_is_asked_for_again_but_not_as_a_part_of_its_trace() {
    let mut wanted = wanted(8);
    wanted.note(&application("runs", false), MOMENT);
    let first = wanted.due(NOW);
    wanted.answered(&first[0], true, NOW);
    wanted.doubt();
    let again = wanted.due(NOW);
    assert_eq!((first[0].traced, again[0].traced), (true, false));
}

/// An application that was submitted at this second of 1970.
fn submitted(id: &str, second: i64) -> Application {
    let submitted_at = Some(prost_types::Timestamp { seconds: second, nanos: 0 });
    Application { submitted_at, ..application(id, false) }
}

fn led(id: &str) -> Application {
    let leadership = Some(Leadership { epoch: 7, ordinal: 1, ..Leadership::default() });
    Application { leadership, ..application(id, false) }
}

fn cancelled(id: &str) -> Application {
    let desired = Some(Desired { cancel: true, revision: 7, ..Desired::default() });
    Application { desired, ..application(id, false) }
}

fn in_line(wanted: &Wanted, now: Boot) -> Vec<String> {
    wanted.queue(now).waiting.iter().map(|one| one.application.id.to_string()).collect()
}

#[test]
fn no_more_run_than_there_is_room_for_and_the_oldest_is_next() {
    let mut wanted = wanted(2);
    for (second, id) in [(3, "third"), (1, "first"), (4, "fourth"), (2, "second")] {
        wanted.note(&submitted(id, second), MOMENT);
    }
    let asked = wanted.due(NOW);
    assert_eq!(names(&asked), [("first".to_owned(), false), ("second".to_owned(), false)]);
    assert_eq!(in_line(&wanted, NOW), ["third", "fourth"]);
    assert_eq!((wanted.queue(NOW).running, wanted.work().applications), (2, 4));
    asked.iter().for_each(|ask| wanted.answered(ask, true, NOW));
    wanted.note(&application("first", true), MOMENT);
    let next = [("first".to_owned(), true), ("third".to_owned(), false)];
    assert_eq!(names(&wanted.due(NOW)), next);
    assert_eq!(in_line(&wanted, NOW), ["fourth"]);
}

#[test]
fn who_was_led_or_has_contenders_does_not_wait_again() {
    let mut wanted = wanted(1);
    let shown = [submitted("waits", 1), led("led"), submitted("kept", 2)];
    let seen: HashSet<_> = shown.iter().filter_map(|shown| wanted.see(shown, MOMENT)).collect();
    wanted.have_contenders(&HashSet::from([reference("kept")]));
    wanted.snapshot_ended(&seen, Vec::new(), NOW);
    assert_eq!(names(&wanted.due(NOW)), [("kept".to_owned(), false), ("led".to_owned(), false)]);
    assert_eq!(in_line(&wanted, NOW), ["waits"]);
}

#[test]
fn a_cancel_does_not_wait_for_others_to_end_but_for_other_cancels() {
    let mut wanted = wanted(1);
    wanted.note(&led("runs"), MOMENT);
    wanted.note(&cancelled("one"), MOMENT);
    wanted.note(&cancelled("two"), MOMENT);
    wanted.note(&submitted("waits", 1), MOMENT);
    let asked: Vec<_> = names(&wanted.due(NOW)).into_iter().map(|(id, _)| id).collect();
    assert_eq!(asked.len(), 2, "the one that runs and one of the cancelled: {asked:?}");
    let (ending, other) =
        if asked.contains(&"one".to_owned()) { ("one", "two") } else { ("two", "one") };
    assert_eq!(in_line(&wanted, NOW), ["waits"]);
    wanted.note(&application(ending, true), MOMENT);
    assert!(names(&wanted.due(NOW)).contains(&(other.to_owned(), false)));
    assert_eq!(in_line(&wanted, NOW), ["waits"], "room to be ended is no room to run");
}

#[test]
fn whose_deadline_passes_while_it_waits_is_ended() {
    let mut wanted = wanted(1);
    wanted.note(&led("runs"), MOMENT);
    let deadline_at = Some(prost_types::Timestamp { seconds: 60, nanos: 0 });
    wanted.note(&Application { deadline_at, ..submitted("late", 1) }, MOMENT);
    assert_eq!(names(&wanted.due(NOW)), [("runs".to_owned(), false)]);
    let passed = NOW + Duration::from_secs(60);
    assert_eq!(names(&wanted.due(passed)), [("late".to_owned(), false)]);
}

#[test]
fn one_whose_contenders_gave_up_takes_no_room() {
    let mut wanted = wanted(1);
    wanted.note(&led("broken"), MOMENT);
    wanted.note(&submitted("next", 1), MOMENT);
    assert_eq!(names(&wanted.due(NOW)), [("broken".to_owned(), false)]);
    let mut gave_up = led("broken");
    let condition = Condition { r#type: "ContendersRun".into(), ..Condition::default() };
    gave_up.conditions = vec![Condition { status: ConditionStatus::False.into(), ..condition }];
    wanted.note(&gave_up, MOMENT);
    assert_eq!(names(&wanted.due(NOW)), [("next".to_owned(), false)]);
}

#[test]
fn room_is_shared_by_the_label() {
    let mut wanted = wanted(2);
    let of = |team: &str, id: &str, second| {
        let labels = [("team".to_owned(), team.to_owned())].into();
        Application { labels, ..submitted(id, second) }
    };
    for (id, second) in [("a1", 1), ("a2", 2), ("a3", 3)] {
        wanted.note(&of("a", id, second), MOMENT);
    }
    wanted.note(&of("b", "b1", 4), MOMENT);
    assert_eq!(names(&wanted.due(NOW)), [("a1".to_owned(), false), ("b1".to_owned(), false)]);
    let queue = wanted.queue(NOW);
    let shares: Vec<_> =
        queue.waiting.iter().map(|one| (one.share.as_str(), one.share_running)).collect();
    assert_eq!(shares, [("team=a", 1), ("team=a", 1)]);
}
