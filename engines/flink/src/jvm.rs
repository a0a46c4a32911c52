//! How each JVM is started.

use std::ffi::OsString;
use std::path::Path;

use crate::home::Home;
use crate::java_options::chooses_collector;
use crate::role::{Loading, Role};

/// The packages that Flink's own configuration file opens to its libraries.
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

fn of_role(role: Role) -> &'static [&'static str] {
    match role {
        // A JobManager coordinates and computes nothing, so that it would never get back what the
        // optimising compiler costs at the start.
        Role::JobManager => &["-XX:TieredStopAtLevel=1", "-Dmainspring.log.level=INFO"],
        // Records go through a TaskManager, which therefore has all compilers.
        Role::TaskManager => &["-Dmainspring.log.level=INFO"],
        // The JVM of main() lives for a second or two as a rule.
        Role::Main => &["-XX:TieredStopAtLevel=1", "-Dmainspring.log.level=WARN"],
    }
}

/// The largest heap, in bytes, that is collected as a whole in a second or two, however it is
/// filled (docs/benchmarks.md). The default heap is below it.
const SHORT_PAUSES: u64 = 512 << 20;

/// The garbage collector. State on the heap is written with each record, and G1 pays for each of
/// these writes so that no pause grows with the heap. Where no pause is long anyway, a job with
/// such state is faster without G1 (docs/benchmarks.md).
fn collector(role: Role, heap: u64) -> &'static str {
    match role {
        Role::JobManager | Role::Main => "-XX:+UseSerialGC",
        Role::TaskManager if heap <= SHORT_PAUSES => "-XX:+UseParallelGC",
        Role::TaskManager => "-XX:+UseG1GC",
    }
}

/// The limits of a JVM, in bytes. A limit that is `None` is the JVM's own choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JvmLimits {
    /// The heap: in a cluster its least and its most, as Flink's scripts have it; for main() only
    /// its most.
    pub heap: u64,
    /// Direct memory.
    pub direct: Option<u64>,
    /// The memory for classes.
    pub metaspace: Option<u64>,
}

/// Everything between `java` and the class's own arguments, the class included. `more` are the
/// user's arguments, which win over the ones here.
#[must_use]
pub fn arguments(
    role: Role,
    home: &Home,
    limits: &JvmLimits,
    loading: Loading,
    more: &[String],
) -> Vec<OsString> {
    let archive = home.archive(role.name());
    // With auto, an archive that does not fit is left aside and is no error.
    let archive = archive.is_file().then(|| with_path("-XX:SharedArchiveFile=", &archive));
    let archive = archive.into_iter().chain(["-Xshare:auto".into()]);
    let mut all =
        with_class(role, home, limits, loading, archive.chain(more.iter().map(OsString::from)));
    let ours = all.iter().position(|argument| argument.to_str().is_some_and(chooses_collector));
    if let Some(ours) = ours.filter(|_| more.iter().any(|argument| chooses_collector(argument))) {
        all.remove(ours);
    }
    all
}

/// The same as [`arguments`], for a JVM that leaves its archive when it ends.
pub(crate) fn recording_arguments(role: Role, home: &Home, limits: &JvmLimits) -> Vec<OsString> {
    let archive = with_path("-XX:ArchiveClassesAtExit=", &home.archive(role.name()));
    // A JVM that is ended at once writes no archive.
    with_class(
        role,
        home,
        limits,
        Loading::ProgramFirst,
        [archive, "-Dmainspring.end-in-order=true".into()],
    )
}

fn with_path(flag: &str, path: &Path) -> OsString {
    let mut text = OsString::from(flag);
    text.push(path);
    text
}

fn with_class(
    role: Role,
    home: &Home,
    limits: &JvmLimits,
    loading: Loading,
    more: impl IntoIterator<Item = OsString>,
) -> Vec<OsString> {
    let mut all = flags(role, limits);
    all.extend(more);
    all.extend(["-cp".into(), home.class_path(role, loading), role.class().into()]);
    all
}

fn flags(role: Role, limits: &JvmLimits) -> Vec<OsString> {
    let mut all = vec![format!("-Xmx{}", limits.heap)];
    if role != Role::Main {
        all.push(format!("-Xms{}", limits.heap));
    }
    all.extend(limits.direct.map(|bytes| format!("-XX:MaxDirectMemorySize={bytes}")));
    all.extend(limits.metaspace.map(|bytes| format!("-XX:MaxMetaspaceSize={bytes}")));
    all.push(collector(role, limits.heap).to_owned());
    all.extend(of_role(role).iter().map(ToString::to_string));
    // Most of what the compilers take up by default is merely warm from starting, and is not called
    // any more once everything has started. The code that records go through is called so often
    // that both compilers get to it all the same.
    all.push("-XX:CompileThresholdScaling=5".to_owned());
    all.extend(EXPORTS.iter().map(|package| format!("--add-exports={package}=ALL-UNNAMED")));
    all.extend(OPENS.iter().map(|package| format!("--add-opens={package}=ALL-UNNAMED")));
    all.push("-Dlog4j.provider=io.mainspring.flink.LogProvider".to_owned());
    all.push("-Dlog4j2.disable.jmx=true".to_owned());
    // Otherwise Netty makes events for a flight recorder that does not run, out of classes that are
    // written anew at each start.
    all.push("-Dorg.apache.flink.shaded.netty4.io.netty.jfr.enabled=false".to_owned());
    // The JVM warns on stdout by default, and stdout belongs to the program.
    all.extend(["-Xlog:disable", "-Xlog:all=warning:stderr"].map(str::to_owned));
    all.into_iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;

    use super::{JvmLimits, arguments, flags};
    use crate::home::Home;
    use crate::java_home::JavaHome;
    use crate::java_options::chooses_collector;
    use crate::role::{Loading, Role};

    const SMALL: JvmLimits = JvmLimits { heap: 1 << 26, direct: None, metaspace: None };

    fn has(all: &[OsString], start: &str) -> bool {
        all.iter().any(|argument| argument.to_string_lossy().starts_with(start))
    }

    #[test]
    fn only_the_jvm_that_records_go_through_keeps_the_optimising_compiler() {
        let stops = |role| has(&flags(role, &SMALL), "-XX:TieredStopAtLevel=1");
        assert_eq!(
            [Role::JobManager, Role::TaskManager, Role::Main].map(stops),
            [true, false, true]
        );
    }

    #[test]
    fn a_taskmanager_with_a_large_heap_has_pauses_that_do_not_grow_with_it() {
        let pauses_grow =
            |role, heap| has(&flags(role, &JvmLimits { heap, ..SMALL }), "-XX:+UseParallelGC");
        assert!(
            pauses_grow(Role::TaskManager, 512 << 20)
                && !pauses_grow(Role::TaskManager, (512 << 20) + 1)
        );
        assert!(has(
            &flags(Role::TaskManager, &JvmLimits { heap: 8 << 30, ..SMALL }),
            "-XX:+UseG1GC"
        ));
    }

    #[test]
    fn an_archive_is_used_when_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("lib")).unwrap();
        let java = JavaHome { path: "/jdk".into(), version: "17".into(), digest: "a".into() };
        let home = Home::unfinished(dir.path(), &java).unwrap();
        let arguments = |more: &[&str]| {
            let more: Vec<String> = more.iter().map(ToString::to_string).collect();
            arguments(Role::Main, &home, &SMALL, Loading::ProgramFirst, &more)
        };
        assert!(!has(&arguments(&[]), "-XX:SharedArchiveFile="));
        fs::create_dir_all(dir.path().join("archives")).unwrap();
        fs::write(home.archive(Role::Main.name()), "").unwrap();
        let all = arguments(&[]);
        assert!(has(&all, "-XX:SharedArchiveFile=") && has(&all, "-Xshare:auto"));
        assert_eq!(all.last().unwrap(), "io.mainspring.flink.Main");
        let all = arguments(&["-XX:+UseParallelGC", "-Xmx1g"]);
        let collectors: Vec<_> =
            all.iter().filter(|a| chooses_collector(&a.to_string_lossy())).collect();
        assert_eq!(collectors, ["-XX:+UseParallelGC"], "a JVM with two does not start");
        let heap = all.iter().rfind(|argument| argument.to_string_lossy().starts_with("-Xmx"));
        assert_eq!(heap.unwrap(), "-Xmx1g", "the last one counts");
    }
}
