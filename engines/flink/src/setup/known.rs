//! The names of Flink's settings, taken from its own classes.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context as _;

use super::command;
use crate::home::KNOWN_SETTINGS;
use crate::java_home::JavaHome;

pub(super) fn write_in(home: &Path, java: &JavaHome) -> anyhow::Result<()> {
    let libraries = home.join("lib");
    let mut class_path = home.join(crate::home::OUR_JAR).into_os_string();
    class_path.push(":");
    class_path.push(libraries.join("*"));
    let mut arguments: Vec<OsString> =
        vec!["-XX:TieredStopAtLevel=1".into(), "-cp".into(), class_path];
    arguments
        .extend(["io.mainspring.flink.KnownSettings".into(), home.join(KNOWN_SETTINGS).into()]);
    let jars = std::fs::read_dir(&libraries).with_context(|| libraries.display().to_string())?;
    let jars = jars.flatten().map(|entry| entry.path());
    let of_flink = |path: &Path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("flink-"))
    };
    arguments.extend(jars.filter(|path| of_flink(path)).map(OsString::from));
    command::run(java.tool("java"), &arguments, home, &[])
        .context("Flink's settings could not be listed")
}
