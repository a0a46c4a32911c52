//! The file systems that Flink has as plugins, each a jar of its own that its libraries come
//! without. They are installed one by one, because they are large and an application needs one of
//! them or none.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::{command, jdk};
use crate::home::{self, FLINK_VERSION};
use crate::java_home::JavaHome;

/// A jar that set-up installs when it is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plugin {
    /// The name, as in `-D flink.plugins=s3-fs-hadoop`.
    pub(crate) name: &'static str,
    sha256: &'static str,
    megabytes: u32,
}

/// The plugins of this version of Flink.
pub(crate) const PLUGINS: [Plugin; 5] = [
    Plugin {
        name: "azure-fs-hadoop",
        sha256: "f35db4433c30215f74bc26b310c6dd2f03418543ec58abaf31c5ce41a74e267a",
        megabytes: 28,
    },
    Plugin {
        name: "gs-fs-hadoop",
        sha256: "4089f99fcfe5e5326f4060a755aae06b6b38de60aaa0cbd05f8a06e92c968907",
        megabytes: 74,
    },
    Plugin {
        name: "oss-fs-hadoop",
        sha256: "60f6166809c7607ab4ff94e4f8d8a42104088fdba9e1c155da4a92beedbd275d",
        megabytes: 27,
    },
    Plugin {
        name: "s3-fs-hadoop",
        sha256: "5a3de2daac49e9df1783367391f994dace3bfa18c168b45c3d4563decca7d3d0",
        megabytes: 32,
    },
    Plugin {
        name: "s3-fs-presto",
        sha256: "ab017e92278a2fe1f41872dfe6d0ef0a5fcd32322cf79ae4c81934cabec2e3a3",
        megabytes: 97,
    },
];

impl Plugin {
    /// The plugin of this name, which may also be written as on Flink's own pages:
    /// `flink-s3-fs-hadoop`.
    pub(crate) fn named(text: &str) -> Option<Self> {
        let short = text.strip_prefix("flink-").unwrap_or(text);
        let short = short.strip_suffix(&format!("-{FLINK_VERSION}.jar")).unwrap_or(short);
        PLUGINS.into_iter().find(|plugin| plugin.name == short)
    }

    pub(crate) fn file_name(self) -> String {
        format!("flink-{}-{FLINK_VERSION}.jar", self.name)
    }
}

/// All names, for people.
pub(crate) fn names() -> String {
    PLUGINS.map(|plugin| plugin.name).join(", ")
}

/// The plugin of this name, for clap.
pub(super) fn parse(text: &str) -> Result<Plugin, String> {
    Plugin::named(text).ok_or_else(|| format!("Flink {FLINK_VERSION} has these: {}", names()))
}

/// Installs a plugin beside the homes, which all use the same one, unless it is there.
pub(super) fn provide(plugin: Plugin) -> anyhow::Result<()> {
    let java = JavaHome::find().context("there is no JDK; run `mainspring setup flink` first")?;
    let directory = home::plugins_beside(&home::place(&java)?);
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let jar = directory.join(plugin.file_name());
    if jar.is_file() {
        return Ok(());
    }
    let work = directory.join(format!("download-{}-{}", plugin.name, std::process::id()));
    fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    let fetched = fetch(plugin, &work).and_then(|fetched| {
        // The jar appears whole or not at all, because a process that looks for it takes what it
        // finds.
        fs::rename(&fetched, &jar).with_context(|| jar.display().to_string())
    });
    super::remove(&work)?;
    fetched
}

fn fetch(plugin: Plugin, work: &Path) -> anyhow::Result<PathBuf> {
    if command::run("mvn", &["--version"], work, &[]).is_err() {
        if !jdk::is_root() || !Path::new("/usr/bin/apt-get").exists() {
            bail!(
                "there is no mvn, which fetches it; install Maven (Debian: sudo apt-get install maven), or name a jar that you have: \
                 -D flink.plugins=/path/{}",
                plugin.file_name()
            );
        }
        jdk::install("maven")?;
    }
    eprintln!(
        "flink: downloading the plugin {} ({} MB, with Maven)",
        plugin.name, plugin.megabytes
    );
    // The local repository is this download's own. This version of the plugin asks for the jar
    // alone, because mirrors lack parents of its description.
    let repository = format!("-Dmaven.repo.local={}", work.display());
    let artifact = format!("-Dartifact=org.apache.flink:flink-{}:{FLINK_VERSION}", plugin.name);
    let goal = "org.apache.maven.plugins:maven-dependency-plugin:2.8:get";
    let arguments = ["--batch-mode", "--quiet", &repository, goal, &artifact, "-Dtransitive=false"];
    command::run("mvn", &arguments, work, &[])
        .with_context(|| format!("the plugin {} could not be downloaded", plugin.name))?;
    let fetched = work
        .join(format!("org/apache/flink/flink-{}/{FLINK_VERSION}", plugin.name))
        .join(plugin.file_name());
    let bytes = fs::read(&fetched).with_context(|| fetched.display().to_string())?;
    ensure!(
        hex::encode(Sha256::digest(&bytes)) == plugin.sha256,
        "{} is not the one that was pinned (sha256 {})",
        plugin.file_name(),
        plugin.sha256
    );
    Ok(fetched)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_has_the_names_that_flinks_own_pages_give_it() {
        for text in ["s3-fs-hadoop", "flink-s3-fs-hadoop", "flink-s3-fs-hadoop-2.3.0.jar"] {
            assert_eq!(Plugin::named(text).map(|plugin| plugin.name), Some("s3-fs-hadoop"));
        }
        assert_eq!(Plugin::named("s3"), None);
    }
}
