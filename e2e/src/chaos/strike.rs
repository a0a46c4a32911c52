//! How faults strike, and how they are undone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::gateway::{PREFIX, number};
use crate::local_cluster::{Cut, LocalCluster, Way};
use crate::process::{signal, signal_all};

use super::application::Application;
use super::bed::Bed;
use super::fault::{Aim, Fault, Kind};
use super::plan::{HOSTS, Step};

/// How long main() of a machine that wakes may run until its tether, which wakes with it, has seen
/// the time.
const AWAKE: Duration = Duration::from_millis(500);

/// How long a leader whose key was removed by hand may believe that it leads: the lease, within
/// which a successor could not have been elected otherwise.
const LEASE: Duration = Duration::from_secs(2);

/// Strikes one application and the deployment under it.
pub(super) struct Striker<'a> {
    bed: &'a mut Bed,
    application: &'a Application,
    /// The hosts that do not answer, or may not.
    away: BTreeSet<usize>,
    /// Whether etcd has no majority.
    is_deaf: bool,
    /// The host that led when that was last asked, and its runner.
    lead: Option<(usize, u32)>,
    /// The host that each fault has struck, by the number of the fault.
    struck: BTreeMap<usize, usize>,
    /// The process that a fault has stopped, by the number of the fault.
    stopped: BTreeMap<usize, u32>,
    /// What a fault has cut, by the number of the fault.
    cuts: BTreeMap<usize, Cut>,
    /// When two main()s of the application may run at one instant.
    excused: Vec<[Instant; 2]>,
}

impl<'a> Striker<'a> {
    pub(super) fn new(bed: &'a mut Bed, application: &'a Application) -> Self {
        Self {
            bed,
            application,
            away: BTreeSet::new(),
            is_deaf: false,
            lead: None,
            struck: BTreeMap::new(),
            stopped: BTreeMap::new(),
            cuts: BTreeMap::new(),
            excused: Vec::new(),
        }
    }

    /// Lets a runner go on that is held.
    pub(super) fn release(&self, marker: &Path) {
        self.bed.release(marker);
    }

    /// When two main()s of the application may have run at one instant.
    pub(super) fn excused(self) -> Vec<[Instant; 2]> {
        self.excused
    }

    /// Does one half of a fault. `false`: there was nothing to strike.
    pub(super) fn step(&mut self, at: usize, fault: &Fault, step: Step) -> bool {
        match step {
            Step::Strike => self.strike(at, fault),
            Step::Undo => {
                self.undo(at, fault);
                true
            }
        }
    }

    fn strike(&mut self, at: usize, fault: &Fault) -> bool {
        match fault.kind {
            Kind::KillHost | Kind::FreezeHost | Kind::SlowStore | Kind::KillService => {
                self.strike_host(at, fault)
            }
            Kind::KillRunner => match self.lead() {
                Some((host, pid)) => self.kill_owned(host, &[pid]),
                None => false,
            },
            Kind::KillTether => {
                let tethers = self.tethers_of_main();
                signal_all_of(&tethers)
            }
            Kind::KillWorker => {
                let workers = self.owned("cluster").into_iter().filter(|it| !it.is_tether());
                signal_all_of(&workers.map(|worker| worker.pid).collect::<Vec<_>>())
            }
            Kind::KillMember => {
                self.bed.deployment.kill_member(fault.member());
                true
            }
            Kind::FreezeMember => {
                self.bed.deployment.hold_member(fault.member(), true);
                true
            }
            Kind::LoseQuorum => {
                self.lead();
                self.is_deaf = true;
                for gone in (0..3).filter(|member| *member != fault.member()) {
                    self.bed.deployment.kill_member(gone);
                }
                true
            }
            Kind::FillEtcd => self.bed.gateway.set_full(true),
            Kind::MoveLeader => self.bed.gateway.move_leader(fault.which),
            Kind::DeleteLeaderKey => {
                let key = format!("{PREFIX}election/{}/leader", self.application.id);
                let began = Instant::now();
                let deleted = self.bed.gateway.delete(&key);
                self.excused.push([began, Instant::now() + LEASE]);
                deleted
            }
            Kind::RevokeHostLease => self.revoke(fault),
            Kind::Compact => {
                // What the chronicle has not read yet is kept.
                let until = self.bed.chronicle.seen_until().saturating_sub(fault.which as u64);
                until > 0 && self.bed.gateway.compact(until)
            }
            Kind::Cancel => self.ask(&["cancel", &self.application.name()]),
            Kind::CutHost
            | Kind::MuteHost
            | Kind::DeafenHost
            | Kind::CutPeers
            | Kind::CutMember
            | Kind::SplitMember => {
                let host = self.aim(fault);
                let cut = cut(fault, host);
                self.bed.deployment.machines().cut(&cut);
                self.cuts.insert(at, cut);
                if matches!(fault.kind, Kind::CutHost | Kind::MuteHost | Kind::DeafenHost) {
                    self.struck.insert(at, host);
                    self.away.insert(host);
                }
                true
            }
        }
    }

    /// Strikes a host, or its services.
    fn strike_host(&mut self, at: usize, fault: &Fault) -> bool {
        let known = self.struck.get(&at).copied();
        let host = known.unwrap_or_else(|| self.aim(fault));
        let deployment = &mut self.bed.deployment;
        let service = match fault.kind {
            Kind::KillService => fault.service(),
            _ => "jobgraph-store",
        };
        let pid = deployment.host(host).pid_of(service);
        match (fault.kind, pid) {
            (Kind::KillHost, _) => deployment.kill(host),
            (Kind::FreezeHost, _) => drop(deployment.freeze(host)),
            (_, None) => return false,
            (Kind::KillService, Some(pid)) => signal(pid, "KILL"),
            (_, Some(pid)) => {
                signal(pid, "STOP");
                self.stopped.insert(at, pid);
            }
        }
        self.struck.insert(at, host);
        self.away.insert(host);
        true
    }

    fn undo(&mut self, at: usize, fault: &Fault) {
        let host = self.struck.get(&at).copied();
        let deployment = &mut self.bed.deployment;
        if let Some(cut) = self.cuts.remove(&at) {
            deployment.machines().mend(&cut);
        }
        match (fault.kind, host) {
            (Kind::KillHost, Some(host)) => deployment.up(host),
            (Kind::FreezeHost, Some(host)) => {
                let thawed = deployment.thaw(host);
                self.excused.push([thawed, thawed + AWAKE]);
            }
            (Kind::SlowStore, Some(_)) => {
                // A store that was killed meanwhile is gone, and another one was never stopped.
                self.stopped.remove(&at).into_iter().for_each(|pid| signal(pid, "CONT"));
            }
            (Kind::KillService, Some(host)) if fault.service() == "up" => {
                deployment.has_up_again(host);
            }
            (Kind::KillMember, _) => deployment.restart_members(),
            (Kind::FreezeMember, _) => deployment.hold_member(fault.member(), false),
            (Kind::LoseQuorum, _) => {
                deployment.restart_members();
                self.is_deaf = false;
            }
            (Kind::FillEtcd, _) => {
                assert!(self.bed.gateway.set_full(false), "etcd takes no writes again");
            }
            _ => {}
        }
        if let Some(host) = host {
            self.away.remove(&host);
        }
    }

    /// Ends the lease of a host's seat.
    fn revoke(&mut self, fault: &Fault) -> bool {
        let host = self.aim(fault);
        let key = format!("{PREFIX}hosts/{}", self.bed.deployment.name(host));
        let found = self.bed.gateway.get(&key, 0);
        let lease = found.and_then(|found| found.entries.first().map(|entry| entry.lease));
        lease.is_some_and(|lease| lease > 0 && self.bed.gateway.revoke(lease))
    }

    /// The number of the host that a fault is aimed at.
    fn aim(&mut self, fault: &Fault) -> usize {
        match fault.aim {
            Aim::Host(number) => number,
            Aim::Leader => self.lead().map_or(0, |(host, _)| host),
        }
    }

    /// The host that leads, and its runner; as it was last known where etcd cannot tell.
    fn lead(&mut self) -> Option<(usize, u32)> {
        if !self.is_deaf
            && let Some(status) = self.bed.status(&self.away, &self.application.name())
        {
            let leadership = &status["leadership"];
            let host = leadership["host"].as_str().and_then(|name| self.bed.numbered(name));
            let pid = u32::try_from(number(&leadership["leaderPid"])).ok().filter(|pid| *pid > 0);
            self.lead = host.zip(pid).and_then(|(host, pid)| {
                // A machine's processes have numbers of their own there.
                Some((host, self.bed.deployment.host(host).outside(pid)?))
            });
        }
        self.lead
    }

    /// Kills processes of a host, if they are the application's still.
    fn kill_owned(&self, host: usize, pids: &[u32]) -> bool {
        let owned = self.bed.deployment.host(host).owned();
        let still: Vec<u32> =
            pids.iter().copied().filter(|pid| owned.iter().any(|(of, _)| of == pid)).collect();
        signal_all_of(&still)
    }

    /// The application's processes of a kind, on all hosts that are not away.
    fn owned(&self, kind: &str) -> Vec<Owned> {
        let Application { id, generation, .. } = self.application;
        let rest = format!("{id}/{generation}/{kind}/");
        let hosts = self.bed.hosts().filter(|(host, _)| !self.away.contains(host));
        hosts.flat_map(|(_, host)| host.owned_as(&rest)).map(Owned::from).collect()
    }

    /// The tethers that main() hangs on: those of an attempt with a child that is no `describe`.
    fn tethers_of_main(&self) -> Vec<u32> {
        let (tethers, programs): (Vec<Owned>, Vec<Owned>) =
            self.owned("attempt").into_iter().partition(Owned::is_tether);
        let mains = programs.iter().filter(|program| program.verb != "describe");
        let parents: BTreeSet<u32> = mains.filter_map(|main| parent(main.pid)).collect();
        tethers.iter().map(|tether| tether.pid).filter(|pid| parents.contains(pid)).collect()
    }

    /// Whether a command succeeds on a host that answers.
    fn ask(&self, arguments: &[&str]) -> bool {
        self.bed.ask(&self.away, arguments).is_some()
    }
}

/// A process with an owner mark.
struct Owned {
    pid: u32,
    /// The second word of its command line.
    verb: String,
}

impl From<(u32, String)> for Owned {
    fn from((pid, line): (u32, String)) -> Self {
        Self { pid, verb: line.split(' ').nth(1).unwrap_or_default().to_owned() }
    }
}

impl Owned {
    fn is_tether(&self) -> bool {
        self.verb == "tether"
    }
}

/// What a fault of the network cuts, where it is aimed at this host.
fn cut(fault: &Fault, host: usize) -> Cut {
    let one = LocalCluster::host(host);
    let member = LocalCluster::MEMBERS[fault.member()];
    let all = LocalCluster::MEMBERS;
    match fault.kind {
        Kind::MuteHost => Cut::new(one, all, Way::Out),
        Kind::DeafenHost => Cut::new(one, all, Way::In),
        Kind::CutPeers => {
            let others = (0..HOSTS).filter(|other| *other != host);
            Cut::new(one, others.map(LocalCluster::host), Way::Both)
        }
        Kind::CutMember => Cut::new(one, [member], Way::Both),
        Kind::SplitMember => {
            Cut::new(member, all.into_iter().filter(|other| *other != member), Way::Both)
        }
        _ => Cut::new(one, all, Way::Both),
    }
}

/// The process that has started this one.
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the state is the first field after it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Kills all of these; `false` if there are none.
fn signal_all_of(pids: &[u32]) -> bool {
    if pids.is_empty() {
        return false;
    }
    signal_all(pids, "KILL");
    true
}
