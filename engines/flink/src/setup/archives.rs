//! Class-data archives: what a JVM would load, verify and link at each start is done once.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use client::process_tree;
use rustix::process::Signal;

use super::{command, remove};
use crate::home::Home;
use crate::java_home::JavaHome;
use crate::jvm::{self, JvmLimits};
use crate::role::{Loading, Role};

const MIB: u64 = 1 << 20;

/// The variable that marks the JVMs of a rehearsal, whose value is its working directory.
const MARK: &str = "MAINSPRING_REHEARSAL";

/// Makes the archives. Each role's JVM leaves its archive when it ends, so that the `Rehearsal` of
/// mainspring's jar runs one small program on a cluster of its own.
pub(super) fn make(root: &Path, java: &JavaHome) -> anyhow::Result<()> {
    eprintln!("flink: making class-data archives");
    let home = Home::unfinished(root, java)?;
    let (archives, work) = (root.join("archives"), root.join("rehearsal"));
    for directory in [&archives, &work] {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    let mut arguments: Vec<OsString> =
        vec!["-Xmx64m".into(), "-cp".into(), home.class_path(Role::Main, Loading::ProgramFirst)];
    arguments.extend(["io.mainspring.flink.Rehearsal".into(), work.clone().into()]);
    for (role, more) in
        [(Role::JobManager, vec![]), (Role::TaskManager, vec![]), (Role::Main, program(&home))]
    {
        arguments.push(home.java().into());
        arguments.extend(jvm::recording_arguments(role, &home, &limits(role)));
        arguments.extend(more);
        arguments.push(";".into());
    }
    let plugins = home.plugins().to_string_lossy().into_owned();
    let mark = work.to_string_lossy().into_owned();
    let environment = [("FLINK_PLUGINS_DIR", plugins.as_str()), (MARK, mark.as_str())];
    let rehearsed = command::run(home.java(), &arguments, &work, &environment);
    end_marked(&mark)?;
    rehearsed.with_context(|| quote_logs(&work))?;
    remove(&work)
}

/// Kills the JVMs that a rehearsal has left, which happens only if the rehearsal was killed.
fn end_marked(mark: &str) -> anyhow::Result<()> {
    let processes = process_tree::all().context("look for what a rehearsal left")?;
    for process in
        processes.iter().filter(|process| process.variable(MARK).as_deref() == Some(mark))
    {
        process.signal(Signal::KILL);
    }
    Ok(())
}

fn program(home: &Home) -> Vec<OsString> {
    let class = "io.mainspring.flink.RehearsalProgram";
    vec!["--jar".into(), home.our_jar().into(), "--class".into(), class.into()]
}

fn limits(role: Role) -> JvmLimits {
    match role {
        Role::JobManager => JvmLimits { heap: 512 * MIB, ..JvmLimits::default() },
        // The same sizes as in the rehearsal's configuration.
        Role::TaskManager => {
            JvmLimits { heap: 256 * MIB, direct: Some(192 * MIB), metaspace: Some(256 * MIB) }
        }
        Role::Main => JvmLimits { heap: 256 * MIB, ..JvmLimits::default() },
    }
}

/// The last line of each JVM's log.
fn quote_logs(work: &Path) -> String {
    let last = |role: Role| {
        let text =
            fs::read_to_string(work.join(format!("{}.log", role.name()))).unwrap_or_default();
        format!("{}: {}", role.name(), text.lines().last().unwrap_or("no output"))
    };
    [Role::JobManager, Role::TaskManager, Role::Main].map(last).join("; ")
}
