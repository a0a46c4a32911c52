//! What main() prints is shown once and kept, no matter which process dies on the way; what cannot
//! be kept is reported.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::time::Duration;

use e2e::disk::{Disk, in_a_namespace};
use e2e::process::{eventually, is_gone, signal};
use e2e::{Host, Running};

/// What main() wrote, as the record has it.
fn logged(host: &Host, id: &str) -> String {
    host.run(&["logs", id, "--role", "main"]).exits(0).stdout
}

/// Kills a service and waits until the host has another one.
fn kill_service(host: &Host, service: &str) {
    let pid = host.pid_of(service).unwrap();
    signal(pid, "KILL");
    eventually("the service is there again", || host.pid_of(service).is_some_and(|now| now != pid));
}

#[test]
fn every_line_is_shown_once_and_kept_although_the_store_is_killed_again_and_again() {
    let host = Host::new();
    let counts =
        "n=0; while [ $n -lt 200 ]; do echo \"line $n\"; n=$((n+1)); sleep 0.04; done; echo end";
    let counts = host.program("counts", counts);
    let start = |id: &str| host.start(&["run", "--application-id", id, &counts]);
    let mut runs: Vec<(&str, Running)> =
        ["one", "two", "three"].into_iter().map(|id| (id, start(id))).collect();
    eventually("all speak", || runs.iter().all(|(_, run)| run.stdout().contains("line 3\n")));
    let mut kills = 0;
    while runs.iter_mut().all(|(_, run)| run.is_running()) && kills < 12 {
        kill_service(&host, "jobgraph-store");
        kills += 1;
        std::thread::sleep(Duration::from_millis(700));
    }
    assert!(kills > 2, "it was killed while they spoke");
    let said: String =
        (0..200).map(|n| format!("line {n}\n")).chain(["end\n".to_owned()]).collect();
    for (id, run) in runs {
        let run = run.finish().exits(0);
        assert_eq!(run.stdout, said, "{id} after {kills} kills\n--- stderr\n{}", run.stderr);
        assert_eq!(logged(&host, id), said, "{id} after {kills} kills");
    }
}

#[test]
fn main_yields_to_the_services_of_its_host() {
    let host = Host::new();
    let ran = host.run(&["run", "-q", &host.program("how-nice", "nice")]).exits(0);
    let stat =
        std::fs::read_to_string(format!("/proc/{}/stat", host.pid_of("jobgraph-store").unwrap()))
            .unwrap();
    // The nice value is field 19 of proc(5), the seventeenth behind the command.
    let service = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().to_owned();
    let (main, service): (i32, i32) =
        (ran.stdout.trim().parse().unwrap(), service.parse().unwrap());
    assert!(main > service || service == 19, "main() has {main}, the store {service}");
}

/// Kills the runner of a main() whose last words the record has not heard. They have to be in the
/// record at the end, once.
fn the_runner_dies_after_the_last_words(tether_is_late: bool) {
    let host = Host::new();
    let speaks = "echo \"begun $MAINSPRING_EPOCH\"; while [ ! -e \"$1/go\" ]; do sleep 0.02; done
        echo \"last words $MAINSPRING_EPOCH\"; : > \"$1/said-$MAINSPRING_EPOCH\"
        while [ ! -e \"$1/end\" ]; do sleep 0.02; done; echo done";
    let speaks = host.program("speaks", speaks);
    let scratch = host.scratch().to_owned();
    let run = host.start(&["run", "--application-id", "heir", &speaks, scratch.to_str().unwrap()]);
    // On a busy machine a leader may lose its lease before anything is done to it.
    let mut leads = None;
    eventually("main() speaks", || run.stdout().contains("begun"));
    eventually("main() has begun, and the record knows its process", || {
        leads = the_living_main(&host.status("heir"))
            .filter(|leads| run.stdout().contains(&format!("begun {}\n", leads.epoch)));
        leads.is_some()
    });
    let Leads { epoch, leader, main, tether } = leads.unwrap();
    let store = host.pid_of("jobgraph-store").unwrap();
    // The record hears nothing of what main() prints now.
    signal(store, "STOP");
    if tether_is_late {
        // What main() prints stays in the pipe, which only the tether reads.
        signal(tether, "STOP");
    }
    std::fs::write(scratch.join("go"), "").unwrap();
    eventually("it is said", || scratch.join(format!("said-{epoch}")).exists());
    signal(leader, "KILL");
    if tether_is_late {
        signal(main, "KILL");
    }
    // The tether ends main(), which until then might come to its own end.
    eventually("main() has ended with its runner", || is_gone(main));
    signal(store, "CONT");
    std::fs::write(scratch.join("end"), "").unwrap();
    let run = run.finish().exits(0);
    let kept = logged(&host, "heir");
    let heir = (epoch + 1..epoch + 10)
        .find(|epoch| scratch.join(format!("said-{epoch}")).exists())
        .unwrap_or_else(|| panic!("no other main() spoke:\n{kept}\n--- stderr\n{}", run.stderr));
    let words = [epoch, heir].map(|epoch| format!("last words {epoch}\n"));
    for words in [words[0].as_str(), words[1].as_str(), "done\n"] {
        assert_eq!(
            kept.matches(words).count(),
            1,
            "{words:?} in\n{kept}\n--- stderr\n{}",
            run.stderr
        );
        assert_eq!(run.stdout.matches(words).count(), 1, "{words:?} in\n{}", run.stdout);
    }
    let outbox = std::fs::read_dir(host.state().join("outbox")).unwrap();
    assert_eq!(outbox.count(), 0, "it is in the record, so it goes");
}

/// The processes of one leadership.
struct Leads {
    epoch: u64,
    leader: u32,
    main: u32,
    tether: u32,
}

/// The processes that a status shows, if main() lives and is of the leader that is shown.
fn the_living_main(status: &serde_json::Value) -> Option<Leads> {
    let (leadership, main) = (&status["leadership"], &status["main"]);
    let epoch = leadership["epoch"].as_str()?.parse().ok()?;
    let pid = |pid: &serde_json::Value| u32::try_from(pid.as_u64()?).ok();
    let (leader, main) = (pid(&leadership["leaderPid"])?, pid(&main["pid"])?);
    let environment = std::fs::read_to_string(format!("/proc/{main}/environ")).ok()?;
    let mut variables = environment.split('\0');
    variables.find(|variable| *variable == format!("MAINSPRING_EPOCH={epoch}"))?;
    Some(Leads { epoch, leader, main, tether: parent_of(main)? })
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn what_main_said_last_is_not_lost_with_its_runner() {
    the_runner_dies_after_the_last_words(false);
}

#[test]
fn what_main_said_last_is_not_lost_when_its_tether_is_late() {
    the_runner_dies_after_the_last_words(true);
}

#[test]
fn what_a_full_disk_loses_at_the_end_is_told() {
    in_a_namespace("what_a_full_disk_loses_at_the_end_is_told", || {
        let host = Host::new();
        let disk = Disk::mount(host.state().join("work"), "size=2m");
        let speaks = "echo begun; while [ ! -e \"$1/go\" ]; do sleep 0.02; done; seq 1 100000";
        let speaks = host.program("speaks", speaks);
        let scratch = host.scratch().to_owned();
        let run =
            host.start(&["run", "--application-id", "full", &speaks, scratch.to_str().unwrap()]);
        eventually("main() has begun", || run.stdout().contains("begun"));
        disk.fill();
        std::fs::write(scratch.join("go"), "").unwrap();
        let run = run.finish().exits(0);
        let kept = run.stdout.lines().count();
        assert!(
            run.stdout.starts_with("begun\n") && kept <= 100_000,
            "{kept} lines: the disk took all"
        );
        let told = run.says("of output were dropped here");
        assert!(!told.stderr.contains("left over: output"), "{}", told.stderr);
        host.run(&["logs", "full", "--role", "main"]).exits(0).says("were dropped here");
        host.down();
    });
}

#[test]
fn silence_is_told() {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "5m");
    let silent = host.program("silent", "exit 0");
    host.run(&["run", "--application-id", "mute", &silent]).exits(0);
    for arguments in
        [&["logs", "mute"][..], &["logs", "mute", "--role", "main"], &["logs", "mute", "-f"]]
    {
        let logs = host.run(arguments).exits(0);
        assert!(!logs.stdout.lines().any(|line| line.starts_with("main ")), "{}", logs.stdout);
        logs.says("main() of mute@1 wrote nothing");
    }
    let speaks = host.program("speaks", "echo words");
    host.run(&["run", "--application-id", "loud", &speaks]).exits(0);
    let logs = host.run(&["logs", "loud", "--role", "main"]).exits(0);
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("words\n", ""));
}
