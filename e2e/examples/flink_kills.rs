//! `make e2e-flink`: the kill matrix on real Flink, every part at every moment, as a table with a sum.
//!
//! ```text
//! flink_kills [PART] [MOMENT]     only cells whose names contain these
//! ```

#![allow(clippy::disallowed_methods, reason = "a program for people, which waits by the machine's own clock")]

use std::process::ExitCode;
use std::time::Instant;

use e2e::flink::{Moment, Part, Trial};

fn main() -> ExitCode {
    let chosen: Vec<String> = std::env::args().skip(1).map(|word| word.to_lowercase()).collect();
    let is_chosen =
        |at: usize, name: String| chosen.get(at).is_none_or(|word| name.to_lowercase().contains(word));
    let (mut passed, mut failed) = (0, 0);
    println!("{:30} {:18} {:7} {:>6}  verdict", "killed", "moment", "seconds", "");
    for part in Part::EACH.into_iter().filter(|part| is_chosen(0, format!("{part:?}"))) {
        for moment in Moment::ALL.into_iter().filter(|moment| is_chosen(1, format!("{moment:?}"))) {
            let trial = Trial { part, moment };
            if !trial.is_possible() {
                continue;
            }
            let begun = Instant::now();
            let verdict = std::panic::catch_unwind(|| trial.run());
            let objection = match &verdict {
                Ok(verdict) => trial.objection(verdict),
                Err(_) => Some("see above".to_owned()),
            };
            let said = match &verdict {
                Ok(v) => format!(
                    "{} {} restarts {} incarnations {} main() {} missing {} doubled {}",
                    v.outcome,
                    v.job,
                    v.restarts,
                    v.incarnations,
                    v.executions,
                    v.tally.missing,
                    v.tally.doubled
                ),
                Err(_) => String::new(),
            };
            let word = if objection.is_none() { "ok" } else { "FAILED" };
            let (part, moment) = (format!("{part:?}"), format!("{moment:?}"));
            println!("{part:30} {moment:18} {:7.1} {word:>6}  {said}", begun.elapsed().as_secs_f64());
            match objection {
                None => passed += 1,
                Some(why) => {
                    failed += 1;
                    println!("    {why}");
                    if let Ok(verdict) = verdict {
                        println!("{}", verdict.run.stderr);
                    }
                }
            }
        }
    }
    println!("{} kills: {passed} passed, {failed} failed", passed + failed);
    ExitCode::from(u8::from(failed > 0))
}
