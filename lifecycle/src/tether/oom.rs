//! Whether the kernel's OOM killer sent a SIGKILL. The kernel reports no sender, but it counts what
//! it has killed, in each control group and on the whole machine. A process that ends by SIGKILL
//! while one of these counters goes up was most likely its victim.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::clock::Boot;

/// A count is compared with one that is at least this old, and at most twice as old: long before
/// that, the kernel may have killed another process.
const WINDOW: Duration = Duration::from_secs(10);

/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// How many processes the OOM killer has killed; `None` where that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    /// Kills in the child's control group.
    group: Option<u64>,
    /// Kills on this machine.
    machine: Option<u64>,
}

/// Looks at the counters now and then, so that their values of a moment ago are known.
#[derive(Debug)]
pub(crate) struct OomWatch {
    /// The counter file of the control group that the child was last seen in.
    group: Option<PathBuf>,
    older: Counts,
    newer: Counts,
    /// When `newer` was read.
    at: Boot,
}

impl OomWatch {
    /// Begins with a child that was just started.
    pub(crate) fn new(child: u32, now: Boot) -> Self {
        let group = group_of(child);
        let counts = read(group.as_deref());
        Self { group, older: counts, newer: counts, at: now }
    }

    /// Reads the counters if that is due. The watch has no timer of its own: the keeper calls it
    /// whenever the keeper is awake.
    pub(crate) fn look(&mut self, child: u32, now: Boot) {
        if now < self.at + WINDOW {
            return;
        }
        let group = group_of(child).or_else(|| self.group.clone());
        let counts = read(group.as_deref());
        self.older = self.newer;
        if group != self.group {
            // The count of another group says nothing about this group.
            self.older.group = counts.group;
        }
        (self.group, self.newer, self.at) = (group, counts, now);
    }

    /// The sender of the SIGKILL that the child has just died of, in words for people.
    pub(crate) fn sender(&self) -> String {
        sender(self.older, read(self.group.as_deref()))
    }
}

/// The difference between two counts, in words.
fn sender(before: Counts, now: Counts) -> String {
    let rose = |before: Option<u64>, now: Option<u64>| Some(now? > before?);
    let text = match (rose(before.group, now.group), rose(before.machine, now.machine)) {
        (Some(true), _) => "the kernel's OOM killer",
        // The group's count cannot be read, or the child was moved to the group a moment ago.
        (_, Some(true)) => {
            "most likely the kernel's OOM killer, which has just killed something on this machine"
        }
        (_, Some(false)) | (Some(false), None) => {
            "another process; it was not the kernel's OOM killer"
        }
        (None, None) => "most likely the kernel's OOM killer; whether it was cannot be read here",
    };
    text.to_owned()
}

fn read(group: Option<&Path>) -> Counts {
    let count = |path: &Path| oom_kills(&fs::read_to_string(path).ok()?);
    Counts { group: group.and_then(count), machine: count(Path::new("/proc/vmstat")) }
}

/// The number in the line `oom_kill N`, which `/proc/vmstat`, `memory.events` and
/// `memory.oom_control` have alike.
fn oom_kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// The file that counts for the control group of a process.
fn group_of(process: u32) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    counters(&groups).into_iter().find(|file| read(Some(file)).group.is_some())
}

/// The files that may count for the groups of a `/proc/PID/cgroup`. In a container the path may be
/// that of the host, while the container's own group is mounted.
fn counters(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let below = path.trim_start_matches('/');
        if controllers.split(',').any(|controller| controller == "memory") {
            let mount = Path::new(GROUPS).join("memory");
            files.extend([mount.join(below), mount].map(|group| group.join("memory.oom_control")));
        } else if controllers.is_empty() {
            files.extend(
                [Path::new(GROUPS).join(below), GROUPS.into()]
                    .map(|group| group.join("memory.events")),
            );
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(group: Option<u64>, machine: Option<u64>) -> Counts {
        Counts { group, machine }
    }

    #[test]
    fn it_is_said_as_surely_as_it_is_known() {
        let certain = "the kernel's OOM killer";
        let table = [
            (counts(Some(1), Some(4)), counts(Some(2), Some(5)), certain),
            (counts(Some(1), None), counts(Some(2), None), certain),
            (
                counts(Some(1), Some(4)),
                counts(Some(1), Some(5)),
                "most likely the kernel's OOM killer, which",
            ),
            (
                counts(None, Some(4)),
                counts(None, Some(5)),
                "most likely the kernel's OOM killer, which",
            ),
            (counts(Some(1), Some(4)), counts(Some(1), Some(4)), "it was not"),
            (counts(None, Some(4)), counts(None, Some(4)), "it was not"),
            (counts(Some(1), None), counts(Some(1), None), "it was not"),
            (counts(None, None), counts(None, None), "cannot be read here"),
            // The group's count was there once.
            (counts(Some(1), Some(1)), counts(None, None), "cannot be read here"),
        ];
        for (before, now, expected) in table {
            let said = sender(before, now);
            assert!(said.contains(expected), "{before:?} {now:?}: {said}");
            assert_eq!(said == certain, expected == certain, "{before:?} {now:?}: {said}");
        }
    }

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(oom_kills("low 0\nhigh 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\n"), None, "of an old kernel");
        let files =
            |text| counters(text).iter().map(|file| file.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            files("4:cpu,memory:/a/b\n3:cpuset:/\n0::/\n"),
            [
                "/sys/fs/cgroup/memory/a/b/memory.oom_control",
                "/sys/fs/cgroup/memory/memory.oom_control",
                "/sys/fs/cgroup/memory.events",
                "/sys/fs/cgroup/memory.events"
            ]
        );
        assert_eq!(
            files("0::/user.slice/x:y\n"),
            ["/sys/fs/cgroup/user.slice/x:y/memory.events", "/sys/fs/cgroup/memory.events"]
        );
    }
}
