//! The processes below the tether: starting the child, and signals to everything that descends from
//! it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use chassis::clock::Boot;
use chassis::run_as::Identity;
use client::process_tree::{self, Ending, Process};
use client::tether::{OWNER_VARIABLE, TetherSpec};
use rustix::fs::{FlockOperation, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Gid, Pid, Signal, Uid, WaitOptions, kill_process, kill_process_group, wait};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

use super::priority;

/// How many passes over all descendants a freeze may take before the tether does something else in
/// between.
const FREEZE_PASSES: u32 = 50;

/// A started child and the reading ends of its output.
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Takes the lock if it is free.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Starts the child in a process group of its own. The child inherits the lock and nothing else but
/// its three streams.
///
/// The lock stays open over `exec` only for the moment of the start. That is safe because a tether
/// starts one process in its life, and no thread of the tether could start another meanwhile.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place where what runs for an application is started"
)]
pub(crate) fn start(spec: &TetherSpec, lock: Option<&File>) -> io::Result<Child> {
    let (program, arguments) = spec
        .argv
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "argv is empty"))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(&spec.env)
        .env(OWNER_VARIABLE, &spec.owner_mark)
        .current_dir(&spec.cwd)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(lock) = lock {
        fcntl_setfd(lock, FdFlags::empty())?;
    }
    let started = spawn(&mut command, spec);
    if let Some(lock) = lock {
        fcntl_setfd(lock, FdFlags::CLOEXEC)?;
    }
    let mut child = started?;
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id is a positive i32");
    let stdout = child.stdout.take().expect("stdout is piped").into();
    let stderr = child.stderr.take().expect("stderr is piped").into();
    Ok(Child { pid, stdout, stderr })
}

/// Starts the child as the user, and with the priority, that it is to have. A thread has
/// credentials and a priority of its own, and a process gets those of the thread that started it.
/// So a thread that lives for this alone becomes what the child is to be, and the tether stays what
/// it is.
fn spawn(command: &mut Command, spec: &TetherSpec) -> io::Result<std::process::Child> {
    if spec.becomes.is_none() && !spec.yields {
        return command.spawn();
    }
    let started = std::thread::scope(|scope| {
        let become_and_spawn = || {
            if spec.yields
                && let Err(error) = priority::lower_thread()
            {
                tracing::warn!("what runs here does not yield: {error}");
            }
            spec.becomes.as_ref().map_or(Ok(()), becomes)?;
            command.spawn()
        };
        scope.spawn(become_and_spawn).join()
    });
    started.unwrap_or_else(|_| Err(io::Error::other("the thread that starts the child panicked")))
}

/// Gives the calling thread another identity.
fn becomes(Identity { uid, gid, groups }: &Identity) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    // The user comes last, because a thread that is not root any more cannot change its groups.
    set_thread_groups(&groups)?;
    set_thread_gid(Gid::from_raw(*gid))?;
    Ok(set_thread_uid(Uid::from_raw(*uid))?)
}

/// What reaping found.
#[derive(Debug, Default)]
pub(crate) struct Reaped {
    /// Exit code or signal of the child itself, if it was among the reaped.
    pub(crate) child: Option<(Option<i32>, Option<i32>)>,
    /// Whether no child is left, and so no descendant either: orphans become children of the
    /// subreaper.
    pub(crate) none_left: bool,
}

/// Takes the exit status of every process that has exited.
pub(crate) fn reap(child: Pid) -> io::Result<Reaped> {
    let mut reaped = Reaped::default();
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => {
                reaped.child = Some((status.exit_status(), status.terminating_signal()));
            }
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return Ok(reaped),
            Err(rustix::io::Errno::CHILD) => {
                reaped.none_left = true;
                return Ok(reaped);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Asks the child and its group to end.
pub(crate) fn terminate(child: Pid) {
    // A child that has left its group is asked alone, and a child that is gone needs no asking.
    if kill_process_group(child, Signal::TERM).is_err() {
        let _ = kill_process(child, Signal::TERM);
    }
}

/// Every process below the tether that lives.
pub(crate) fn living() -> io::Result<Vec<Process>> {
    let below = process_tree::descendants(&process_tree::all()?, [std::process::id()]);
    Ok(below.into_iter().filter(|process| !process.is_zombie()).collect())
}

/// Stops everything below the tether; `true` once a whole pass found nothing running. The next pass
/// finds what was forked meanwhile, and a stopped process forks no more.
pub(crate) fn freeze() -> io::Result<bool> {
    for _ in 0..FREEZE_PASSES {
        let running: Vec<Process> =
            living()?.into_iter().filter(|process| !process.is_stopped()).collect();
        if running.is_empty() {
            return Ok(true);
        }
        for process in &running {
            process.signal(Signal::STOP);
        }
    }
    Ok(false)
}

/// Lets everything below the tether run again.
pub(crate) fn thaw() -> io::Result<()> {
    for process in living()? {
        process.signal(Signal::CONT);
    }
    Ok(())
}

/// One pass of an ending over everything below the tether; answers the processes that it hit.
pub(crate) fn kill(ending: &mut Ending, now: Boot) -> io::Result<Vec<Process>> {
    let living = living()?;
    ending.pass(&living, now);
    Ok(living)
}
