//! The settings that Flink declares, and what is said of a setting that it does not declare.

use std::collections::BTreeMap;

use crate::home::FLINK_VERSION;

/// The beginnings of settings that others read: file systems, connectors, reporters, Python.
const OF_OTHERS: [&str; 16] = [
    "abfs.",
    "containerized.",
    "flink.hadoop.",
    "flink.yarn.",
    "fs.",
    "gs.",
    "hadoop.",
    "hive.",
    "iceberg.",
    "kubernetes.",
    "metrics.reporter.",
    "oss.",
    "python.",
    "s3.",
    "s3a.",
    "yarn.",
];

/// How many characters a mistyped name may differ from the right one.
const NEAR: usize = 2;

/// The names of Flink's settings.
pub(crate) struct KnownSettings<'a> {
    names: Vec<&'a str>,
    /// What the names of settings begin with that end in a part of the user's own.
    families: Vec<&'a str>,
}

impl<'a> KnownSettings<'a> {
    /// Reads a text with one name a line; `<…>` stands for a part of the user's own.
    pub(crate) fn read(text: &'a str) -> Self {
        let (families, names): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|name| name.contains('<'));
        let families = families.into_iter().filter_map(|name| name.split('<').next());
        Self { names, families: families.filter(|family| family.ends_with('.')).collect() }
    }

    /// One line for each setting that Flink does not know; none if Flink's settings are not known
    /// here.
    pub(crate) fn warnings(&self, given: &BTreeMap<String, String>) -> Vec<String> {
        if self.names.is_empty() {
            return Vec::new();
        }
        given.keys().filter_map(|name| self.warning(name)).collect()
    }

    fn warning(&self, name: &str) -> Option<String> {
        if self.names.contains(&name) || self.families.iter().any(|family| name.starts_with(family))
        {
            return None;
        }
        let near = self.names.iter().map(|known| (distance(name, known), *known)).min();
        let near = near.filter(|(far, known)| *far <= NEAR && *far * 4 <= known.len());
        match near {
            Some((_, near)) => Some(format!(
                "Flink {FLINK_VERSION} knows no setting '{name}'; it is passed on as it is; help: did you mean '{near}'?"
            )),
            None if OF_OTHERS.iter().any(|others| name.starts_with(others)) => None,
            None => Some(format!(
                "Flink {FLINK_VERSION} knows no setting '{name}'; it is passed on as it is"
            )),
        }
    }
}

/// How many characters have to be changed, put in or left out to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let cost = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = "execution.checkpointing.interval\nexternal-resource.<resource_name>.amount\nkubernetes.cluster-id\n\
                         scheduler-mode\ntaskmanager.numberOfTaskSlots\n<parameter>\n";

    #[test]
    fn a_setting_that_flink_does_not_know_is_told_with_the_nearest_one() {
        for (name, told) in [
            ("taskmanager.numberOfTaskSlots", None),
            ("external-resource.gpu.amount", None),
            ("scheduler-mode", None),
            ("taskmanagr.numberOfTaskSlots", Some("did you mean 'taskmanager.numberOfTaskSlots'?")),
            ("taskmanager.numberOfTaskSlot", Some("did you mean 'taskmanager.numberOfTaskSlots'?")),
            ("my.own", Some("knows no setting 'my.own'; it is passed on as it is")),
            ("hadoop.tmp.dir", None),
            ("s3.access-key", None),
            ("iceberg.catalog", None),
            ("kubernetes.anything", None),
            ("kubernetes.clusterid", Some("did you mean 'kubernetes.cluster-id'?")),
        ] {
            let given = [(name.to_owned(), "17".to_owned())].into();
            let warnings = KnownSettings::read(NAMES).warnings(&given);
            match told {
                None => assert_eq!(warnings, Vec::<String>::new(), "{name}"),
                Some(told) => {
                    assert!(
                        warnings.len() == 1 && warnings[0].ends_with(told),
                        "{name}: {warnings:?}"
                    )
                }
            }
            assert_eq!(
                KnownSettings::read("").warnings(&given),
                Vec::<String>::new(),
                "nothing is known of Flink's"
            );
        }
    }
}
