//! What a user adds to Flink itself: jars by an option, plugins and Hadoop by the variables that
//! Flink's own scripts read. The additions become a part of the spec, because the processes that
//! need them are started by other processes, elsewhere or later.

use std::path::Path;

use proto::Reason;
use proto::api::{ApplicationSpec, ArtifactReference};

use super::pointer;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};

const ENGINE: &str = "flink";
const LIBRARIES: &str = "flink.lib";

/// Adds these jars and the paths that the variables name; settings that the spec already has stay.
/// The spec names its engine already.
pub(super) fn add(
    spec: &mut ApplicationSpec,
    libraries: &[String],
    directory: &Path,
    variable: impl Fn(&str) -> Option<String>,
) -> OrFailure<()> {
    if spec.engine != ENGINE {
        if libraries.is_empty() {
            return Ok(());
        }
        let text = format!("--lib adds to Flink, and this program runs on {}", spec.engine);
        return Err(Failure::new(Exit::USAGE, Reason::OptionMeaningless, text)
            .help("leave --lib out; --artifact brings a file to main()'s working directory"));
    }
    let mut names: Vec<String> = spec.settings.get(LIBRARIES).cloned().into_iter().collect();
    for text in libraries {
        let file = pointer::parse(text, directory)
            .map_err(|error| Failure::usage(format!("--lib {error}")))?;
        let path = file.uri.split(['?', '#']).next().unwrap_or_default();
        names.push(path.rsplit('/').next().unwrap_or_default().to_owned());
        spec.artifacts.push(ArtifactReference {
            uri: file.uri,
            digest: file.digest,
            name: String::new(),
        });
    }
    if !names.is_empty() {
        spec.settings.insert(LIBRARIES.to_owned(), names.join(","));
    }
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(plugins) = variable("FLINK_PLUGINS_DIR") {
        let plugins = directory.join(plugins).to_string_lossy().into_owned();
        spec.settings.entry("flink.plugins.dir".to_owned()).or_insert(plugins);
    }
    if let Some(mut classes) = variable("HADOOP_CLASSPATH") {
        // Flink's scripts do the same: Hadoop finds its configuration on the class path.
        for configuration in ["HADOOP_CONF_DIR", "YARN_CONF_DIR"].into_iter().filter_map(variable) {
            classes = format!("{classes}:{configuration}");
        }
        spec.settings.entry("flink.hadoop.classpath".to_owned()).or_insert(classes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn added(engine: &str, libraries: &[&str], set: &[(&str, &str)]) -> OrFailure<ApplicationSpec> {
        let mut spec = ApplicationSpec { engine: engine.to_owned(), ..ApplicationSpec::default() };
        spec.settings.insert("flink.hadoop.classpath".to_owned(), "/said".to_owned());
        let libraries: Vec<String> = libraries.iter().map(|text| (*text).to_owned()).collect();
        let variable = |name: &str| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        add(&mut spec, &libraries, Path::new("/home/me"), variable)?;
        Ok(spec)
    }

    #[test]
    fn jars_become_artifacts_and_variables_become_settings() {
        let spec = added(
            "flink",
            &["lib/driver.jar", "https://host/a.jar?x=1"],
            &[("FLINK_PLUGINS_DIR", "plugins"), ("HADOOP_CLASSPATH", "/hadoop/*")],
        )
        .unwrap();
        assert_eq!(spec.settings["flink.lib"], "driver.jar,a.jar");
        assert_eq!(spec.artifacts[0].uri, "file:///home/me/lib/driver.jar");
        assert_eq!(spec.settings["flink.plugins.dir"], "/home/me/plugins");
        assert_eq!(
            spec.settings["flink.hadoop.classpath"], "/said",
            "a setting stands above a variable"
        );
    }

    #[test]
    fn other_engines_know_nothing_of_it() {
        let spec = added("datafusion", &[], &[("FLINK_PLUGINS_DIR", "/plugins")]).unwrap();
        assert!(!spec.settings.contains_key("flink.plugins.dir"));
        assert!(added("datafusion", &["a.jar"], &[]).is_err());
    }
}
