//! What all cycles came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::cycle::Report;
use super::fault::Kind;
use super::plan::Choice;

/// The sum of cycles.
#[derive(Debug, Default)]
pub struct Sum {
    rows: BTreeMap<Kind, Row>,
    passed: usize,
    failed: Vec<(u64, Vec<String>)>,
    take_overs: Vec<Duration>,
    /// Whether the hosts did not end as they should, after the last cycle.
    is_left: bool,
}

/// What the cycles with one kind of fault came to.
#[derive(Debug, Default)]
struct Row {
    cycles: usize,
    missed: usize,
    failed: usize,
    take_overs: Vec<Duration>,
}

impl Sum {
    /// Adds a cycle, but for one that was cut off.
    pub fn add(&mut self, report: &Report) {
        if report.is_cut_off {
            return;
        }
        let failed = !report.objections.is_empty();
        for (at, (_, fault)) in report.plan.faults.iter().enumerate() {
            let row = self.rows.entry(fault.kind).or_default();
            row.cycles += 1;
            row.failed += usize::from(failed);
            row.missed += usize::from(report.missed.contains(&fault.kind));
            // What follows the first strike is not due to the second one.
            row.take_overs.extend(report.take_over.filter(|_| at == 0));
        }
        self.take_overs.extend(report.take_over);
        if failed {
            self.failed.push((report.plan.seed, report.objections.clone()));
        } else {
            self.passed += 1;
        }
    }

    /// Notes that the hosts did not end as they should, after the last cycle.
    pub(super) fn did_not_end(&mut self) {
        self.is_left = true;
    }

    /// Whether a cycle has failed, or the end of the hosts after the last one.
    pub fn has_failed(&self) -> bool {
        self.is_left || !self.failed.is_empty()
    }

    /// The sum as people read it. A cycle that failed is named with the command that repeats it.
    pub fn shown<'a>(&'a self, choice: &'a Choice) -> Shown<'a> {
        Shown { sum: self, choice }
    }
}

/// A sum as people read it.
pub struct Shown<'a> {
    sum: &'a Sum,
    choice: &'a Choice,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sum { rows, passed, failed, take_overs, is_left } = self.sum;
        let head = ["fault", "cycles", "missed", "failed", "take-overs", "p50", "p99"];
        line(f, head.map(str::to_owned))?;
        for (kind, row) in rows {
            let counts = [row.cycles, row.missed, row.failed].map(|count| count.to_string());
            many(f, kind.name(), counts, &row.take_overs)?;
        }
        let cycles = passed + failed.len();
        let counts = [cycles.to_string(), String::new(), failed.len().to_string()];
        many(f, "all", counts, take_overs)?;
        for (seed, objections) in failed {
            writeln!(f, "\nFAILED: {}", repeat(*seed, self.choice))?;
            for objection in objections {
                writeln!(f, "    {objection}")?;
            }
        }
        if *is_left {
            writeln!(f, "\nFAILED: the hosts did not end as they should; see above")?;
        }
        writeln!(f, "\n{cycles} cycles: {passed} passed, {} failed", failed.len())
    }
}

/// The command that runs the cycle of a seed again.
pub fn repeat(seed: u64, choice: &Choice) -> String {
    let names: Vec<&str> = choice.only.iter().map(|kind| kind.name()).collect();
    let only = if names.is_empty() { "" } else { " --only " };
    let flink = if choice.flink { " --flink" } else { "" };
    let network = if choice.network { " --network" } else { "" };
    format!("make chaos ARGS='--cycles 1 --seed {seed}{only}{}{flink}{network}'", names.join(","))
}

fn many(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    [cycles, missed, failed]: [String; 3],
    take_overs: &[Duration],
) -> fmt::Result {
    let seconds = |percent| {
        percentile(take_overs, percent)
            .map_or_else(String::new, |took| format!("{:.1}s", took.as_secs_f64()))
    };
    let count = take_overs.len().to_string();
    line(f, [name.to_owned(), cycles, missed, failed, count, seconds(50), seconds(99)])
}

fn line(f: &mut fmt::Formatter<'_>, cells: [String; 7]) -> fmt::Result {
    let [name, rest @ ..] = cells;
    write!(f, "{name:18}")?;
    for cell in rest {
        write!(f, " {cell:>10}")?;
    }
    writeln!(f)
}

/// The value that so many percent of the values do not exceed.
fn percentile(values: &[Duration], percent: usize) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::super::plan::Plan;
    use super::*;

    fn report(seed: u64, kind: Kind, objections: &[&str]) -> Report {
        let choice = Choice { only: vec![kind], flink: false, network: false };
        Report {
            plan: Plan::draw(seed, &choice),
            took: Duration::from_secs(1),
            missed: Vec::new(),
            take_over: Some(Duration::from_secs(2)),
            objections: objections.iter().map(|&text| text.to_owned()).collect(),
            is_cut_off: false,
        }
    }

    #[test]
    fn what_failed_is_shown_with_the_command_that_repeats_it() {
        let choice = Choice { only: vec![Kind::KillHost], flink: true, network: true };
        let mut sum = Sum::default();
        sum.add(&report(1, Kind::KillHost, &[]));
        assert!(!sum.has_failed());
        sum.add(&report(2, Kind::KillHost, &["a row is missing"]));
        sum.add(&Report { is_cut_off: true, ..report(3, Kind::KillHost, &["interrupted"]) });
        assert!(sum.has_failed());
        let shown = sum.shown(&choice).to_string();
        for text in [
            "make chaos ARGS='--cycles 1 --seed 2 --only kill-host --flink --network'",
            "a row is missing",
            "2 cycles: 1 passed, 1 failed",
        ] {
            assert!(shown.contains(text), "{text}: {shown}");
        }
        assert!(!shown.contains("interrupted"), "{shown}");
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let all: Vec<Duration> = (1..=200).rev().map(Duration::from_secs).collect();
        assert_eq!(percentile(&all, 50), Some(Duration::from_secs(100)));
        assert_eq!(percentile(&all, 99), Some(Duration::from_secs(198)));
        assert_eq!(percentile(&all[..1], 50), Some(Duration::from_secs(200)));
        assert_eq!(percentile(&[], 99), None);
    }
}
