//! Installs Flink's plugins one by one, because they are large and an application needs one of them
//! or none.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::{command, jdk};
use crate::home::{self, FLINK_VERSION};
use crate::java_home::JavaHome;
use crate::plugins::Plugin;

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
