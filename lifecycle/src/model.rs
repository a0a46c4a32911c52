//! Nouns and decisions of lifecycle. There is no I/O and no clock here.

mod plan;
mod port;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chassis::clock::Boot;
use client::places::Kind;
use client::tether::{Exit, LastWords};
use proto::{ApplicationId, ApplicationRef, Incarnation, PlaceUid};
use serde::{Deserialize, Serialize};

pub use plan::{InvalidPlan, check_contender, check_plan};
pub use port::{Addresses, Port, port_keys};

/// The processes that live and end together: one incarnation of a cluster, or one contender. An
/// attempt is such a group, too, whose processes its runner has started.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupId {
    /// The application that the processes belong to.
    pub application: ApplicationRef,
    /// [`Kind::Cluster`] or [`Kind::Contender`] of what is minded here.
    pub kind: Kind,
    /// The incarnation, the index of the contender, or the epoch.
    pub number: u64,
}

impl GroupId {
    /// What the names of the group's processes begin with on their host:
    /// `<application>/<generation>/<kind>/<number>/`.
    pub fn key_prefix(&self) -> String {
        let ApplicationRef { id, generation } = &self.application;
        format!("{id}/{generation}/{}/{}/", self.kind.as_str(), self.number)
    }

    /// What the keys of the group's processes begin with in the record, where each host has keys of
    /// its own: `<application>/<generation>/<uid of the host>/<kind>/<number>/`.
    pub fn key_prefix_at(&self, host: PlaceUid) -> String {
        let Self { application, kind, number } = self;
        format!("{}{number}/", kind_prefix_at(application, *kind, host))
    }
}

/// What the keys of all processes of a kind begin with in the record:
/// `<application>/<generation>/<uid of the host>/<kind>/`.
pub fn kind_prefix_at(application: &ApplicationRef, kind: Kind, host: PlaceUid) -> String {
    let ApplicationRef { id, generation } = application;
    format!("{id}/{generation}/{host}/{}/", kind.as_str())
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.kind.as_str(), self.number, self.application)
    }
}

/// One process of a group, whichever start of it runs. A slot is what the record and the
/// directories know a process by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The group that the process belongs to.
    pub group: GroupId,
    /// The role of the process, such as `worker`.
    pub role: String,
    /// The number of the process among those of its role, from 0.
    pub replica: u32,
}

impl Slot {
    /// The name of the process on its host:
    /// `<application>/<generation>/<kind>/<number>/<role>/<replica>`. Older builds had it for the
    /// key in the record.
    pub fn key(&self) -> String {
        format!("{}{}/{}", self.group.key_prefix(), self.role, self.replica)
    }

    /// The key of the process in the record:
    /// `<application>/<generation>/<uid of the host>/<kind>/<number>/<role>/<replica>`.
    pub fn key_at(&self, host: PlaceUid) -> String {
        format!("{}{}/{}", self.group.key_prefix_at(host), self.role, self.replica)
    }

    /// The name of the process among people and in file names, such as `worker-0`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.role, self.replica)
    }
}

/// A kind of process, as an engine described it.
///
/// A role is kept in the record with each of its processes, so that another lifecycle can start
/// them again without the engine. What is added here has to have a default, because the records of
/// earlier builds lack it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSpec {
    /// The role's name: `[a-z][a-z0-9-]*`.
    pub name: String,
    /// argv.
    pub command: Vec<String>,
    /// What the engine adds to the environment.
    pub environment: BTreeMap<String, String>,
    /// Files for the working directory. They are not kept in the record, because they are on disk
    /// by the time a process is started again.
    #[serde(skip)]
    pub files: Vec<RoleFile>,
    /// How many processes there are, at least 1.
    pub replicas: u32,
    /// How to find out that a process is ready.
    pub probe: Probe,
    /// How long becoming ready may take, in milliseconds.
    pub ready_within_ms: u64,
    /// What an exit means.
    pub restart: Restart,
    /// Whether the role serves the jobs of the cluster.
    pub serves_jobs: bool,
    /// Whether the role has nothing to do before it ends, so that an end gives it no grace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends_at_once: bool,
    /// Exit codes that end the group, although other codes are followed by another start. A
    /// contender gives up with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fatal_exit_codes: Vec<i32>,
    /// The names of the TCP ports that the role listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Where the ports of all roles of the group are. They are chosen once and kept with each
    /// process, so that a process that is started again finds the others.
    #[serde(default, skip_serializing_if = "Addresses::is_empty")]
    pub addresses: Addresses,
    /// Of a contender: the revision of what was asked of its application when it was begun. A
    /// contender that gave up is tried again for another wish.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wish: u64,
    /// Of a cluster: whether its outputs are visible as they are written, because no fence holds
    /// them back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ungated: bool,
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
    /// The path, relative and without `..`.
    pub path: String,
    /// The whole content.
    pub content: Vec<u8>,
    /// Whether the file may be executed.
    pub executable: bool,
}

/// How to find out that a process is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// The process is ready as soon as it runs.
    Started,
    /// The process answers gRPC health on its own endpoint.
    GrpcHealth,
    /// A TCP port of this machine accepts.
    TcpPort(Port),
    /// A page of this machine answers 2xx.
    Http {
        /// The port of the page.
        port: Port,
        /// The path, beginning with a slash.
        path: String,
    },
}

/// What an exit of a process means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// The group cannot go on.
    Never,
    /// The process is started again, with backoff.
    Always,
    /// The process is started again unless it exited with one of these codes, which say that
    /// nothing is left for it to do.
    UntilDone(Vec<i32>),
}

/// Groups whose processes are ended together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One group.
    Group(GroupId),
    /// All incarnations below this one, in any generation.
    ClustersBelow(ApplicationId, Incarnation),
    /// All contenders of one generation.
    Contenders(ApplicationRef),
    /// All attempts of one generation: main()s whose runners are gone.
    Attempts(ApplicationRef),
}

impl Scope {
    /// Whether a group belongs to the scope.
    pub fn holds(&self, group: &GroupId) -> bool {
        let GroupId { application, kind, number } = group;
        match self {
            Self::Group(wanted) => wanted == group,
            Self::ClustersBelow(id, incarnation) => {
                *kind == Kind::Cluster && application.id == *id && *number < incarnation.get()
            }
            Self::Contenders(of) => *kind == Kind::Contender && application == of,
            Self::Attempts(of) => *kind == Kind::Attempt && application == of,
        }
    }
}

/// One start of one process: all that a substrate needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The process that is started.
    pub slot: Slot,
    /// The role of the process.
    pub role: RoleSpec,
    /// How many starts there were so far, this one included.
    pub start: u32,
    /// W3C trace context that the process continues; may be empty.
    pub traceparent: String,
}

/// How far a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The process is about to be started, or is started and not ready.
    Starting,
    /// The process is ready.
    Ready,
    /// The process has exited.
    Exited,
}

/// Whether a process goes on, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The process runs, or will run again.
    Open,
    /// The process exited with a code that says that nothing is left to do.
    Done,
    /// The process exited with a code that says that another start would come to the same.
    GaveUp,
    /// The process's exit ends the group.
    Failed,
    /// The process did not become ready within this time, which ends the group.
    NotReady(Duration),
    /// A later leader forbade the start: the epoch of the group's leader, and the one that holds.
    Superseded(u64, u64),
    /// Another incarnation, this one, is the current one, so no process of this cluster is started.
    Over(u64),
    /// The incarnation belongs to another host, as the record said.
    Elsewhere(String),
    /// The process was asked to end, and nothing of it is left.
    Stopped,
}

/// What is known of one process. A group's statuses are its board: what callers watch, and what the
/// phase of the group is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The role of the process.
    pub role: String,
    /// The number of the process among those of its role.
    pub replica: u32,
    /// How far the process is.
    pub state: State,
    /// The process id; 0 before the first start.
    pub pid: u32,
    /// How many starts there were so far.
    pub starts: u32,
    /// How the process last exited, also once it was started again.
    pub exit: Option<Exit>,
    /// Whether that exit was asked for.
    pub was_ended: bool,
    /// What the process said before that exit; of the tail at most [`STDERR_TAIL_BYTES`].
    pub last_words: LastWords,
    /// Where the process serves.
    pub endpoint: String,
    /// Whether the process serves the jobs of the cluster.
    pub serves_jobs: bool,
    /// Whether the process goes on.
    pub fate: Fate,
    /// When its fate was decided, in boot time.
    pub since: Boot,
    /// See [`RoleSpec::wish`].
    pub wish: u64,
    /// See [`RoleSpec::ungated`].
    pub ungated: bool,
}

/// How much of stderr an exit's message brings, in bytes.
pub const STDERR_TAIL_BYTES: usize = 4 * 1024;

impl Status {
    /// The status of a process that was not started yet.
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
            ungated: false,
        }
    }

    /// Why the process gave up: the last line that it said, or else how it exited.
    pub fn last_word(&self) -> String {
        let said = self.last_words.stderr_tail.lines().rev().find(|line| !line.trim().is_empty());
        let exit = || self.exit.as_ref().map(ToString::to_string).unwrap_or_default();
        said.map_or_else(exit, |line| line.trim().to_owned())
    }

    /// The name of the process, such as `worker-0`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.role, self.replica)
    }

    /// How the process exited last without having been asked to, and why, as far as it said so:
    /// `exit code 1 (Caused by: …)`. Empty when it never did. The text stays while the next start
    /// is under way, because a process that keeps dying is mostly found alive.
    pub fn last_exit(&self) -> String {
        let Some(exit) = self.exit.as_ref().filter(|_| !self.was_ended) else {
            return String::new();
        };
        let cause = if exit.code.is_some() {
            self.last_words.cause()
        } else if exit.signal.is_some_and(|signal| OF_ITS_OWN.contains(&signal)) {
            self.last_words.error.as_str()
        } else {
            // A signal from outside comes in the middle of anything, so the last words do not
            // explain it.
            ""
        };
        if cause.is_empty() { exit.to_string() } else { format!("{exit} ({cause})") }
    }

    /// How often the process exited without having been asked to, as far as this lifecycle knows.
    pub fn deaths(&self) -> u32 {
        let ended = self.exit.is_some() && !self.was_ended;
        let over = self.starts.saturating_sub(u32::from(self.state != State::Exited));
        if ended { over } else { 0 }
    }
}

/// Signals by which a process ends itself, or is ended for what it did: illegal instruction, abort,
/// bus error, floating point, segment.
const OF_ITS_OWN: [i32; 5] = [4, 6, 7, 8, 11];

/// How far a whole group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Some processes are not ready.
    Starting,
    /// All processes are ready.
    Ready,
    /// The group cannot go on.
    Failed,
    /// Nothing of the group lives, because it was asked to end.
    Gone,
}

/// How far a group is, from what is known of its processes.
pub fn phase(statuses: &[Status]) -> Phase {
    let any = |wanted: fn(&Fate) -> bool| statuses.iter().any(|status| wanted(&status.fate));
    if statuses.iter().all(|status| status.fate == Fate::Stopped) {
        Phase::Gone
    } else if any(|fate| {
        matches!(fate, Fate::Failed | Fate::GaveUp | Fate::NotReady(_) | Fate::Superseded(..))
    }) || any(|fate| matches!(fate, Fate::Over(_) | Fate::Elsewhere(_)))
    {
        Phase::Failed
    } else if statuses.iter().all(|status| status.state == State::Ready) {
        Phase::Ready
    } else {
        Phase::Starting
    }
}

/// What follows from the exit of a process.
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
    /// Ask again at this instant.
    AskAt(Boot),
    /// The process has not become ready in time, or has been silent for too long.
    GiveUp,
}

/// How often a process that is not ready is asked at first. The pause doubles up to
/// [`LONGEST_READY_PAUSE`].
pub const FIRST_READY_PAUSE: Duration = Duration::from_millis(2);

/// The longest pause between two questions to a process that is not ready.
pub const LONGEST_READY_PAUSE: Duration = Duration::from_millis(50);

/// How often a ready contender is asked whether it still answers.
pub const PROBE_PAUSE: Duration = Duration::from_secs(3);

/// How long a contender may be silent before it is killed and started again.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// The next step of the watch over a ready process that last answered at `answered`.
pub fn watchdog(answered: Boot, now: Boot) -> Watchdog {
    if now >= answered + SILENCE_LIMIT {
        Watchdog::GiveUp
    } else {
        Watchdog::AskAt(now + PROBE_PAUSE)
    }
}

/// How long a process has to live to earn an immediate restart.
pub const LONG_LIFE: Duration = Duration::from_secs(30);

/// A contender that is done and asked for again after so long is started again, because the caller
/// has read the record since, and the record says that there is something to do.
pub const DONE_RESTS: Duration = Duration::from_secs(10);

/// What has to change for an application to have `count` contenders: the indexes to start and those
/// to end.
pub fn contenders_to_change(present: &[u64], count: u32) -> (Vec<u64>, Vec<u64>) {
    let count = u64::from(count);
    let start = (0..count).filter(|index| !present.contains(index)).collect();
    let end = present.iter().copied().filter(|&index| index >= count).collect();
    (start, end)
}

#[cfg(test)]
pub(crate) mod tests;
