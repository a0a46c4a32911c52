//! Finds a JDK, or installs one with the distribution's packages where that is allowed.

use std::path::Path;

use anyhow::{Context as _, bail};

use super::command;
use crate::java_home::{FEATURE_VERSION, JavaHome};

pub(super) fn find_or_install() -> anyhow::Result<JavaHome> {
    if let Some(java) = JavaHome::find() {
        return Ok(java);
    }
    let package = format!("openjdk-{FEATURE_VERSION}-jdk-headless");
    if !is_root() || !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "there is no JDK {FEATURE_VERSION}; install it (Debian: sudo apt-get install {package}) or name one in MAINSPRING_ENGINE_FLINK_JAVA_HOME"
        );
    }
    install(&package)?;
    JavaHome::find().with_context(|| {
        format!("{package} is installed, but there is no JDK {FEATURE_VERSION} in /usr/lib/jvm")
    })
}

/// Installs one package of the distribution.
pub(super) fn install(package: &str) -> anyhow::Result<()> {
    eprintln!("flink: installing {package} (apt-get)");
    let quiet = [("DEBIAN_FRONTEND", "noninteractive")];
    command::run("apt-get", &["update", "-q"], Path::new("/"), &quiet)?;
    command::run(
        "apt-get",
        &["install", "-q", "-y", "--no-install-recommends", package],
        Path::new("/"),
        &quiet,
    )
}

/// Whether this process is root's, told by the owner of its files in `/proc`.
pub(super) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
