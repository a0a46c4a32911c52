//! The processes of one Flink application, and how they are killed.

use super::ExactlyOnce;
use crate::Host;
use crate::process::{eventually, is_gone, signal};

/// A process of an application on Flink, or of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The contender that leads.
    Contender,
    /// The engine's `describe`, which holds the front.
    Front,
    /// The JVM of main().
    Main,
    /// Flink's JobManager.
    JobManager,
    /// Flink's TaskManager.
    TaskManager,
    /// The process that acts on the JobManager.
    Jobs,
    /// One of the host's services, by its name in `host.json`.
    Service(&'static str),
    /// Every process of the state directory at once, as when the machine loses its power.
    All,
}

impl Part {
    /// All parts that can be killed, each on its own, and all at once.
    pub const EACH: [Self; 12] = [
        Self::JobManager,
        Self::TaskManager,
        Self::Jobs,
        Self::All,
        Self::Contender,
        Self::Front,
        Self::Main,
        Self::Service("jobgraph-store"),
        Self::Service("leader-elector"),
        Self::Service("lifecycle"),
        Self::Service("artifact-fetcher"),
        Self::Service("up"),
    ];

    /// The text that the command line of its process holds.
    fn mark(self) -> &'static str {
        match self {
            Self::Front => "mainspring-flink describe",
            Self::Main => "io.mainspring.flink.Main",
            Self::JobManager => "StandaloneSessionClusterEntrypoint",
            Self::TaskManager => "TaskManagerRunner",
            Self::Jobs => "mainspring-flink jobs",
            // A contender, a service and all processes are found by other means.
            Self::Contender | Self::Service(_) | Self::All => "",
        }
    }

    /// Its process on this host, or the first one of several.
    pub fn pid(self, host: &Host) -> Option<u32> {
        if let Self::Service(name) = self {
            return host.pid_of(name);
        }
        if self == Self::Contender {
            // Of several contenders, the one that leads is meant.
            return u32::try_from(
                host.status(ExactlyOnce::ID)["leadership"]["leaderPid"].as_u64()?,
            )
            .ok();
        }
        host.alive().into_iter().find(|(_, line)| line.contains(self.mark())).map(|(pid, _)| pid)
    }

    /// Ends its process with SIGKILL, and returns once it is gone.
    #[track_caller]
    pub fn kill(self, host: &Host) {
        if self == Self::All {
            return kill_all(host);
        }
        self.end_by(host, "KILL");
    }

    /// Ends its process with this signal, and returns once it is gone.
    #[track_caller]
    pub fn end_by(self, host: &Host, name: &str) {
        let mut found = None;
        eventually(&format!("{self:?} runs"), || {
            found = self.pid(host);
            found.is_some()
        });
        let pid = found.expect("it was just found");
        signal(pid, name);
        eventually("it is gone", || is_gone(pid));
    }
}

/// Kills all processes, `up` first, because `up` would start again what is killed here.
fn kill_all(host: &Host) {
    let mut left: Vec<u32> = Part::Service("up").pid(host).into_iter().collect();
    left.extend(host.alive().into_iter().map(|(pid, _)| pid));
    for pid in &left {
        signal(*pid, "KILL");
    }
    eventually("all are gone", || left.iter().all(|pid| is_gone(*pid)));
}
