//! What a user adds to Flink itself: plugins, libraries on the class path of every JVM, Hadoop's
//! classes. Each is looked for when the application is described, so that the user hears of a
//! missing one before anything starts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proto::engine::LocalArtifact;
use serde::{Deserialize, Serialize};

use crate::home::{FLINK_VERSION, Home};
use crate::plugins::{self, Plugin};
use crate::settings::BadSetting;

/// The setting for plugins, separated by commas: the names that Flink has for them, or absolute
/// paths of a directory of jars or of a jar.
const PLUGINS: &str = "flink.plugins";
/// The setting for a directory as Flink has it, with a directory of jars for each plugin. The CLI
/// puts `FLINK_PLUGINS_DIR` here.
const PLUGINS_DIRECTORY: &str = "flink.plugins.dir";
/// The setting for jars on the class path, separated by commas: names of artifacts, or absolute
/// paths. The CLI puts `--lib` here.
const LIBRARIES: &str = "flink.lib";
/// The setting for what comes behind everything else on the class path, as `java -cp` takes it. The
/// CLI puts `HADOOP_CLASSPATH` here.
const HADOOP: &str = "flink.hadoop.classpath";

/// What a user adds to Flink.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Additions {
    /// The plugins by name, each a directory of jars or a jar.
    plugins: BTreeMap<String, PathBuf>,
    /// Jars for the class path.
    libraries: Vec<PathBuf>,
    /// Hadoop's class path, as it was given.
    hadoop: String,
}

impl Additions {
    /// Finds what an application's settings name, or says what is wrong with each setting that
    /// names something else.
    pub(crate) fn read<'a>(
        given: impl IntoIterator<Item = (&'a String, &'a String)>,
        artifacts: &[LocalArtifact],
        home: &Home,
    ) -> Result<Self, Vec<BadSetting>> {
        let (mut found, mut bad) = (Self::default(), Vec::new());
        let given: BTreeMap<&str, &str> =
            given.into_iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let parts = |name: &str| {
            let text = given.get(name).copied().unwrap_or_default();
            text.split([',', ';'])
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
        };
        if let Some(directory) = given.get(PLUGINS_DIRECTORY) {
            match directories(Path::new(directory)) {
                Ok(plugins) => found.plugins.extend(plugins),
                Err(error) => bad.push(value(
                    PLUGINS_DIRECTORY,
                    format!("{directory}: {error}; it has to hold a directory of jars for each plugin (FLINK_PLUGINS_DIR)"),
                )),
            }
        }
        // A plugin that is named by itself wins over one of the directory.
        for part in parts(PLUGINS) {
            match find(part, home) {
                Ok(Some((name, place))) => drop(found.plugins.insert(name, place)),
                Ok(None) => {}
                Err(why) => bad.push(value(PLUGINS, why)),
            }
        }
        for part in parts(LIBRARIES) {
            let artifact = artifacts.iter().find(|artifact| artifact.name == part);
            let path = artifact
                .map_or_else(|| PathBuf::from(part), |artifact| PathBuf::from(&artifact.path));
            if path.is_absolute() && path.is_file() {
                found.libraries.push(path);
            } else {
                bad.push(value(
                    LIBRARIES,
                    format!("{part} is no artifact of the application; add it with --lib JAR"),
                ));
            }
        }
        found.hadoop = given.get(HADOOP).copied().unwrap_or_default().to_owned();
        if bad.is_empty() { Ok(found) } else { Err(bad) }
    }

    /// What comes behind Flink's own jars on a class path, each entry with a colon before it.
    pub(crate) fn class_path(&self) -> OsString {
        let mut path = OsString::new();
        let hadoop = (!self.hadoop.is_empty()).then(|| Path::new(&self.hadoop));
        for each in self.libraries.iter().map(PathBuf::as_path).chain(hadoop) {
            path.push(":");
            path.push(each);
        }
        path
    }

    /// Makes the directory for `FLINK_PLUGINS_DIR`, with Flink's own plugins and these as links
    /// below `directory`, and answers its path. A repeated call changes nothing.
    pub(crate) fn plugins_in(&self, directory: &Path, home: &Home) -> io::Result<PathBuf> {
        if self.plugins.is_empty() {
            return Ok(home.plugins());
        }
        let place = directory.join(".flink-plugins");
        std::fs::create_dir_all(&place)?;
        let flinks = directories(&home.plugins())?;
        for (name, from) in
            flinks.iter().filter(|(name, _)| !self.plugins.contains_key(*name)).chain(&self.plugins)
        {
            let link = place.join(name);
            if from.is_dir() {
                link_once(from, &link)?;
            } else {
                std::fs::create_dir_all(&link)?;
                link_once(from, &link.join(from.file_name().unwrap_or(name.as_ref())))?;
            }
        }
        Ok(place)
    }
}

fn link_once(from: &Path, to: &Path) -> io::Result<()> {
    match symlink(from, to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn value(name: &str, why: String) -> BadSetting {
    BadSetting::Value { name: name.to_owned(), why }
}

/// The directories in a directory, by name.
fn directories(directory: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir()
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
        {
            found.insert(name.to_owned(), path);
        }
    }
    Ok(found)
}

/// A plugin's name and place; `None` for a plugin that Flink always has.
fn find(text: &str, home: &Home) -> Result<Option<(String, PathBuf)>, String> {
    let path = Path::new(text);
    if text.contains('/') {
        let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
        let is_jar = path.is_file() && path.extension().is_some_and(|extension| extension == "jar");
        return match name.and_then(|name| name.to_str()) {
            Some(name) if path.is_absolute() && (path.is_dir() || is_jar) => {
                Ok(Some((name.to_owned(), path.to_owned())))
            }
            _ => {
                Err(format!("{text} is neither a directory of jars nor a jar, by an absolute path"))
            }
        };
    }
    let Some(plugin) = Plugin::named(text) else {
        if directories(&home.plugins()).is_ok_and(|always| always.contains_key(text)) {
            return Ok(None);
        }
        return Err(format!(
            "Flink {FLINK_VERSION} has no plugin '{text}', only {}; another one is named by its directory's absolute path",
            plugins::names()
        ));
    };
    let jar = home.installed_plugins().join(plugin.file_name());
    if jar.is_file() {
        return Ok(Some((plugin.name.to_owned(), jar)));
    }
    Err(format!(
        "the plugin {0} is not installed: mainspring setup flink --plugin {0}",
        plugin.name
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::java_home::JavaHome;

    struct There {
        directory: tempfile::TempDir,
        home: Home,
    }

    fn there() -> There {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("home");
        for made in ["lib", "plugins/metrics-jmx", "mine/s3"] {
            fs::create_dir_all(root.join(made)).unwrap();
        }
        let java = JavaHome { path: "/jdk".into(), version: "17".into(), digest: "a".into() };
        let home = Home::unfinished(&root, &java).unwrap();
        fs::create_dir(home.installed_plugins()).unwrap();
        for name in ["s3-fs-hadoop", "s3-fs-presto"] {
            let jar = Plugin::named(name).unwrap().file_name();
            fs::write(home.installed_plugins().join(jar), "").unwrap();
        }
        There { directory, home }
    }

    impl There {
        fn read(
            &self,
            pairs: &[(&str, &str)],
            artifacts: &[LocalArtifact],
        ) -> Result<Additions, Vec<String>> {
            let given: BTreeMap<String, String> =
                pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Additions::read(&given, artifacts, &self.home)
                .map_err(|bad| bad.iter().map(ToString::to_string).collect())
        }

        fn path(&self, name: &str) -> String {
            self.directory.path().join(name).to_str().unwrap().to_owned()
        }
    }

    #[test]
    fn plugins_are_found_by_name_by_path_and_in_the_users_own_directory() {
        let there = there();
        let mine = there.path("home/mine");
        let pairs = [
            (PLUGINS, "s3-fs-presto, flink-s3-fs-hadoop,metrics-jmx"),
            (PLUGINS_DIRECTORY, mine.as_str()),
        ];
        let additions = there.read(&pairs, &[]).unwrap();
        let place = additions.plugins_in(there.directory.path(), &there.home).unwrap();
        assert_eq!(
            additions.plugins_in(there.directory.path(), &there.home).unwrap(),
            place,
            "again"
        );
        let names: Vec<_> = directories(&place).unwrap().into_keys().collect();
        assert_eq!(names, ["metrics-jmx", "s3", "s3-fs-hadoop", "s3-fs-presto"]);
        let jar = format!("s3-fs-hadoop/flink-s3-fs-hadoop-{FLINK_VERSION}.jar");
        assert!(place.join(jar).is_file(), "each in a directory of its own");
        let none = there.read(&[], &[]).unwrap();
        assert_eq!(
            none.plugins_in(there.directory.path(), &there.home).unwrap(),
            there.home.plugins()
        );
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let there = there();
        let said =
            |name: &str, value: &str| there.read(&[(name, value)], &[]).unwrap_err().join("\n");
        let unknown = said(PLUGINS, "s3");
        assert!(
            unknown.contains("no plugin 's3', only ") && unknown.contains("s3-fs-hadoop"),
            "{unknown}"
        );
        assert!(
            said(PLUGINS, "gs-fs-hadoop").ends_with("mainspring setup flink --plugin gs-fs-hadoop")
        );
        assert!(said(PLUGINS, "./plugins/s3").contains("absolute path"));
        assert!(said(PLUGINS_DIRECTORY, "/nowhere").contains("FLINK_PLUGINS_DIR"));
        assert!(said(LIBRARIES, "driver.jar").contains("--lib JAR"));
    }

    #[test]
    fn libraries_are_artifacts_and_hadoop_comes_last() {
        let there = there();
        let jar = there.path("driver-7.jar");
        fs::write(&jar, "").unwrap();
        let artifact =
            LocalArtifact { name: "driver.jar".into(), path: jar.clone(), ..Default::default() };
        let pairs = [(LIBRARIES, "driver.jar"), (HADOOP, "/hadoop/etc:/hadoop/*")];
        let additions = there.read(&pairs, &[artifact]).unwrap();
        assert_eq!(
            additions.class_path().to_str().unwrap(),
            format!(":{jar}:/hadoop/etc:/hadoop/*")
        );
    }
}
