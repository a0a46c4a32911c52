//! Makes the Flink home: a JDK, Flink's libraries, mainspring's jar and the class-data archives.
//!
//! The home is made in a directory beside its place and renamed at the end, under a lock. A set-up
//! that is cut off leaves nothing that looks whole, and two set-ups at once make the home once.

mod archives;
mod command;
mod jar;
mod jdk;
mod known;
mod plugin;
mod rpc;
mod wheel;

use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use chassis::disk;

use crate::home::{self, FLINK_VERSION, Home, HomeError, OUR_JAR};
use crate::java_home::{FEATURE_VERSION, JavaHome};
use crate::plugins::{self, Plugin};

/// Options of `setup`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Only says what is missing; exit code 1 if anything is
    #[arg(long)]
    pub check: bool,
    /// Leaves the class-data archives out: JVMs start slower
    #[arg(long)]
    pub no_archives: bool,
    /// Also installs this file system, such as s3-fs-hadoop; may be repeated
    #[arg(long = "plugin", value_name = "NAME", value_parser = plugins::parse, conflicts_with = "check")]
    plugins: Vec<Plugin>,
}

/// Sets Flink up, or says that it is.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.check {
        return check();
    }
    let done = set_up(args)?;
    for plugin in &args.plugins {
        plugin::provide(*plugin)?;
        eprintln!(
            "flink {FLINK_VERSION}: the plugin {} is there; use it with -D flink.plugins={}",
            plugin.name, plugin.name
        );
    }
    Ok(done)
}

fn check() -> anyhow::Result<ExitCode> {
    let missing = missing()?;
    if missing.is_empty() {
        return complete(&home::place(&JavaHome::find().ok_or(HomeError::NoJava)?)?);
    }
    for what in missing {
        eprintln!("flink {FLINK_VERSION}: missing {what}");
    }
    eprintln!("help: mainspring setup flink");
    Ok(ExitCode::FAILURE)
}

fn missing() -> anyhow::Result<Vec<String>> {
    let Some(java) = JavaHome::find() else {
        return Ok(vec![format!("a JDK {FEATURE_VERSION}"), "Flink's libraries".to_owned()]);
    };
    let place = home::place(&java)?;
    let home = Home::open(&place, &java);
    Ok(home
        .err()
        .map(|_| format!("Flink's libraries in {}", place.display()))
        .into_iter()
        .collect())
}

fn set_up(args: &Args) -> anyhow::Result<ExitCode> {
    let java = jdk::find_or_install()?;
    let place = home::place(&java)?;
    if Home::open(&place, &java).is_ok() {
        return complete(&place);
    }
    let parent =
        place.parent().context("the Flink home has no parent directory; name another one")?;
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    let _lock = lock(&place)?;
    if Home::open(&place, &java).is_err() {
        make(&place, &java, args)?;
    }
    complete(&place)
}

/// Prints the place on stdout, where scripts read it.
fn complete(place: &Path) -> anyhow::Result<ExitCode> {
    eprintln!("flink {FLINK_VERSION}: complete");
    println!("{}", place.display());
    Ok(ExitCode::SUCCESS)
}

/// A lock that is held until it is dropped, or until the process is gone.
fn lock(place: &Path) -> anyhow::Result<File> {
    let path = place.with_added_extension("lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    if file.try_lock().is_err() {
        eprintln!("flink {FLINK_VERSION}: waiting for another set-up");
        file.lock().with_context(|| path.display().to_string())?;
    }
    Ok(file)
}

fn make(place: &Path, java: &JavaHome, args: &Args) -> anyhow::Result<()> {
    refuse_what_is_no_home(place)?;
    let unfinished = place.with_added_extension("unfinished");
    remove(&unfinished)?;
    fs::create_dir_all(&unfinished).with_context(|| unfinished.display().to_string())?;
    wheel::provide_in(&unfinished, java)?;
    rpc::unpack_in(&unfinished, java)?;
    jar::build_into(&unfinished, java)?;
    known::write_in(&unfinished, java)?;
    // Archives name the class path that they were made with, so that they are made in place.
    // Without archives everything works, but more slowly.
    remove(place)?;
    fs::rename(&unfinished, place).with_context(|| place.display().to_string())?;
    if !args.no_archives
        && let Err(error) = archives::make(place, java)
    {
        eprintln!(
            "flink {FLINK_VERSION}: no class-data archives, JVMs will start slower: {error:#}"
        );
    }
    // Only a home that would survive a power cut is called complete.
    disk::sync_file_system(place).with_context(|| place.display().to_string())?;
    home::write_complete(place, java).with_context(|| place.display().to_string())
}

/// Refuses a directory with other things in it, because set-up removes what stands in the way, and
/// `MAINSPRING_ENGINE_FLINK_HOME` may name any directory.
fn refuse_what_is_no_home(place: &Path) -> anyhow::Result<()> {
    let is_in_use = fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_some());
    anyhow::ensure!(
        !is_in_use || place.join(OUR_JAR).is_file(),
        "{} holds something else than Flink; name another directory in MAINSPRING_ENGINE_FLINK_HOME",
        place.display()
    );
    Ok(())
}

fn remove(directory: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::refuse_what_is_no_home;
    use crate::home::OUR_JAR;

    #[test]
    fn a_directory_of_somebody_else_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        assert!(refuse_what_is_no_home(&dir.path().join("none")).is_ok());
        assert!(refuse_what_is_no_home(dir.path()).is_ok());
        std::fs::write(dir.path().join("thesis.tex"), "").unwrap();
        assert!(refuse_what_is_no_home(dir.path()).is_err());
        std::fs::write(dir.path().join(OUR_JAR), "").unwrap();
        assert!(refuse_what_is_no_home(dir.path()).is_ok());
    }
}
