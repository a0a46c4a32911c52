//! Runs other programs for set-up, each to its end.
#![allow(
    clippy::disallowed_methods,
    reason = "set-up runs installers and compilers, and waits for each"
)]

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// How many of its last lines are quoted of a program that failed.
const QUOTED_LINES: usize = 15;

/// Runs the program in `directory`; its output is shown only if it fails.
pub(super) fn run(
    program: impl AsRef<OsStr>,
    arguments: &[impl AsRef<OsStr>],
    directory: &Path,
    environment: &[(&str, &str)],
) -> anyhow::Result<()> {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n  | ");
    bail!("{} failed ({}):\n  | {last}", program.display(), output.status)
}
