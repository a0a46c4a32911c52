//! The JDK that Flink runs on, which is recognised by its files, without running it.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The feature version that Flink 2.3 is tried on here.
pub const FEATURE_VERSION: &str = "17";

/// A JDK of the right version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JavaHome {
    /// The path that `JAVA_HOME` would hold.
    pub path: PathBuf,
    /// The version, such as `17.0.15`.
    pub version: String,
    /// The digest of the description that the JDK gives of its build, in hex, because archives of
    /// classes only fit the build that made them.
    pub digest: String,
}

impl JavaHome {
    /// Looks at `MAINSPRING_ENGINE_FLINK_JAVA_HOME`, at `JAVA_HOME`, at the JDK of the `java` in
    /// `PATH`, then at what the distribution has installed.
    #[must_use]
    pub fn find() -> Option<Self> {
        Self::find_among(candidates())
    }

    fn find_among(candidates: impl IntoIterator<Item = PathBuf>) -> Option<Self> {
        candidates.into_iter().find_map(|path| Self::at(&path))
    }

    /// The JDK at this path, if there is one (with a compiler) and it is of the right version.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        let release = std::fs::read_to_string(path.join("release")).ok()?;
        let version = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?;
        let version = version.trim().trim_matches('"').to_owned();
        let fits = version.split('.').next() == Some(FEATURE_VERSION)
            && path.join("bin/java").is_file()
            && path.join("bin/javac").is_file();
        let digest = hex::encode(Sha256::digest(&release));
        fits.then(|| Self { path: path.to_owned(), version, digest })
    }

    /// The path of `java`, `javac` or `jar`.
    #[must_use]
    pub fn tool(&self, name: &str) -> PathBuf {
        self.path.join("bin").join(name)
    }
}

fn candidates() -> Vec<PathBuf> {
    let configured = ["MAINSPRING_ENGINE_FLINK_JAVA_HOME", "JAVA_HOME"]
        .into_iter()
        .filter_map(std::env::var_os)
        .map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path)
        .filter_map(|directory| directory.join("java").canonicalize().ok())
        .filter_map(|java| Some(java.parent()?.parent()?.to_owned()));
    let mut installed: Vec<PathBuf> = std::fs::read_dir("/usr/lib/jvm")
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    installed.sort();
    configured.chain(in_path).chain(installed).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::JavaHome;

    fn jdk(directory: &std::path::Path, version: &str, tools: &[&str]) -> std::path::PathBuf {
        let home = directory.join(version);
        fs::create_dir_all(home.join("bin")).unwrap();
        fs::write(home.join("release"), format!("IMPLEMENTOR=\"X\"\nJAVA_VERSION=\"{version}\"\n"))
            .unwrap();
        for tool in tools {
            fs::write(home.join("bin").join(tool), "").unwrap();
        }
        home
    }

    #[test]
    fn the_first_jdk_of_the_right_version_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let newer = jdk(dir.path(), "25.0.1", &["java", "javac"]);
        let runtime_only = jdk(dir.path(), "17.0.1", &["java"]);
        let right = jdk(dir.path(), "17.0.15", &["java", "javac"]);
        let found =
            JavaHome::find_among([dir.path().join("none"), newer, runtime_only, right.clone()])
                .unwrap();
        assert_eq!((found.path, found.version.as_str()), (right, "17.0.15"));
    }

    #[test]
    fn another_build_of_the_same_version_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let home = jdk(dir.path(), "17.0.15", &["java", "javac"]);
        let one = JavaHome::at(&home).unwrap();
        fs::write(home.join("release"), "IMPLEMENTOR=\"Y\"\nJAVA_VERSION=\"17.0.15\"\n").unwrap();
        assert_ne!(one.digest, JavaHome::at(&home).unwrap().digest);
    }
}
