//! Mainspring's jar, compiled on the machine that runs it, so that no binary has to be shipped or
//! trusted.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::command;
use crate::home::OUR_JAR;
use crate::java_home::{FEATURE_VERSION, JavaHome};
use crate::sources;

pub(super) fn build_into(home: &Path, java: &JavaHome) -> anyhow::Result<()> {
    eprintln!("flink: compiling {OUR_JAR}");
    let work = home.join("compile");
    let (java_files, classes) = (work.join("java"), work.join("classes"));
    write(sources::CLASSES, &java_files)?;
    write(sources::RESOURCES, &classes)?;
    let mut class_path = home.join("lib").into_os_string();
    class_path.push("/*");
    let mut arguments: Vec<OsString> = [
        "-Xlint:all,-classfile,-try",
        "-Werror",
        "--release",
        FEATURE_VERSION,
        "-encoding",
        "UTF-8",
        "-proc:none",
        // Strings are not joined by call sites, which each start of a JVM would have to link.
        "-XDstringConcat=inline",
        "-cp",
    ]
    .map(OsString::from)
    .into();
    arguments.extend([class_path, "-d".into(), classes.clone().into()]);
    arguments.extend(sources::CLASSES.iter().map(|(path, _)| java_files.join(path).into()));
    command::run(java.tool("javac"), &arguments, home, &[])
        .context("our own Java does not compile")?;
    // The date is fixed, so that the same sources give the same bytes.
    let archive = [
        "--create",
        "--file",
        OUR_JAR,
        "--date",
        "2020-01-01T00:00:00Z",
        "-C",
        "compile/classes",
        ".",
    ];
    command::run(java.tool("jar"), &archive, home, &[])?;
    fs::remove_dir_all(&work).with_context(|| work.display().to_string())
}

fn write(files: &[(&str, &str)], directory: &Path) -> anyhow::Result<()> {
    for (path, content) in files {
        let path = directory.join(path);
        let parent = path.parent().context("embedded paths are relative")?;
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        fs::write(&path, content).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
