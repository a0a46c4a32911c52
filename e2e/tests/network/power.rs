//! The power of a leader's host is cut, and is back later: no process, no socket and no mount of
//! the host is left, and its address is silent.

use e2e::Deployment;
use e2e::process::eventually;

use crate::HOSTS;
use crate::hosts::{
    has_each_row_once, intents, nothing_is_left_but_empty_directories, wait_for_squares,
};
use crate::program::{BEFORE_THE_END, Program, release};

#[test]
fn a_host_whose_power_was_cut_is_succeeded_and_cleans_itself_once_it_is_back() {
    let (bed, marker) = Deployment::on_machines().with_failpoint(BEFORE_THE_END, "hold");
    let mut bed = bed.start(HOSTS);
    let program = Program::submit(&bed, 0, "main");
    program.go("squares");
    program.go("report");
    eventually("the worker is held", || marker.exists());
    let dead = bed.leader(0, "squares").expect("an application that is led names its host");
    let survivor = (dead + 1) % HOSTS;
    bed.kill(dead);
    release(&marker);
    assert_eq!(bed.host(dead).alive(), [], "nothing of the host is alive");
    wait_for_squares(&bed, survivor, "ended").exits(0);
    let status = bed.host(survivor).status("squares");
    assert_eq!(status["clean"], false, "what the dead host had may be there still: {status:#}");
    let left = intents(&bed);
    assert!(left.iter().any(|key| key.contains("/cluster/")), "the dead host's: {left:?}");
    bed.up(dead);
    wait_for_squares(&bed, survivor, "clean").exits(0);
    has_each_row_once(&bed, dead, &program.out);
    assert_eq!(program.ran_alone(), 2);
    bed.was_kept_apart();
    nothing_is_left_but_empty_directories(&bed, &[0, 1, 2]);
}
