//! Cycles, one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::deployment::Deployment;

use super::bed::Bed;
use super::cycle::{Report, run};
use super::plan::Plan;
use super::sum::Sum;

/// Runs these cycles, and tells of each. One deployment, which has no host when it is made, serves
/// all cycles, until one of them fails:
/// what the hosts of that one know is kept below `keep`, and the next cycle has a new deployment.
/// Once `stop` is true everything is ended.
pub fn series(
    plans: impl IntoIterator<Item = Plan>,
    deployment: fn() -> Deployment,
    stop: &AtomicBool,
    keep: &Path,
    mut tell: impl FnMut(&Report),
) -> Sum {
    let mut sum = Sum::default();
    let mut standing = None;
    for plan in plans {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Some(mut bed) =
            standing.take().or_else(|| catch_unwind(|| Bed::start(deployment())).ok())
        else {
            let report = Report::of_no_bed(plan, stop.load(Ordering::Relaxed));
            tell(&report);
            sum.add(&report);
            continue;
        };
        let report = run(&mut bed, &plan, stop);
        tell(&report);
        sum.add(&report);
        if report.is_cut_off {
            bed.destroy();
        } else if report.objections.is_empty() {
            standing = Some(bed);
        } else {
            bed.keep(&keep.join(format!("seed-{}", plan.seed)));
            bed.destroy();
        }
    }
    // The hosts end in good order, and fail if anything of them is left.
    if let Some(bed) = standing
        && catch_unwind(AssertUnwindSafe(|| drop(bed))).is_err()
        && !stop.load(Ordering::Relaxed)
    {
        sum.did_not_end();
    }
    sum
}
