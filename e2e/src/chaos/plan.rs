//! What a cycle does: drawn from its seed, and from nothing else.

use std::fmt;
use std::time::Duration;

use super::application::Program;
use super::draw::Draw;
use super::fault::{Fault, Kind};

/// How many hosts a deployment has here.
pub const HOSTS: usize = 3;

/// The points at which the runner that leads can be held until the first fault strikes.
pub const POINTS: [&str; 7] = [
    "runner.before-main-starting",
    "runner.in-main",
    "runner.after-submit",
    "runner.before-publish",
    "runner.before-answer",
    "runner.before-teardown",
    "runner.before-mark-clean",
];

/// When the first fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// So long after the submission.
    After(Duration),
    /// While the runner that leads is held at this point.
    At(&'static str),
}

/// One cycle, as it was drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The seed that all of this follows from.
    pub seed: u64,
    /// What runs.
    pub program: Program,
    /// The host that the application is submitted through.
    pub through: usize,
    /// When the first fault strikes.
    pub when: When,
    /// The faults, and how long after the first one each of them begins.
    pub faults: Vec<(Duration, Fault)>,
}

/// What is drawn from.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The kinds of faults; all of them if this is empty.
    pub only: Vec<Kind>,
    /// Whether some of the applications are Flink's.
    pub flink: bool,
    /// Whether the hosts are machines with a network between them, which may be cut.
    pub network: bool,
}

impl Plan {
    /// Draws the cycle of a seed. Seeds that follow each other have what runs in turn: every third
    /// application has a long main(), and every tenth is Flink's, if there are any of those.
    pub fn draw(seed: u64, choice: &Choice) -> Self {
        let mut draw = Draw::of(seed);
        let program = if choice.flink && seed % 10 == 9 {
            Program::Flink
        } else if seed % 3 == 2 {
            Program::Long
        } else {
            Program::Squares
        };
        let through = draw.below(HOSTS);
        let when = if draw.in_percent(70) {
            When::At(draw.one_of(&POINTS))
        } else {
            When::After(draw.millis(0, 4_000))
        };
        let all = Kind::all(choice.network);
        let kinds: &[Kind] = if choice.only.is_empty() { &all[..] } else { &choice.only };
        let first = draw.one_of(kinds);
        let mut faults = vec![(Duration::ZERO, Fault::draw(first, HOSTS, &mut draw))];
        let fitting: Vec<Kind> =
            kinds.iter().copied().filter(|kind| first.goes_with(*kind)).collect();
        if draw.in_percent(40) && !fitting.is_empty() {
            let second = draw.one_of(&fitting);
            let after = draw.millis(0, 3_000);
            faults.push((after, Fault::draw(second, HOSTS, &mut draw)));
        }
        Self { seed, program, through, when, faults }
    }

    /// What is done when, counted from the instant at which the first fault strikes: the number of
    /// the fault, and whether it strikes or is undone.
    pub fn steps(&self) -> Vec<(Duration, usize, Step)> {
        let mut steps = Vec::new();
        for (number, (after, fault)) in self.faults.iter().enumerate() {
            for [begins, ends] in &fault.pulses {
                steps.push((*after + *begins, number, Step::Strike));
                steps.push((*after + *ends, number, Step::Undo));
            }
        }
        steps.sort();
        steps
    }
}

/// One half of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The fault strikes.
    Strike,
    /// The fault is undone.
    Undo,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (after, fault)) in self.faults.iter().enumerate() {
            match (number, self.when) {
                (0, When::After(delay)) => write!(f, "{fault}, {:.1}s in", delay.as_secs_f64())?,
                (0, When::At(point)) => write!(f, "{fault}, at {point}")?,
                _ => write!(f, "; {fault}, {:.1}s later", after.as_secs_f64())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Choice, Fault, Kind, Plan, Step};

    const ALL: Choice = Choice { only: Vec::new(), flink: false, network: true };

    #[test]
    fn a_seed_draws_the_same_cycle_again_and_another_one_another() {
        let [first, again] = [7, 7].map(|seed| Plan::draw(seed, &ALL));
        assert_eq!(first, again);
        assert!((8..20).all(|seed| Plan::draw(seed, &ALL).to_string() != first.to_string()));
    }

    #[test]
    fn every_kind_is_drawn_and_all_that_strikes_is_undone() {
        let plans: Vec<Plan> = (0..1_000).map(|seed| Plan::draw(seed, &ALL)).collect();
        let kinds: BTreeSet<Kind> =
            plans.iter().flat_map(|plan| &plan.faults).map(|(_, fault)| fault.kind).collect();
        assert_eq!(kinds.len(), Kind::ALL.len());
        for plan in plans {
            let mut struck = vec![false; plan.faults.len()];
            for (_, number, step) in plan.steps() {
                assert_eq!(struck[number], step == Step::Undo, "{plan:?}");
                struck[number] = step == Step::Strike;
            }
            assert!(!struck.contains(&true), "{plan:?}");
            if let [(_, first), (_, second)] = plan.faults.as_slice() {
                assert!(first.kind.goes_with(second.kind), "{plan}");
            }
        }
    }

    #[test]
    fn what_is_chosen_alone_is_drawn_alone() {
        let choice = Choice { only: vec![Kind::FreezeHost], flink: true, network: false };
        for seed in 0..100 {
            let plan = Plan::draw(seed, &choice);
            let [(_, Fault { kind: Kind::FreezeHost, .. })] = plan.faults.as_slice() else {
                panic!("two hosts are never frozen at one time: {plan}")
            };
        }
        assert!("freeze-host".parse::<Kind>().is_ok_and(|kind| kind == Kind::FreezeHost));
        assert!("freeze".parse::<Kind>().is_err_and(|why| why.contains("freeze-host")));
    }

    /// A seed that people have noted draws what it drew before there were cuts.
    #[test]
    fn without_a_network_nothing_is_cut_and_all_else_is_drawn_as_with_it() {
        let (without, with) = (Kind::all(false), Kind::all(true));
        assert_eq!((without.len(), with.len()), (16, Kind::ALL.len()));
        assert_eq!(with[..16], without);
        assert!(!without.iter().any(|kind| kind.needs_network()));
        let choice = Choice { network: false, ..ALL };
        let plans = (0..1_000).map(|seed| Plan::draw(seed, &choice));
        let mut drawn = plans.flat_map(|plan| plan.faults).map(|(_, fault)| fault.kind);
        assert!(drawn.all(|kind| !kind.needs_network()));
    }

    #[test]
    fn a_host_is_not_brought_back_while_etcd_takes_no_writes() {
        for deaf in [Kind::LoseQuorum, Kind::FillEtcd] {
            assert!(!deaf.goes_with(Kind::KillHost));
            assert!(!Kind::Cancel.goes_with(deaf));
            assert!(deaf.goes_with(Kind::KillRunner));
        }
        assert!(Kind::KillMember.goes_with(Kind::KillHost));
    }
}
