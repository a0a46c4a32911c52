//! The processes of this machine as `/proc` shows them: which process descends from which, which
//! owner mark a process carries, and how to end them for good. A descendant that cleared its
//! environment has no mark; it is found for as long as its tether lives.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use chassis::clock::{Boot, Clock as _, SharedClock};
use proto::{ApplicationId, Epoch};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::places::{Kind, Places};
use crate::tether::OWNER_VARIABLE;

/// One process at one moment. Its pid may later belong to another process, which `start_ticks`
/// tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// The process id of its parent.
    pub parent: u32,
    /// The state letter of proc(5): `R`, `S`, `D`, `T`, `t`, `Z`, …
    pub state: char,
    /// When the process was started, in clock ticks since boot.
    pub start_ticks: u64,
}

impl Process {
    /// Whether the process has ended and only waits until its parent takes note.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Whether the process is stopped, by a signal or a tracer.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// The process with this id, if there is one.
    pub fn of(pid: u32) -> Option<Self> {
        parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Sends a signal to exactly this process. The answer is `false` if the process is gone, even
    /// if another one has its pid by now.
    pub fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return false };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        // The handle belongs to the process that has the pid now. If that process is the one that
        // was seen, the handle stays its handle.
        Self::of(self.pid).is_some_and(|now| now.start_ticks == self.start_ticks)
            && pidfd_send_signal(handle, signal).is_ok()
    }

    /// The owner mark in the environment of the process; `None` without one, and for processes of
    /// other users.
    pub fn owner_mark(&self) -> Option<OwnerMark> {
        self.variable(OWNER_VARIABLE)?.parse().ok()
    }

    /// A variable of the environment that the process was started with; `None` if it is not set or
    /// not UTF-8, and for processes of other users.
    pub fn variable(&self, name: &str) -> Option<String> {
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        let mut entries = environment.split(|&byte| byte == 0);
        let value =
            entries.find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        String::from_utf8(value.to_vec()).ok()
    }

    /// Whether the process is a tether: this executable, started as one. A program that only calls
    /// itself so is none.
    fn is_tether(&self) -> bool {
        let executable = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).ok();
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        line.split(|&byte| byte == 0).nth(1) == Some(b"tether")
            && executable(&self.pid.to_string()).is_some_and(|its| Some(its) == executable("self"))
    }

    /// Identifies the process for as long as the machine is up.
    fn identity(&self) -> (u32, u64) {
        (self.pid, self.start_ticks)
    }
}

/// Parses `pid (comm) state ppid … starttime …`, where the command may itself hold spaces and
/// parentheses.
fn parse_stat(stat: &str) -> Option<Process> {
    let pid = stat.split_once(' ')?.0.parse().ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // The start time is field 22 of proc(5), and the next field of the iterator is field 5.
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some(Process { pid, parent, state, start_ticks })
}

/// All processes that exist. The list is not of one instant: a process that forks meanwhile may be
/// missed, so a caller that has to be sure asks until no new process turns up.
pub fn all() -> io::Result<Vec<Process>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(entry) = entry else { continue };
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        processes.extend(pid.and_then(Process::of));
    }
    Ok(processes)
}

/// Those of `processes` that descend from one of `ancestors`, which are not among them. Parents
/// come before their children.
pub fn descendants(
    processes: &[Process],
    ancestors: impl IntoIterator<Item = u32>,
) -> Vec<Process> {
    let mut children: HashMap<u32, Vec<&Process>> = HashMap::new();
    for process in processes {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut ancestors: Vec<u32> = ancestors.into_iter().collect();
    let mut seen: HashSet<u32> = ancestors.iter().copied().collect();
    while let Some(ancestor) = ancestors.pop() {
        for child in children.get(&ancestor).into_iter().flatten() {
            if seen.insert(child.pid) {
                found.push(**child);
                ancestors.push(child.pid);
            }
        }
    }
    found
}

/// A `MAINSPRING_OWNER` in its parts; see [`Places::owner_mark`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerMark {
    /// The first 8 hex digits of the state directory's SHA-256.
    pub state: String,
    /// The application's id.
    pub application: String,
    /// The application's generation.
    pub generation: u64,
    /// `attempt`, `cluster` or `contender`.
    pub kind: String,
    /// The epoch, the incarnation or the index, depending on the kind.
    pub number: u64,
}

/// A text that is no owner mark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no owner mark")]
pub struct InvalidMark(pub String);

impl FromStr for OwnerMark {
    type Err = InvalidMark;

    fn from_str(text: &str) -> Result<Self, InvalidMark> {
        let invalid = || InvalidMark(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        let [state, application, generation, kind, number] = parts.as_slice() else {
            return Err(invalid());
        };
        Ok(Self {
            state: (*state).to_owned(),
            application: (*application).to_owned(),
            generation: generation.parse().map_err(|_| invalid())?,
            kind: (*kind).to_owned(),
            number: number.parse().map_err(|_| invalid())?,
        })
    }
}

/// The living processes that carry a mark that `wanted` accepts. This process is never among them.
pub fn marked(wanted: impl Fn(&OwnerMark) -> bool) -> io::Result<Vec<(Process, OwnerMark)>> {
    let own = std::process::id();
    let living = all()?.into_iter().filter(|process| process.pid != own && !process.is_zombie());
    let marked = living.filter_map(|process| process.owner_mark().map(|mark| (process, mark)));
    Ok(marked.filter(|(_, mark)| wanted(mark)).collect())
}

/// Ends every tree with a marked process that `wanted` accepts, with SIGKILL, so that frozen
/// processes end too. The processes below come first, and the tethers last, because a process
/// without a mark is found only while its tether lives; they are ended as [`Ending`] says. The call
/// asks again until nothing is left, at most for `within`, and answers what is left.
pub async fn kill_marked(
    wanted: impl Fn(&Process, &OwnerMark) -> bool,
    clock: &SharedClock,
    within: Duration,
) -> io::Result<Vec<Process>> {
    /// The round from which on tethers are ended together with the processes below them, because
    /// one of those forks without end.
    const PATIENT_ROUNDS: u32 = 50;
    let end = clock.boot() + within;
    let mut condemned: HashSet<(u32, u64)> = HashSet::new();
    let mut ending = Ending::default();
    let mut pause = Duration::from_millis(1);
    for round in 0_u32.. {
        let processes = all()?;
        let own = std::process::id();
        let living: Vec<Process> =
            processes.iter().filter(|p| !p.is_zombie() && p.pid != own).copied().collect();
        let heads = living.iter().filter(|process| {
            condemned.contains(&process.identity())
                || process.owner_mark().is_some_and(|mark| wanted(process, &mark))
        });
        let mut doomed: Vec<Process> = heads.copied().collect();
        let below = descendants(&processes, doomed.iter().map(|p| p.pid));
        doomed.extend(below.into_iter().filter(|p| !p.is_zombie() && p.pid != own));
        condemned.extend(doomed.iter().map(Process::identity));
        if doomed.is_empty() || clock.boot() >= end {
            return Ok(doomed);
        }
        let pids: HashSet<u32> = doomed.iter().map(|process| process.pid).collect();
        let (inner, roots): (Vec<Process>, Vec<Process>) =
            doomed.iter().partition(|p| pids.contains(&p.parent));
        let targets = if inner.is_empty() || round >= PATIENT_ROUNDS { &doomed } else { &inner };
        tracing::debug!("ending {} process(es) below {} root(s)", targets.len(), roots.len());
        ending.pass(targets, clock.boot());
        clock.sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    Ok(Vec::new())
}

/// How long a tether that is asked to leave may take to keep what its tree said last, which is in
/// the pipes and nowhere else.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Ends processes by force, pass by pass: with SIGKILL, and a tether with SIGTERM, so that it reads
/// what its tree said last. A tether that is still there three seconds later is killed, too.
#[derive(Debug, Default)]
pub struct Ending {
    /// When each tether was asked.
    asked: HashMap<(u32, u64), Boot>,
}

impl Ending {
    /// Sends every one of these processes what is due at this instant.
    pub fn pass(&mut self, processes: &[Process], now: Boot) {
        let (tethers, others): (Vec<&Process>, Vec<&Process>) =
            processes.iter().partition(|process| process.is_tether());
        // The trees come first: a tether that goes on would let a frozen one go on.
        for process in others {
            process.signal(Signal::KILL);
        }
        for tether in tethers {
            let asked = self.asked.entry(tether.identity()).or_insert_with(|| {
                tether.signal(Signal::TERM);
                // A tether that is stopped hears nothing.
                tether.signal(Signal::CONT);
                now
            });
            if now >= *asked + LAST_WORDS {
                tether.signal(Signal::KILL);
            }
        }
    }
}

/// What a leader does before it starts main(): it ends every tree of an attempt of this
/// application, in any generation, whose epoch is below the leader's own. The answer is what could
/// not be ended within `within`; main() must not start then.
pub async fn kill_earlier_attempts(
    places: &Places,
    application: &ApplicationId,
    epoch: Epoch,
    clock: &SharedClock,
    within: Duration,
) -> io::Result<Vec<Process>> {
    let state = places.state_mark();
    let earlier = |_: &Process, mark: &OwnerMark| {
        mark.state == state
            && mark.application == application.as_str()
            && mark.kind == Kind::Attempt.as_str()
            && mark.number < epoch.get()
    };
    kill_marked(earlier, clock, within).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_command_with_parentheses_does_not_confuse_the_stat_line() {
        let stat = "42 (a) R (b) S 7 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 1 1";
        let process = parse_stat(stat).unwrap();
        assert_eq!(process, Process { pid: 42, parent: 7, state: 'S', start_ticks: 987_654 });
    }

    #[test]
    fn this_process_is_there_and_descends_from_its_parent() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(!own.is_zombie() && !own.is_stopped());
        assert!(
            descendants(&all().unwrap(), [own.parent]).iter().any(|process| process.pid == own.pid)
        );
        assert!(
            !descendants(&all().unwrap(), [own.pid]).iter().any(|process| process.pid == own.pid)
        );
    }

    #[test]
    fn a_signal_for_an_earlier_holder_of_the_pid_is_not_sent() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(own.signal(Signal::CONT));
        let earlier = Process { start_ticks: own.start_ticks - 1, ..own };
        assert!(!earlier.signal(Signal::CONT));
    }

    #[test]
    fn an_owner_mark_reads_back() {
        let places = Places::new("/state");
        let application = proto::ApplicationRef {
            id: "orders".parse().unwrap(),
            generation: proto::Generation(4),
        };
        let mark: OwnerMark = places.owner_mark(&application, Kind::Cluster, 9).parse().unwrap();
        assert_eq!((mark.application.as_str(), mark.generation, mark.number), ("orders", 4, 9));
        assert_eq!((mark.state, mark.kind.as_str()), (places.state_mark(), "cluster"));
        assert!("orders/4".parse::<OwnerMark>().is_err());
    }
}
