//! One machine of a cluster in namespaces, as this process sees it: its directory, and its
//! processes, which have other numbers here than on the machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::script;

/// A machine, whether it runs or not.
#[derive(Debug, Clone)]
pub struct Machine {
    cluster: PathBuf,
    name: String,
}

impl Machine {
    pub(super) fn new(cluster: PathBuf, name: &str) -> Self {
        Self { cluster, name: name.to_owned() }
    }

    /// What the machine is called in its cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the machine has on its disk, and its log.
    pub fn directory(&self) -> PathBuf {
        self.cluster.join(&self.name)
    }

    /// A command on the machine, in the directory of the caller.
    pub(crate) fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = script(&self.cluster, &["exec", &self.name]);
        command.arg(program).args(arguments);
        command
    }

    /// The first process of the machine; `None` if the machine does not run.
    pub fn first(&self) -> Option<u32> {
        let text = std::fs::read(self.directory().join("machine.json")).ok()?;
        let known: Value = serde_json::from_slice(&text).ok()?;
        let pid = u32::try_from(known["pid"].as_u64()?).ok()?;
        // A later process may have the same number.
        (started_at(pid)? == known["start_ticks"].as_u64()?).then_some(pid)
    }

    /// The namespace of the machine's processes; another one after each start.
    pub(crate) fn namespace(&self) -> Option<PathBuf> {
        namespace_of(self.first()?)
    }

    /// All processes of the machine.
    pub fn processes(&self) -> Vec<u32> {
        let Some(own) = self.namespace() else { return Vec::new() };
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| namespace_of(*pid).as_ref() == Some(&own)).collect()
    }

    /// The number by which this process knows a process of the machine.
    pub(crate) fn outside(&self, inside: u32) -> Option<u32> {
        self.processes().into_iter().find(|pid| number_inside(*pid) == Some(inside))
    }
}

/// The namespace in which a process has its number; `None` once the process has ended.
pub(crate) fn namespace_of(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// The number that a process has in the innermost of its namespaces.
fn number_inside(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().next_back()?.parse().ok()
}

/// When a process was started, in ticks since the kernel was; `None` once the process has ended.
pub(super) fn started_at(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the state is the first field after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (!matches!(state, "Z" | "X")).then(|| fields.nth(18))??.parse().ok()
}
