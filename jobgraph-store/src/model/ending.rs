//! How an application ends: what users ask for, the one end, and clean.

use proto::{EpochFence, Reason, api};
use record::ApplicationEnd;

use super::event::{Telling, outcome_word};
use super::job::has_outputs;
use super::place::Share;
use super::{Draft, Refusal, cut, savepoint};

/// The longest message of an end, in bytes.
const MAX_MESSAGE_BYTES: usize = 8 * 1024;

/// How many leftovers are listed.
const MAX_LEFTOVERS: usize = 40;

/// The longest name of a leftover, in bytes: most are paths.
const MAX_LEFTOVER_BYTES: usize = 512;

/// Asks for a cancel. `true`: a cancel was asked for before.
pub fn cancel(draft: &mut Draft, reason: &str, requested_by: &str) -> Result<bool, Refusal> {
    if draft.dossier.is_terminal() {
        return Err(draft.dossier.already_ended());
    }
    if draft.dossier.desired.cancel {
        return Ok(true);
    }
    draft.dossier.desired.cancel = true;
    ask(draft, reason, requested_by);
    let said = if reason.is_empty() {
        "cancel requested".into()
    } else {
        format!("cancel requested: {reason}")
    };
    let telling =
        Telling::new("cancel", said).with("requested_by", requested_by).with("reason", reason);
    draft.tell_from(telling, "record".into(), 0);
    Ok(false)
}

/// Asks for the end of a teardown or a publish that cannot finish.
pub fn abandon(draft: &mut Draft, reason: &str, requested_by: &str) -> Result<(), Refusal> {
    if draft.dossier.is_clean() {
        return Err(draft.dossier.already_ended());
    }
    if !draft.dossier.is_terminal() && !draft.dossier.desired.cancel && !is_only_unpublished(draft)
    {
        return Err(Refusal::NotEnded(draft.dossier.application.clone()));
    }
    if draft.dossier.desired.abandon {
        return Ok(());
    }
    draft.dossier.desired.abandon = true;
    ask(draft, reason, requested_by);
    let telling = Telling::new(
        "warning",
        "abandon requested: what cannot be removed or published is left for good",
    )
    .reason(Reason::Abandoned.as_str())
    .with("requested_by", requested_by)
    .with("reason", reason);
    draft.tell_from(telling, "record".into(), 0);
    Ok(())
}

/// Whether main() and all jobs have ended, so that only outputs are left to be put in their places.
fn is_only_unpublished(draft: &Draft) -> bool {
    let main = draft.dossier.state.application().main.as_ref().map(api::Main::state);
    main == Some(api::MainState::Ended)
        && draft.dossier.jobs.values().all(|job| job.shown().end.is_some())
}

fn ask(draft: &mut Draft, reason: &str, requested_by: &str) {
    let now = draft.at();
    let desired = &mut draft.dossier.desired;
    desired.reason = cut(reason.into(), MAX_MESSAGE_BYTES);
    desired.requested_by = cut(requested_by.into(), 256);
    desired.requested_at = now;
    desired.revision += 1;
}

/// Records the application's end. The first end stands and is the answer.
pub fn end(
    draft: &mut Draft,
    fence: &EpochFence,
    end: ApplicationEnd,
    desired_revision: u64,
) -> Result<ApplicationEnd, Refusal> {
    draft.dossier.check_epoch(fence)?;
    if draft.dossier.is_terminal() {
        let stands = draft.dossier.state.application();
        return Ok(ApplicationEnd {
            outcome: stands.outcome(),
            reason: stands.reason.clone(),
            message: stands.message.clone(),
        });
    }
    if end.outcome == api::Outcome::Unspecified {
        return Err(Refusal::RequestInvalid("outcome is not set, or not one of this build".into()));
    }
    let application = draft.dossier.application.clone();
    let desired = &draft.dossier.desired;
    if desired.revision != desired_revision {
        let (seen, current) = (desired_revision, desired.revision);
        return Err(Refusal::RevisionMoved {
            application,
            what: "the desired state",
            seen,
            current,
        });
    }
    if !desired.abandon {
        check_jobs(draft)?;
        savepoint::check_settled(&draft.dossier)?;
    }
    let end =
        if draft.dossier.desired.cancel { cancelled(draft, end) } else { with_tail(draft, end) };
    let end = ApplicationEnd { message: cut(end.message, MAX_MESSAGE_BYTES), ..end };
    let now = draft.at();
    let app = draft.app();
    app.terminal = true;
    app.set_outcome(end.outcome);
    app.set_phase(api::Phase::Cleaning);
    app.reason.clone_from(&end.reason);
    app.message.clone_from(&end.message);
    app.ended_at = now;
    if let Some(main) = app.main.as_mut().filter(|main| main.state() != api::MainState::Unspecified)
    {
        // The leader that ends an application has made sure that main() has ended, even if no
        // process saw how.
        main.set_state(api::MainState::Ended);
        main.ended_at = main.ended_at.or(now);
    }
    for job in draft.dossier.jobs.values_mut() {
        // A job is still publishing only if the application was abandoned: no leader publishes it
        // any more.
        if job.shown().state() == api::JobState::Publishing {
            job.shown_mut().set_state(api::JobState::Ended);
        }
    }
    let word = outcome_word(end.outcome);
    let said =
        if end.message.is_empty() { word.to_owned() } else { format!("{word}: {}", end.message) };
    draft.tell(Telling::new("ended", said).reason(&end.reason).with("outcome", word));
    Ok(end)
}

fn check_jobs(draft: &Draft) -> Result<(), Refusal> {
    let application = draft.dossier.application.clone();
    let jobs = || draft.dossier.jobs.values().map(|job| job.shown());
    let no_end: Vec<String> =
        jobs().filter(|job| job.end.is_none()).map(|job| job.name.clone()).collect();
    if !no_end.is_empty() {
        return Err(Refusal::JobsNotEnded { application, jobs: no_end });
    }
    let unpublished = |job: &&api::Job| !job.published && job.end.as_ref().is_some_and(has_outputs);
    let unpublished: Vec<String> = jobs().filter(unpublished).map(|job| job.name.clone()).collect();
    if !unpublished.is_empty() {
        return Err(Refusal::OutputNotPublished { application, jobs: unpublished });
    }
    Ok(())
}

/// The end as a cancel decides it that was acknowledged before.
fn cancelled(draft: &Draft, end: ApplicationEnd) -> ApplicationEnd {
    if end.outcome == api::Outcome::Cancelled {
        return end;
    }
    let asked = &draft.dossier.desired;
    let message = match (asked.requested_by.as_str(), asked.reason.as_str()) {
        ("", "") => "a cancel was requested".into(),
        ("", reason) => format!("a cancel was requested: {reason}"),
        (who, "") => format!("{who} requested a cancel"),
        (who, reason) => format!("{who} requested a cancel: {reason}"),
    };
    ApplicationEnd {
        outcome: api::Outcome::Cancelled,
        reason: Reason::Cancelled.as_str().into(),
        message,
    }
}

/// The end of a main() that failed, with the last line of main()'s stderr, also when another leader
/// records the end.
fn with_tail(draft: &Draft, mut end: ApplicationEnd) -> ApplicationEnd {
    let of_main =
        [Reason::MainExited.as_str(), Reason::MainKilled.as_str()].contains(&end.reason.as_str());
    let last = draft.dossier.state.stderr_tail.lines().rev().find(|line| !line.trim().is_empty());
    if let Some(last) = last.filter(|last| of_main && !end.message.contains(*last)) {
        end.message = format!("{}: {last}", end.message);
    }
    end
}

/// Records that nothing is left to do, except for what was given up. `unreleased` has the shares
/// whose end the leader has not seen: clean waits for them, unless the application is abandoned.
/// `true`: the generation was not clean before.
pub fn mark_clean(
    draft: &mut Draft,
    fence: &EpochFence,
    leftovers: &[String],
    unreleased: &[Share],
) -> Result<bool, Refusal> {
    draft.dossier.check_epoch(fence)?;
    if draft.dossier.is_clean() {
        return Ok(false);
    }
    if !draft.dossier.is_terminal() {
        return Err(Refusal::NotEnded(draft.dossier.application.clone()));
    }
    if !unreleased.is_empty() && !draft.dossier.desired.abandon {
        let places = unreleased.iter().map(Share::name).collect();
        let application = draft.dossier.application.clone();
        return Err(Refusal::PlacesNotReleased { application, places });
    }
    // The intents of these places stay, so that a place which comes back ends what it runs.
    let shares = unreleased.iter().map(Share::leftover);
    let leftovers: Vec<String> = shares.chain(leftovers.iter().cloned()).collect();
    let now = draft.at();
    let app = draft.app();
    app.clean = true;
    app.set_phase(api::Phase::Ended);
    app.cleaned_at = now;
    app.leftovers = leftovers
        .iter()
        .take(MAX_LEFTOVERS)
        .map(|what| cut(what.clone(), MAX_LEFTOVER_BYTES))
        .collect();
    for leftover in leftovers.iter().take(MAX_LEFTOVERS) {
        draft.tell(
            Telling::new("leftover", format!("left for good: {leftover}")).with("what", leftover),
        );
    }
    let (torn_down, left) = match leftovers.as_slice() {
        [] => (api::ConditionStatus::True, String::new()),
        left => (api::ConditionStatus::False, format!("left for good: {}", left.join(", "))),
    };
    let reason = if left.is_empty() { "" } else { Reason::Abandoned.as_str() };
    draft.condition("TornDown", torn_down, reason, &left);
    draft.tell(Telling::new(
        "clean",
        if leftovers.is_empty() { "nothing left over" } else { "clean but for what was given up" },
    ));
    Ok(true)
}
