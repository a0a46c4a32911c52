//! What happens in a simulation, as a pure function of its seed.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// The hosts, by name.
pub(crate) const HOSTS: [&str; 3] = ["a", "b", "c"];

/// The machine that etcd is on.
pub(crate) const ETCD: &str = "etcd";

/// When the last fault is over.
pub(crate) const CALM_AT: Duration = Duration::from_secs(28);

/// How much faster or slower the clocks of a host may run: one percent.
const DRIFT_PPM: i32 = 10_000;

/// How long the leases of an etcd last that grants less than what is asked for.
const SHORT_LEASE_SECONDS: i64 = 1;

/// When the simulation ends. Everything has to be clean by then.
pub(crate) const ENDS_AT: Duration = Duration::from_secs(60);

/// What is simulated.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The applications, each submitted once.
    pub(crate) applications: Vec<Application>,
    /// How far the boot clock of each host is ahead.
    pub(crate) ahead: Vec<Duration>,
    /// How much faster the clocks of each host run, in parts per million.
    pub(crate) faster_ppm: Vec<i32>,
    /// How many seconds a lease of etcd lasts at most; `None`: as long as was asked for.
    pub(crate) longest_lease: Option<i64>,
    /// The faults and their ends, in order.
    pub(crate) faults: Vec<(Duration, Fault)>,
}

/// An application: a main() that executes its jobs one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Application {
    /// Its id.
    pub(crate) id: String,
    /// When it is submitted.
    pub(crate) submitted_at: Duration,
    /// Its jobs, by name, with how long each one takes.
    pub(crate) jobs: Vec<(String, Duration)>,
}

/// What goes wrong, or is well again. A host is told by its place in [`HOSTS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing arrives that the first machine sends to the second.
    Cut(String, String),
    /// It arrives again.
    Mend(String, String),
    /// The machine of a host is gone with all its processes.
    Crash(usize),
    /// It is there again.
    Start(usize),
    /// The contenders of a host are killed, and their main()s with them; they are started again.
    Kill(usize),
    /// A host stands still: its links are cut, and no sleep on its clock ends.
    Pause(usize),
    /// It goes on.
    Resume(usize),
    /// Each message between a host and another machine takes up to so much longer.
    Slow(usize, Duration),
    /// It takes as long as usual.
    Usual(usize),
    /// Of the next writes these are done, and their answers say that this is not known.
    LoseAnswers(usize),
    /// etcd gives its past up, which is lost to watches that have not heard of it.
    Compact,
    /// The members of etcd have no leader.
    NoLeader,
    /// They have one.
    Leader,
    /// The wall clock of a host is set: by so much, and whether that is back.
    Wall(usize, Duration, bool),
    /// Whether requests to the payloads are slow, or fail.
    Payloads(bool),
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let applications = (0..random.random_range(1..=3)).map(|n| application(&mut random, n));
        let applications = applications.collect();
        let ahead = HOSTS.iter().map(|_| between(&mut random, 0, 100_000)).collect();
        let drifts = random.random_bool(0.5);
        let faster = |random: &mut StdRng| random.random_range(-DRIFT_PPM..=DRIFT_PPM);
        let faster_ppm = HOSTS.map(|_| if drifts { faster(&mut random) } else { 0 }).to_vec();
        let longest_lease = random.random_bool(0.3).then_some(SHORT_LEASE_SECONDS);
        let mut faults = Vec::new();
        for _ in 0..random.random_range(2..=8) {
            let from = between(&mut random, 1_000, 22_000);
            let until = (from + between(&mut random, 200, 7_000)).min(CALM_AT);
            faults.extend(episode(&mut random, from, until));
        }
        // Faults of one instant stay in the order in which they were drawn.
        faults.sort_by_key(|(at, _)| *at);
        Self { applications, ahead, faster_ppm, longest_lease, faults }
    }
}

impl Application {
    /// How long each job takes, by name.
    pub(crate) fn takes(&self) -> BTreeMap<String, Duration> {
        self.jobs.iter().cloned().collect()
    }
}

fn application(random: &mut StdRng, number: u32) -> Application {
    let jobs = (1..=random.random_range(1..=3))
        .map(|job| (format!("job-{job}"), between(random, 100, 5_000)))
        .collect();
    let submitted_at = between(random, 500, 12_000);
    Application { id: format!("app-{number}"), submitted_at, jobs }
}

/// One fault with its end.
fn episode(random: &mut StdRng, from: Duration, until: Duration) -> Vec<(Duration, Fault)> {
    let host = random.random_range(0..HOSTS.len());
    let name = HOSTS[host].to_owned();
    let other = match random.random_range(0..HOSTS.len()) {
        peer if peer == host => ETCD.to_owned(),
        peer => HOSTS[peer].to_owned(),
    };
    let cut = |from: &str, to: &str| Fault::Cut(from.to_owned(), to.to_owned());
    let mend = |from: &str, to: &str| Fault::Mend(from.to_owned(), to.to_owned());
    match random.random_range(0..16) {
        0 | 1 => vec![(from, Fault::Crash(host)), (until, Fault::Start(host))],
        2 | 3 => vec![(from, Fault::Pause(host)), (until, Fault::Resume(host))],
        4 | 5 => vec![
            (from, cut(&name, ETCD)),
            (from, cut(ETCD, &name)),
            (until, Fault::Compact),
            (until, mend(&name, ETCD)),
            (until, mend(ETCD, &name)),
        ],
        // What the host asks is done, and the answers do not come.
        6 => vec![(from, cut(ETCD, &name)), (until, mend(ETCD, &name))],
        7 => vec![(from, cut(&name, &other)), (until, mend(&name, &other))],
        8 | 9 => vec![(from, Fault::Kill(host))],
        10 => vec![(from, Fault::LoseAnswers(random.random_range(1..=4)))],
        11 => vec![(from, Fault::NoLeader), (until, Fault::Leader)],
        12 | 13 => vec![(from, Fault::Payloads(true)), (until, Fault::Payloads(false))],
        14 => {
            let by = between(random, 50, 400);
            vec![(from, Fault::Slow(host, by)), (until, Fault::Usual(host))]
        }
        _ => {
            let by = between(random, 1_000, 3_600_000);
            vec![(from, Fault::Wall(host, by, random.random_bool(0.5)))]
        }
    }
}

/// A time between two numbers of milliseconds.
fn between(random: &mut StdRng, least: u64, most: u64) -> Duration {
    Duration::from_millis(random.random_range(least..=most))
}
