//! How each JVM is started.

use std::ffi::OsString;
use std::path::Path;

use crate::home::Home;

/// What Flink's own configuration file opens to its libraries.
const EXPORTS: &[&str] = &[
    "java.rmi/sun.rmi.registry",
    "jdk.compiler/com.sun.tools.javac.api",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.compiler/com.sun.tools.javac.parser",
    "jdk.compiler/com.sun.tools.javac.tree",
    "jdk.compiler/com.sun.tools.javac.util",
    "java.security.jgss/sun.security.krb5",
];
const OPENS: &[&str] = &[
    "java.base/java.lang",
    "java.base/java.net",
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/sun.nio.ch",
    "java.base/java.lang.reflect",
    "java.base/java.text",
    "java.base/java.time",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/java.util.concurrent.locks",
];

/// Which JVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Flink's coordinator.
    JobManager,
    /// Flink's worker.
    TaskManager,
    /// The program's main().
    Main,
}

impl Role {
    /// As in the name of its archive.
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
            Self::JobManager => "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
            Self::TaskManager => "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
            Self::Main => "io.mainspring.flink.Main",
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::JobManager => &["-XX:+UseSerialGC", "-Dmainspring.log.level=INFO"],
            Self::TaskManager => &["-XX:+UseG1GC", "-Dmainspring.log.level=INFO"],
            // It lives for a second or two as a rule: the optimising compiler would cost more than it gives.
            Self::Main => &["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dmainspring.log.level=WARN"],
        }
    }
}

/// Limits of a JVM, in bytes. What is `None` is the JVM's own choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// The heap: both least and most for a TaskManager, most for the others.
    pub heap: u64,
    /// Direct memory.
    pub direct: Option<u64>,
    /// Classes.
    pub metaspace: Option<u64>,
}

/// Everything between `java` and the class's own arguments, class included.
#[must_use]
pub fn arguments(role: Role, home: &Home, memory: &Memory) -> Vec<OsString> {
    let archive = home.archive(role);
    // Auto: an archive that does not fit is left aside, not an error.
    let archive = archive.is_file().then(|| with_path("-XX:SharedArchiveFile=", &archive));
    with_class(role, home, memory, archive.into_iter().chain(["-Xshare:auto".into()]))
}

/// As [`arguments`], for a JVM that leaves its archive when it ends.
pub(crate) fn recording_arguments(role: Role, home: &Home, memory: &Memory) -> Vec<OsString> {
    with_class(role, home, memory, [with_path("-XX:ArchiveClassesAtExit=", &home.archive(role))])
}

fn with_path(flag: &str, path: &Path) -> OsString {
    let mut text = OsString::from(flag);
    text.push(path);
    text
}

fn with_class(
    role: Role,
    home: &Home,
    memory: &Memory,
    archive: impl IntoIterator<Item = OsString>,
) -> Vec<OsString> {
    let mut all = flags(role, memory);
    all.extend(archive);
    all.extend(["-cp".into(), home.class_path(), role.class().into()]);
    all
}

fn flags(role: Role, memory: &Memory) -> Vec<OsString> {
    let mut all = vec![format!("-Xmx{}", memory.heap)];
    if role == Role::TaskManager {
        all.push(format!("-Xms{}", memory.heap));
    }
    all.extend(memory.direct.map(|bytes| format!("-XX:MaxDirectMemorySize={bytes}")));
    all.extend(memory.metaspace.map(|bytes| format!("-XX:MaxMetaspaceSize={bytes}")));
    all.extend(role.flags().iter().map(ToString::to_string));
    all.extend(EXPORTS.iter().map(|package| format!("--add-exports={package}=ALL-UNNAMED")));
    all.extend(OPENS.iter().map(|package| format!("--add-opens={package}=ALL-UNNAMED")));
    all.push("-Dlog4j.configurationFile=mainspring-log4j.properties".to_owned());
    all.push("-Dlog4j2.disable.jmx=true".to_owned());
    all.into_iter().map(OsString::from).collect()
}
