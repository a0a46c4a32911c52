//! What lives on which host of a deployment, as `/proc` shows it: independent of the record, of the
//! services, and of every answer of the product.
//!
//! Everything that is started for an application carries an owner mark, which names the state
//! directory of its host, the application's generation, and the attempt or the incarnation. The
//! observer looks at all processes again and again, and keeps what must never be: one incarnation
//! on two hosts, and two main()s of one application that run at one instant.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::host::{Home, Host};
use crate::local_cluster::namespace_of;
use crate::process::{command_line, state_of};

/// How often the observer looks.
const LOOK: Duration = Duration::from_millis(20);

/// How many looks at a process settle which mark the process has. A process that was just forked
/// shows the environment of its parent, until another program runs in it.
const SETTLED: u32 = 50;

/// The kinds of owner marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// main() and what it starts, and `describe`; numbered by epoch.
    Attempt,
    /// The processes of a cluster; numbered by incarnation.
    Cluster,
    /// Runners; numbered by index.
    Contender,
}

/// An owner mark, whose host is named by its number in the deployment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The number of the host.
    pub host: usize,
    /// The application and its generation, such as `squares@1`.
    pub application: String,
    /// What the number counts.
    pub kind: Kind,
    /// The epoch, the incarnation or the index.
    pub number: u64,
}

/// Two main()s of one application that ran at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The attempts of the two.
    pub attempts: [Mark; 2],
    /// A process of each when both were first seen to run, as people look at one.
    pub shown: [String; 2],
    /// When both were first seen to run.
    pub first: Instant,
    /// When both were last seen to run.
    pub last: Instant,
}

/// Looks at all processes on a thread of its own, until the value is dropped.
pub struct Observer {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// What tells the hosts that are looked at, by the number of the host.
    hosts: Vec<Home>,
    /// What lived at the latest look, stopped or not.
    living: BTreeSet<Mark>,
    /// The hosts on which each incarnation was ever alive.
    incarnations: BTreeMap<(String, u64), BTreeSet<usize>>,
    /// The attempts whose main() was ever seen to run.
    mains: BTreeSet<Mark>,
    overlaps: BTreeMap<[Mark; 2], Overlap>,
}

impl Observer {
    /// An observer that looks at no host yet.
    pub fn start() -> Self {
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let thread = std::thread::spawn({
            let (seen, stop) = (seen.clone(), stop.clone());
            move || {
                let mut known = Known::default();
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    look(&seen, &mut known);
                    std::thread::sleep(LOOK.saturating_sub(began.elapsed()));
                }
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// Looks at what belongs to this host, too. The hosts of a deployment are numbered as they are
    /// named here.
    pub fn follow(&self, host: &Host) {
        locked(&self.seen).hosts.push(host.home());
    }

    /// What lived on a host at the latest look, stopped or not. A tether by itself does not count,
    /// nor does `describe`.
    pub fn living(&self, host: usize, kind: Kind) -> BTreeSet<Mark> {
        let seen = locked(&self.seen);
        let wanted = seen.living.iter().filter(|mark| mark.host == host && mark.kind == kind);
        wanted.cloned().collect()
    }

    /// The incarnations that were alive on more than one host, at one instant or at several.
    pub fn doubled(&self) -> Vec<(String, u64, BTreeSet<usize>)> {
        let seen = locked(&self.seen);
        let doubled = seen.incarnations.iter().filter(|(_, hosts)| hosts.len() > 1);
        doubled.map(|((of, number), hosts)| (of.clone(), *number, hosts.clone())).collect()
    }

    /// The attempts whose main() was seen to run so far.
    pub fn mains(&self) -> BTreeSet<Mark> {
        locked(&self.seen).mains.clone()
    }

    /// The main()s of one application that were seen to run at one instant.
    pub fn overlaps(&self) -> Vec<Overlap> {
        locked(&self.seen).overlaps.values().cloned().collect()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A look that panicked was seen as such by the harness, which prints it.
        self.thread.take().map(JoinHandle::join);
    }
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What earlier looks have found out about the processes that are still there: the owner mark, and
/// how many looks there were.
type Known = HashMap<u32, (Option<String>, u32)>;

/// One look at all processes.
fn look(seen: &Mutex<Seen>, known: &mut Known) {
    let hosts = locked(seen).hosts.clone();
    let hosts: Vec<Option<(String, PathBuf)>> = hosts.iter().map(Home::now).collect();
    let programs: Vec<(u32, Mark)> = marked(known)
        .into_iter()
        .filter_map(|(pid, owner)| Some((pid, read(pid, &owner, &hosts)?)))
        .filter(|(pid, _)| is_program(*pid))
        .collect();
    let living: Vec<&(u32, Mark)> = programs.iter().filter(|(pid, _)| is_alive(*pid)).collect();
    let mains: Vec<&(u32, Mark)> = living
        .iter()
        .filter(|(pid, mark)| mark.kind == Kind::Attempt && runs(*pid))
        .copied()
        .collect();
    // What ran at both looks ran all the time between them, so that two of these ran at one
    // instant: after the first look at the last of them, and before the second look at the first.
    let still: BTreeMap<&Mark, u32> =
        mains.iter().filter(|(pid, _)| runs(*pid)).map(|(pid, mark)| (mark, *pid)).collect();
    let now = Instant::now();

    let mut seen = locked(seen);
    seen.living = living.iter().map(|(_, mark)| mark.clone()).collect();
    for (_, mark) in living.iter().filter(|(_, mark)| mark.kind == Kind::Cluster) {
        let incarnation = (mark.application.clone(), mark.number);
        seen.incarnations.entry(incarnation).or_default().insert(mark.host);
    }
    seen.mains.extend(mains.iter().map(|(_, mark)| mark.clone()));
    for (at, (one, pid)) in still.iter().enumerate() {
        let others = still.iter().skip(at + 1);
        for (other, beside) in others.filter(|(other, _)| other.application == one.application) {
            let attempts = [(*one).clone(), (*other).clone()];
            let overlap = || Overlap {
                attempts: attempts.clone(),
                shown: [pid, beside].map(|pid| shown(*pid)),
                first: now,
                last: now,
            };
            seen.overlaps.entry(attempts.clone()).or_insert_with(overlap).last = now;
        }
    }
}

/// A process as people look at one.
fn shown(pid: u32) -> String {
    let state = state_of(pid).unwrap_or('?');
    format!("pid {pid}, state {state}: {}", command_line(pid))
}

/// The processes that carry an owner mark, of any host and of any deployment.
fn marked(known: &mut Known) -> Vec<(u32, String)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids: HashSet<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    known.retain(|pid, _| pids.contains(pid));
    let mut marked = Vec::new();
    for pid in pids {
        let (owner, looks) = known.entry(pid).or_default();
        if *looks < SETTLED {
            // The environment of a process that has just ended is empty.
            *owner = owner_of(pid).or(owner.take());
            *looks += 1;
        }
        marked.extend(owner.clone().map(|owner| (pid, owner)));
    }
    marked
}

/// The owner mark in the environment of a process.
fn owner_of(pid: u32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let owner =
        environment.split(|&byte| byte == 0).find_map(|v| v.strip_prefix(b"MAINSPRING_OWNER="))?;
    Some(String::from_utf8_lossy(owner).into_owned())
}

/// Reads the owner mark of a process; `None` if the mark is of another deployment's host.
fn read(pid: u32, owner: &str, hosts: &[Option<(String, PathBuf)>]) -> Option<Mark> {
    let parts: Vec<&str> = owner.split('/').collect();
    let [state, application, generation, kind, number] = parts.as_slice() else { return None };
    let namespace = namespace_of(pid)?;
    let is_it = |(mark, own): &(String, PathBuf)| mark == state && *own == namespace;
    let host = hosts.iter().position(|host| host.as_ref().is_some_and(is_it))?;
    let kind = match *kind {
        "attempt" => Kind::Attempt,
        "cluster" => Kind::Cluster,
        "contender" => Kind::Contender,
        _ => return None,
    };
    let number = number.parse().ok()?;
    Some(Mark { host, application: format!("{application}@{generation}"), kind, number })
}

/// Whether a process with an owner mark is what its tether was asked for, and not the tether or the
/// attempt's `describe`.
fn is_program(pid: u32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let verb = line.split(|&byte| byte == 0).nth(1).unwrap_or_default();
    !matches!(verb, b"tether" | b"describe")
}

fn is_alive(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Whether a process is alive and not stopped.
///
/// A process that waits in the kernel can be told to stop, and is not stopped before its wait ends.
/// A shell that has forked waits so until its child executes another program, and waits on when the
/// child was stopped before that. Nothing of the shell's program is executed meanwhile.
fn runs(pid: u32) -> bool {
    match state_of(pid) {
        None | Some('Z' | 'X' | 'T' | 't') => false,
        Some('D') => !is_to_stop(pid),
        Some(_) => true,
    }
}

/// Whether a process has a SIGKILL or a SIGSTOP before it, which no program can put off.
fn is_to_stop(pid: u32) -> bool {
    const KILL_OR_STOP: u64 = 1 << (9 - 1) | 1 << (19 - 1);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = status
        .lines()
        .filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    pending.map(str::trim).any(|signals| {
        u64::from_str_radix(signals, 16).is_ok_and(|signals| signals & KILL_OR_STOP != 0)
    })
}

#[cfg(test)]
mod tests;
