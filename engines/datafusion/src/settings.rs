//! The settings of this engine: what `-D key=value` may say, and how the settings reach main() and
//! the worker.

use std::collections::BTreeMap;

use crate::defaults;
use crate::execute::{DEFAULT_MEMORY_LIMIT_BYTES, DEFAULT_RESULT_LIMIT_BYTES};

/// The variable with the session settings of main(), one `name=value` a line; `describe` sets it,
/// and `sql-main` and the SDK read it.
pub const SETTINGS_VARIABLE: &str = "MAINSPRING_DATAFUSION_SETTINGS";
/// The variable that is `true` when outputs may be added to targets which hold parts of other runs.
pub const APPEND_VARIABLE: &str = "MAINSPRING_DATAFUSION_APPEND";

/// The settings of this engine's own; all others are DataFusion's session settings.
const OURS: [(&str, &str); 3] = [
    ("datafusion.memory-limit", "memory of one job before it spills, such as 512MiB"),
    ("datafusion.result-limit", "largest result of a SELECT, such as 256MiB"),
    ("datafusion.jobs-at-once", "jobs that the worker runs at the same time"),
];

/// The parsed settings of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The memory of one job, in bytes.
    pub memory_limit_bytes: usize,
    /// The largest result of a SELECT, in bytes.
    pub result_limit_bytes: u64,
    /// How many jobs the worker runs at the same time, at least 1.
    pub jobs_at_once: usize,
    /// DataFusion's own settings, for the session of main(); they travel with each graph.
    pub session: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_limit_bytes: DEFAULT_MEMORY_LIMIT_BYTES,
            result_limit_bytes: DEFAULT_RESULT_LIMIT_BYTES,
            jobs_at_once: 4,
            session: BTreeMap::new(),
        }
    }
}

/// One setting that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSetting {
    /// The engine has no setting of this name.
    #[error("the datafusion engine knows no setting '{name}'{}", near.as_ref().map(|n| format!("; did you mean '{n}'?")).unwrap_or_default())]
    Unknown {
        /// The name as it was given.
        name: String,
        /// The closest name that exists.
        near: Option<String>,
    },
    /// The setting's value makes no sense.
    #[error("{name} = '{value}': {why}")]
    Value {
        /// The setting's name.
        name: String,
        /// The value as it was given.
        value: String,
        /// Which values make sense.
        why: String,
    },
}

impl BadSetting {
    /// The setting's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Unknown { name, .. } | Self::Value { name, .. } => name,
        }
    }
}

impl Settings {
    /// Reads all settings, or says what is wrong with each of the bad ones.
    pub fn parse<'a>(
        given: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<Self, Vec<BadSetting>> {
        let mut settings = Self::default();
        let mut bad = Vec::new();
        let mut options = defaults::config().options().as_ref().clone();
        for (name, value) in given {
            let wrong =
                |why: String| BadSetting::Value { name: name.clone(), value: value.clone(), why };
            match name.as_str() {
                "datafusion.memory-limit" => match bytes(value) {
                    Ok(bytes) if bytes >= 1 << 20 => settings.memory_limit_bytes = bytes as usize,
                    Ok(_) => bad.push(wrong("at least 1MiB".to_owned())),
                    Err(why) => bad.push(wrong(why)),
                },
                "datafusion.result-limit" => match bytes(value) {
                    Ok(bytes) => settings.result_limit_bytes = bytes,
                    Err(why) => bad.push(wrong(why)),
                },
                "datafusion.jobs-at-once" => match value.parse() {
                    Ok(jobs @ 1..=64) => settings.jobs_at_once = jobs,
                    _ => bad.push(wrong("a number from 1 to 64".to_owned())),
                },
                "datafusion.execution.listing_table_ignore_subdirectory" if value != "true" => {
                    bad.push(wrong(
                        "tables must ignore sub-directories: unfinished output is staged in one"
                            .to_owned(),
                    ));
                }
                _ if name.starts_with("datafusion.runtime.") => {
                    bad.push(wrong("use datafusion.memory-limit".to_owned()));
                }
                _ if options.entries().iter().any(|entry| entry.key == *name) => {
                    match options.set(name, value) {
                        Ok(()) => {
                            settings.session.insert(name.clone(), value.clone());
                        }
                        Err(error) => bad.push(wrong(crate::error::plain(&error))),
                    }
                }
                _ => {
                    bad.push(BadSetting::Unknown { name: name.clone(), near: near(name, &options) })
                }
            }
        }
        if bad.is_empty() { Ok(settings) } else { Err(bad) }
    }

    /// The variables that carry the settings to main().
    pub fn environment(&self, append: bool) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        if !self.session.is_empty() {
            let lines: Vec<_> =
                self.session.iter().map(|(name, value)| format!("{name}={value}")).collect();
            environment.insert(SETTINGS_VARIABLE.to_owned(), lines.join("\n"));
        }
        if append {
            environment.insert(APPEND_VARIABLE.to_owned(), "true".to_owned());
        }
        environment
    }
}

/// The session settings and the append flag of main()'s own environment.
pub fn of_main() -> (BTreeMap<String, String>, bool) {
    let text = std::env::var(SETTINGS_VARIABLE).unwrap_or_default();
    let settings = text.lines().filter_map(|line| line.split_once('='));
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    (settings, std::env::var(APPEND_VARIABLE).is_ok_and(|value| value == "true"))
}

fn near(name: &str, options: &datafusion::config::ConfigOptions) -> Option<String> {
    let theirs = options.entries().into_iter().map(|entry| entry.key);
    let names: Vec<String> =
        OURS.iter().map(|(name, _)| (*name).to_owned()).chain(theirs).collect();
    crate::script::nearest(name, &names).map(str::to_owned)
}

/// Reads a size such as `512MiB`, `1GB` or `65536`.
fn bytes(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err("a size such as 512MiB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "a size such as 512MiB".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, value: &str) -> Result<Settings, String> {
        let given = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        Settings::parse(&given).map_err(|bad| bad[0].to_string())
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("512MiB", 512 << 20), ("1g", 1 << 30), ("2GB", 2_000_000_000), ("1048576", 1 << 20)]
        {
            assert_eq!(
                parse("datafusion.memory-limit", text).unwrap().memory_limit_bytes,
                bytes,
                "{text}"
            );
        }
        for text in ["", "MiB", "1x", "-1", "99999999999GB", "1k"] {
            assert!(parse("datafusion.memory-limit", text).is_err(), "{text}");
        }
    }

    #[test]
    fn datafusions_own_settings_are_checked_by_it() {
        let settings = parse("datafusion.execution.batch_size", "100").unwrap();
        assert_eq!(settings.session["datafusion.execution.batch_size"], "100");
        assert!(parse("datafusion.execution.batch_size", "many").is_err());
        assert!(parse("datafusion.execution.listing_table_ignore_subdirectory", "false").is_err());
    }

    #[test]
    fn an_unknown_setting_names_the_nearest() {
        let text = parse("datafusion.execution.batchsize", "1").unwrap_err();
        assert!(text.contains("did you mean 'datafusion.execution.batch_size'"), "{text}");
        let text = parse("datafusion.memory-limt", "1").unwrap_err();
        assert!(text.contains("did you mean 'datafusion.memory-limit'"), "{text}");
        assert!(!parse("state.backend", "rocksdb").unwrap_err().contains("did you mean"));
    }
}
