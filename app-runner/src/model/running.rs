//! An application that runs: bring-up, jobs, and the wait for the jobs after main() has exited 0.

use proto::{Incarnation, JobId, Reason};

use super::decision::Decision;
use super::facts::{Cluster, Facts, Main, Step};
use super::failure::Failure;
use super::recorded::{ClusterState, JobOutcome, Outcome, RecordedJob};
use super::savepoints;

pub(super) fn decide(facts: &Facts) -> Vec<Decision> {
    let mut wanted = Vec::new();
    bring_up(facts, &mut wanted);
    if is_cluster_wanted(facts) {
        cluster(facts, &mut wanted);
    }
    jobs(facts, &mut wanted);
    savepoints::decide(facts, &mut wanted);
    publish(facts, &mut wanted);
    main(facts, &mut wanted);
    wanted
}

/// What main() and the cluster need before they start. Steps that do not depend on each other are
/// wanted at the same time.
fn bring_up(facts: &Facts, wanted: &mut Vec<Decision>) {
    let main_needed = facts.main == Main::NotStarted;
    if !main_needed && !is_cluster_wanted(facts) && facts.record.unpublished_jobs().next().is_none()
    {
        return;
    }
    if !facts.describing.is_done() {
        wanted.push(Decision::StartDescribe);
    }
    let plan_needed = main_needed || is_cluster_wanted(facts);
    if plan_needed && !facts.fetched.is_done() {
        wanted.push(Decision::Fetch);
    }
    if plan_needed
        && !facts.described.is_done()
        && facts.fetched.is_done()
        && facts.describing.is_done()
    {
        wanted.push(Decision::Describe);
    }
    if main_needed && !facts.record.pinned && facts.fetched.is_done() {
        wanted.push(Decision::Pin);
    }
    if !facts.previous_ended.is_done() {
        wanted.push(Decision::EndPrevious);
    }
}

fn main(facts: &Facts, wanted: &mut Vec<Decision>) {
    match facts.main {
        Main::NotStarted | Main::Starting => {
            let prepared =
                facts.described.is_done() && facts.record.pinned && facts.previous_ended.is_done();
            if prepared {
                wanted.push(Decision::StartMain);
            }
        }
        Main::Exited(_) => match facts.kill {
            None => wanted.push(Decision::RecordMainEnd),
            Some(kills) if !facts.kill_recorded.is_done() => {
                wanted.push(Decision::RecordMainKill { kills })
            }
            // The output of the killed main() is on its way to the store until it is shipped.
            Some(kills) if facts.output_shipped.is_done() => {
                wanted.push(Decision::ExecuteAgain { kills })
            }
            Some(_) => {}
        },
        Main::Recorded(_) => finish(facts, wanted),
        Main::Running | Main::Stopped => {}
    }
}

/// main() has exited 0: jobs that it executed are awaited, jobs that it did not come back to are
/// given up.
fn finish(facts: &Facts, wanted: &mut Vec<Decision>) {
    let mut open = false;
    for (id, job) in facts.record.open_jobs() {
        open = true;
        if is_abandoned(facts, id) {
            let message = format!("main() ended without executing job {:?} again", job.name);
            let why = Failure::new(Reason::Abandoned, message);
            wanted.push(Decision::EndJob { job: id, outcome: JobOutcome::Abandoned, why });
        }
    }
    let given_up = given_up_outputs(facts);
    let unsettled = facts.record.pending_savepoints().next().is_some();
    if open || unsettled || (given_up.is_none() && facts.record.unpublished_jobs().next().is_some())
    {
        return;
    }
    let (outcome, why) = match unawaited_failure(facts).or(given_up) {
        Some(why) => (Outcome::Failed, why),
        None => (Outcome::Succeeded, Failure::none()),
    };
    let desired_revision = facts.record.desired.revision;
    wanted.push(Decision::RecordEnd { outcome, why, desired_revision });
}

/// main() has ended well, and a user gave up the output that its jobs committed. The application is
/// no success then.
fn given_up_outputs(facts: &Facts) -> Option<Failure> {
    let names: Vec<_> =
        facts.record.unpublished_jobs().map(|id| &facts.record.jobs[&id].name).collect();
    (facts.record.desired.abandon && !names.is_empty()).then(|| {
        let message =
            format!("a user gave up the committed output of {names:?} before it was in its place");
        Failure::new(Reason::Abandoned, message)
    })
}

/// The failure of a job that main() never heard of. The status of an application follows its
/// main(); a job that failed or was lost without main() having been told is the one exception.
fn unawaited_failure(facts: &Facts) -> Option<Failure> {
    facts.record.jobs.iter().find_map(|(id, job)| {
        let end = job.end.as_ref()?;
        let (reason, what) = match end.outcome {
            JobOutcome::Failed => (Reason::JobFailed, "failed"),
            JobOutcome::Lost => (Reason::JobLost, "was lost"),
            _ => return None,
        };
        let told =
            if ran_here(facts) { facts.job_facts(*id).answered } else { job.ended_before_main };
        (!told).then(|| {
            let message =
                format!("job {:?} {what} after main() had left it: {}", job.name, end.message);
            Failure::new(reason, message)
        })
    })
}

/// Whether this attempt's main() came to its end without the job. What an earlier attempt's main()
/// reached is not known here, so after a take-over past main()'s end every job is awaited.
fn is_abandoned(facts: &Facts, job: JobId) -> bool {
    ran_here(facts) && !facts.job_facts(job).reached
}

/// Whether main() ended in this attempt, for good.
fn ran_here(facts: &Facts) -> bool {
    let ended = matches!(facts.main, Main::Exited(_) | Main::Recorded(_)) && facts.kill.is_none();
    ended && facts.record.main.epoch == facts.epoch
}

/// Whether a cluster is needed: while main() may still execute something, or a job that is awaited
/// has no end.
fn is_cluster_wanted(facts: &Facts) -> bool {
    match facts.main {
        Main::NotStarted => !(facts.is_cut_off() && facts.record.not_repeatable),
        Main::Starting | Main::Running => true,
        Main::Exited(_) | Main::Recorded(_) | Main::Stopped => {
            facts.record.open_jobs().any(|(id, _)| !is_abandoned(facts, id))
        }
    }
}

/// The next step towards a live cluster, from where the cluster is now.
fn cluster(facts: &Facts, wanted: &mut Vec<Decision>) {
    match &facts.cluster {
        Cluster::Unasked => first_contact(facts, wanted),
        Cluster::Begun { incarnation, .. } => {
            if facts.described.is_done() {
                wanted.push(Decision::Provision { incarnation: *incarnation });
            }
        }
        Cluster::Ready { incarnation, endpoint, doubts } => {
            wanted.push(Decision::Adopt {
                incarnation: *incarnation,
                endpoint: endpoint.clone(),
                doubts: *doubts,
            });
            record_ready(facts, *incarnation, endpoint, wanted);
        }
        Cluster::Live { incarnation, endpoint } => {
            record_ready(facts, *incarnation, endpoint, wanted)
        }
        Cluster::Dead { incarnation, message } => {
            if incarnation.get() != 0 && facts.gone_recorded != Some(*incarnation) {
                let message = message.clone();
                wanted.push(Decision::RecordGone { incarnation: *incarnation, message });
            } else if facts.described.is_done() {
                wanted
                    .push(Decision::BeginCluster { cause: message.clone(), deaths: facts.deaths });
            }
        }
    }
}

/// The first step of a leader that has not asked the cluster yet: all that it can go by is what the
/// record says of the cluster.
///
/// An incarnation of another host is neither called nor provisioned nor said to be gone, because
/// nothing is known of its processes here and only its own host may start them. The leader begins
/// the next incarnation on this host, and no death is counted: at once where the fence holds back
/// what the old one does, and otherwise the step waits for the end of the old one. Its open jobs
/// are submitted to the new cluster, as after a death. Of a session cluster (target `static`) only
/// the process that serves jobs has an incarnation and a host. The new one finds the jobs that run
/// in the session cluster, since they were submitted under their static ids, and tells of them when
/// it is adopted; a job that the session cluster does not know is lost, as it is after a death.
fn first_contact(facts: &Facts, wanted: &mut Vec<Decision>) {
    let recorded = &facts.record.cluster;
    let incarnation = recorded.incarnation;
    let cause = match (recorded.state, &recorded.elsewhere) {
        (ClusterState::None, _) => String::new(),
        (ClusterState::Gone, _) => format!("incarnation {incarnation} was gone"),
        (ClusterState::Starting | ClusterState::Ready, Some(host)) => {
            format!("incarnation {incarnation} is on host {host}, which another leader had")
        }
        (ClusterState::Ready, None) => {
            let endpoint = recorded.jobs_endpoint.clone();
            return wanted.push(Decision::Adopt { incarnation, endpoint, doubts: 0 });
        }
        (ClusterState::Starting, None) if facts.described.is_done() => {
            return wanted.push(Decision::Provision { incarnation });
        }
        (ClusterState::Starting, None) => return,
    };
    if facts.described.is_done() {
        wanted.push(Decision::BeginCluster { cause, deaths: 0 });
    }
}

fn record_ready(
    facts: &Facts,
    incarnation: Incarnation,
    endpoint: &str,
    wanted: &mut Vec<Decision>,
) {
    let known = facts.record.cluster.incarnation == incarnation
        && facts.record.cluster.state == ClusterState::Ready;
    if !known && facts.ready_recorded != Some(incarnation) {
        wanted.push(Decision::RecordReady { incarnation, endpoint: endpoint.to_owned() });
    }
}

/// Every open job belongs into the live cluster. A new job is submitted; a job that its cluster has
/// lost is submitted again under the same id, or given up where a loss is final.
fn jobs(facts: &Facts, wanted: &mut Vec<Decision>) {
    for (id, RecordedJob { name, .. }) in facts.record.open_jobs() {
        if is_abandoned(facts, id) {
            continue;
        }
        let live = match &facts.cluster {
            Cluster::Live { incarnation, .. } => Some(*incarnation),
            _ => None,
        };
        let known = facts.known_jobs.contains(&id);
        let job = facts.job_facts(id);
        match (job.cancel, live) {
            (None, Some(_))
                if !known && facts.record.lost_is_final && facts.begun_jobs.contains(&id) =>
            {
                wanted.push(Decision::EndJob {
                    job: id,
                    outcome: JobOutcome::Lost,
                    why: lost(name),
                });
            }
            (None, Some(incarnation)) if !known => {
                wanted.push(Decision::Submit { job: id, incarnation })
            }
            (None, _) => {}
            (Some(reason), Some(incarnation)) if known && !job.cancel_sent => {
                wanted.push(Decision::CancelJob { job: id, incarnation, reason });
            }
            // The cluster records the end of a job that it was asked to cancel.
            (Some(_), Some(_)) if known => {}
            (Some(reason), _) => {
                let why = Failure::new(Reason::Cancelled, reason);
                wanted.push(Decision::EndJob { job: id, outcome: JobOutcome::Cancelled, why });
            }
        }
    }
}

fn lost(name: &str) -> Failure {
    let message = format!(
        "the cluster that it was submitted to does not know job {name:?} any more, and what it has done there is not known; help: \
         --resubmit-lost runs such a job again from its beginning, -s from a checkpoint"
    );
    Failure::new(Reason::JobLost, message)
}

/// Committed outputs that are not at their final names are published, by this leader or by a
/// successor, because their jobs have succeeded.
pub(super) fn publish(facts: &Facts, wanted: &mut Vec<Decision>) {
    if facts.describing == Step::Done && !facts.record.desired.abandon {
        wanted.extend(facts.record.unpublished_jobs().map(|job| Decision::Publish { job }));
    }
}
