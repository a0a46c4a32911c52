//! An application that is to end: it was cancelled, is past its deadline, or has failed.

use proto::Reason;

use super::decision::Decision;
use super::facts::{Cluster, Facts, Main};
use super::failure::Failure;
use super::recorded::{JobOutcome, Outcome};
use super::running::publish;
use super::savepoints;

/// Why the application has to end now, if it has to. A cancel that the record acknowledged stands
/// above everything.
pub(super) fn verdict(facts: &Facts) -> Option<(Outcome, Failure)> {
    let desired = &facts.record.desired;
    if !desired.cancel {
        return facts.verdict.clone();
    }
    let mut message = "cancelled".to_owned();
    if !desired.requested_by.is_empty() {
        message.push_str(&format!(" by {}", desired.requested_by));
    }
    if !desired.reason.is_empty() {
        message.push_str(&format!(": {}", desired.reason));
    }
    Some((Outcome::Cancelled, Failure::new(Reason::Cancelled, message)))
}

/// Ends main() first, then its jobs, then publishes what the jobs committed, then records the end.
pub(super) fn decide(facts: &Facts, (outcome, why): &(Outcome, Failure)) -> Vec<Decision> {
    let mut wanted = Vec::new();
    match facts.main {
        Main::Running => wanted.push(Decision::StopMain),
        Main::Exited(_) => wanted.push(Decision::RecordMainEnd),
        Main::NotStarted if facts.is_cut_off() && !facts.is_previous_settled() => {
            wanted.push(Decision::EndPrevious);
        }
        Main::NotStarted | Main::Starting | Main::Recorded(_) | Main::Stopped => {}
    }
    let main_gone = wanted.is_empty() && !facts.main_may_live();
    if main_gone {
        jobs(facts, why, &mut wanted);
    }
    let unsettled = facts.record.pending_savepoints().next().is_some();
    savepoints::refuse(facts, why, &mut wanted);
    if facts.record.unpublished_jobs().next().is_some() && !facts.record.desired.abandon {
        if facts.describing.is_done() {
            publish(facts, &mut wanted);
        } else {
            wanted.push(Decision::StartDescribe);
        }
        return wanted;
    }
    if main_gone && !unsettled && facts.record.open_jobs().next().is_none() {
        let desired_revision = facts.record.desired.revision;
        wanted.push(Decision::RecordEnd { outcome: *outcome, why: why.clone(), desired_revision });
    }
    wanted
}

/// The cluster is asked to end its jobs and has a bounded time to record their ends. Where there is
/// no cluster to ask, as where it is on another host, or the time has passed, the leader records
/// the ends.
fn jobs(facts: &Facts, why: &Failure, wanted: &mut Vec<Decision>) {
    for (id, _) in facts.record.open_jobs() {
        let cancelled = |message: &str| Decision::EndJob {
            job: id,
            outcome: JobOutcome::Cancelled,
            why: Failure::new(
                Reason::Cancelled,
                format!("{message}: {}", first_line(&why.message)),
            ),
        };
        match &facts.cluster {
            _ if facts.cancel_bound_passed => {
                wanted.push(cancelled("its cluster did not end it in time"))
            }
            Cluster::Live { incarnation, .. } if facts.known_jobs.contains(&id) => {
                if !facts.job_facts(id).cancel_sent {
                    let reason = first_line(&why.message).to_owned();
                    wanted.push(Decision::CancelJob { job: id, incarnation: *incarnation, reason });
                }
                push_once(wanted, Decision::CancelBound { incarnation: *incarnation });
            }
            Cluster::Unasked if facts.record.cluster.may_be_adopted() => {
                let recorded = &facts.record.cluster;
                let endpoint = recorded.jobs_endpoint.clone();
                let incarnation = recorded.incarnation;
                push_once(wanted, Decision::Adopt { incarnation, endpoint, doubts: 0 });
            }
            _ => wanted.push(cancelled("the application ended without it")),
        }
    }
}

fn push_once(wanted: &mut Vec<Decision>, decision: Decision) {
    if !wanted.contains(&decision) {
        wanted.push(decision);
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
