//! The tether as a process of its own, over its own socket, with real children.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "tether/harness.rs"]
mod harness;
#[path = "tether/rights.rs"]
mod rights;
#[path = "support/tether_process.rs"]
mod tether_process;

use std::time::Duration;

use chassis::clock::{Boot, Clock as _};
use client::process_tree::{self, Process};
use client::tether::{Exit, Stream, TetherEvent};
use proto::{Epoch, Reason};
use rustix::process::{Pid, Signal, getpriority_process};
use tonic::Code;

use harness::{Scene, exit, said, token, within};

#[tokio::test]
async fn an_exit_and_all_that_was_said_are_kept_until_released() {
    let scene = Scene::new();
    let spec = scene.spec(1, "echo out; echo err >&2; exit 7");
    let (tether, mut owned, _) = scene.start(&spec).await;
    let seen = exit(&mut owned).await;
    assert_eq!(seen, Exit { code: Some(7), seen_by_owner: true, ..Exit::default() });

    let mut output = within(tether.read_output(0, true)).await.unwrap();
    let mut streams = Vec::new();
    while let Some(chunk) = within(output.next()).await.unwrap() {
        assert!(chunk.unix_nanos > 0);
        streams.push((chunk.stream, String::from_utf8(chunk.data.to_vec()).unwrap()));
    }
    streams.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
    assert_eq!(
        streams,
        [(Stream::Stdout, "out\n".to_owned()), (Stream::Stderr, "err\n".to_owned())]
    );
    let mut rest = within(tether.read_output(4, false)).await.unwrap();
    assert_eq!(within(rest.next()).await.unwrap().unwrap().next_offset, 8);

    within(tether.release()).await.unwrap();
    scene.until("the tether leaves", || scene.marked().is_empty()).await;
    assert!(!spec.socket.exists());
    assert_eq!(Exit::read(&spec.exit_file).unwrap(), Some(seen), "released by who saw it: seen");
}

#[tokio::test]
async fn what_yields_is_nicer_than_its_tether_and_so_are_its_session_and_what_it_starts() {
    let scene = Scene::new();
    let yields =
        client::tether::TetherSpec { yields: true, ..scene.spec(1, "sh -c nice & sleep 1000") };
    let (tether, owned, pid) = scene.start(&yields).await;
    let niceness =
        |pid: u32| getpriority_process(i32::try_from(pid).ok().and_then(Pid::from_raw)).unwrap();
    let keeper = Process::of(pid).unwrap().parent;
    let own = niceness(std::process::id());
    assert_eq!(niceness(keeper), own, "a tether acts in time, whatever its child does");
    assert!(niceness(pid) > own || own == 19);
    let mut output = within(tether.read_output(0, true)).await.unwrap();
    let said = within(output.next()).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.data).trim(), niceness(pid).to_string());

    // The file says "/autogroup-123 nice 5"; a kernel without such groups has no such file.
    let group = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/autogroup")).ok();
    if group(pid).is_some_and(|group| !group.is_empty()) {
        let is_lower = || group(pid).is_some_and(|group| !group.trim().ends_with("nice 0"));
        scene.until("the session yields", is_lower).await;
    }
    drop(owned);

    let stays = scene.spec(2, "sleep 1000");
    let (_tether, _owned, pid) = scene.start(&stays).await;
    assert_eq!(niceness(pid), own, "only what is told to yields");
}

#[tokio::test]
async fn a_signal_is_told_from_an_exit_code() {
    let scene = Scene::new();
    let (_tether, mut owned, _) = scene.start(&scene.spec(1, "kill -9 $$")).await;
    let exit = exit(&mut owned).await;
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    assert!(exit.signal_sender.contains("OOM killer"), "whether it was the kernel: {exit:?}");
}

#[tokio::test]
async fn a_signal_of_the_tethers_own_is_nobody_elses() {
    let scene = Scene::new();
    let (tether, mut owned, _) =
        scene.start(&scene.spec(1, "trap '' TERM; while :; do sleep 1; done")).await;
    within(tether.end(Duration::ZERO)).await.unwrap();
    let exit = exit(&mut owned).await;
    assert_eq!((exit.signal, exit.signal_sender.as_str()), (Some(9), ""));
}

#[tokio::test]
async fn without_its_owner_the_whole_tree_ends_a_daemon_included() {
    let scene = Scene::new();
    let spec =
        scene.spec(1, "setsid sh -c 'env -i sleep 1000 & wait' & sleep 1000 & echo up; wait");
    let (tether, owned, pid) = scene.start(&spec).await;
    let mut output = within(tether.read_output(0, true)).await.unwrap();
    within(output.next()).await.unwrap().unwrap();
    let below = || process_tree::descendants(&process_tree::all().unwrap(), [pid]);
    scene
        .until("the daemon runs", || {
            below().iter().filter(|process| !process.is_zombie()).count() >= 3
        })
        .await;
    let tree = below();
    drop(owned);
    // An owner that claims the tether while the tree is being ended has seen nothing; sooner, it
    // would have kept the tree.
    scene
        .until("it is being ended", || Process::of(pid).is_none_or(|process| process.is_zombie()))
        .await;
    let mut successor = within(tether.own(false, None)).await.unwrap();
    let exit = exit(&mut successor).await;
    assert_eq!((exit.signal, exit.seen_by_owner), (Some(9), false));
    for process in tree {
        let now = Process::of(process.pid);
        assert!(
            now.is_none_or(|now| now.start_ticks != process.start_ticks),
            "{process:?} is still there: {now:?}"
        );
    }
}

#[tokio::test]
async fn within_the_grace_a_new_owner_takes_over_and_the_old_one_is_told() {
    let scene = Scene::new();
    let spec = client::tether::TetherSpec { grace_ms: 60_000, ..scene.spec(1, "sleep 1000") };
    let (tether, mut first, pid) = scene.start(&spec).await;
    let mut second = within(tether.own(true, None)).await.unwrap();
    let replaced = within(first.next()).await.unwrap_err();
    assert_eq!((replaced.code(), replaced.reason()), (Code::Aborted, Some(Reason::TetherReplaced)));
    drop(first);
    assert_eq!(
        within(second.next()).await.unwrap(),
        Some(TetherEvent::Started { pid }),
        "not started again"
    );
    drop(second);
    let mut third = within(tether.own(true, None)).await.unwrap();
    assert_eq!(within(third.next()).await.unwrap(), Some(TetherEvent::Started { pid }));
    assert_eq!(within(tether.end(Duration::from_secs(10))).await.unwrap().signal, Some(15));
    assert_eq!(exit(&mut third).await.signal, Some(15));
}

#[tokio::test]
async fn output_of_which_no_disk_has_taken_anything_is_told_as_lost() {
    let scene = Scene::new();
    let spec = scene.spec(1, "while [ ! -e go ]; do sleep 0.02; done; echo lost");
    let (tether, mut owned, _) = scene.start(&spec).await;
    let away = scene.directory.path().join("away");
    std::fs::rename(&spec.output_dir, &away).unwrap();
    std::fs::write(spec.cwd.join("go"), "").unwrap();
    assert_eq!(exit(&mut owned).await.code, Some(0));
    std::fs::rename(&away, &spec.output_dir).unwrap();
    let mut output = within(tether.read_output(0, true)).await.unwrap();
    let told = within(output.next()).await.unwrap().unwrap();
    assert_eq!((told.data.len(), told.lost_before, told.next_offset), (0, 5, 5));
    assert!(within(output.next()).await.unwrap().is_none());
    within(tether.release()).await.unwrap();
}

#[tokio::test]
async fn an_exit_that_no_disk_takes_is_told_all_the_same() {
    let scene = Scene::new();
    let mut spec = scene.spec(1, "exit 4");
    spec.exit_file = scene.directory.path().join("gone/exit.json");
    let tether = scene.spawn(&spec).await.unwrap();
    std::fs::remove_dir(scene.directory.path().join("gone")).unwrap();
    let mut owned = within(tether.own(true, None)).await.unwrap();
    assert_eq!(exit(&mut owned).await.code, Some(4));
    within(tether.release()).await.unwrap();
}

#[tokio::test]
async fn an_exit_that_nobody_saw_is_not_the_child_s_own_unless_it_is_success() {
    for (code, own) in [(101, false), (0, true)] {
        let scene = Scene::new();
        let script = format!("while ! test -e go; do sleep 0.01; done; exit {code}");
        let spec = client::tether::TetherSpec { grace_ms: 60_000, ..scene.spec(1, &script) };
        let (_tether, owned, _) = scene.start(&spec).await;
        // This is what happens when a runner is killed: its connections are gone, and main()
        // notices first.
        drop(owned);
        std::fs::write(spec.cwd.join("go"), "").unwrap();
        scene
            .until("the exit is kept", || {
                Exit::read(&spec.exit_file).is_ok_and(|exit| exit.is_some())
            })
            .await;
        let tether = scene.connect(&spec, token(1));
        let exit = exit(&mut within(tether.own(false, None)).await.unwrap()).await;
        assert_eq!((exit.code, exit.seen_by_owner, exit.is_its_own()), (Some(code), false, own));
        assert_eq!(Exit::read(&spec.exit_file).unwrap(), Some(exit));
        within(tether.release()).await.unwrap();
    }
}

#[tokio::test]
async fn past_the_lease_the_tree_stands_still_and_a_later_deadline_thaws_it() {
    let scene = Scene::new();
    let spec = scene.spec(1, "setsid sleep 1000 & while :; do :; done");
    let tether = scene.spawn(&spec).await.unwrap();
    let far = scene.clock.boot() + Duration::from_secs(3600);
    let mut owned = within(tether.own(true, Some(far))).await.unwrap();
    let Some(TetherEvent::Started { pid }) = within(owned.next()).await.unwrap() else { panic!() };
    let tree = || {
        let processes = process_tree::all().unwrap();
        let mut tree = process_tree::descendants(&processes, [pid]);
        tree.extend(Process::of(pid));
        tree
    };
    scene.until("the daemon runs", || tree().len() == 2).await;

    owned.set_deadline(scene.clock.boot());
    assert_eq!(within(owned.next()).await.unwrap(), Some(TetherEvent::Frozen));
    assert!(tree().iter().all(Process::is_stopped), "{:?}", tree());

    // A process outside the tree lets one of its processes run, which does not run for long.
    Process::of(pid).unwrap().signal(Signal::CONT);
    scene.until("it is frozen again", || tree().iter().all(Process::is_stopped)).await;

    owned.set_deadline(far);
    assert_eq!(within(owned.next()).await.unwrap(), Some(TetherEvent::Thawed));
    scene.until("all run", || tree().iter().all(|process| !process.is_stopped())).await;

    // An owner whose lease has run out starts nothing.
    let later = scene.spec(2, "exit 0");
    let waiting = scene.spawn(&later).await.unwrap();
    let mut waiter = within(waiting.own(true, Some(scene.clock.boot()))).await.unwrap();
    let refused = exit(&mut waiter).await;
    assert!(refused.start_error.contains("lease"), "{refused}");

    owned.set_deadline(Boot::from_nanos(0));
    assert_eq!(within(owned.next()).await.unwrap(), Some(TetherEvent::Frozen));
    let ended = within(tether.end(Duration::from_secs(3600))).await.unwrap();
    assert_eq!(ended.signal, Some(9), "what is frozen cannot end by itself");
}

#[tokio::test]
async fn a_tree_that_stopped_itself_is_ended_too() {
    let scene = Scene::new();
    let (tether, mut owned, pid) = scene.start(&scene.spec(1, "kill -STOP $$; exit 1")).await;
    scene
        .until("it is stopped", || Process::of(pid).is_some_and(|process| process.is_stopped()))
        .await;
    let ended = within(tether.end(Duration::from_millis(50))).await.unwrap();
    assert!(ended.signal.is_some(), "{ended}");
    assert_eq!(exit(&mut owned).await.signal, ended.signal);
}

#[tokio::test]
async fn what_outlives_the_child_is_ended_and_counted() {
    let scene = Scene::new();
    let (_tether, mut owned, _) = scene.start(&scene.spec(1, "setsid sleep 1000 & exit 0")).await;
    let exit = exit(&mut owned).await;
    assert_eq!((exit.code, exit.survivors_killed), (Some(0), 1));
}

#[tokio::test]
async fn a_gigabyte_of_output_blocks_nobody_and_is_capped() {
    let scene = Scene::new();
    // No reader is connected, so what is kept is kept by the tether alone.
    let (tether, mut owned, _) =
        scene.start(&scene.spec(1, "head -c 1G /dev/zero; echo end")).await;
    assert_eq!(exit(&mut owned).await.code, Some(0));
    let kept: u64 = std::fs::read_dir(scene.directory.path().join("1/output"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(kept < 20 * 1024 * 1024, "{kept} bytes on disk");
    let (keeper, _) = scene.marked().pop().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", keeper.pid)).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 100 * 1024, "{peak_kib} KiB of memory");

    let mut output = within(tether.read_output(0, true)).await.unwrap();
    let (mut read, mut lost, mut last) = (0, 0, Vec::new());
    while let Some(chunk) = within(output.next()).await.unwrap() {
        read += chunk.data.len() as u64;
        lost += chunk.lost_before;
        last = chunk.data.to_vec();
    }
    assert_eq!(read + lost, (1 << 30) + 4);
    assert!(lost > 0 && last.ends_with(b"end\n"));
}

#[tokio::test]
async fn a_descendant_holds_the_lock_and_a_successor_waits_until_it_is_gone() {
    let scene = Scene::new();
    let lock = Some(scene.directory.path().join("main.lock"));
    let first = client::tether::TetherSpec {
        lock_file: lock.clone(),
        ..scene.spec(7, "setsid sleep 1000 & echo up; wait")
    };
    let (tether, _owned, pid) = scene.start(&first).await;
    let mut output = within(tether.read_output(0, true)).await.unwrap();
    within(output.next()).await.unwrap().unwrap();
    let below = || process_tree::descendants(&process_tree::all().unwrap(), [pid]);
    scene.until("the daemon runs", || !below().is_empty()).await;
    let daemon = below()[0];
    // This is the worst case: tether and child are gone, and no process is left to end the daemon.
    for (process, _) in scene.marked().into_iter().filter(|(process, _)| process.pid != daemon.pid)
    {
        process.signal(Signal::KILL);
    }
    scene.until("only the daemon lives", || scene.marked().len() == 1).await;

    let second = client::tether::TetherSpec { lock_file: lock, ..scene.spec(8, "echo mine") };
    let tether = scene.spawn(&second).await.unwrap();
    let mut owned = within(tether.own(true, None)).await.unwrap();
    let refused = exit(&mut owned).await;
    assert!(refused.start_error.contains("lock"), "{refused}");
    within(tether.release()).await.unwrap();
    scene.until("it leaves", || scene.marked().len() == 1).await;

    let id = "orders".parse().unwrap();
    let left = process_tree::kill_earlier_attempts(
        &scene.places,
        &id,
        Epoch(7),
        &scene.clock,
        Duration::from_secs(9),
    );
    assert_eq!(within(left).await.unwrap(), []);
    assert_eq!(scene.marked().len(), 1, "epoch 7 is not below 7");
    let left = process_tree::kill_earlier_attempts(
        &scene.places,
        &id,
        Epoch(8),
        &scene.clock,
        Duration::from_secs(9),
    );
    assert_eq!(within(left).await.unwrap(), []);
    let (tether, mut owned, _) = scene.start(&second).await;
    assert_eq!(exit(&mut owned).await.code, Some(0));
    assert_eq!(said(&tether).await, "mine\n");
}

#[tokio::test]
async fn a_frozen_tree_without_its_tether_is_ended_by_its_mark_and_a_living_one_with_its_tether() {
    let scene = Scene::new();
    let (_tether, _owned, pid) =
        scene.start(&scene.spec(3, "sh -c 'env -i sleep 1000 & wait' & wait")).await;
    let below = || process_tree::descendants(&process_tree::all().unwrap(), [pid]);
    scene.until("all run", || below().len() == 2).await;
    let tree = below();
    for (process, _) in scene.marked() {
        process.signal(Signal::STOP);
    }
    let id = "orders".parse().unwrap();
    let left = process_tree::kill_earlier_attempts(
        &scene.places,
        &id,
        Epoch(4),
        &scene.clock,
        Duration::from_secs(9),
    );
    assert_eq!(within(left).await.unwrap(), []);
    for process in tree {
        let now = Process::of(process.pid)
            .filter(|now| now.start_ticks == process.start_ticks && !now.is_zombie());
        assert_eq!(now, None, "the unmarked one is found through its parents");
    }
}

#[tokio::test]
async fn what_cannot_be_executed_is_said_with_its_path_and_cause() {
    let scene = Scene::new();
    let mut spec = scene.spec(1, "");
    let program = scene.directory.path().join("program");
    std::fs::write(&program, "no program").unwrap();
    spec.argv = vec![program.display().to_string()];
    let tether = scene.spawn(&spec).await.unwrap();
    let mut owned = within(tether.own(true, None)).await.unwrap();
    let exit = exit(&mut owned).await;
    assert!(exit.start_error.contains("program: Permission denied"), "{exit}");
    assert!(exit.to_string().starts_with("not started: "));
    assert_eq!(said(&tether).await, "");
    within(tether.release()).await.unwrap();
}

#[tokio::test]
async fn the_child_has_the_spec_s_environment_and_nothing_else() {
    let scene = Scene::new();
    let mut spec = scene.spec(1, "env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= | sort");
    spec.env.insert("SECRET".into(), "x y".into());
    let (tether, mut owned, _) = scene.start(&spec).await;
    assert_eq!(exit(&mut owned).await.code, Some(0));
    let mark = spec.owner_mark.as_str();
    let said = said(&tether).await;
    assert_eq!(said, format!("MAINSPRING_OWNER={mark}\nPATH=/usr/bin:/bin\nSECRET=x y\n"));
    assert!(!scene.directory.path().join("1/output/spec.json").exists(), "it held the secret");
}

#[tokio::test]
async fn a_tether_that_is_asked_to_end_takes_its_tree_with_it_and_terminals_do_not_reach_it() {
    let scene = Scene::new();
    let (_tether, mut owned, _) = scene.start(&scene.spec(1, "sleep 1000")).await;
    let keeper = scene
        .marked()
        .into_iter()
        .map(|(process, _)| process)
        .min_by_key(|p| p.start_ticks)
        .unwrap();
    keeper.signal(Signal::INT);
    keeper.signal(Signal::HUP);
    keeper.signal(Signal::TERM);
    assert_eq!(exit(&mut owned).await.signal, Some(15));
    scene.until("the tether leaves", || scene.marked().is_empty()).await;
}

#[tokio::test]
async fn a_tether_that_cannot_start_says_why() {
    let scene = Scene::new();
    let mut spec = scene.spec(1, "");
    spec.socket = scene.directory.path().join("x".repeat(120));
    let error = scene.spawn(&spec).await.unwrap_err();
    assert!(error.to_string().contains("107"), "{error}");
}
