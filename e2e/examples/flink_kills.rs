//! `make e2e-flink`: the kill matrix on real Flink, every part at every moment, and then kills at
//! instants that are drawn; a table with a sum.
//!
//! ```text
//! flink_kills [PART] [MOMENT]     only cells with these in their names; `committed` are drawn
//! SEED=7 flink_kills              the same draw again
//! ```

#![allow(
    clippy::disallowed_methods,
    reason = "a program for people, which waits by the machine's own clock"
)]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::process::ExitCode;
use std::time::Instant;

use e2e::flink::{Moment, Part, Trial, Verdict};

/// The parts that run a job or keep what the job comes to, for which an instant of the job's life
/// can mean something.
const WORTH_A_DRAW: [Part; 8] = [
    Part::JobManager,
    Part::TaskManager,
    Part::Jobs,
    Part::All,
    Part::Contender,
    Part::Service("jobgraph-store"),
    Part::Service("leader-elector"),
    Part::Service("lifecycle"),
];

/// How many instants are drawn for each of those parts.
const DRAWS: usize = 3;

fn main() -> ExitCode {
    let chosen: Vec<String> = std::env::args().skip(1).map(|word| word.to_lowercase()).collect();
    let is_chosen = |at: usize, name: String| {
        chosen.get(at).is_none_or(|word| name.to_lowercase().contains(word))
    };
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let mut sum = Sum::default();
    println!("SEED={seed}");
    println!("{:30} {:18} {:7} {:>6}  verdict", "killed", "moment", "seconds", "");
    for trial in named().chain(drawn(seed)) {
        if !is_chosen(0, format!("{:?}", trial.part))
            || !is_chosen(1, format!("{:?}", trial.moment))
        {
            continue;
        }
        sum.add(trial);
    }
    println!(
        "{} kills: {} passed, {} failed; {} records lost, {} doubled, {} ended jobs run again",
        sum.passed + sum.failed,
        sum.passed,
        sum.failed,
        sum.lost,
        sum.doubled,
        sum.run_again
    );
    ExitCode::from(u8::from(sum.failed > 0))
}

/// Every part at every moment.
fn named() -> impl Iterator<Item = Trial> {
    let at_each = |part| Moment::ALL.into_iter().map(move |moment| Trial { part, moment });
    Part::EACH.into_iter().flat_map(at_each).filter(|trial| trial.is_possible())
}

/// The parts at instants that follow from the seed.
fn drawn(seed: u64) -> impl Iterator<Item = Trial> {
    let parts = std::iter::repeat_n(WORTH_A_DRAW, DRAWS).flatten();
    let mut state = seed;
    parts.map(move |part| Trial { part, moment: Moment::Committed(1 + next(&mut state) % 90) })
}

/// The next number of SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What all trials came to.
#[derive(Default)]
struct Sum {
    passed: u64,
    failed: u64,
    lost: u64,
    doubled: u64,
    run_again: u64,
}

impl Sum {
    /// Runs one trial and prints its line.
    fn add(&mut self, trial: Trial) {
        let begun = Instant::now();
        let verdict = std::panic::catch_unwind(|| trial.run());
        let (said, objection) = match &verdict {
            Ok(verdict) => (words(verdict), trial.objection(verdict)),
            Err(_) => (String::new(), Some("see above".to_owned())),
        };
        let word = if objection.is_none() { "ok" } else { "FAILED" };
        let (part, moment) = (format!("{:?}", trial.part), format!("{:?}", trial.moment));
        println!("{part:30} {moment:18} {:7.1} {word:>6}  {said}", begun.elapsed().as_secs_f64());
        if let Ok(verdict) = &verdict {
            self.count(trial, verdict);
        }
        match objection {
            None => self.passed += 1,
            Some(why) => {
                self.failed += 1;
                println!("    {why}");
                if let Ok(verdict) = verdict {
                    println!("{}", verdict.run.stderr);
                }
            }
        }
    }

    fn count(&mut self, trial: Trial, verdict: &Verdict) {
        self.lost += verdict.tally.missing;
        self.doubled += verdict.tally.doubled;
        self.run_again += u64::from(trial.has_run_again(verdict));
    }
}

fn words(v: &Verdict) -> String {
    format!(
        "{} {} restarts {} incarnations {} main() {} missing {} doubled {}",
        v.outcome,
        v.job,
        v.restarts,
        v.incarnations,
        v.executions,
        v.tally.missing,
        v.tally.doubled
    )
}
