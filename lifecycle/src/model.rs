//! Nouns and decisions of lifecycle: no I/O, no clock.

mod plan;
mod port;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chassis::clock::Boot;
use client::places::Kind;
use client::tether::{Exit, LastWords};
use proto::{ApplicationId, ApplicationRef, Incarnation};
use serde::{Deserialize, Serialize};

pub use plan::{InvalidPlan, check_contender, check_plan};
pub use port::{Addresses, Port, port_keys};

/// The processes that live and end together: one incarnation of a cluster, or one contender.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupId {
    /// Whose.
    pub application: ApplicationRef,
    /// [`Kind::Cluster`] or [`Kind::Contender`].
    pub kind: Kind,
    /// Incarnation, or index of the contender.
    pub number: u64,
}

impl GroupId {
    /// What the keys of its processes begin with: `<application>/<generation>/<kind>/<number>/`.
    pub fn key_prefix(&self) -> String {
        let ApplicationRef { id, generation } = &self.application;
        format!("{id}/{generation}/{}/{}/", self.kind.as_str(), self.number)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.kind.as_str(), self.number, self.application)
    }
}

/// One process of a group, whichever start of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    /// What it belongs to.
    pub group: GroupId,
    /// Its role, such as `worker`.
    pub role: String,
    /// Which one of its role, from 0.
    pub replica: u32,
}

impl Slot {
    /// `<application>/<generation>/<kind>/<number>/<role>/<replica>`.
    pub fn key(&self) -> String {
        format!("{}{}/{}", self.group.key_prefix(), self.role, self.replica)
    }

    /// `worker-0`: what it is called among people and in file names.
    pub fn name(&self) -> String {
        format!("{}-{}", self.role, self.replica)
    }
}

/// A kind of process, as an engine described it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSpec {
    /// `[a-z][a-z0-9-]*`.
    pub name: String,
    /// argv.
    pub command: Vec<String>,
    /// What the engine adds to the environment.
    pub environment: BTreeMap<String, String>,
    /// Files for the working directory. Not kept in the record: they are on disk by then.
    #[serde(skip)]
    pub files: Vec<RoleFile>,
    /// At least 1.
    pub replicas: u32,
    /// How to find out that it is ready.
    pub probe: Probe,
    /// How long becoming ready may take, in milliseconds.
    pub ready_within_ms: u64,
    /// What its exit means.
    pub restart: Restart,
    /// The jobs of the cluster are served here.
    pub serves_jobs: bool,
    /// It has nothing to do before it ends: nobody waits for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends_at_once: bool,
    /// Exits with one of these codes end the group, although others are followed by another start; of a contender: it gives up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fatal_exit_codes: Vec<i32>,
    /// Names of the TCP ports that it listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Where the ports of all roles of the group are: chosen once, kept with each process, so that one that is started again
    /// finds the others.
    #[serde(default, skip_serializing_if = "Addresses::is_empty")]
    pub addresses: Addresses,
    /// Of a contender: what somebody had asked of its application when it was begun. One that gave up is tried again for another wish.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wish: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl RoleSpec {
    /// How long becoming ready may take.
    pub fn ready_within(&self) -> Duration {
        Duration::from_millis(self.ready_within_ms)
    }
}

/// A file in a role's working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleFile {
    /// Relative, without `..`.
    pub path: String,
    /// The whole content.
    pub content: Vec<u8>,
    /// Whether it may be executed.
    pub executable: bool,
}

/// How to find out that a process is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// It runs.
    Started,
    /// gRPC health on its own endpoint.
    GrpcHealth,
    /// A TCP port of this machine accepts.
    TcpPort(Port),
    /// A page of this machine answers 2xx.
    Http {
        /// The port.
        port: Port,
        /// The path, beginning with a slash.
        path: String,
    },
}

/// What an exit means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// The group cannot go on.
    Never,
    /// It is started again, with backoff.
    Always,
    /// It is started again unless it exited with one of these codes: then there is nothing left for it to do.
    UntilDone(Vec<i32>),
}

/// Processes that are ended together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Those of one group.
    Group(GroupId),
    /// Those of all incarnations below this one, in any generation.
    ClustersBelow(ApplicationId, Incarnation),
    /// All contenders of one generation.
    Contenders(ApplicationRef),
}

impl Scope {
    /// Whether a group belongs to it.
    pub fn holds(&self, group: &GroupId) -> bool {
        let GroupId { application, kind, number } = group;
        match self {
            Self::Group(wanted) => wanted == group,
            Self::ClustersBelow(id, incarnation) => {
                *kind == Kind::Cluster && application.id == *id && *number < incarnation.get()
            }
            Self::Contenders(of) => *kind == Kind::Contender && application == of,
        }
    }
}

/// One start of one process: all that a substrate needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Which process.
    pub slot: Slot,
    /// What it is.
    pub role: RoleSpec,
    /// Starts of it so far, this one included.
    pub start: u32,
    /// W3C trace context that it continues; may be empty.
    pub traceparent: String,
}

/// How far a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// About to be started, or started and not ready.
    Starting,
    /// Ready.
    Ready,
    /// It has exited.
    Exited,
}

/// Whether a process goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It runs, or will run again.
    Open,
    /// It exited with a code that means that nothing is left to do.
    Done,
    /// It exited with a code that means that another start would come to the same.
    GaveUp,
    /// Its exit ends the group.
    Failed,
    /// It did not become ready in time, which ends the group.
    NotReady(Duration),
    /// A later leader forbade it: this one's epoch, and the one that holds.
    Superseded(u64, u64),
    /// It was asked to end, and nothing of it is left.
    Stopped,
}

/// What is known of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its role.
    pub role: String,
    /// Which one of its role.
    pub replica: u32,
    /// How far it is.
    pub state: State,
    /// Process id; 0 before its first start.
    pub pid: u32,
    /// Starts so far.
    pub starts: u32,
    /// How it last exited, also once it was started again.
    pub exit: Option<Exit>,
    /// It was asked for that exit.
    pub was_ended: bool,
    /// What it said before that exit; of the tail at most [`STDERR_TAIL_BYTES`].
    pub last_words: LastWords,
    /// Where it serves.
    pub endpoint: String,
    /// The jobs of the cluster are served there.
    pub serves_jobs: bool,
    /// Whether it goes on.
    pub fate: Fate,
    /// When its fate was decided; boot time.
    pub since: Boot,
    /// See [`RoleSpec::wish`].
    pub wish: u64,
}

/// How much of stderr an exit's message brings, in bytes.
pub const STDERR_TAIL_BYTES: usize = 4 * 1024;

impl Status {
    /// Of a process that was not started yet.
    pub fn new(slot: &Slot, starts: u32, endpoint: String) -> Self {
        let since = Boot::from_nanos(0);
        Self {
            since,
            serves_jobs: false,
            role: slot.role.clone(),
            replica: slot.replica,
            state: State::Starting,
            pid: 0,
            starts,
            exit: None,
            was_ended: false,
            last_words: LastWords::default(),
            endpoint,
            fate: Fate::Open,
            wish: 0,
        }
    }

    /// Why it gave up: the last line that it said, or else how it exited.
    pub fn last_word(&self) -> String {
        let said = self.last_words.stderr_tail.lines().rev().find(|line| !line.trim().is_empty());
        let exit = || self.exit.as_ref().map(ToString::to_string).unwrap_or_default();
        said.map_or_else(exit, |line| line.trim().to_owned())
    }

    /// `worker-0`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.role, self.replica)
    }

    /// How it exited last when nobody had asked it to, and why as far as it said so: `exit code 1
    /// (Caused by: …)`. Empty when it never did. It stays while the next start is under way:
    /// whoever looks at a process that keeps dying mostly finds it alive.
    pub fn last_exit(&self) -> String {
        let Some(exit) = self.exit.as_ref().filter(|_| !self.was_ended) else { return String::new() };
        let cause = if exit.code.is_some() {
            self.last_words.cause()
        } else if exit.signal.is_some_and(|signal| OF_ITS_OWN.contains(&signal)) {
            self.last_words.error.as_str()
        } else {
            // Somebody else's signal comes in the middle of anything.
            ""
        };
        if cause.is_empty() { exit.to_string() } else { format!("{exit} ({cause})") }
    }

    /// How often it exited although nobody had asked it to, by what is known here.
    pub fn deaths(&self) -> u32 {
        let ended = self.exit.is_some() && !self.was_ended;
        let over = self.starts.saturating_sub(u32::from(self.state != State::Exited));
        if ended { over } else { 0 }
    }
}

/// Signals by which a process ends itself, or is ended for what it did: illegal instruction, abort,
/// bus error, floating point, segment.
const OF_ITS_OWN: [i32; 5] = [4, 6, 7, 8, 11];

/// How a whole group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not all are ready.
    Starting,
    /// All are ready.
    Ready,
    /// It cannot go on.
    Failed,
    /// Nothing of it lives, because it was asked to end.
    Gone,
}

/// How a group is, from what is known of its processes.
pub fn phase(statuses: &[Status]) -> Phase {
    let any = |wanted: fn(&Fate) -> bool| statuses.iter().any(|status| wanted(&status.fate));
    if statuses.iter().all(|status| status.fate == Fate::Stopped) {
        Phase::Gone
    } else if any(|fate| {
        matches!(fate, Fate::Failed | Fate::GaveUp | Fate::NotReady(_) | Fate::Superseded(..))
    }) {
        Phase::Failed
    } else if statuses.iter().all(|status| status.state == State::Ready) {
        Phase::Ready
    } else {
        Phase::Starting
    }
}

/// What follows from an exit.
pub fn after_exit(role: &RoleSpec, exit: &Exit) -> Fate {
    let exited_with_one_of = |codes: &[i32]| exit.code.is_some_and(|code| codes.contains(&code));
    match &role.restart {
        Restart::Never => Fate::Failed,
        Restart::UntilDone(_) if exited_with_one_of(&role.fatal_exit_codes) => Fate::GaveUp,
        _ if exited_with_one_of(&role.fatal_exit_codes) => Fate::Failed,
        Restart::UntilDone(codes) if exited_with_one_of(codes) => Fate::Done,
        Restart::Always | Restart::UntilDone(_) => Fate::Open,
    }
}

/// What to do about a running process that is asked now and then whether it still answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watchdog {
    /// Ask again then.
    AskAt(Boot),
    /// It has not become ready in time, or has been silent for too long.
    GiveUp,
}

/// How often a process that is not ready is asked, at first; the pause doubles up to [`LONGEST_READY_PAUSE`].
pub const FIRST_READY_PAUSE: Duration = Duration::from_millis(2);

/// See [`FIRST_READY_PAUSE`].
pub const LONGEST_READY_PAUSE: Duration = Duration::from_millis(50);

/// How often a ready contender is asked whether it still answers.
pub const PROBE_PAUSE: Duration = Duration::from_secs(3);

/// A contender that has not answered for so long is killed and started again.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// The watch over a ready process that last answered at `answered`.
pub fn watchdog(answered: Boot, now: Boot) -> Watchdog {
    if now >= answered + SILENCE_LIMIT { Watchdog::GiveUp } else { Watchdog::AskAt(now + PROBE_PAUSE) }
}

/// A process that lived for so long has earned an immediate restart.
pub const LONG_LIFE: Duration = Duration::from_secs(30);

/// A contender that is done and asked for again after so long is started again: whoever asks has read the record, and it
/// says that there is something to do.
pub const DONE_RESTS: Duration = Duration::from_secs(10);

/// What of an application's contenders has to be done to have `count` of them: indexes to start and to end.
pub fn contenders_to_change(present: &[u64], count: u32) -> (Vec<u64>, Vec<u64>) {
    let count = u64::from(count);
    let start = (0..count).filter(|index| !present.contains(index)).collect();
    let end = present.iter().copied().filter(|&index| index >= count).collect();
    (start, end)
}

#[cfg(test)]
mod tests;
