//! An application that has ended and is not clean: its leader removes what is left of it.

use proto::Incarnation;

use super::decision::Decision;
use super::facts::{Facts, Main};
use super::recorded::{JobOutcome, Recorded};

pub(super) fn decide(facts: &Facts) -> Vec<Decision> {
    let mut wanted = Vec::new();
    if facts.main == Main::Running {
        wanted.push(Decision::StopMain);
    }
    if !facts.is_previous_settled() {
        wanted.push(Decision::EndPrevious);
    }
    let abandon = facts.record.desired.abandon;
    let incarnation = facts.record.cluster.incarnation;
    // An abandoned teardown is tried once: what that try could not remove is recorded as left.
    let torn_down = facts.torn_down.is_done()
        || incarnation == Incarnation(0)
        || (abandon && !facts.leftovers.is_empty());
    if !torn_down {
        wanted.push(Decision::Teardown { incarnation });
    }
    if !facts.released.is_done() {
        wanted.push(Decision::Release);
    }
    let swept = facts.swept.is_done() || !needs_sweep(&facts.record);
    if torn_down && !swept {
        // The current incarnation may stage until it is torn down.
        let next =
            if facts.describing.is_done() { Decision::Sweep } else { Decision::StartDescribe };
        wanted.push(next);
    }
    if swept && !facts.describe_ended.is_done() {
        wanted.push(Decision::EndDescribe);
    }
    let shipped = facts.output_shipped.is_done();
    let mut nothing_lives = torn_down && swept && shipped && !facts.main_may_live();
    nothing_lives &= facts.is_previous_settled() && facts.describe_ended.is_done();
    if nothing_lives && !facts.work_removed.is_done() {
        wanted.push(Decision::RemoveWork);
    }
    if nothing_lives && facts.work_removed.is_done() && facts.released.is_done() {
        wanted.push(Decision::MarkClean { leftovers: leftovers(facts) });
    }
    wanted
}

/// Whether a sweep is needed. A job that did not succeed, or that was submitted to an earlier
/// incarnation too, may have staged what will never be committed, and the checkpoints of an ended
/// job may still be there.
pub(super) fn needs_sweep(record: &Recorded) -> bool {
    record.jobs.values().any(|job| {
        let committed = job.end.as_ref().is_some_and(|end| end.outcome == JobOutcome::Succeeded);
        let leaves_checkpoints = job.end.as_ref().is_some_and(|end| end.leaves_checkpoints);
        leaves_checkpoints || job.submissions > 1 || (job.submissions > 0 && !committed)
    })
}

fn leftovers(facts: &Facts) -> Vec<String> {
    let mut lines = facts.leftovers.clone();
    lines.extend(facts.previous_left.iter().map(|left| format!("an earlier main(): {left}")));
    for job in facts.record.jobs.values().filter(|job| job.is_to_be_published()) {
        let staged = if job.staged.is_empty() {
            String::new()
        } else {
            format!(", staged in {}", job.staged)
        };
        lines.push(format!(
            "output of job {:?}, given up before it was in its place{staged}",
            job.name
        ));
    }
    lines
}
