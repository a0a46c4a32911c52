//! `mainspring-flink`: the Flink engine as an executable.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mainspring_flink::setup;

/// The Flink engine of mainspring: runs unchanged Flink programs. Started by mainspring, not by hand.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs Flink's libraries, and a JDK where there is none and this is root
    Setup(setup::Args),
}

fn main() -> ExitCode {
    let Command::Setup(args) = Args::parse().command;
    match setup::run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
