//! How many applications a host has room for.

use super::Terms;
use sysinfo::{MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System};

/// How many applications run at once.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What runs")]
pub(crate) struct RoomArgs {
    /// Applications that run at once; further ones are QUEUED [default: by cores and memory]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_running: Option<u32>,

    /// The label whose values share that room fairly
    #[arg(long, value_name = "LABEL", default_value = "team")]
    fair_by: String,
}

impl RoomArgs {
    pub(crate) fn terms(self) -> Terms {
        let said = self.max_running.map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        Terms { max_running: said.unwrap_or_else(default_max_running), share_by: self.fair_by }
    }
}

/// What one application is taken to need. An embedded one's contender, `main()` and worker take
/// about 25 MiB each before they do anything, and they have to do something. An application of
/// Flink needs several times that, so that the operator of a host with many of them sets the
/// number.
const BYTES_EACH: u64 = 256 * 1024 * 1024;

/// More computing applications for each core end no sooner (docs/benchmarks.md): they only take
/// memory, and make everything else that wants a core wait. The operator of a host with many quiet
/// applications sets the number.
const EACH_CORE: u64 = 4;

/// How many the smallest machine takes.
const FEWEST: u64 = 4;

/// The number that follows from this machine's cores and memory, or from the part of them that its
/// control group leaves.
fn default_max_running() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // A machine that does not tell its memory is bounded by its cores.
    of(cores as u64, memory().unwrap_or(u64::MAX))
}

/// The memory that this process may use, in bytes.
fn memory() -> Option<u64> {
    let kinds = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let mut system = System::new_with_specifics(kinds).ok()?;
    let me = sysinfo::get_current_pid().ok()?;
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[me]),
        false,
        ProcessRefreshKind::nothing().without_tasks(),
    );
    let limits = system.process(me).and_then(|process| process.cgroup_limits());
    let limit = limits.map_or(u64::MAX, |limits| limits.total_memory);
    Some(system.total_memory().min(limit))
}

fn of(cores: u64, bytes: u64) -> usize {
    let room = (cores * EACH_CORE).min(bytes / BYTES_EACH).max(FEWEST);
    usize::try_from(room).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_and_memory_bound_what_runs_at_once() {
        const GIB: u64 = 1024 * 1024 * 1024;
        assert_eq!(of(2, 64 * GIB), 8, "few cores");
        assert_eq!(of(64, 8 * GIB), 32, "little memory");
        assert_eq!(of(1, GIB / 2), 4, "the smallest machine");
    }

    #[test]
    fn this_machine_has_room() {
        assert!((4..100_000).contains(&default_max_running()));
    }
}
