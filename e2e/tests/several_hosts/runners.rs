//! The runner that leads is killed, and both hosts live: either of them may lead next.

use e2e::Deployment;

use crate::hosts::{has_each_row_once, nothing_is_left, wait_for_squares};
use crate::squares;

/// Where a leader is killed, round by round. The first two are those of the short form.
const POINTS: [&str; 7] = [
    "runner.after-submit",
    "runner.before-teardown",
    "runner.before-main-starting",
    "runner.in-main",
    "runner.before-publish",
    "runner.before-answer",
    "runner.before-mark-clean",
];

/// Kills a leader in each of so many runs.
fn rounds(count: usize) {
    let (mut bed, mut markers) = (Deployment::new(), Vec::new());
    for point in POINTS {
        let (armed, marker) = bed.with_failpoint(point, "kill");
        // A failpoint whose marker is there has fired, and is passed.
        std::fs::write(&marker, "").unwrap();
        bed = armed;
        markers.push(marker);
    }
    let bed = bed.start(2);
    let script = bed.file("squares.sql", squares::SCRIPT);
    for round in 0..count {
        let at = round % POINTS.len();
        std::fs::remove_file(&markers[at]).unwrap();
        let (host, out) = (round % 2, bed.shared().join(format!("out-{round}")));
        let to = out.to_str().unwrap();
        let run = ["run", "--application-id", "squares", "--output", to, &script];
        bed.host(host).run(&run).exits(0);
        assert!(markers[at].exists(), "{} was never reached", POINTS[at]);
        wait_for_squares(&bed, 1 - host, "clean").exits(0);
        has_each_row_once(&bed, 1 - host, &out);
    }
    bed.was_kept_apart();
    nothing_is_left(&bed, &[0, 1]);
}

#[test]
fn a_leader_that_is_killed_is_replaced_on_either_host() {
    rounds(2);
}

#[test]
#[ignore = "takes minutes: make test ARGS='-p e2e --run-ignored only twenty_leaders'"]
fn twenty_leaders_that_are_killed_are_replaced_on_either_host() {
    rounds(20);
}
