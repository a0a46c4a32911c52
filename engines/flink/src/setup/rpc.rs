//! Flink's RPC system: a jar inside Flink's own, unpacked once instead of at each start of a JVM.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::command;
use crate::home::{FLINK_VERSION, RPC_JAR};
use crate::java_home::JavaHome;

pub(super) fn unpack_in(home: &Path, java: &JavaHome) -> anyhow::Result<()> {
    let target = home.join(RPC_JAR);
    let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else {
        anyhow::bail!("{} names no file", target.display());
    };
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let from = home.join(format!("lib/flink-dist-{FLINK_VERSION}.jar"));
    let arguments = ["--extract".into(), "--file".into(), from.into_os_string(), name.to_owned()];
    command::run(java.tool("jar"), &arguments, directory, &[])?;
    anyhow::ensure!(target.is_file(), "Flink's libraries hold no {}", name.display());
    Ok(())
}
