//! Savepoints that a user or main() asked for. Every one gets a result: it is taken, or the record
//! says why not.

use proto::Reason;

use super::decision::Decision;
use super::facts::{Cluster, Facts};
use super::failure::Failure;

/// Asks the cluster that knows the job for each savepoint without a result, also once the job has
/// ended, because the savepoint may have been taken just before the end. The id of a savepoint
/// follows from the wish alone, so asking again, or asking as the next leader, starts no second
/// one.
pub(super) fn decide(facts: &Facts, wanted: &mut Vec<Decision>) {
    for wish in facts.record.pending_savepoints() {
        let ended = facts.record.jobs.get(&wish.job).is_some_and(|job| job.end.is_some());
        match &facts.cluster {
            Cluster::Live { incarnation, .. } if facts.known_jobs.contains(&wish.job) => {
                wanted.push(Decision::Savepoint { wish: wish.clone(), incarnation: *incarnation });
            }
            // An earlier leader may have had the savepoint taken, and no other step asks this
            // cluster any more.
            Cluster::Unasked if ended && facts.record.cluster.may_be_adopted() => {
                let recorded = &facts.record.cluster;
                let endpoint = recorded.jobs_endpoint.clone();
                let incarnation = recorded.incarnation;
                let adopt = Decision::Adopt { incarnation, endpoint, doubts: 0 };
                if !wanted.contains(&adopt) {
                    wanted.push(adopt);
                }
            }
            Cluster::Ready { incarnation, endpoint, doubts } if ended => {
                let (incarnation, endpoint, doubts) = (*incarnation, endpoint.clone(), *doubts);
                let adopt = Decision::Adopt { incarnation, endpoint, doubts };
                if !wanted.contains(&adopt) {
                    wanted.push(adopt);
                }
            }
            _ if ended => {
                let message = match (&facts.cluster, &facts.record.cluster.elsewhere) {
                    (Cluster::Unasked, Some(host)) => {
                        format!("the job ended on host {host}, where it may have been taken unseen")
                    }
                    _ => "the job ended before it was taken".to_owned(),
                };
                let why = Failure::new(Reason::SavepointFailed, message);
                wanted.push(Decision::RefuseSavepoint { wish: wish.clone(), why });
            }
            // The job is on its way to a cluster.
            _ => {}
        }
    }
}

/// Refuses every savepoint without a result, because the application ends and no more are taken.
pub(super) fn refuse(facts: &Facts, because: &Failure, wanted: &mut Vec<Decision>) {
    for wish in facts.record.pending_savepoints() {
        let first = because.message.lines().next().unwrap_or_default();
        let why = Failure::new(
            Reason::SavepointFailed,
            format!("the application ended before it was taken: {first}"),
        );
        wanted.push(Decision::RefuseSavepoint { wish: wish.clone(), why });
    }
}
