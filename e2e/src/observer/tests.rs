#![allow(clippy::unwrap_used)]

use std::process::Command;

use crate::process::{Running, eventually};

use super::*;

/// A process that carries an owner mark of this host, and waits.
fn started(host: &Host, rest: &str) -> Running {
    let mut command = Command::new("sleep");
    command.arg("60").env("MAINSPRING_OWNER", format!("{}/{rest}", host.mark()));
    Running::start(command)
}

fn two_hosts() -> ([Host; 2], Observer) {
    let (hosts, observer) = ([Host::new(), Host::new()], Observer::start());
    hosts.iter().for_each(|host| observer.follow(host));
    (hosts, observer)
}

/// Waits until the observer has looked at everything that is there now.
fn looked(observer: &Observer, host: usize, kind: Kind, number: u64) {
    eventually("the observer has looked", || {
        observer.living(host, kind).iter().any(|mark| mark.number == number)
    });
}

#[test]
fn one_incarnation_on_two_hosts_is_seen_and_two_incarnations_are_none() {
    let (hosts, observer) = two_hosts();
    let _first = started(&hosts[0], "app/1/cluster/1");
    let _second = started(&hosts[1], "app/1/cluster/2");
    let _of_another = started(&hosts[1], "other/1/cluster/1");
    looked(&observer, 0, Kind::Cluster, 1);
    looked(&observer, 1, Kind::Cluster, 1);
    looked(&observer, 1, Kind::Cluster, 2);
    assert!(observer.doubled().is_empty(), "{:?}", observer.doubled());
    let third = started(&hosts[1], "app/1/cluster/1");
    let doubled = ("app@1".to_owned(), 1, BTreeSet::from([0, 1]));
    eventually("it is seen", || observer.doubled() == [doubled.clone()]);
    drop(third);
    assert_eq!(observer.doubled(), [doubled], "what was seen once stays seen");
}

#[test]
fn main_that_is_stopped_does_not_run_beside_another_one() {
    let (hosts, observer) = two_hosts();
    let first = started(&hosts[0], "app/1/attempt/3");
    eventually("it runs", || observer.mains().len() == 1);
    first.signal("STOP");
    eventually("it is stopped", || state_of(first.pid()) == Some('T'));
    let _second = started(&hosts[1], "app/1/attempt/4");
    let _of_another = started(&hosts[0], "other/1/attempt/5");
    eventually("all have run", || observer.mains().len() == 3);
    looked(&observer, 0, Kind::Attempt, 3);
    assert!(observer.overlaps().is_empty(), "the first one is stopped");
    first.signal("CONT");
    eventually("both run", || observer.overlaps().len() == 1);
    let overlap = observer.overlaps().remove(0);
    assert_eq!(overlap.attempts.map(|attempt| (attempt.host, attempt.number)), [(0, 3), (1, 4)]);
    assert!(overlap.first <= overlap.last);
}

#[test]
fn a_tether_and_describe_are_not_what_they_were_started_for() {
    let (hosts, observer) = two_hosts();
    let nothing = hosts[0].scratch().join("nothing");
    assert!(Command::new("mkfifo").arg(nothing).status().unwrap().success());
    // The second word of the command line is the verb, and the shell itself waits.
    let named = |verb: &str, rest: &str| {
        hosts[0].file(verb, "read line < nothing\n");
        let mut command = Command::new("sh");
        command
            .arg(verb)
            .current_dir(hosts[0].scratch())
            .env("MAINSPRING_OWNER", format!("{}/{rest}", hosts[0].mark()));
        Running::start(command)
    };
    let _tether = named("tether", "app/1/cluster/1");
    let _describe = named("describe", "app/1/attempt/1");
    let _worker = named("worker", "app/1/cluster/2");
    looked(&observer, 0, Kind::Cluster, 2);
    let living = observer.living(0, Kind::Cluster);
    assert!(living.iter().all(|mark| mark.number == 2), "a tether counts: {living:?}");
    assert!(observer.mains().is_empty(), "describe counts: {:?}", observer.mains());
}

/// A parent that has forked as shells do waits in the kernel until its child executes another
/// program. This child waits for a writer of a pipe before that.
const FORKS: &str = "import os, sys
os.posix_spawn('/bin/true', ['true'], os.environ,
               file_actions=[(os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)])";

#[test]
fn a_parent_that_waits_in_the_kernel_and_is_to_stop_does_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut command = Command::new("python3");
    command.args(["-c", FORKS]).arg(&pipe);
    let parent = Running::start(command);
    // A process that reads its executable waits in the kernel, too, for a moment.
    let mut looks = 0;
    eventually("it waits in the kernel, and goes on to", || {
        looks = if state_of(parent.pid()) == Some('D') { looks + 1 } else { 0 };
        looks == 20
    });
    assert!(runs(parent.pid()), "it may go on at any instant");
    parent.signal("STOP");
    eventually("it does not run", || !runs(parent.pid()));
    assert_eq!(state_of(parent.pid()), Some('D'), "and is not stopped either");
    parent.signal("CONT");
    eventually("it may go on", || runs(parent.pid()));
    drop(std::fs::OpenOptions::new().write(true).open(&pipe).unwrap());
    parent.finish().exits(0);
}
