//! `env.java.opts.*`: what a user gives the JVMs beside the arguments of this engine, in Flink's
//! names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::role::Role;

const OF_ALL: &str = "env.java.opts.all";

/// The setting with the options of one kind of JVM. Flink calls the JVM of main() the client.
fn of_role(role: Role) -> &'static str {
    match role {
        Role::JobManager => "env.java.opts.jobmanager",
        Role::TaskManager => "env.java.opts.taskmanager",
        Role::Main => "env.java.opts.client",
    }
}

/// Whether the setting is one of these.
pub(crate) fn is_one(setting: &str) -> bool {
    setting == OF_ALL
        || [Role::JobManager, Role::TaskManager, Role::Main]
            .iter()
            .any(|role| setting == of_role(*role))
}

/// A value that is no list of words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} has a quote that is not closed")]
pub(crate) struct NoWords {
    /// The setting's name.
    pub(crate) name: String,
    text: String,
}

/// The user's arguments for each JVM, in the order in which they were given. They come after those
/// of this engine, and later ones win.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JavaOptions {
    jobmanager: Vec<String>,
    taskmanager: Vec<String>,
    main: Vec<String>,
}

impl JavaOptions {
    /// Reads the options as a shell would; a text that is no list of words is refused.
    pub(crate) fn read(given: &BTreeMap<String, String>) -> Result<Self, NoWords> {
        let words = |name: &str| {
            let text = given.get(name).map_or("", String::as_str);
            shlex::split(text)
                .ok_or_else(|| NoWords { name: name.to_owned(), text: text.to_owned() })
        };
        let both = |role| Ok::<_, NoWords>([words(OF_ALL)?, words(of_role(role))?].concat());
        Ok(Self {
            jobmanager: both(Role::JobManager)?,
            taskmanager: both(Role::TaskManager)?,
            main: both(Role::Main)?,
        })
    }

    /// The options of one JVM.
    #[must_use]
    pub fn of(&self, role: Role) -> &[String] {
        match role {
            Role::JobManager => &self.jobmanager,
            Role::TaskManager => &self.taskmanager,
            Role::Main => &self.main,
        }
    }
}

/// Whether an argument chooses a garbage collector, because a JVM that is told of two does not
/// start.
pub(crate) fn chooses_collector(argument: &str) -> bool {
    argument.starts_with("-XX:+Use") && argument.ends_with("GC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_jvm_gets_what_is_for_all_and_then_its_own() {
        let given = [
            (OF_ALL, "-Da='two words' -XX:+UseZGC"),
            ("env.java.opts.taskmanager", "-XX:MaxInlineLevel=20"),
            ("env.java.opts.client", "-Dof=main"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let options = JavaOptions::read(&given).unwrap();
        assert_eq!(options.of(Role::JobManager), ["-Da=two words", "-XX:+UseZGC"]);
        assert_eq!(
            options.of(Role::TaskManager),
            ["-Da=two words", "-XX:+UseZGC", "-XX:MaxInlineLevel=20"]
        );
        assert_eq!(options.of(Role::Main).last().unwrap(), "-Dof=main");
        assert!(
            chooses_collector("-XX:+UseZGC") && !chooses_collector("-XX:+UseStringDeduplication")
        );
    }

    #[test]
    fn a_quote_that_is_not_closed_is_named() {
        let given = [("env.java.opts.client".to_owned(), "-Da='b".to_owned())].into();
        let bad = JavaOptions::read(&given).unwrap_err();
        assert_eq!(bad.name, "env.java.opts.client");
        assert_eq!(bad.to_string(), r#""-Da='b" has a quote that is not closed"#);
    }
}
