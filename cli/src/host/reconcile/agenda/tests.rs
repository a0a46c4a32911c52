#![allow(clippy::unwrap_used)]
use std::time::SystemTime;

use proto::PlaceUid;
use proto::api::{ApplicationSpec, Condition, ConditionStatus, Desired, Leadership};

use super::*;

const NOW: Boot = Boot::from_nanos(1_000_000_000_000);

const MOMENT: Moment = Moment { boot: NOW, wall: SystemTime::UNIX_EPOCH };

/// A host with room for so many.
fn agenda(max_running: usize) -> Agenda {
    Agenda::new(Terms { max_running, share_by: "team".into() })
}

fn application(id: &str, clean: bool) -> Application {
    Application { application_id: id.into(), generation: 1, clean, ..Application::default() }
}

fn reference(id: &str) -> ApplicationRef {
    key(&application(id, false)).unwrap()
}

fn names(asks: &[Question]) -> Vec<(String, bool)> {
    let mut names: Vec<_> =
        asks.iter().map(|ask| (ask.application.id.to_string(), ask.clean)).collect();
    names.sort();
    names
}

#[test]
fn contenders_are_kept_for_what_is_not_clean_and_ended_for_what_is() {
    let mut agenda = agenda(8);
    agenda.note(&application("runs", false), MOMENT);
    let asked = agenda.due(NOW);
    assert_eq!(names(&asked), [("runs".to_owned(), false)]);
    assert_eq!(agenda.due(NOW), [], "it is under way");
    agenda.answered(&asked[0], true, NOW);
    assert_eq!((agenda.due(NOW), agenda.next_due()), (vec![], None));
    agenda.note(&application("runs", true), MOMENT);
    let asked = agenda.due(NOW);
    assert_eq!(names(&asked), [("runs".to_owned(), true)]);
    assert_eq!(agenda.work(), Work { known: true, applications: 1, finished: 1 });
    agenda.answered(&asked[0], true, NOW);
    assert_eq!(agenda.work(), Work { known: true, applications: 0, finished: 1 });
}

#[test]
fn what_became_clean_while_contenders_were_asked_for_is_ended_next() {
    let mut agenda = agenda(8);
    agenda.note(&application("short", false), MOMENT);
    let asked = agenda.due(NOW);
    agenda.note(&application("short", true), MOMENT);
    agenda.answered(&asked[0], true, NOW);
    assert_eq!(names(&agenda.due(NOW)), [("short".to_owned(), true)]);
}

#[test]
fn a_new_wish_is_told_to_contenders_that_are_kept_already() {
    let mut agenda = agenda(8);
    agenda.note(&application("runs", false), MOMENT);
    let asked = agenda.due(NOW);
    agenda.answered(&asked[0], true, NOW);
    let desired = Some(proto::api::Desired { cancel: true, revision: 7, ..Default::default() });
    agenda.note(&Application { desired, ..application("runs", false) }, MOMENT);
    assert_eq!(agenda.due(NOW).iter().map(|ask| ask.wish).collect::<Vec<_>>(), [7]);
}

#[test]
fn a_refused_question_is_asked_again_later() {
    let mut agenda = agenda(8);
    agenda.note(&application("runs", false), MOMENT);
    let asked = agenda.due(NOW);
    agenda.answered(&asked[0], false, NOW);
    let due = agenda.next_due().unwrap();
    assert!(due > NOW && due <= NOW + LONGEST_PAUSE);
    assert_eq!(agenda.due(NOW), []);
    assert_eq!(agenda.due(due).len(), 1);
}

#[test]
fn a_snapshot_tells_what_is_gone_and_lifecycle_what_was_left_behind() {
    let mut agenda = agenda(8);
    agenda.note(&application("gone", false), MOMENT);
    agenda.note(&application("ended-unseen", false), MOMENT);
    let shown = [application("runs", false), application("of-an-older-store", true)];
    let seen: HashSet<_> = shown.iter().filter_map(|shown| agenda.see(shown, MOMENT)).collect();
    assert_eq!(seen, HashSet::from([reference("runs")]));
    agenda.snapshot_ended(&seen, vec![reference("left"), reference("ended-unseen")], NOW);
    let (over, goes_on) = (|name: &str| (name.to_owned(), true), ("runs".to_owned(), false));
    assert_eq!(names(&agenda.due(NOW)), [over("ended-unseen"), over("left"), goes_on]);
    assert_eq!(agenda.work().finished, 1, "one that was known to run has ended");
}

#[test]
fn in_doubt_everything_is_asked_for_again_but_not_as_a_part_of_its_trace() {
    let mut agenda = agenda(8);
    agenda.note(&application("runs", false), MOMENT);
    let first = agenda.due(NOW);
    agenda.answered(&first[0], true, NOW);
    agenda.doubt();
    let again = agenda.due(NOW);
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

fn in_line(agenda: &Agenda, now: Boot) -> Vec<String> {
    agenda.queue(now).waiting.iter().map(|one| one.application.id.to_string()).collect()
}

#[test]
fn no_more_run_than_there_is_room_for_and_the_oldest_is_next() {
    let mut agenda = agenda(2);
    for (second, id) in [(3, "third"), (1, "first"), (4, "fourth"), (2, "second")] {
        agenda.note(&submitted(id, second), MOMENT);
    }
    let asked = agenda.due(NOW);
    assert_eq!(names(&asked), [("first".to_owned(), false), ("second".to_owned(), false)]);
    assert_eq!(in_line(&agenda, NOW), ["third", "fourth"]);
    assert_eq!((agenda.queue(NOW).running, agenda.work().applications), (2, 4));
    asked.iter().for_each(|ask| agenda.answered(ask, true, NOW));
    agenda.note(&application("first", true), MOMENT);
    let next = [("first".to_owned(), true), ("third".to_owned(), false)];
    assert_eq!(names(&agenda.due(NOW)), next);
    assert_eq!(in_line(&agenda, NOW), ["fourth"]);
}

#[test]
fn who_was_led_or_has_contenders_does_not_wait_again() {
    let mut agenda = agenda(1);
    let shown = [submitted("waits", 1), led("led"), submitted("kept", 2)];
    let seen: HashSet<_> = shown.iter().filter_map(|shown| agenda.see(shown, MOMENT)).collect();
    agenda.have_contenders(&HashMap::from([(reference("kept"), 1)]), NOW);
    agenda.snapshot_ended(&seen, Vec::new(), NOW);
    assert_eq!(names(&agenda.due(NOW)), [("kept".to_owned(), false), ("led".to_owned(), false)]);
    assert_eq!(in_line(&agenda, NOW), ["waits"]);
}

#[test]
fn a_cancel_does_not_wait_for_others_to_end_but_for_other_cancels() {
    let mut agenda = agenda(1);
    agenda.note(&led("runs"), MOMENT);
    agenda.note(&cancelled("one"), MOMENT);
    agenda.note(&cancelled("two"), MOMENT);
    agenda.note(&submitted("waits", 1), MOMENT);
    let asked: Vec<_> = names(&agenda.due(NOW)).into_iter().map(|(id, _)| id).collect();
    assert_eq!(asked.len(), 2, "the one that runs and one of the cancelled: {asked:?}");
    let (ending, other) =
        if asked.contains(&"one".to_owned()) { ("one", "two") } else { ("two", "one") };
    assert_eq!(in_line(&agenda, NOW), ["waits"]);
    agenda.note(&application(ending, true), MOMENT);
    assert!(names(&agenda.due(NOW)).contains(&(other.to_owned(), false)));
    assert_eq!(in_line(&agenda, NOW), ["waits"], "room to be ended is no room to run");
}

#[test]
fn whose_deadline_passes_while_it_waits_is_ended() {
    let mut agenda = agenda(1);
    agenda.note(&led("runs"), MOMENT);
    let deadline_at = Some(prost_types::Timestamp { seconds: 60, nanos: 0 });
    agenda.note(&Application { deadline_at, ..submitted("late", 1) }, MOMENT);
    assert_eq!(names(&agenda.due(NOW)), [("runs".to_owned(), false)]);
    let passed = NOW + Duration::from_secs(60);
    assert_eq!(names(&agenda.due(passed)), [("late".to_owned(), false)]);
}

#[test]
fn one_whose_contenders_gave_up_takes_no_room() {
    let mut agenda = agenda(1);
    agenda.note(&led("broken"), MOMENT);
    agenda.note(&submitted("next", 1), MOMENT);
    assert_eq!(names(&agenda.due(NOW)), [("broken".to_owned(), false)]);
    let mut gave_up = led("broken");
    let condition = Condition { r#type: "ContendersRun".into(), ..Condition::default() };
    gave_up.conditions = vec![Condition { status: ConditionStatus::False.into(), ..condition }];
    agenda.note(&gave_up, MOMENT);
    assert_eq!(names(&agenda.due(NOW)), [("next".to_owned(), false)]);
}

#[test]
fn room_is_shared_by_the_label() {
    let mut agenda = agenda(2);
    let of = |team: &str, id: &str, second| {
        let labels = [("team".to_owned(), team.to_owned())].into();
        Application { labels, ..submitted(id, second) }
    };
    for (id, second) in [("a1", 1), ("a2", 2), ("a3", 3)] {
        agenda.note(&of("a", id, second), MOMENT);
    }
    agenda.note(&of("b", "b1", 4), MOMENT);
    assert_eq!(names(&agenda.due(NOW)), [("a1".to_owned(), false), ("b1".to_owned(), false)]);
    let queue = agenda.queue(NOW);
    let shares: Vec<_> =
        queue.waiting.iter().map(|one| (one.share.as_str(), one.share_running)).collect();
    assert_eq!(shares, [("team=a", 1), ("team=a", 1)]);
}

fn host(n: u8) -> PlaceUid {
    PlaceUid::from_bytes([n; 8])
}

/// What the first of these hosts is asked for, when so many are there.
fn of_several(hosts: u8) -> Agenda {
    let mut agenda = agenda(8);
    agenda.hosts(Live::among(host(0), (0..hosts).map(host)), NOW);
    agenda
}

fn counts(asks: &[Question]) -> Vec<u32> {
    asks.iter().map(|ask| ask.count).collect()
}

/// An application that asks for so many contenders.
fn wants(contenders: u32) -> Application {
    let spec = Some(ApplicationSpec { contenders, ..ApplicationSpec::default() });
    Application { spec, ..application("wants", false) }
}

/// The name of an application that is none of the first host's while so many hosts are there.
fn of_others(hosts: u8) -> String {
    let live = Live::among(host(0), (0..hosts).map(host));
    let mut names = (0..1000).map(|n| format!("other-{n}"));
    names.find(|name| live.share(&reference(name), 1) == 0).unwrap()
}

#[test]
fn of_several_hosts_each_keeps_its_share() {
    let (mut alone, mut of_two) = (of_several(1), of_several(2));
    for agenda in [&mut alone, &mut of_two] {
        agenda.note(&wants(6), MOMENT);
    }
    assert_eq!((counts(&alone.due(NOW)), counts(&of_two.due(NOW))), (vec![6], vec![3]));
    let mut standby = of_several(2);
    standby.note(&wants(1), MOMENT);
    assert_eq!(counts(&standby.due(NOW)), [1], "two hosts have a contender each");
}

#[test]
fn what_is_kept_by_others_takes_no_room_and_is_no_work_here() {
    let mut agenda = of_several(5);
    let other = of_others(5);
    agenda.note(&led(&other), MOMENT);
    assert_eq!((agenda.due(NOW), agenda.next_due()), (vec![], None));
    assert_eq!((agenda.queue(NOW).running, agenda.work().applications), (0, 0));
    agenda.note(&application(&other, true), MOMENT);
    assert_eq!(agenda.due(NOW), [], "there is nothing to end");
    assert_eq!(agenda.known().count(), 0);
}

#[test]
fn what_waits_on_other_hosts_is_not_in_the_queue() {
    let mut agenda = Agenda::new(Terms { max_running: 0, share_by: "team".into() });
    agenda.hosts(Live::among(host(0), (0..5).map(host)), NOW);
    agenda.note(&submitted(&of_others(5), 1), MOMENT);
    assert_eq!(agenda.queue(NOW), Queue::default());
}

#[test]
fn when_hosts_go_this_one_keeps_more_and_when_they_come_back_not_fewer() {
    let mut agenda = of_several(2);
    agenda.note(&wants(6), MOMENT);
    let asked = agenda.due(NOW);
    agenda.hosts(Live::alone(host(0)), NOW);
    agenda.answered(&asked[0], true, NOW);
    let more = agenda.due(NOW);
    assert_eq!(counts(&more), [6], "the answer was about fewer");
    agenda.answered(&more[0], true, NOW);
    agenda.hosts(Live::among(host(0), [host(1)]), NOW);
    assert_eq!(agenda.due(NOW), []);
    agenda.doubt();
    assert_eq!(counts(&agenda.due(NOW)), [6]);
}

/// Red where a host acts as if it were alone until it was told: it takes contenders of all that the
/// deployment has, and keeps them.
#[test]
fn before_a_host_is_told_of_the_others_it_keeps_only_what_it_has() {
    let mut agenda = agenda(8);
    agenda.hosts(Live::untold(), NOW);
    agenda.note(&wants(2), MOMENT);
    agenda.note(&led("here"), MOMENT);
    assert_eq!(agenda.due(NOW), []);
    agenda.have_contenders(&HashMap::from([(reference("here"), 1)]), NOW);
    assert_eq!(names(&agenda.due(NOW)), [("here".to_owned(), false)]);
    agenda.hosts(Live::alone(host(0)), NOW);
    assert_eq!(names(&agenda.due(NOW)), [("wants".to_owned(), false)]);
}

#[test]
fn what_only_others_kept_is_taken_over_when_they_go() {
    let mut agenda = of_several(5);
    let other = of_others(5);
    agenda.note(&led(&other), MOMENT);
    assert_eq!(agenda.due(NOW), []);
    agenda.hosts(Live::alone(host(0)), NOW);
    assert_eq!(names(&agenda.due(NOW)), [(other, false)]);
}

#[test]
fn an_up_that_is_started_again_keeps_the_contenders_that_it_finds() {
    let mut agenda = of_several(5);
    let other = of_others(5);
    let seen: HashSet<_> = agenda.see(&led(&other), MOMENT).into_iter().collect();
    agenda.have_contenders(&HashMap::from([(reference(&other), 2)]), NOW);
    agenda.snapshot_ended(&seen, Vec::new(), NOW);
    let asked = agenda.due(NOW);
    assert_eq!((names(&asked), counts(&asked)), (vec![(other.clone(), false)], vec![2]));
    agenda.note(&application(&other, true), MOMENT);
    agenda.answered(&asked[0], true, NOW);
    assert_eq!(names(&agenda.due(NOW)), [(other, true)], "and ends them");
}
