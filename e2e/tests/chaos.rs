//! The short form of `make chaos`: one cycle for each of six faults, of seeds that stay the same.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::atomic::AtomicBool;

use e2e::Deployment;
use e2e::chaos::{Choice, Kind, Plan, series};

/// The faults. Of the cycles, the second and the fifth run an application with a long main().
const KINDS: [Kind; 6] = [
    Kind::KillHost,
    Kind::FreezeHost,
    Kind::KillRunner,
    Kind::KillMember,
    Kind::DeleteLeaderKey,
    Kind::Cancel,
];

fn choice(only: Vec<Kind>) -> Choice {
    Choice { only, flink: false, network: false }
}

#[test]
fn six_faults_leave_one_end_and_nothing_else() {
    let plans = (1..).zip(KINDS).map(|(seed, kind)| Plan::draw(seed, &choice(vec![kind])));
    let keep = std::env::temp_dir().join("chaos");
    let sum =
        series(plans, Deployment::on_three_members, &AtomicBool::new(false), &keep, |report| {
            println!("{:6.1}s {} {:?}", report.took.as_secs_f64(), report.plan, report.objections);
        });
    assert!(!sum.has_failed(), "{}", sum.shown(&choice(Vec::new())));
}
