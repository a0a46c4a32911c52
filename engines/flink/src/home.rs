//! The Flink home: Flink's libraries, mainspring's jar and the class-data archives, made once by
//! [`crate::setup`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::java_home::{FEATURE_VERSION, JavaHome};
use crate::role::{Loading, Role};
use crate::sources;

/// The version of Flink that this engine runs.
pub const FLINK_VERSION: &str = "2.3.0";
/// The digest of the wheel that holds Flink's libraries.
pub(crate) const WHEEL_SHA256: &str =
    "38ece876553286b3a285cf344c2d2038f8a7ca10da5df54d5107250386d64151";

pub(crate) const OUR_JAR: &str = "mainspring-flink.jar";
/// Flink's RPC system, taken out of the jar in which Flink ships it.
pub(crate) const RPC_JAR: &str = "rpc/flink-rpc-akka.jar";
/// The names of Flink's settings, one a line.
pub(crate) const KNOWN_SETTINGS: &str = "settings.txt";
const COMPLETE: &str = "complete";
/// The number of the way in which set-up makes a home. Another way needs another number, because a
/// home of an earlier way does not fit.
const MADE: u32 = 3;

/// Why there is no home to run on. Each text names the way out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HomeError {
    /// There is no JDK.
    #[error(
        "there is no JDK {FEATURE_VERSION} (looked at MAINSPRING_ENGINE_FLINK_JAVA_HOME, JAVA_HOME, PATH and /usr/lib/jvm); \
         run `mainspring setup flink`"
    )]
    NoJava,
    /// Flink was never set up, or with another JDK or by an earlier engine.
    #[error("Flink {FLINK_VERSION} is not set up in {}; run `mainspring setup flink`", .0.display())]
    NotSetUp(PathBuf),
    /// `HOME` and the variables that override it are missing.
    #[error(
        "neither MAINSPRING_ENGINE_FLINK_HOME nor XDG_CACHE_HOME nor HOME is set; set one of them"
    )]
    NoPlace,
}

/// What [`crate::setup`] writes last, and what has to match for a home to be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Complete {
    pub(crate) flink_version: String,
    pub(crate) java_home: PathBuf,
    pub(crate) java_version: String,
    pub(crate) java_digest: String,
    pub(crate) wheel_sha256: String,
    pub(crate) sources_digest: String,
    #[serde(default)]
    pub(crate) made: u32,
}

impl Complete {
    pub(crate) fn of(java: &JavaHome) -> Self {
        Self {
            flink_version: FLINK_VERSION.to_owned(),
            java_home: java.path.clone(),
            java_version: java.version.clone(),
            java_digest: java.digest.clone(),
            wheel_sha256: WHEEL_SHA256.to_owned(),
            sources_digest: sources::digest(),
            made: MADE,
        }
    }
}

/// A complete home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
    java: PathBuf,
    libraries: Vec<PathBuf>,
    /// What an application adds to the class path, each entry with a colon before it.
    added: OsString,
}

impl Home {
    /// The home for this engine and the JDK of this machine.
    pub fn find() -> Result<Self, HomeError> {
        let java = JavaHome::find().ok_or(HomeError::NoJava)?;
        Self::open(&place(&java)?, &java)
    }

    /// The home at this place, if it is complete and was made by this engine with this JDK.
    pub(crate) fn open(root: &Path, java: &JavaHome) -> Result<Self, HomeError> {
        let not_set_up = || HomeError::NotSetUp(root.to_owned());
        let written = std::fs::read(root.join(COMPLETE)).map_err(|_| not_set_up())?;
        let written: Complete = serde_json::from_slice(&written).map_err(|_| not_set_up())?;
        if written != Complete::of(java) {
            return Err(not_set_up());
        }
        Self::unfinished(root, java).map_err(|_| not_set_up())
    }

    /// A home whose libraries and jar are there, complete or not.
    pub(crate) fn unfinished(root: &Path, java: &JavaHome) -> std::io::Result<Self> {
        let mut libraries: Vec<PathBuf> = std::fs::read_dir(root.join("lib"))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "jar"))
            .collect();
        libraries.sort();
        Ok(Self {
            root: root.to_owned(),
            java: java.tool("java"),
            libraries,
            added: OsString::new(),
        })
    }

    /// The home with what an application adds to the class path, each entry with a colon before it.
    /// An archive of classes still fits, because the class path that it was made with comes first.
    #[must_use]
    pub(crate) fn with(mut self, added: OsString) -> Self {
        self.added = added;
        self
    }

    /// The executable of the JVM.
    #[must_use]
    pub fn java(&self) -> &Path {
        &self.java
    }

    /// The class path of a JVM: mainspring's jar, Flink's libraries, and last Flink's RPC system,
    /// where it is needed and may be seen. (An archive of classes only fits the class path that it
    /// was made with.)
    #[must_use]
    pub fn class_path(&self, role: Role, loading: Loading) -> OsString {
        let rpc = (role != Role::Main && loading == Loading::ProgramFirst)
            .then(|| self.root.join(RPC_JAR));
        let mut path = self.root.join(OUR_JAR).into_os_string();
        for library in self.libraries.iter().chain(&rpc) {
            path.push(":");
            path.push(library);
        }
        path.push(&self.added);
        path
    }

    /// Mainspring's jar.
    pub(crate) fn our_jar(&self) -> PathBuf {
        self.root.join(OUR_JAR)
    }

    /// The names of Flink's settings, one a line; empty where they cannot be read.
    pub(crate) fn known_settings(&self) -> String {
        std::fs::read_to_string(self.root.join(KNOWN_SETTINGS)).unwrap_or_default()
    }

    /// What Flink's `FLINK_PLUGINS_DIR` should hold.
    #[must_use]
    pub fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// Where set-up puts the plugins that it is asked for.
    pub(crate) fn installed_plugins(&self) -> PathBuf {
        plugins_beside(&self.root)
    }

    /// Where the archive of a role's classes is, or would be.
    pub(crate) fn archive(&self, role: &str) -> PathBuf {
        self.root.join("archives").join(format!("{role}.jsa"))
    }
}

/// The directory of the plugins that set-up was asked for, beside a home and shared by all homes
/// there.
pub(crate) fn plugins_beside(home: &Path) -> PathBuf {
    home.with_file_name(format!("plugins-{FLINK_VERSION}"))
}

/// The place that the home for this engine and this JDK belongs to.
pub(crate) fn place(java: &JavaHome) -> Result<PathBuf, HomeError> {
    if let Some(configured) = std::env::var_os("MAINSPRING_ENGINE_FLINK_HOME") {
        return Ok(configured.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .ok_or(HomeError::NoPlace)?;
    Ok(cache.join("mainspring/flink").join(format!("{FLINK_VERSION}-{}", key(java))))
}

/// A key that differs for everything that makes a home unusable: other libraries, another jar of
/// mainspring's, another JVM, another way to make it.
fn key(java: &JavaHome) -> String {
    let mut hash = Sha256::new();
    for part in [WHEEL_SHA256, &sources::digest(), &java.digest, &MADE.to_string()] {
        hash.update(part);
    }
    let mut text = hex::encode(hash.finalize());
    text.truncate(8);
    text
}

/// The digest of the wheel that a complete home was made from.
pub(crate) fn wheel_of(root: &Path) -> Option<String> {
    let written = std::fs::read(root.join(COMPLETE)).ok()?;
    Some(serde_json::from_slice::<Complete>(&written).ok()?.wheel_sha256)
}

/// Marks the home as complete.
pub(crate) fn write_complete(root: &Path, java: &JavaHome) -> std::io::Result<()> {
    std::fs::write(root.join(COMPLETE), serde_json::to_vec_pretty(&Complete::of(java))?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Home, HomeError, key, write_complete};
    use crate::java_home::JavaHome;
    use crate::role::{Loading, Role};

    fn java(digest: &str) -> JavaHome {
        JavaHome { path: "/jdk".into(), version: "17.0.15".into(), digest: digest.into() }
    }

    #[test]
    fn a_home_that_was_cut_off_or_made_for_another_jdk_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("lib")).unwrap();
        let missing = Err(HomeError::NotSetUp(root.to_owned()));
        assert_eq!(Home::open(root, &java("a")), missing);
        write_complete(root, &java("a")).unwrap();
        assert!(Home::open(root, &java("a")).is_ok());
        assert_eq!(Home::open(root, &java("b")), missing);
    }

    #[test]
    fn the_class_path_begins_with_our_jar_and_is_sorted() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("lib")).unwrap();
        for name in ["flink-dist.jar", "a.jar", "README"] {
            fs::write(root.join("lib").join(name), "").unwrap();
        }
        write_complete(root, &java("a")).unwrap();
        let home = Home::open(root, &java("a")).unwrap();
        let names = |role, loading| -> Vec<String> {
            let path = home.class_path(role, loading).into_string().unwrap();
            path.split(':').map(|jar| jar.rsplit('/').next().unwrap().to_owned()).collect()
        };
        let all = ["mainspring-flink.jar", "a.jar", "flink-dist.jar", "flink-rpc-akka.jar"];
        assert_eq!(names(Role::TaskManager, Loading::ProgramFirst), all);
        assert_eq!(names(Role::TaskManager, Loading::AsFlinkDoes), all[..3]);
        assert_eq!(names(Role::Main, Loading::ProgramFirst), all[..3]);
    }

    #[test]
    fn another_jvm_has_another_home() {
        assert_ne!(key(&java("a")), key(&java("b")));
    }
}
