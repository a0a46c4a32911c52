//! The three JVMs of an application.

/// One kind of JVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Flink's coordinator.
    JobManager,
    /// Flink's worker.
    TaskManager,
    /// The JVM of the program's main().
    Main,
}

impl Role {
    /// The role's name, as in the name of its archive.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JobManager => "jobmanager",
            Self::TaskManager => "taskmanager",
            Self::Main => "main",
        }
    }

    /// The class to start.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::JobManager => {
                "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
            }
            Self::TaskManager => "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
            Self::Main => "io.mainspring.flink.Main",
        }
    }
}

/// How much of Flink a program's classes can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loading {
    /// Flink's RPC system too, behind the program's own classes, because it starts fastest from
    /// there.
    ProgramFirst,
    /// What Flink itself shows, for a program that says how its classes are found.
    AsFlinkDoes,
}
