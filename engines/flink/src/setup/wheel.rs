//! Flink's libraries, as its Python package ships them: the one place that has all of them in one
//! verified file.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::{command, jdk};
use crate::home::{self, FLINK_VERSION, WHEEL_SHA256};
use crate::java_home::JavaHome;

const DIRECTORIES: [&str; 3] = ["lib", "opt", "plugins"];

/// Takes the libraries from an earlier home that holds the same ones, or downloads them.
pub(super) fn provide_in(home: &Path, java: &JavaHome) -> anyhow::Result<()> {
    match home.parent().and_then(earlier_home_in) {
        Some(earlier) => link(&earlier, home),
        None => unpack_into(home, java),
    }
}

fn earlier_home_in(parent: &Path) -> Option<PathBuf> {
    let homes = fs::read_dir(parent).ok()?.flatten().map(|entry| entry.path());
    homes.into_iter().find(|home| home::wheel_of(home).is_some_and(|digest| digest == WHEEL_SHA256))
}

/// Makes hard links, so that the disk holds the bytes once.
fn link(earlier: &Path, home: &Path) -> anyhow::Result<()> {
    eprintln!("flink: taking the libraries of {}", earlier.display());
    for directory in DIRECTORIES {
        link_tree(&earlier.join(directory), &home.join(directory))?;
    }
    Ok(())
}

fn link_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            link_tree(&entry.path(), &target)?;
        } else {
            fs::hard_link(entry.path(), &target).with_context(|| target.display().to_string())?;
        }
    }
    Ok(())
}

fn unpack_into(home: &Path, java: &JavaHome) -> anyhow::Result<()> {
    let downloads = home.join("download");
    fs::create_dir(&downloads).with_context(|| downloads.display().to_string())?;
    download(&downloads)?;
    let wheel = the_wheel_in(&downloads)?;
    eprintln!("flink: unpacking");
    let mut arguments: Vec<OsString> = vec!["--extract".into(), "--file".into(), wheel.into()];
    arguments
        .extend(DIRECTORIES.iter().map(|directory| OsString::from(format!("pyflink/{directory}"))));
    command::run(java.tool("jar"), &arguments, &downloads, &[])?;
    for directory in DIRECTORIES {
        let from = downloads.join("pyflink").join(directory);
        fs::rename(&from, home.join(directory)).with_context(|| from.display().to_string())?;
    }
    fs::remove_dir_all(&downloads).with_context(|| downloads.display().to_string())
}

/// Downloads the wheel with pip, which refuses a file with another digest.
fn download(directory: &Path) -> anyhow::Result<()> {
    let pinned = format!("apache-flink-libraries=={FLINK_VERSION} --hash=sha256:{WHEEL_SHA256}\n");
    fs::write(directory.join("requirements.txt"), pinned)?;
    let arguments = [
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
        "--requirement",
        "requirements.txt",
        "--dest",
        ".",
    ];
    if command::run("python3", &["-m", "pip", "--version"], directory, &[]).is_err() {
        if !jdk::is_root() || !Path::new("/usr/bin/apt-get").exists() {
            bail!("there is no pip; install it (Debian: sudo apt-get install python3-pip)");
        }
        jdk::install("python3-pip")?;
    }
    eprintln!("flink: downloading Flink {FLINK_VERSION} (329 MB, with pip)");
    command::run("python3", &arguments, directory, &[])
        .context("Flink's libraries could not be downloaded")
}

fn the_wheel_in(directory: &Path) -> anyhow::Result<PathBuf> {
    let found = fs::read_dir(directory)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    found.context("pip downloaded no wheel")
}
