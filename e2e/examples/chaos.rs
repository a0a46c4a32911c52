//! `make chaos`: faults that are drawn from a seed, under one application after the other, on three
//! hosts with three members of etcd; a line for each cycle, and a table.
//!
//! ```text
//! chaos [--cycles 200] [--seed N] [--only kill-host,freeze-host] [--flink] [--network]
//! ```
//!
//! With `--network` the hosts and the members of etcd are machines of their own, whose network is
//! cut, too; that needs root.
//!
//! The first cycle has the seed N, the next one N + 1, and so on: `--cycles 1` with the seed of a
//! line repeats its cycle. Ctrl-C ends everything, and shows the table.

#![allow(
    clippy::disallowed_methods,
    reason = "a program for people, which waits for signals by itself"
)]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::Deployment;
use e2e::chaos::{Choice, Kind, Plan, Report, repeat, series};

/// What is understood.
const USAGE: &str =
    "chaos [--cycles 200] [--seed N] [--only kill-host,freeze-host] [--flink] [--network]";

/// How many cycles there are, unless it is said.
const CYCLES: u64 = 200;

/// Seeds that are drawn are below this number, so that people can say them.
const SEEDS: u64 = 1_000_000_000;

/// What the command line says.
struct Settings {
    cycles: u64,
    seed: u64,
    choice: Choice,
}

fn main() -> ExitCode {
    let Settings { cycles, seed, choice } = match settings(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(why) => {
            eprintln!("chaos: {why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let stop = on_interrupt();
    let keep = std::env::temp_dir().join(format!("mainspring-chaos-{}", std::process::id()));
    println!("{cycles} cycles from seed {seed}; what failed is kept below {}", keep.display());
    println!("{:>5} {:>12} {:>8} {:>7}  faults", "cycle", "seed", "seconds", "verdict");
    let plans = (0..cycles).map(|number| Plan::draw(seed.wrapping_add(number), &choice));
    let mut number = 0;
    let on = if choice.network { Deployment::on_machines } else { Deployment::on_three_members };
    let sum = series(plans, on, &stop, &keep, |report| {
        number += 1;
        tell(number, report, &choice);
    });
    println!("\n{}", sum.shown(&choice));
    ExitCode::from(u8::from(sum.has_failed()))
}

/// Prints the line of a cycle, and what is wrong with it.
fn tell(number: u64, report: &Report, choice: &Choice) {
    let Report { plan, took, missed, take_over, objections, is_cut_off } = report;
    let verdict = match objections.as_slice() {
        _ if *is_cut_off => "cut off",
        [] => "ok",
        _ => "FAILED",
    };
    print!("{number:5} {:12} {:8.1} {verdict:>7}  {plan}", plan.seed, took.as_secs_f64());
    if let Some(took) = take_over {
        print!("; taken over in {:.1}s", took.as_secs_f64());
    }
    if !missed.is_empty() {
        let missed: Vec<&str> = missed.iter().map(|kind| kind.name()).collect();
        print!("; nothing to strike: {}", missed.join(", "));
    }
    println!();
    if !objections.is_empty() && !is_cut_off {
        for objection in objections {
            println!("    {objection}");
        }
        println!("    {}", repeat(plan.seed, choice));
    }
}

/// Reads the command line.
fn settings(mut words: impl Iterator<Item = String>) -> Result<Settings, String> {
    let drawn = RandomState::new().build_hasher().finish() % SEEDS;
    let choice = Choice { only: Vec::new(), flink: false, network: false };
    let mut settings = Settings { cycles: CYCLES, seed: drawn, choice };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--cycles" => settings.cycles = number(&value()?)?,
            "--seed" => settings.seed = number(&value()?)?,
            "--only" => {
                let kinds: Result<Vec<Kind>, String> =
                    value()?.split(',').map(str::parse).collect();
                settings.choice.only = kinds?;
            }
            "--flink" => settings.choice.flink = true,
            "--network" => settings.choice.network = true,
            _ => return Err(format!("{word:?} is not understood")),
        }
    }
    let Choice { only, network, .. } = &settings.choice;
    if let Some(kind) = only.iter().find(|kind| kind.needs_network() && !network) {
        return Err(format!("{kind} needs --network, where hosts are machines"));
    }
    Ok(settings)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

/// A value that becomes true with Ctrl-C. The second one ends this process at once.
fn on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::<AtomicBool>::default();
    let told = stop.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if told.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
                eprintln!("chaos: everything is being ended; Ctrl-C again leaves it as it is");
            }
        });
    });
    stop
}
