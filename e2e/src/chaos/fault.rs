//! What may be done to a deployment, and how long it lasts.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::draw::Draw;

/// The lease of a leader, as hosts have it that were told no other one.
const LEASE_MILLIS: u64 = 2_000;

/// The services of a host, and its `up`, as `host.json` names them.
const SERVICES: [&str; 5] =
    ["jobgraph-store", "leader-elector", "artifact-fetcher", "lifecycle", "up"];

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A whole host dies, and comes back.
    KillHost,
    /// The runner that leads is killed.
    KillRunner,
    /// The tether of main() is killed.
    KillTether,
    /// The processes of the cluster are killed.
    KillWorker,
    /// One service of a host, or its `up`, is killed.
    KillService,
    /// A whole host is stopped, and goes on.
    FreezeHost,
    /// The store of a host stops and goes on again and again, as on a slow disk.
    SlowStore,
    /// A member of etcd is killed, and comes back.
    KillMember,
    /// A member of etcd is stopped, and goes on.
    FreezeMember,
    /// Another member of etcd leads.
    MoveLeader,
    /// Two of three members of etcd are gone for a while.
    LoseQuorum,
    /// etcd has no room, and takes no write until it has.
    FillEtcd,
    /// The key of the application's leader is removed by hand.
    DeleteLeaderKey,
    /// The lease of a host's seat is ended by hand.
    RevokeHostLease,
    /// etcd gives its past up.
    Compact,
    /// A user cancels the application.
    Cancel,
    /// A host and all members of etcd do not hear each other.
    CutHost,
    /// No member of etcd hears a host, which hears them.
    MuteHost,
    /// A host hears no member of etcd, and they hear it.
    DeafenHost,
    /// A host and the other hosts do not hear each other.
    CutPeers,
    /// A host and one member of etcd do not hear each other.
    CutMember,
    /// A member of etcd and the other members do not hear each other.
    SplitMember,
}

/// What a kind of fault needs, or takes away from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// One process, or several, which are killed and started again by themselves.
    Process,
    /// A host, which is brought back.
    Host,
    /// What hosts tell each other.
    Peers,
    /// Members of etcd; a majority of them stays.
    Members,
    /// What etcd writes: it has no majority, or no room.
    Quorum,
    /// A call to etcd, or to the record on etcd, that has to be answered.
    Call,
}

impl Kind {
    /// All kinds, with their names on the command line. Those that need a network between machines
    /// come last.
    pub const ALL: [(Self, &str); 22] = [
        (Self::KillHost, "kill-host"),
        (Self::KillRunner, "kill-runner"),
        (Self::KillTether, "kill-tether"),
        (Self::KillWorker, "kill-worker"),
        (Self::KillService, "kill-service"),
        (Self::FreezeHost, "freeze-host"),
        (Self::SlowStore, "slow-store"),
        (Self::KillMember, "kill-member"),
        (Self::FreezeMember, "freeze-member"),
        (Self::MoveLeader, "move-leader"),
        (Self::LoseQuorum, "lose-quorum"),
        (Self::FillEtcd, "fill-etcd"),
        (Self::DeleteLeaderKey, "delete-leader-key"),
        (Self::RevokeHostLease, "revoke-host-lease"),
        (Self::Compact, "compact"),
        (Self::Cancel, "cancel"),
        (Self::CutHost, "cut-host"),
        (Self::MuteHost, "mute-host"),
        (Self::DeafenHost, "deafen-host"),
        (Self::CutPeers, "cut-peers"),
        (Self::CutMember, "cut-member"),
        (Self::SplitMember, "split-member"),
    ];

    /// The kinds that are drawn from where hosts have a network between them, or none.
    pub fn all(network: bool) -> Vec<Self> {
        let all = Self::ALL.map(|(kind, _)| kind).into_iter();
        all.filter(|kind| network || !kind.needs_network()).collect()
    }

    /// Whether the hosts have to be machines.
    pub fn needs_network(self) -> bool {
        matches!(
            self,
            Self::CutHost
                | Self::MuteHost
                | Self::DeafenHost
                | Self::CutPeers
                | Self::CutMember
                | Self::SplitMember
        )
    }

    /// The kind's name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    fn reach(self) -> Reach {
        match self {
            Self::KillRunner | Self::KillTether | Self::KillWorker => Reach::Process,
            // A host whose `up` was killed is brought back, and one whose store hangs may not be
            // killed meanwhile.
            Self::KillHost
            | Self::FreezeHost
            | Self::KillService
            | Self::SlowStore
            | Self::CutHost
            | Self::MuteHost
            | Self::DeafenHost => Reach::Host,
            Self::CutPeers => Reach::Peers,
            Self::KillMember | Self::FreezeMember | Self::CutMember | Self::SplitMember => {
                Reach::Members
            }
            Self::LoseQuorum | Self::FillEtcd => Reach::Quorum,
            Self::MoveLeader
            | Self::DeleteLeaderKey
            | Self::RevokeHostLease
            | Self::Compact
            | Self::Cancel => Reach::Call,
        }
    }

    /// Whether both can happen at one time, so that each can be done and undone: one of them may
    /// have to bring back a host, for which it needs a majority of etcd's members and has to find
    /// the host as it left it.
    pub fn goes_with(self, other: Self) -> bool {
        let is = |one, another| {
            let both = [self.reach(), other.reach()];
            both == [one, another] || both == [another, one]
        };
        !(is(Reach::Host, Reach::Host)
            || is(Reach::Peers, Reach::Peers)
            || is(Reach::Members, Reach::Members)
            || is(Reach::Members, Reach::Quorum)
            || is(Reach::Quorum, Reach::Quorum)
            || is(Reach::Quorum, Reach::Host)
            || is(Reach::Quorum, Reach::Call)
            || (self == Self::Cancel && other == Self::Cancel))
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found.map(|(kind, _)| *kind).ok_or_else(|| {
            let names = Self::ALL.map(|(_, name)| name).join(", ");
            format!("no fault is called {text:?}; there are {names}")
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which host a fault is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// The one that leads; while no host does, the first one.
    Leader,
    /// The one with this number.
    Host(usize),
}

/// A fault that was drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is done.
    pub kind: Kind,
    /// Where it is done, if it is done to a host.
    pub aim: Aim,
    /// The service, the member, or the number of revisions, by its kind.
    pub which: usize,
    /// When the fault strikes and when it is undone, counted from its beginning. What lasts no time
    /// has one strike, and what comes in pulses has several.
    pub pulses: Vec<[Duration; 2]>,
}

impl Fault {
    /// Draws what is left open by the kind.
    pub fn draw(kind: Kind, hosts: usize, draw: &mut Draw) -> Self {
        // All is drawn for every kind, so that a kind that needs one number more changes no other
        // cycle.
        let aim = if draw.in_percent(70) { Aim::Leader } else { Aim::Host(draw.below(hosts)) };
        let (which, mut own) = (draw.between(0, 99), Draw::of(draw.between(0, u64::MAX - 1)));
        let pulses = match kind {
            Kind::FreezeHost => once(own.millis(LEASE_MILLIS / 2, 3 * LEASE_MILLIS)),
            Kind::KillHost | Kind::KillMember | Kind::FreezeMember => once(own.millis(200, 6_000)),
            Kind::CutHost
            | Kind::MuteHost
            | Kind::DeafenHost
            | Kind::CutPeers
            | Kind::CutMember
            | Kind::SplitMember => once(own.millis(500, 10_000)),
            Kind::LoseQuorum | Kind::FillEtcd => once(own.millis(2_000, 20_000)),
            Kind::SlowStore => slow(&mut own),
            // A service that was killed is started again by its host, and an `up` by a command.
            Kind::KillService => once(own.millis(100, 1_000)),
            _ => once(Duration::ZERO),
        };
        Self { kind, aim, which: usize::try_from(which).unwrap_or_default(), pulses }
    }

    /// The service that is killed.
    pub fn service(&self) -> &'static str {
        SERVICES[self.which % SERVICES.len()]
    }

    /// The member that is killed or stopped, or the one that stays.
    pub fn member(&self) -> usize {
        self.which % 3
    }

    /// Whether the application may end as cancelled.
    pub fn may_cancel(&self) -> bool {
        self.kind == Kind::Cancel
    }
}

/// From the beginning, for so long.
fn once(lasts: Duration) -> Vec<[Duration; 2]> {
    vec![[Duration::ZERO, lasts]]
}

/// Stops of 50 to 500 ms, with pauses between them that are as long.
fn slow(draw: &mut Draw) -> Vec<[Duration; 2]> {
    let mut at = Duration::ZERO;
    let pulses = (0..draw.between(2, 8)).map(|_| {
        let begins = at;
        let ends = begins + draw.millis(50, 500);
        at = ends + draw.millis(50, 500);
        [begins, ends]
    });
    pulses.collect()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        let aim = match self.aim {
            Aim::Leader => "leader".to_owned(),
            Aim::Host(number) => format!("host {number}"),
        };
        match self.kind {
            Kind::KillService => write!(f, " {} of {aim}", self.service())?,
            Kind::KillMember | Kind::FreezeMember | Kind::SplitMember => {
                write!(f, " {}", self.member())?;
            }
            Kind::CutMember => write!(f, " {} of {aim}", self.member())?,
            Kind::KillHost
            | Kind::FreezeHost
            | Kind::SlowStore
            | Kind::RevokeHostLease
            | Kind::CutHost
            | Kind::MuteHost
            | Kind::DeafenHost
            | Kind::CutPeers => {
                write!(f, " of {aim}")?;
            }
            _ => {}
        }
        let lasts = self.pulses.last().map_or(Duration::ZERO, |[_, ends]| *ends);
        if lasts.is_zero() { Ok(()) } else { write!(f, " {:.1}s", lasts.as_secs_f64()) }
    }
}
