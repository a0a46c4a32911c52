//! Flink's memory model: what the sizes that a user names mean for a JVM's limits. A TaskManager
//! that is started as a class needs every part spelled out; Flink's own scripts start a JVM of
//! their own for this arithmetic.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bytes;

const MIB: u64 = 1 << 20;

/// One setting that contradicts the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct BadMemory {
    /// The setting's name.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

/// How much of each kind a JobManager has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobManagerMemory {
    /// The whole process.
    pub process: u64,
    /// The Java heap.
    pub heap: u64,
    /// Direct memory.
    pub off_heap: u64,
    /// The memory for classes.
    pub metaspace: u64,
}

/// How much of each kind a TaskManager has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskManagerMemory {
    /// The whole process.
    pub process: u64,
    /// The heap of Flink itself.
    pub framework_heap: u64,
    /// The heap of the program.
    pub task_heap: u64,
    /// The direct memory of Flink itself.
    pub framework_off_heap: u64,
    /// The direct memory of the program.
    pub task_off_heap: u64,
    /// Buffers between tasks.
    pub network: u64,
    /// The memory of state backends, of sorting and of Python.
    pub managed: u64,
    /// The memory for classes.
    pub metaspace: u64,
    /// What the JVM needs beside all of that.
    pub overhead: u64,
}

/// A portion of a whole, within limits.
struct Portion {
    fraction: f64,
    min: u64,
    max: u64,
}

impl Portion {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "sizes of memory are far below 2^52"
    )]
    fn of(&self, whole: u64) -> u64 {
        ((whole as f64 * self.fraction) as u64).clamp(self.min.min(self.max), self.max)
    }
}

/// Reads sizes from the settings below a prefix.
struct Reader<'a> {
    settings: &'a BTreeMap<String, String>,
    prefix: &'static str,
}

impl Reader<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.memory.{name}", self.prefix)
    }

    fn size(&self, name: &str) -> Result<Option<u64>, BadMemory> {
        let key = self.key(name);
        let Some(text) = self.settings.get(&key) else { return Ok(None) };
        bytes::parse(text).map(Some).map_err(|why| BadMemory { key, why })
    }

    fn portion(&self, name: &str, fraction: f64, min: u64, max: u64) -> Result<Portion, BadMemory> {
        let key = self.key(&format!("{name}.fraction"));
        let fraction = match self.settings.get(&key) {
            None => fraction,
            Some(text) => match text.parse::<f64>() {
                Ok(number) if (0.0..1.0).contains(&number) => number,
                _ => {
                    return Err(BadMemory {
                        key,
                        why: format!("{text:?} is no number from 0 up to 1"),
                    });
                }
            },
        };
        let min = self.size(&format!("{name}.min"))?.unwrap_or(min);
        let max = self.size(&format!("{name}.max"))?.unwrap_or(max);
        Ok(Portion { fraction, min, max })
    }

    fn too_small(&self, name: &str, whole: u64, needed: u64) -> BadMemory {
        let (whole, needed) = (bytes::show(whole), bytes::show(needed));
        BadMemory {
            key: self.key(name),
            why: format!("{whole} is too small: its parts need {needed}"),
        }
    }

    fn overhead(&self) -> Result<Portion, BadMemory> {
        self.portion("jvm-overhead", 0.1, 192 * MIB, 1024 * MIB)
    }
}

/// The overhead of a JVM whose other parts are known. Its portion is one of the whole, which
/// includes the overhead.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "sizes of memory are far below 2^52"
)]
fn overhead_beside(portion: &Portion, others: u64) -> u64 {
    let derived = (others as f64 * portion.fraction / (1.0 - portion.fraction)) as u64;
    derived.clamp(portion.min.min(portion.max), portion.max)
}

impl JobManagerMemory {
    /// Reads `jobmanager.memory.*`; the default is a process of 1600 MiB, as in Flink.
    pub fn read(settings: &BTreeMap<String, String>) -> Result<Self, BadMemory> {
        let reader = Reader { settings, prefix: "jobmanager" };
        let metaspace = reader.size("jvm-metaspace.size")?.unwrap_or(256 * MIB);
        let off_heap = reader.size("off-heap.size")?.unwrap_or(128 * MIB);
        let overhead = reader.overhead()?;
        let flink = match (reader.size("heap.size")?, reader.size("flink.size")?) {
            (Some(heap), _) => Some(heap + off_heap),
            (None, flink) => flink,
        };
        if let Some(flink) = flink {
            let heap = flink
                .checked_sub(off_heap)
                .ok_or_else(|| reader.too_small("flink.size", flink, off_heap))?;
            let process = flink + metaspace + overhead_beside(&overhead, flink + metaspace);
            return Ok(Self { process, heap, off_heap, metaspace });
        }
        let process = reader.size("process.size")?.unwrap_or(1600 * MIB);
        let others = off_heap + metaspace + overhead.of(process);
        match process.checked_sub(others) {
            Some(heap) if heap >= 128 * MIB => Ok(Self { process, heap, off_heap, metaspace }),
            _ => Err(reader.too_small("process.size", process, others + 128 * MIB)),
        }
    }
}

impl TaskManagerMemory {
    /// Reads `taskmanager.memory.*`; the default is a process of 1728 MiB, as in Flink. Unlike in
    /// Flink, network memory is at least 160 MiB, because with Flink's 64 MiB a batch exchange of a
    /// few tasks fails for lack of buffers.
    pub fn read(settings: &BTreeMap<String, String>) -> Result<Self, BadMemory> {
        let reader = Reader { settings, prefix: "taskmanager" };
        let or = |name, default| reader.size(name).map(|size| size.unwrap_or(default));
        let framework_heap = or("framework.heap.size", 128 * MIB)?;
        let framework_off_heap = or("framework.off-heap.size", 128 * MIB)?;
        let task_off_heap = or("task.off-heap.size", 0)?;
        let metaspace = or("jvm-metaspace.size", 256 * MIB)?;
        let overhead_portion = reader.overhead()?;
        let network_portion = reader.portion("network", 0.1, 160 * MIB, u64::MAX)?;
        let managed_portion = reader.portion("managed", 0.4, 0, u64::MAX)?;
        let managed = reader.size("managed.size")?;
        let task_heap = reader.size("task.heap.size")?;

        let whole = match (task_heap, managed, reader.size("flink.size")?) {
            // Both parts are named, so that the whole follows from them.
            (Some(task_heap), Some(managed), None) => {
                let others =
                    framework_heap + task_heap + framework_off_heap + task_off_heap + managed;
                let network = overhead_beside(&network_portion, others);
                Whole::Flink(others + network)
            }
            (_, _, Some(flink)) => Whole::Flink(flink),
            _ => Whole::Process(or("process.size", 1728 * MIB)?),
        };
        let (name, flink, overhead) = match whole {
            Whole::Flink(flink) => {
                ("flink.size", flink, overhead_beside(&overhead_portion, flink + metaspace))
            }
            Whole::Process(process) => {
                let overhead = overhead_portion.of(process);
                let others = metaspace + overhead;
                let flink = process
                    .checked_sub(others)
                    .ok_or_else(|| reader.too_small("process.size", process, others))?;
                ("process.size", flink, overhead)
            }
        };
        let network = network_portion.of(flink);
        let managed = managed.unwrap_or_else(|| managed_portion.of(flink));
        let fixed = framework_heap + framework_off_heap + task_off_heap + network + managed;
        let task_heap = match (task_heap, flink.checked_sub(fixed)) {
            (Some(named), Some(left)) if named <= left => named,
            (None, Some(left)) if left > 0 => left,
            (named, _) => {
                let needed = fixed
                    + named.unwrap_or(MIB)
                    + if name == "flink.size" { 0 } else { metaspace + overhead };
                let had = if name == "flink.size" { flink } else { flink + metaspace + overhead };
                return Err(reader.too_small(name, had, needed));
            }
        };
        let process = flink + metaspace + overhead;
        Ok(Self {
            process,
            framework_heap,
            task_heap,
            framework_off_heap,
            task_off_heap,
            network,
            managed,
            metaspace,
            overhead,
        })
    }

    /// The Java heap.
    pub fn heap(&self) -> u64 {
        self.framework_heap + self.task_heap
    }

    /// Direct memory.
    pub fn direct(&self) -> u64 {
        self.framework_off_heap + self.task_off_heap + self.network
    }

    /// All parts, spelled out as Flink's own settings.
    pub fn settings(&self) -> [(&'static str, String); 10] {
        let size = |bytes: u64| format!("{bytes}b");
        [
            ("taskmanager.memory.framework.heap.size", size(self.framework_heap)),
            ("taskmanager.memory.task.heap.size", size(self.task_heap)),
            ("taskmanager.memory.framework.off-heap.size", size(self.framework_off_heap)),
            ("taskmanager.memory.task.off-heap.size", size(self.task_off_heap)),
            ("taskmanager.memory.network.min", size(self.network)),
            ("taskmanager.memory.network.max", size(self.network)),
            ("taskmanager.memory.managed.size", size(self.managed)),
            ("taskmanager.memory.jvm-metaspace.size", size(self.metaspace)),
            ("taskmanager.memory.jvm-overhead.min", size(self.overhead)),
            ("taskmanager.memory.jvm-overhead.max", size(self.overhead)),
        ]
    }
}

/// The whole whose size the user has named.
enum Whole {
    Flink(u64),
    Process(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_jobmanager_has_what_flinks_own_arithmetic_gives() {
        for (given, heap, process) in [
            (&[][..], 1024, 1600),
            (&[("jobmanager.memory.process.size", "1g")], 448, 1024),
            (&[("jobmanager.memory.heap.size", "512m")], 512, 512 + 128 + 256 + 192),
            (&[("jobmanager.memory.flink.size", "600m")], 472, 600 + 256 + 192),
        ] {
            let memory = JobManagerMemory::read(&settings(given)).unwrap();
            assert_eq!((memory.heap / MIB, memory.process / MIB), (heap, process), "{given:?}");
        }
    }

    #[test]
    fn a_taskmanager_is_divided_as_flink_divides_it() {
        let by_default = TaskManagerMemory::read(&settings(&[])).unwrap();
        assert_eq!(by_default.process, 1728 * MIB);
        assert_eq!((by_default.network / MIB, by_default.managed / MIB), (160, 512));
        assert_eq!(by_default.task_heap / MIB, 352);

        let larger =
            TaskManagerMemory::read(&settings(&[("taskmanager.memory.process.size", "4096m")]))
                .unwrap();
        assert_eq!(
            (larger.overhead / MIB, larger.network / MIB, larger.managed / MIB),
            (409, 343, 1372)
        );

        let named = [
            ("taskmanager.memory.task.heap.size", "256m"),
            ("taskmanager.memory.managed.size", "128m"),
        ];
        let named = TaskManagerMemory::read(&settings(&named)).unwrap();
        assert_eq!(
            (named.task_heap / MIB, named.managed / MIB, named.network / MIB),
            (256, 128, 160)
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_it_needs() {
        let tight = settings(&[("taskmanager.memory.process.size", "600m")]);
        let refused = TaskManagerMemory::read(&tight).unwrap_err();
        assert_eq!(refused.key, "taskmanager.memory.process.size");
        assert!(refused.why.contains("600 MiB is too small"), "{}", refused.why);
        let odd = settings(&[("taskmanager.memory.network.fraction", "lots")]);
        assert_eq!(
            TaskManagerMemory::read(&odd).unwrap_err().key,
            "taskmanager.memory.network.fraction"
        );
        let odd = settings(&[("jobmanager.memory.process.size", "1600 parsecs")]);
        assert!(JobManagerMemory::read(&odd).unwrap_err().why.contains("parsecs"));
    }
}
