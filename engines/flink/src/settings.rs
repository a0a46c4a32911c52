//! What `-D key=value` may say: Flink's own settings, except for those that make Flink a part of
//! mainspring. A setting that Flink does not know may be known to the program, a connector or a
//! file system: it is passed on, as `flink run` does, with a warning.

mod known;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::java_options::{self, JavaOptions};
use crate::memory::{BadMemory, JobManagerMemory, TaskManagerMemory};

pub(crate) use known::KnownSettings;

/// The settings of this engine, which Flink does not see.
const OURS: [&str; 7] = [
    "flink.taskmanagers",
    "flink.taskmanagers.within",
    "flink.main.heap",
    "flink.plugins",
    "flink.plugins.dir",
    "flink.lib",
    "flink.hadoop.classpath",
];

/// Flink's own settings that begin as those of this engine do.
const NOT_OURS: [&str; 2] = ["flink.hadoop.", "flink.yarn."];

/// The settings that mainspring makes, and why.
const OWNED: [(&str, &str); 12] = [
    ("execution.target", "mainspring decides where jobs go"),
    ("execution.attached", "main() always waits for what it asks for"),
    ("high-availability", "the record keeps what Flink's high availability would"),
    ("rest.address", "the substrate chooses it"),
    ("rest.port", "the substrate chooses it"),
    ("rest.bind-", "the substrate chooses it"),
    ("jobmanager.rpc.", "the substrate chooses it"),
    ("jobmanager.bind-host", "the substrate chooses it"),
    ("taskmanager.host", "the substrate chooses it"),
    ("taskmanager.bind-host", "the substrate chooses it"),
    ("io.tmp.dirs", "each process has a working directory"),
    ("$internal", "it is Flink's own business"),
];

/// Flink's setting for how long a job waits for its slots.
pub(crate) const SLOT_PATIENCE: &str = "slot.request.timeout";

/// The most processes of one kind.
const MAX_TASKMANAGERS: u32 = 100;

/// The settings of an application, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Flink's settings, as given.
    pub flink: BTreeMap<String, String>,
    /// The memory of the one JobManager.
    pub jobmanager: JobManagerMemory,
    /// The memory of each TaskManager.
    pub taskmanager: TaskManagerMemory,
    /// The slots of each TaskManager.
    pub slots: u32,
    /// How many TaskManagers.
    pub taskmanagers: u32,
    /// Whether a setting says how many TaskManagers there are.
    #[serde(default)]
    pub taskmanagers_said: bool,
    /// How long the TaskManagers may take to register, in seconds.
    #[serde(default)]
    pub taskmanagers_within: u32,
    /// The limit of main()'s heap, in bytes.
    pub main_heap: u64,
    /// The user's further arguments of the JVMs.
    #[serde(default)]
    pub java_options: JavaOptions,
}

/// One setting that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSetting {
    /// The setting begins as those of this engine do, so that Flink would not see it.
    #[error("the flink engine knows no setting '{0}': its own are {ours}", ours = OURS.join(", "))]
    Unknown(String),
    /// The setting is mainspring's to make.
    #[error("'{name}' cannot be set: {why}; leave it out")]
    Owned {
        /// The setting's name.
        name: String,
        /// Why it cannot be set.
        why: &'static str,
    },
    /// The setting's value makes no sense.
    #[error("{name}: {why}")]
    Value {
        /// The setting's name.
        name: String,
        /// Which values make sense.
        why: String,
    },
}

impl BadSetting {
    /// The setting's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Unknown(name) | Self::Owned { name, .. } | Self::Value { name, .. } => name,
        }
    }
}

impl From<BadMemory> for BadSetting {
    fn from(BadMemory { key, why }: BadMemory) -> Self {
        Self::Value { name: key, why }
    }
}

impl Settings {
    /// Whether jobs may come while TaskManagers still start. The first of several TaskManagers
    /// would get all of a job; and a user who says how long a job may wait for its slots expects a
    /// cluster that is there.
    pub(crate) fn takes_jobs_early(&self) -> bool {
        self.taskmanagers == 1 && !self.flink.contains_key(SLOT_PATIENCE)
    }

    /// The slots that a job may have in a cluster of its own, as arguments for main()'s JVM.
    pub(crate) fn width(&self) -> Vec<String> {
        let said = |name: &str| self.flink.contains_key(name);
        let follows = !said("taskmanager.numberOfTaskSlots") && !self.taskmanagers_said;
        vec![
            format!("-Dmainspring.taskmanagers={}", self.taskmanagers),
            format!("-Dmainspring.slots={}", self.slots),
            format!("-Dmainspring.slots-follow-parallelism={follows}"),
        ]
    }

    /// How long a job waits for its slots, in seconds. That is longer than its TaskManagers may
    /// take to register, because the job would fail for good otherwise.
    pub(crate) fn slot_patience(&self) -> u32 {
        (self.taskmanagers_within + 60).max(300)
    }

    /// Reads all settings, or says what is wrong with each of the bad ones. `parallelism` is that
    /// of the program, 0 for Flink's default.
    pub fn read(
        given: &BTreeMap<String, String>,
        parallelism: u32,
    ) -> Result<Self, Vec<BadSetting>> {
        let mut bad: Vec<BadSetting> = given.keys().filter_map(|name| refuse(name)).collect();
        let mut number =
            |name: &str, default: u32, max: u32| match given.get(name).map(|text| text.parse()) {
                None => default,
                Some(Ok(number)) if (1..=max).contains(&number) => number,
                Some(_) => {
                    bad.push(BadSetting::Value {
                        name: name.to_owned(),
                        why: format!("a number from 1 to {max}"),
                    });
                    default
                }
            };
        let asked =
            if parallelism > 0 { parallelism } else { number("parallelism.default", 1, 32_768) };
        let slots = number("taskmanager.numberOfTaskSlots", asked.clamp(4, 16), 1024);
        let taskmanagers =
            number("flink.taskmanagers", asked.div_ceil(slots).max(1), MAX_TASKMANAGERS);
        let taskmanagers_within = number("flink.taskmanagers.within", 100, 3600);
        let jobmanager = JobManagerMemory::read(given);
        let taskmanager = TaskManagerMemory::read(given);
        let heap =
            given.get("flink.main.heap").map_or(Ok(512 << 20), |text| crate::bytes::parse(text));
        let main_heap = heap.unwrap_or_else(|why| {
            bad.push(BadSetting::Value { name: "flink.main.heap".to_owned(), why });
            0
        });
        let java_options = JavaOptions::read(given).unwrap_or_else(|no_words| {
            let why = no_words.to_string();
            bad.push(BadSetting::Value { name: no_words.name, why });
            JavaOptions::default()
        });
        match (jobmanager, taskmanager) {
            (Ok(jobmanager), Ok(taskmanager)) if bad.is_empty() => {
                let mut flink = given.clone();
                flink.retain(|name, _| !OURS.contains(&name.as_str()));
                if parallelism > 0 {
                    flink.insert("parallelism.default".to_owned(), parallelism.to_string());
                }
                Ok(Self {
                    flink,
                    jobmanager,
                    taskmanager,
                    slots,
                    taskmanagers,
                    taskmanagers_said: given.contains_key("flink.taskmanagers"),
                    taskmanagers_within,
                    main_heap,
                    java_options,
                })
            }
            (jobmanager, taskmanager) => {
                bad.extend(jobmanager.err().map(BadSetting::from));
                bad.extend(taskmanager.err().map(BadSetting::from));
                Err(bad)
            }
        }
    }
}

fn refuse(name: &str) -> Option<BadSetting> {
    if let Some((_, why)) = OWNED.iter().find(|(owned, _)| name.starts_with(owned)) {
        return Some(BadSetting::Owned { name: name.to_owned(), why });
    }
    if name.starts_with("env.") && !java_options::is_one(name) {
        let why = "it is for Flink's own scripts, which are not used; what JVMs are given is env.java.opts.all, .jobmanager, .taskmanager \
                   and, for main(), .client";
        return Some(BadSetting::Owned { name: name.to_owned(), why });
    }
    let is_ours =
        name.starts_with("flink.") && !NOT_OURS.iter().any(|theirs| name.starts_with(theirs));
    (is_ours && !OURS.contains(&name)).then(|| BadSetting::Unknown(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)], parallelism: u32) -> Result<Settings, Vec<BadSetting>> {
        let given =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Settings::read(&given, parallelism)
    }

    #[test]
    fn there_are_slots_for_the_parallelism_and_as_many_taskmanagers_as_that_needs() {
        for (pairs, parallelism, expected) in [
            (&[][..], 0, (4, 1)),
            (&[], 8, (8, 1)),
            (&[], 40, (16, 3)),
            (&[("parallelism.default", "6")], 0, (6, 1)),
            (&[("taskmanager.numberOfTaskSlots", "2")], 5, (2, 3)),
            (&[("flink.taskmanagers", "2")], 0, (4, 2)),
        ] {
            let settings = read(pairs, parallelism).unwrap();
            assert_eq!(
                (settings.slots, settings.taskmanagers),
                expected,
                "{pairs:?} {parallelism}"
            );
        }
    }

    #[test]
    fn jobs_come_early_where_nothing_depends_on_who_is_there() {
        let early = |pairs: &[(&str, &str)]| read(pairs, 1).unwrap().takes_jobs_early();
        assert!(early(&[]));
        assert!(!early(&[("flink.taskmanagers", "2")]));
        assert!(!early(&[(SLOT_PATIENCE, "5 s")]), "it means a cluster that is there");
    }

    /// Flink fails a job for good whose slots do not come in time.
    #[test]
    fn a_job_waits_longer_than_its_taskmanagers_may_take() {
        let patience = |pairs: &[(&str, &str)]| read(pairs, 1).unwrap().slot_patience();
        assert_eq!(
            (patience(&[]), patience(&[("flink.taskmanagers.within", "2000")])),
            (300, 2060)
        );
    }

    #[test]
    fn every_bad_setting_is_named_and_what_is_ours_cannot_be_set() {
        let pairs = [
            ("rest.port", "8081"),
            ("high-availability.type", "zookeeper"),
            ("flink.taskmanager", "2"),
            ("taskmanager.numberOfTaskSlots", "0"),
            ("state.backend.type", "rocksdb"),
            ("env.java.home", "/jdk"),
        ];
        let bad = read(&pairs, 0).unwrap_err();
        let names: Vec<&str> = bad.iter().map(BadSetting::name).collect();
        let expected = [
            "env.java.home",
            "flink.taskmanager",
            "high-availability.type",
            "rest.port",
            "taskmanager.numberOfTaskSlots",
        ];
        assert_eq!(names, expected);
    }

    /// `flink run` passes these settings on, because not only Flink reads them.
    #[test]
    fn what_flink_does_not_know_reaches_it_all_the_same() {
        let names = [
            "fs.s3a.endpoint",
            "flink.hadoop.dfs.replication",
            "hadoop.tmp.dir",
            "iceberg.catalog",
            "kubernetes.cluster-id",
            "my.own",
            "s3.access-key",
            "scheduler-mode",
            "yarn.application.name",
        ];
        let settings = read(&names.map(|name| (name, "17")), 0).unwrap();
        for name in names {
            assert_eq!(settings.flink.get(name).map(String::as_str), Some("17"), "{name}");
        }
    }

    /// A job that is wider than its cluster is refused by main()'s JVM, which knows of the cluster
    /// only what it is told.
    #[test]
    fn main_is_told_how_wide_its_cluster_is_and_whether_a_parallelism_widens_it() {
        let width = |pairs: &[(&str, &str)], parallelism| read(pairs, parallelism).unwrap().width();
        let said = [("taskmanager.numberOfTaskSlots", "3"), ("flink.taskmanagers", "2")];
        let told = ["taskmanagers=2", "slots=3", "slots-follow-parallelism=false"];
        assert_eq!(width(&said, 0), told.map(|told| format!("-Dmainspring.{told}")));
        for (pairs, follows) in [(&said[..0], true), (&said[..1], false), (&said[1..], false)] {
            let told = format!("-Dmainspring.slots-follow-parallelism={follows}");
            assert!(width(pairs, 6).contains(&told), "{pairs:?}");
        }
    }

    #[test]
    fn our_own_settings_do_not_reach_flink() {
        let settings =
            read(&[("flink.taskmanagers", "2"), ("state.backend.type", "rocksdb")], 3).unwrap();
        assert_eq!(
            settings.flink.keys().collect::<Vec<_>>(),
            ["parallelism.default", "state.backend.type"]
        );
    }
}
