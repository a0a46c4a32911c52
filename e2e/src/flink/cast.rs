//! The processes of one Flink application: who they are, and their ends.

use crate::Host;
use crate::process::{eventually, signal};

/// A process of an application on Flink, or of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The leader.
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
}

impl Part {
    /// What its command line holds.
    fn mark(self) -> &'static str {
        match self {
            Self::Contender => " serve app-runner",
            Self::Front => "mainspring-flink describe",
            Self::Main => "io.mainspring.flink.Main",
            Self::JobManager => "StandaloneSessionClusterEntrypoint",
            Self::TaskManager => "TaskManagerRunner",
            Self::Jobs => "mainspring-flink jobs",
            Self::Service(name) => name,
        }
    }

    /// Its process on this host, or the first one of several.
    pub fn pid(self, host: &Host) -> Option<u32> {
        if let Self::Service(name) = self {
            return host.pid_of(name);
        }
        host.alive().into_iter().find(|(_, line)| line.contains(self.mark())).map(|(pid, _)| pid)
    }

    /// Ends its process with SIGKILL, and returns once it is gone: the pid that it had.
    #[track_caller]
    pub fn kill(self, host: &Host) -> u32 {
        let mut found = None;
        eventually(&format!("{self:?} runs"), || {
            found = self.pid(host);
            found.is_some()
        });
        let pid = found.expect("it was just found");
        signal(pid, "KILL");
        eventually("it is gone", || !std::path::Path::new(&format!("/proc/{pid}/exe")).exists());
        pid
    }
}
