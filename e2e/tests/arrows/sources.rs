//! The points that the sources pass are those of the table, and tests arm no others.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::table::ARROWS;

/// The points that are on no arrow of a run, each with the test below `e2e/tests` that arms it.
const ELSEWHERE: [(&str, &str); 5] = [
    ("down.store-answers", "down.rs"),
    ("store.in-snapshot", "history.rs"),
    ("store.half-forgotten", "forget.rs"),
    ("store.in-forgetting", "forget.rs"),
    ("front.job-stored", "flink/controls.rs"),
];

/// The processes whose points are told from other words in the sources of tests.
const PROCESSES: [&str; 5] = ["runner", "worker", "store", "elector", "lifecycle"];

/// The Rust sources below a directory, without what is built.
fn sources_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            if !name.starts_with('.') && name != "target" {
                found.extend(sources_below(&path));
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    found
}

/// The text of all sources, those of the end-to-end tests or those of everything else.
fn text(of_tests: bool) -> String {
    let tests = e2e::repository().join("e2e");
    let files = sources_below(&e2e::repository());
    let files = files.iter().filter(|file| file.starts_with(&tests) == of_tests);
    files.map(|file| fs::read_to_string(file).unwrap()).collect()
}

/// The points that a text passes.
fn passed_in(text: &str) -> BTreeSet<String> {
    let mut points = BTreeSet::new();
    for call in ["failpoint::hit(", "failpoint::around("] {
        for (at, _) in text.match_indices(call) {
            let rest = text[at + call.len()..].trim_start();
            let literal = rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
            let Some((name, _)) = literal else { panic!("a point without its name: {rest:.60}") };
            if call.ends_with("hit(") {
                points.insert(name.to_owned());
                continue;
            }
            let (process, arrow) = name.split_once('.').unwrap();
            points.extend(["before", "after"].map(|side| format!("{process}.{side}-{arrow}")));
        }
    }
    points
}

/// The place of an armed point, without the hit and the host.
fn place(point: &str) -> &str {
    point.split(['@', '%']).next().unwrap_or(point)
}

/// The words of a text that look like points.
fn armed_in(text: &str) -> BTreeSet<&str> {
    let is_point = |word: &&str| {
        let Some((process, moment)) = place(word).split_once('.') else { return false };
        let is_plain = |b: u8| b.is_ascii_lowercase() || b == b'-';
        PROCESSES.contains(&process) && !moment.is_empty() && moment.bytes().all(is_plain)
    };
    text.split('"').filter(is_point).map(place).collect()
}

#[test]
fn the_table_has_every_point_of_the_sources_and_no_other_one() {
    let passed = passed_in(&text(false));
    let arrows = ARROWS.iter().map(|arrow| place(arrow.point));
    let known = arrows.chain(ELSEWHERE.map(|(point, _)| point)).map(str::to_owned);
    let known: BTreeSet<String> = known.collect();
    let missing: Vec<_> = passed.difference(&known).collect();
    let gone: Vec<_> = known.difference(&passed).collect();
    assert!(missing.is_empty(), "give these a row in e2e/tests/arrows/table.rs: {missing:?}");
    assert!(gone.is_empty(), "nothing passes these any more: {gone:?}");
}

#[test]
fn a_point_that_is_on_no_arrow_is_armed_by_its_test() {
    for (point, test) in ELSEWHERE {
        let file = e2e::repository().join("e2e/tests").join(test);
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains(&format!("\"{point}\"")), "{test} does not arm {point}");
    }
}

#[test]
fn tests_arm_only_points_that_are_passed_and_bugs_that_can_be_planted() {
    let (sources, tests) = (text(false), text(true));
    let passed = passed_in(&sources);
    let armed = armed_in(&tests);
    assert!(armed.len() > PROCESSES.len(), "they are not found: {armed:?}");
    let unknown =
        |point: &&str| !passed.contains(*point) && !sources.contains(&format!("\"{point}\""));
    let unknown: Vec<_> = armed.into_iter().filter(unknown).collect();
    assert!(unknown.is_empty(), "a test waits for ever for these: {unknown:?}");
}
