//! The application's end, and what is removed after it.

use std::sync::Arc;
use std::time::Duration;

use ::record::{ApplicationEnd, EndRefused};
use chassis::backoff::Backoff;
use chassis::clock::Clock as _;
use chassis::failpoint;
use proto::{ApplicationRef, Incarnation, Reason, api, engine, job};

use super::{Complaint, PAUSE, Performed, complain, read_again};
use crate::error::PortErrorKind;
use crate::model::{Fact, Failure, Outcome};
use crate::ports::view;
use crate::service::leading::or_refused;
use crate::service::retry::backoff;
use crate::service::shared::Shared;

/// The pause before the record is read again when its last view lacks a job that came in just now.
const MOMENT: Duration = Duration::from_millis(20);

/// The pauses, shortest and longest, before the record is asked again which hosts hold processes.
/// Their lifecycles look every 5 s at what they have to end.
const PLACES_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));

/// How long other hosts may take before people are told that the application waits for them: two of
/// their looks and the end of a cluster, so that an ordinary take-over is not told.
const TELL_OF_PLACES_AFTER: Duration = Duration::from_secs(15);

/// How often a sweep of staging is tried before the staging is recorded as left.
const SWEEP_TRIES: u32 = 5;

/// How long output that the runner could not ship may hold up an end, and how often the output is
/// looked for. Lifecycle ships it.
const SHIP_WITHIN: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(super) async fn record(
    shared: &Arc<Shared>,
    outcome: Outcome,
    why: &Failure,
    desired_revision: u64,
) -> Performed {
    let why = &match outcome {
        Outcome::Failed => with_deaths(why, &shared.recent_deaths()),
        _ => why.clone(),
    };
    let reason = why.reason.map(Reason::as_str).unwrap_or_default();
    let end = ApplicationEnd::new(view::wire_outcome(outcome), reason, &why.message);
    let recorded = shared.patiently("record the application's end", || async {
        // What follows is not passed for sure: the watch of the record overtakes the answer.
        failpoint::hit("runner.before-record-end").await;
        or_refused(shared.ports.record.end(&shared.fence, end.clone(), desired_revision).await)
    });
    match recorded.await? {
        Ok(stands) => Ok(vec![Fact::EndRecorded(view::outcome(stands.outcome).unwrap_or(outcome))]),
        Err((EndRefused::Moved, _)) => Ok(read_again(shared).await),
        Err((EndRefused::WorkLeft, _)) => {
            // The work that is left is a job that came in at the last moment.
            shared.ports.clock.sleep(MOMENT).await;
            Ok(read_again(shared).await)
        }
    }
}

/// The failure with the deaths that may have caused it. main() and the engine only know that a
/// process of the cluster was gone, but its death may be what the application failed of.
fn with_deaths(why: &Failure, deaths: &[String]) -> Failure {
    let untold: Vec<&str> =
        deaths.iter().map(String::as_str).filter(|death| !is_told(why, death)).collect();
    if untold.is_empty() {
        return why.clone();
    }
    // The deaths go into the first line, which every table shows; the way out and what main() said
    // stay behind them.
    let first = why.message.find('\n').unwrap_or(why.message.len());
    let at = why.message[..first].find("; help: ").unwrap_or(first);
    let (said, rest) = why.message.split_at(at);
    Failure { reason: why.reason, message: format!("{said}; {}{rest}", untold.join("; ")) }
}

fn is_told(why: &Failure, death: &str) -> bool {
    death.split_once("; cause: ").is_some_and(|(_, cause)| why.message.contains(cause))
}

pub(super) async fn teardown(shared: &Arc<Shared>, incarnation: Incarnation) -> Performed {
    // A test plants the bug to see that it would be noticed.
    if failpoint::is_planted("runner.clean-before-teardown") {
        return Ok(vec![Fact::TornDown { leftovers: Vec::new() }]);
    }
    let torn_down = shared.patiently("tear the cluster down", || {
        let torn_down = shared.ports.substrate.teardown(&shared.fence, incarnation);
        failpoint::around("runner.teardown", torn_down)
    });
    let leftovers = match torn_down.await {
        Ok(leftovers) => leftovers,
        Err(error) if error.kind == PortErrorKind::Refused => {
            vec![format!("incarnation {incarnation}: {error}")]
        }
        Err(error) => return Err(error),
    };
    if !leftovers.is_empty() {
        let application = shared.application();
        let text = format!(
            "does not end and is tried again: {}; help: end it by hand, or leave it for good: mainspring abandon {application}",
            leftovers.join(", ")
        );
        let (kind, reason) = ("leftover", Reason::TreeAlive);
        complain(shared, Complaint { condition: "TornDown", kind, reason, text, job: None }).await;
        shared.ports.clock.sleep(PAUSE).await;
    }
    Ok(vec![Fact::TornDown { leftovers }])
}

/// Asks the record until no other host holds processes of the application's clusters. The driver
/// drops the decision when the application is abandoned.
pub(super) async fn await_places(shared: &Arc<Shared>) -> Performed {
    let clock = &shared.ports.clock;
    let tell_at = clock.boot() + TELL_OF_PLACES_AFTER;
    let mut pauses = Backoff::new(PLACES_AGAIN.0, PLACES_AGAIN.1);
    loop {
        // No watch tells of a host that has ended what it ran.
        let wire = shared.refresh().await?;
        let record = shared.ports.recorded(&wire)?;
        if record.held_by.is_empty() {
            return Ok(vec![Fact::Record(Box::new(record))]);
        }
        if clock.boot() >= tell_at {
            let text = held(&record.held_by, shared.application());
            let (kind, reason) = ("leftover", Reason::PlacesNotReleased);
            let complaint = Complaint { condition: "TornDown", kind, reason, text, job: None };
            complain(shared, complaint).await;
        }
        clock.sleep(pauses.next_delay()).await;
    }
}

/// Which hosts an application waits for before it is clean, and the ways out.
fn held(hosts: &[String], application: &ApplicationRef) -> String {
    let (names, one) = (hosts.join(", "), hosts.len() == 1);
    let (host, has, that) = if one { ("host", "has", "it") } else { ("hosts", "have", "one") };
    format!(
        "{host} {names} {has} not ended yet what ran there of this application's clusters; help: \
         start {host} {names} again; if {that} never comes back: mainspring host give-up NAME, or \
         for this application alone: mainspring abandon {application}"
    )
}

pub(super) async fn sweep(shared: &Arc<Shared>) -> Vec<Fact> {
    let what = {
        let record = shared.record.borrow();
        let (locations, owners) = (locations(&record), owners(&record));
        let state_directory = shared.checkpoints_directory();
        engine::SweepRequest {
            locations,
            owners,
            state_directory,
            ended_job_ids: without_checkpoints(&record),
        }
    };
    let is_staged = !what.locations.is_empty() && !what.owners.is_empty();
    if !is_staged && what.ended_job_ids.is_empty() {
        return vec![Fact::Swept { leftovers: Vec::new() }];
    }
    let mut backoff = backoff();
    let mut last = String::new();
    for _ in 0..SWEEP_TRIES {
        match shared.ports.engine.sweep(what.clone()).await {
            Ok(()) => return vec![Fact::Swept { leftovers: Vec::new() }],
            Err(error) => last = error.to_string(),
        }
        shared.ports.clock.sleep(backoff.next_delay()).await;
    }
    let mut places = what.locations;
    if !what.ended_job_ids.is_empty() {
        places.push(what.state_directory);
    }
    vec![Fact::Swept {
        leftovers: vec![format!("what jobs left below {}: {last}", places.join(", "))],
    }]
}

/// The ended jobs whose checkpoints are not to outlive them. These are the jobs whose cluster said
/// so with the end, and, in an application that a user cancelled, the jobs whose end the leader
/// recorded because no cluster could. A user may go on from the checkpoints of any other job that
/// fails without a cluster.
fn without_checkpoints(record: &proto::jobgraph::Record) -> Vec<String> {
    let Some(application) = &record.application else { return Vec::new() };
    let is_cancelled = application.outcome() == api::Outcome::Cancelled;
    let goes = |job: &&api::Job| {
        let Some(end) = &job.end else { return false };
        let mut last = job.checkpoint.iter().filter(|last| !last.savepoint);
        let is_discarded = |last: &job::Checkpoint| {
            let cancelled = job::JobOutcome::Cancelled;
            end.outcome() == cancelled && last.discarded_after().any(|outcome| outcome == cancelled)
        };
        end.leaves_checkpoints || (is_cancelled && last.any(is_discarded))
    };
    application.jobs.iter().filter(goes).map(|job| job.job_id.clone()).collect()
}

/// Where jobs of this generation may have staged.
fn locations(record: &proto::jobgraph::Record) -> Vec<String> {
    let jobs = record.application.iter().flat_map(|application| &application.jobs);
    let outputs = jobs
        .filter_map(|job| job.end.as_ref()?.manifest.as_ref())
        .flat_map(|manifest| &manifest.outputs);
    let mut locations: Vec<String> = outputs
        .map(|output| output.location.clone())
        .chain(record.staging_locations.iter().cloned())
        .collect();
    locations.sort();
    locations.dedup();
    locations
}

/// Whose staging may be removed: of a committed job only what earlier incarnations staged, of any
/// other job everything.
fn owners(record: &proto::jobgraph::Record) -> Vec<engine::StagingOwner> {
    let Some(application) = &record.application else { return Vec::new() };
    let current = application.cluster.as_ref().map_or(0, |cluster| cluster.incarnation);
    let owner = |job: &api::Job| {
        let committed =
            job.end.as_ref().is_some_and(|end| end.outcome() == job::JobOutcome::Succeeded);
        let up_to_incarnation = if committed { job.incarnation.saturating_sub(1) } else { current };
        engine::StagingOwner { job_id: job.job_id.clone(), up_to_incarnation }
    };
    application
        .jobs
        .iter()
        .filter(|job| job.submissions > 0)
        .map(owner)
        .filter(|o| o.up_to_incarnation > 0)
        .collect()
}

pub(super) async fn end_describe(shared: &Arc<Shared>) -> Vec<Fact> {
    shared.ports.engine.end(&shared.fence).await;
    vec![Fact::DescribeEnded]
}

pub(super) async fn release(shared: &Arc<Shared>) -> Performed {
    let release = || shared.ports.artifacts.release(shared.application());
    if let Err(error) = shared.patiently("release the artifacts", release).await {
        tracing::warn!("the artifacts are not released: {error}");
    }
    Ok(vec![Fact::Released])
}

pub(super) async fn remove_work(shared: &Arc<Shared>) -> Vec<Fact> {
    let mut leftovers = shared.ports.workspace.remove(shared.application()).await;
    leftovers.extend(unshipped(shared).await);
    vec![Fact::WorkRemoved { leftovers }]
}

/// Waits for the last output to get into the record, because a user who follows the output hears of
/// nothing more once the application is clean. The answer names the output that does not get there
/// in time; it gets there later.
async fn unshipped(shared: &Arc<Shared>) -> Vec<String> {
    let clock = &shared.ports.clock;
    let end = clock.boot() + SHIP_WITHIN;
    loop {
        let waiting = shared.ports.workspace.unshipped(shared.application()).await;
        if waiting.is_empty() || clock.boot() >= end {
            return waiting;
        }
        clock.sleep(LOOK_AGAIN).await;
    }
}

pub(super) async fn mark_clean(shared: &Arc<Shared>, leftovers: &[String]) -> Performed {
    let mark = || async {
        // What follows is not passed for sure: the watch of the record overtakes the answer.
        failpoint::hit("runner.before-mark-clean").await;
        shared.ports.record.mark_clean(&shared.fence, leftovers.to_vec()).await
    };
    match shared.patiently("mark the application clean", mark).await {
        Ok(()) => Ok(vec![Fact::Clean]),
        // A host may hold processes that no view of the record has shown, which leads back to the
        // wait for that host; and this host may, of a cluster that was replaced and not torn down,
        // until its lifecycle has ended them.
        Err(error) if error.reason == Some(Reason::PlacesNotReleased) => {
            let (kind, reason, text) = ("leftover", Reason::PlacesNotReleased, error.message);
            let complaint = Complaint { condition: "TornDown", kind, reason, text, job: None };
            complain(shared, complaint).await;
            shared.ports.clock.sleep(PAUSE).await;
            Ok(read_again(shared).await)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use job::JobOutcome::{Cancelled, Failed, Lost, Succeeded};

    use super::*;

    fn is_swept(
        application: api::Outcome,
        outcome: job::JobOutcome,
        leaves_checkpoints: bool,
        checkpoint: Option<job::Checkpoint>,
    ) -> bool {
        let end =
            job::JobEnd { outcome: outcome.into(), leaves_checkpoints, ..job::JobEnd::default() };
        let job =
            api::Job { job_id: "a".into(), end: Some(end), checkpoint, ..api::Job::default() };
        let outcome = application.into();
        let application =
            api::Application { jobs: vec![job], outcome, ..api::Application::default() };
        let record =
            proto::jobgraph::Record { application: Some(application), ..Default::default() };
        !without_checkpoints(&record).is_empty()
    }

    #[test]
    fn a_process_that_has_just_died_is_told_with_the_end_and_told_once() {
        let deaths = ["taskmanager-0: restart 2; cause: exit code 1 (OutOfMemoryError)".to_owned()];
        let told = |message: &str| {
            with_deaths(&Failure::new(Reason::MainExited, message), &deaths).message
        };
        assert_eq!(
            told("it is gone; help: read"),
            format!("it is gone; {}; help: read", deaths[0])
        );
        assert_eq!(
            told("main() exited 1\n| why"),
            format!("main() exited 1; {}\n| why", deaths[0])
        );
        let known = "0 of 1 came; taskmanager-0 exit code 1 (OutOfMemoryError)";
        assert_eq!(told(known), known);
    }

    #[test]
    fn checkpoints_go_when_the_cluster_said_so_or_the_application_was_cancelled() {
        use api::Outcome::{Cancelled as ByHand, Failed as Broken, Succeeded as Done};
        let discarded_after = |outcomes: &[job::JobOutcome]| {
            let discarded_after = outcomes.iter().map(|outcome| i32::from(*outcome)).collect();
            Some(job::Checkpoint { discarded_after, ..job::Checkpoint::default() })
        };
        let by_default = || discarded_after(&[Succeeded, Failed, Cancelled]);
        assert!(is_swept(Done, Succeeded, true, None));
        assert!(
            !is_swept(Done, Succeeded, false, None),
            "kept, and its pointer is forgotten with the end"
        );
        assert!(is_swept(ByHand, Cancelled, false, by_default()), "no cluster was there to say it");
        assert!(!is_swept(ByHand, Cancelled, false, discarded_after(&[Succeeded])));
        assert!(
            !is_swept(ByHand, Cancelled, false, discarded_after(&[])),
            "nobody said what becomes of it"
        );
        assert!(!is_swept(ByHand, Lost, false, by_default()), "somebody may go on from it");
        assert!(
            !is_swept(Broken, Cancelled, false, by_default()),
            "its cluster kept dying: go on from it"
        );
        let savepoint = job::Checkpoint { savepoint: true, ..by_default().unwrap() };
        assert!(!is_swept(ByHand, Cancelled, false, Some(savepoint)));
    }
}
