//! Programs that do not behave: the run ends, says how, and leaves nothing.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use e2e::Host;
use e2e::process::eventually;

use crate::{each_gets_an_error, program};

each_gets_an_error! {
    a_program_that_is_nothing: [("program", "not a program")], ["run", "program"]
        => 1, ["PROGRAM_NOT_EXECUTABLE", "'program'", "neither a native executable nor a script", "chmod +x"];
    a_program_for_no_machine: [("program", "\u{7f}ELF of something else entirely")], ["run", "program"]
        => 1, ["error[", "program", "help:"];
    a_script_whose_interpreter_is_not_there: [("program", "#!/no/such/interpreter\n")], ["run", "program"]
        => 1, ["PROGRAM_NOT_EXECUTABLE", "its interpreter /no/such/interpreter is not on this machine", "help:"];
}

#[test]
fn a_main_that_exits_three() {
    let host = Host::new();
    let program = program(&host, "three", "echo 'no column \"dep_dely\"' >&2; exit 3");
    host.run(&["run", "--application-id", "three", &program])
        .exits(1)
        .says("error[MAIN_EXITED]")
        .says("exited 3")
        .says("| no column \"dep_dely\"")
        .says("mainspring logs three --role main");
    assert_eq!(host.status("three")["main"]["exitCode"], 3);
    host.run(&["run", "--exit-code-from", "main", &program]).exits(3);
    host.down();
}

#[test]
fn a_main_that_is_killed() {
    let host = Host::new();
    let program = program(&host, "killed", "kill -9 $$");
    host.run(&["run", "--application-id", "killed", &program])
        .exits(1)
        .says("error[MAIN_KILLED]")
        .says("ended by signal 9, sent by")
        .says("OOM killer")
        .says("killed 4 times, and executed again 3 times");
    let main = host.status("killed")["main"].clone();
    assert_eq!(
        (&main["signal"], &main["kills"], &main["executions"]),
        (&9.into(), &3.into(), &4.into())
    );
    host.run(&["run", "--application-id", "once", "--on-failover", "fail", &program])
        .exits(1)
        .says("error[MAIN_KILLED]")
        .says("on_failover is `fail`");
    assert_eq!(host.status("once")["main"]["executions"], 1);
    host.down();
}

/// A control group of this test's own, with so little memory that the kernel kills a process that
/// takes more.
struct Group(std::path::PathBuf);

impl Group {
    /// `None` where this user may not make one.
    fn new() -> Option<Self> {
        let name = format!("mainspring-e2e-{}", std::process::id());
        let limit = ["memory/{}/memory.limit_in_bytes", "{}/memory.max"];
        limit.into_iter().find_map(|limit| {
            let limit = Path::new("/sys/fs/cgroup").join(limit.replace("{}", &name));
            let group = Self(limit.parent()?.to_owned());
            std::fs::create_dir(&group.0).ok()?;
            std::fs::write(limit, "33554432").ok()?;
            Some(group)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_main_that_the_kernel_kills_for_its_memory_is_said_to_be() {
    let Some(group) = Group::new() else {
        return eprintln!("no control group may be made here: not tried");
    };
    let host = Host::new();
    let takes_all = format!("echo $$ > {}/cgroup.procs && exec tail /dev/zero", group.0.display());
    let program = program(&host, "hungry", &takes_all);
    host.run(&["run", "--application-id", "hungry", "--on-failover", "fail", &program])
        .exits(1)
        .says("error[MAIN_KILLED]")
        .says("the kernel's OOM killer")
        .says("give the machine or its control group more memory");
    let sender = host.status("hungry")["main"]["signalSender"].as_str().unwrap().to_owned();
    assert!(!sender.contains("cannot be read") && !sender.contains("was not"), "{sender}");
    host.down();
}

#[test]
fn a_main_that_never_ends_meets_its_deadline() {
    let host = Host::new();
    // The program does not react to signals either.
    let program = program(&host, "forever", "trap '' TERM INT HUP; while :; do sleep 1; done");
    host.run(&["run", "--application-id", "forever", "--deadline", "1s", &program])
        .exits(4)
        .says("DEADLINE_EXCEEDED")
        .says("--deadline");
    assert_eq!(host.status("forever")["outcome"], "OUTCOME_DEADLINE_EXCEEDED");
    host.down();
}

#[test]
fn a_main_that_daemonises_leaves_nothing() {
    let host = Host::new();
    // The daemon is forked twice, in a session of its own, with its streams closed, as daemons do.
    let daemon = "(setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & sleep 1000' >/dev/null 2>&1 </dev/null &) & exit 0";
    let program = program(&host, "daemon", daemon);
    host.run(&["run", "--application-id", "daemon", &program]).exits(0).says("nothing left over");
    assert_eq!(host.status("daemon")["clean"], true);
    eventually("nothing with its mark is alive", || {
        host.alive().iter().all(|(_, line)| !line.contains("sleep 1000"))
    });
    host.down();
}

#[test]
fn a_main_that_prints_a_gigabyte_fills_no_disk_and_ends() {
    /// What all output of one application may take, together with the part that is being written
    /// and the part that is kept.
    const BOUND_BYTES: u64 = 400 << 20;
    let host = Host::new();
    let line = "0123456789".repeat(9);
    let program = program(
        &host,
        "prints",
        &format!("yes {line} | head -c 1000000000; echo; echo the last line; exit 3"),
    );
    let mut run = host.start(&["run", "--application-id", "prints", &program]);
    let mut most = 0;
    while run.is_running() {
        most = most.max(bytes_below(&host.state()));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let run = run.finish().exits(1).says("exited 3").says("of output were dropped here");
    assert!(run.stdout.ends_with("\nthe last line\n"), "its end is not dropped");
    assert!(most < BOUND_BYTES, "{most} bytes on disk at once");

    // The bytes that the log says it lacks and those that it has are all that was written.
    let logs = host.run(&["logs", "prints", "--role", "main", "-o", "jsonl"]).exits(0).json_lines();
    let number =
        |line: &serde_json::Value| line["lostBefore"].as_str().unwrap().parse::<u64>().unwrap();
    let lost: u64 = logs.iter().map(number).sum();
    let kept = logs.len() as u64 * (line.len() as u64 + 1);
    let told = lost + kept;
    assert!(
        told.abs_diff(1_000_000_000) < 20_000_000,
        "{lost} bytes lost and {kept} kept are not 1 GB"
    );
    host.down();
}

/// Bytes that the files of a directory take on disk.
fn bytes_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        // The file was removed in the meantime.
        Err(_) => 0,
    });
    sizes.sum()
}
