//! Three hosts of one deployment in one process, from a seed: real stores, electors and contenders
//! over an in-memory etcd and a network of machines, with faults. See `sim/README.md`.
//!
//! Each seed runs in a process of its own, because a static counter anywhere would make the second
//! run of a process differ from the first.

mod blobs;
mod child;
mod cluster;
mod host;
mod main_process;
mod notes;
mod person;
mod plan;
mod ports;
mod random;
mod tap;
mod trace;
mod world;

use std::io;
use std::ops::Range;
use std::process::{Command, ExitCode};

use chassis::failpoint;
use clap::Parser;

use crate::child::{Run, Verdict, WRONG};

/// The bugs that can be planted, as `--bug` names them. `sim/README.md` says what each one is.
const BUGS: [&str; 14] = [
    "store.epochs-unfenced",
    "store.incarnation-twice",
    "store.unknown-retried-as-new",
    "store.compares-later-revisions",
    "store.pointer-before-blob",
    "store.mark-uncompared",
    "places.same-incarnation",
    "runner.standby-leaves-at-dirty",
    "runner.clean-before-teardown",
    "runner.recorded-before-published",
    "client.acts-past-its-lease",
    "elector.renews-by-itself",
    "elector.trusts-asked-lease",
    "etcd.watch-without-list",
];

/// Simulates three hosts for a minute, once for each seed.
#[derive(Debug, Parser)]
struct Args {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// How many seeds, each one more than the one before
    #[arg(long, default_value_t = 1)]
    seeds: u64,

    /// Plants a bug; the seeds end with the first that shows it, and it is an error if none does
    #[arg(long, value_parser = BUGS)]
    bug: Option<String>,

    /// As --bug, for each bug that there is
    #[arg(long, conflicts_with = "bug")]
    every_bug: bool,

    /// Runs each seed twice, and compares what happened
    #[arg(long)]
    twice: bool,

    /// Prints what is planned and all that happened
    #[arg(long)]
    trace: bool,

    /// Runs the seed in this process
    #[arg(long, hide = true)]
    here: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.here {
        return here(&args);
    }
    if !cfg!(debug_assertions) && (args.bug.is_some() || args.every_bug) {
        eprintln!("error: this is a release build, which has no bugs to plant: make sim ARGS='…'");
        return ExitCode::from(2);
    }
    let bugs: Vec<&str> =
        if args.every_bug { BUGS.to_vec() } else { args.bug.as_deref().into_iter().collect() };
    let as_wanted: io::Result<bool> = if bugs.is_empty() {
        all_are_right(&args)
    } else {
        bugs.into_iter().try_fold(true, |found, bug| Ok(is_found(&args, bug)? && found))
    };
    match as_wanted {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("a seed cannot be run: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all seeds; `true`: nothing is wrong.
fn all_are_right(args: &Args) -> io::Result<bool> {
    let mut wrong = 0;
    for seed in seeds(args) {
        let ran = run(args, seed, None)?;
        let repeats = !args.twice || run(args, seed, None)?.stdout == ran.stdout;
        if !repeats {
            println!("seed {seed}: WRONG: two runs differ");
        }
        let is_right = ran.verdict == Verdict::Right && repeats;
        if !is_right || args.trace || args.seeds == 1 {
            ran.print();
        }
        wrong += u64::from(!is_right);
    }
    println!("{} seed(s), {wrong} wrong", args.seeds);
    Ok(wrong == 0)
}

/// Runs seeds with a bug until one shows it. A run without a verdict, or one that is wrong and has
/// not met the bug, shows something else.
fn is_found(args: &Args, bug: &str) -> io::Result<bool> {
    for (number, seed) in (1..).zip(seeds(args)) {
        let ran = run(args, seed, Some(bug))?;
        if ran.verdict == Verdict::Right {
            continue;
        }
        ran.print();
        let found = ran.verdict == Verdict::Wrong && ran.met;
        if found {
            println!("{bug}: found with seed {seed}, after {number} seed(s)");
        } else {
            println!("{bug}: seed {seed} shows something else");
        }
        return Ok(found);
    }
    println!("{bug}: not found with {} seed(s)", args.seeds);
    Ok(false)
}

fn seeds(args: &Args) -> Range<u64> {
    args.seed..args.seed.saturating_add(args.seeds)
}

/// Runs one seed in a process of its own.
#[allow(clippy::disallowed_methods, reason = "a seed runs in a process of its own")]
fn run(args: &Args, seed: u64, bug: Option<&str>) -> io::Result<Run> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--here", "--seed", &seed.to_string()]);
    if args.trace {
        command.arg("--trace");
    }
    // What traces a run of the caller's is no part of the simulation.
    command.env_remove("TRACEPARENT").env_remove(failpoint::VARIABLE);
    let Some(bug) = bug else { return Run::of(&mut command, seed) };
    let met = std::env::temp_dir().join(format!("sim-{}-{seed}.met", std::process::id()));
    command.env(failpoint::VARIABLE, format!("{bug}=bug@{}", met.display()));
    let ran = Run::of(&mut command, seed)?;
    // A run that has met the bug has left this mark.
    Ok(Run { met: std::fs::remove_file(met).is_ok(), ..ran })
}

/// Runs the seed in this process, on a thread that has seen nothing random yet.
fn here(args: &Args) -> ExitCode {
    let seed = args.seed;
    random::seed(seed);
    let run = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || world::run(seed));
    let ran = match run.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(ran))) => ran,
        Ok(Ok(Err(error))) => {
            println!("seed {seed}: cannot begin: {error}");
            return ExitCode::FAILURE;
        }
        Ok(Err(_)) => {
            println!("seed {seed}: panicked");
            return ExitCode::FAILURE;
        }
        Err(error) => {
            println!("seed {seed}: no thread: {error}");
            return ExitCode::FAILURE;
        }
    };
    if args.trace {
        println!("{:#?}", ran.plan);
        for line in &ran.lines {
            println!("{line}");
        }
    }
    for wrong in &ran.wrong {
        println!("seed {seed}: WRONG: {wrong}");
    }
    println!("seed {seed}: {} lines, {}", ran.lines.len(), ran.digest);
    if ran.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(WRONG) }
}

/// Debug builds of deeply nested futures need more than a thread usually has.
const STACK_BYTES: usize = 64 * 1024 * 1024;
