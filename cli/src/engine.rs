//! Engines are executables of their own, `mainspring-<engine>`. This module finds one and has it
//! turn stored rows into text, so that the `mainspring` executable links no engine.
#![allow(
    clippy::disallowed_methods,
    reason = "starts an engine's `rows`, which ends with this process"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use chassis::clock::{SharedClock, timeout};
use percent_encoding::percent_decode_str;
use proto::Reason;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};

/// How long an engine may take to print the rows that it was given.
const PRINT: Duration = Duration::from_secs(60);

/// Suffixes of programs and the engine that runs them; a native executable has none of these.
const SUFFIXES: [(&str, &str); 3] = [(".sql", "datafusion"), (".jar", "flink"), (".py", "flink")];

/// The engine of programs without a known suffix: executables built with the SDK.
const NATIVE: &str = "datafusion";

/// The web page of an engine's clusters, as the named ports of the processes that serve it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PagePorts {
    /// The port of an application's own cluster.
    pub(crate) own: &'static str,
    /// The port of a session cluster, which other applications use too.
    pub(crate) shared: &'static str,
}

const PAGES: [(&str, PagePorts); 1] =
    [("flink", PagePorts { own: "jobmanager/rest", shared: "session/rest" })];

/// Words of paths at which a `GET` already changes something. Flink keeps these paths for YARN's
/// proxy, which passes on no other method than `GET`.
const ACTING: [&str; 2] = ["yarn-cancel", "yarn-stop"];

/// Whether a mere `GET` of this path changes something.
pub(crate) fn acts(path: &str) -> bool {
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    ACTING
        .iter()
        .any(|word| decoded.split(|byte| *byte == b'/').any(|part| part == word.as_bytes()))
}

/// The web page of an engine's clusters, if they serve one.
pub(crate) fn page(engine: &str) -> Option<PagePorts> {
    PAGES.iter().find(|(name, _)| *name == engine).map(|(_, page)| *page)
}

/// The shape of printed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Rows {
    Table,
    Csv,
    Json,
    /// The Arrow stream as it is stored.
    Arrow,
}

/// The engine that runs a program, and the suffix or kind from which that was concluded.
pub(crate) fn for_program(uri: &str) -> (&'static str, &'static str) {
    let path = uri.split(['?', '#']).next().unwrap_or(uri).to_lowercase();
    let by_suffix = SUFFIXES.iter().find(|(suffix, _)| path.ends_with(suffix));
    by_suffix.map_or((NATIVE, "native program"), |(suffix, engine)| (*engine, *suffix))
}

/// The engine's executable: in the directories of `MAINSPRING_ENGINE_PATH`, beside this executable,
/// on `PATH`.
pub(crate) fn find(engine: &str) -> Option<PathBuf> {
    let name = format!("mainspring-{engine}");
    let listed = |variable: &str| -> Vec<PathBuf> {
        std::env::var_os(variable)
            .map(|list| std::env::split_paths(&list).collect())
            .unwrap_or_default()
    };
    let beside = std::env::current_exe().ok().and_then(|own| own.parent().map(Path::to_owned));
    let directories =
        listed("MAINSPRING_ENGINE_PATH").into_iter().chain(beside).chain(listed("PATH"));
    directories
        .map(|directory| if directory.is_file() { directory } else { directory.join(&name) })
        .find(|path| path.is_file())
}

/// Whether the engine is its executable and nothing else, so that there is nothing to install.
pub(crate) fn needs_no_setup(engine: &str) -> bool {
    engine == NATIVE
}

/// What an engine says it lacks, in one line; `None` when the engine is complete.
pub(crate) async fn missing(engine: &str, clock: &SharedClock) -> OrFailure<Option<String>> {
    let executable = executable(engine)?;
    let asked = Command::new(&executable).args(["setup", "--check"]).kill_on_drop(true).output();
    let answer = timeout(clock, PRINT, asked).await.map_err(|elapsed| {
        Failure::internal(format!("{} setup --check: {elapsed}", executable.display()))
    })??;
    if answer.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&answer.stderr);
    Ok(Some(said.lines().next().unwrap_or("it does not say what").to_owned()))
}

/// Has an engine install what it needs, or say what is missing; `false` when something is missing.
pub(crate) async fn setup(engine: &str, check: bool, plugins: &[String]) -> OrFailure<bool> {
    let executable = executable(engine)?;
    let mut command = Command::new(&executable);
    command.arg("setup").args(check.then_some("--check")).kill_on_drop(true);
    command.args(plugins.iter().flat_map(|plugin| ["--plugin", plugin]));
    // There is no bound, because downloads take as long as they take; the engine shows its
    // progress, and Ctrl-C reaches both processes.
    let status = command.status().await;
    let status =
        status.map_err(|error| Failure::internal(format!("{}: {error}", executable.display())))?;
    Ok(status.success())
}

fn executable(engine: &str) -> OrFailure<PathBuf> {
    find(engine).ok_or_else(|| {
        let text = format!("there is no mainspring-{engine}");
        Failure::new(Exit::REFUSED, Reason::EngineNotFound, text)
    })
}

/// An engine's `rows` process: it takes an Arrow stream on its stdin and prints the rows on the
/// stdout of this process.
pub(crate) struct RowReader {
    child: Child,
}

impl RowReader {
    /// Starts the engine's process.
    pub(crate) fn start(engine: &str, shape: Rows, wide: bool) -> OrFailure<Self> {
        let executable = find(engine).ok_or_else(|| {
            Failure::new(
                Exit::REFUSED,
                Reason::EngineNotFound,
                format!("there is no mainspring-{engine} to read the rows"),
            )
        })?;
        let format = match shape {
            Rows::Table => "table",
            Rows::Csv => "csv",
            Rows::Json | Rows::Arrow => "json",
        };
        let mut command = Command::new(&executable);
        command.args(["rows", "--format", format]).stdin(Stdio::piped()).kill_on_drop(true);
        if wide {
            command.env("COLUMNS", "1000");
        }
        let child = command
            .spawn()
            .map_err(|error| Failure::internal(format!("{}: {error}", executable.display())))?;
        Ok(Self { child })
    }

    /// Gives the process the next bytes; `false` when it takes no more.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> OrFailure<bool> {
        let Some(stdin) = self.child.stdin.as_mut() else { return Ok(false) };
        Ok(stdin.write_all(bytes).await.is_ok())
    }

    /// Waits until the process has printed everything.
    pub(crate) async fn finish(mut self, clock: &SharedClock) -> OrFailure<()> {
        drop(self.child.stdin.take());
        let ended = timeout(clock, PRINT, self.child.wait()).await;
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => {
                Err(Failure::internal(format!("the engine could not print the rows ({status})")))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(elapsed) => {
                Err(Failure::internal(format!("the engine printed no end of the rows: {elapsed}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_of_a_program_names_its_engine() {
        for (uri, expected) in [
            ("file:///a/carriers.sql", ("datafusion", ".sql")),
            ("https://host/job.JAR?x=1", ("flink", ".jar")),
            ("file:///a/job.py", ("flink", ".py")),
            ("file:///a/delays", ("datafusion", "native program")),
        ] {
            assert_eq!(for_program(uri), expected, "{uri}");
        }
    }
}
