//! An application that has ended and is not clean: its leader removes what is left of it, and waits
//! for other hosts to end what they ran of it.

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
    let cluster = &facts.record.cluster;
    let incarnation = cluster.incarnation;
    // An abandoned teardown is tried once: what that try could not remove is recorded as left.
    let torn_down = facts.torn_down.is_done()
        || incarnation == Incarnation(0)
        || cluster.elsewhere.is_some()
        || (abandon && !facts.leftovers.is_empty());
    // What lives on another host is ended by that host alone. Of an abandoned application the
    // record itself names such hosts among what is left.
    let held = !facts.record.held_by.is_empty() && !abandon;
    if !torn_down {
        wanted.push(Decision::Teardown { incarnation });
    } else if held {
        wanted.push(Decision::AwaitPlaces);
    }
    let no_cluster_lives = torn_down && !held;
    if !facts.released.is_done() {
        wanted.push(Decision::Release);
    }
    let swept = facts.swept.is_done() || !needs_sweep(&facts.record);
    if no_cluster_lives && !swept {
        // An incarnation may stage until it is torn down.
        let next =
            if facts.describing.is_done() { Decision::Sweep } else { Decision::StartDescribe };
        wanted.push(next);
    }
    if swept && !facts.describe_ended.is_done() {
        wanted.push(Decision::EndDescribe);
    }
    let shipped = facts.output_shipped.is_done();
    let mut nothing_lives = no_cluster_lives && swept && shipped && !facts.main_may_live();
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
