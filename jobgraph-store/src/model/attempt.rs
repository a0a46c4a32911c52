//! What a leader does first: it begins its attempt, pins artifacts, starts main() and tells how
//! main() ended.

use proto::{EpochFence, api, jobgraph};
use record::{Holder, MainExit};

use super::event::Telling;
use super::{Draft, Refusal, cut, timestamp};

/// How many events of one commit tell of artifacts; further artifacts are summed up.
const TOLD_ARTIFACTS: usize = 40;

/// The longest kept tail of main()'s stderr, in bytes.
const STDERR_TAIL_BYTES: usize = 4 * 1024;

/// The longest sentence about the sender of a signal, in bytes.
const SENDER_BYTES: usize = 256;

/// Begins an attempt: from its commit on, no lower epoch writes. A generation that is clean or not
/// the newest is not touched.
pub fn begin(
    draft: &mut Draft,
    fence: &EpochFence,
    holder: &Holder,
    cause: &str,
) -> Result<jobgraph::Disposition, Refusal> {
    let dossier = &draft.dossier;
    if dossier.is_clean() || dossier.head.latest() != fence.application.generation {
        return Ok(jobgraph::Disposition::Clean);
    }
    let known = &dossier.attempt;
    let again = known.admits(fence.application.generation, fence.epoch)
        && known.holder == holder.name
        && known.holder_pid == holder.pid;
    if !again {
        if fence.epoch.get() <= known.epoch {
            return Err(Refusal::EpochSuperseded {
                application: dossier.application.clone(),
                epoch: fence.epoch.get(),
                current: known.epoch,
                holder: known.holder.clone(),
            });
        }
        lead(draft, fence, holder, cause);
    }
    let dossier = &draft.dossier;
    Ok(if dossier.is_terminal() {
        jobgraph::Disposition::Dirty
    } else if dossier.state.record.as_ref().is_some_and(|record| record.main_epoch > 0) {
        jobgraph::Disposition::Resume
    } else {
        jobgraph::Disposition::Fresh
    })
}

fn lead(draft: &mut Draft, fence: &EpochFence, holder: &Holder, cause: &str) {
    let Holder { name, pid, place } = holder;
    let attempt = &mut draft.dossier.attempt;
    attempt.epoch = fence.epoch.get();
    attempt.generation = fence.application.generation.get();
    attempt.holder.clone_from(name);
    attempt.holder_pid = *pid;
    attempt.place = place.clone().map(Into::into);
    let since = draft.at();
    let app = draft.app();
    let main_ended = app.main.as_ref().is_some_and(|main| main.state() == api::MainState::Ended);
    let leadership = app.leadership.get_or_insert_default();
    leadership.epoch = fence.epoch.get();
    leadership.ordinal += 1;
    leadership.leader.clone_from(name);
    leadership.leader_pid = *pid;
    leadership.host = place.as_ref().map(ToString::to_string).unwrap_or_default();
    leadership.since = since;
    let ordinal = leadership.ordinal;
    if !app.terminal {
        app.set_phase(if main_ended { api::Phase::Finishing } else { api::Phase::Starting });
    }
    draft.condition("Led", api::ConditionStatus::True, "", "");
    let message =
        if ordinal == 1 { format!("{name} leads") } else { format!("{name} took over: {cause}") };
    draft.tell(
        Telling::new("leader", message)
            .with("holder", name)
            .with("pid", *pid)
            .with("ordinal", ordinal)
            .with("cause", cause),
    );
}

/// Pins, by name, the artifacts that are not pinned yet, and answers those. A pinned artifact stays
/// as it is: the record wins.
pub fn pin(
    draft: &mut Draft,
    fence: &EpochFence,
    artifacts: &[api::PinnedArtifact],
) -> Result<Vec<api::PinnedArtifact>, Refusal> {
    draft.dossier.check_epoch(fence)?;
    let mut new = Vec::new();
    for artifact in artifacts {
        if !draft
            .dossier
            .artifacts
            .pinned
            .iter()
            .any(|known| known.name == artifact.name && known.uri == artifact.uri)
        {
            draft.dossier.artifacts.pinned.push(artifact.clone());
            new.push(artifact.clone());
        }
    }
    if new.is_empty() {
        return Ok(new);
    }
    if draft.dossier.is_terminal() {
        return Err(draft.dossier.already_ended());
    }
    for artifact in new.iter().take(TOLD_ARTIFACTS) {
        draft.tell(
            Telling::new("artifact", format!("{} pinned", artifact.name))
                .with("name", &artifact.name)
                .with("uri", proto::Uri::new(&artifact.uri))
                .with("size_bytes", artifact.size_bytes)
                .with("digest", &artifact.digest),
        );
    }
    if let more @ 1.. = new.len().saturating_sub(TOLD_ARTIFACTS) {
        draft.tell(Telling::new("artifact", format!("{more} more pinned")).with("more", more));
    }
    draft.condition("ArtifactsPinned", api::ConditionStatus::True, "", "");
    Ok(new)
}

/// Records that main() is about to be started under this tether.
pub fn main_starting(
    draft: &mut Draft,
    fence: &EpochFence,
    tether_endpoint: &str,
) -> Result<(), Refusal> {
    draft.dossier.check_epoch(fence)?;
    if draft.dossier.is_terminal() {
        return Err(draft.dossier.already_ended());
    }
    let record = draft.dossier.state.record_mut();
    if record.main_epoch == fence.epoch.get() && record.main_tether_endpoint == tether_endpoint {
        return Ok(());
    }
    record.main_epoch = fence.epoch.get();
    record.main_tether_endpoint = tether_endpoint.into();
    record.main_place.clone_from(&draft.dossier.attempt.place);
    draft.dossier.state.stderr_tail.clear();
    let app = draft.app();
    let before = app.main.take().unwrap_or_default();
    app.main = Some(api::Main {
        state: api::MainState::Starting.into(),
        executions: before.executions + 1,
        kills: before.kills,
        ..Default::default()
    });
    app.set_phase(api::Phase::Starting);
    Ok(())
}

/// Records that main() runs with this process id.
pub fn main_running(draft: &mut Draft, fence: &EpochFence, pid: u32) -> Result<(), Refusal> {
    draft.dossier.check_epoch(fence)?;
    let now = draft.at();
    let app = draft.dossier.state.application_mut();
    let main = app.main.get_or_insert_default();
    if main.state() != api::MainState::Starting {
        // The call is a repeat, or the end of this main() is recorded already.
        return Ok(());
    }
    main.set_state(api::MainState::Running);
    main.pid = pid;
    main.started_at = now;
    let execution = main.executions;
    if !app.terminal {
        app.set_phase(api::Phase::Running);
    }
    if app.started_at.is_none() {
        app.started_at = now;
    }
    draft.condition("MainStarted", api::ConditionStatus::True, "", "");
    let again = if execution > 1 { " again" } else { "" };
    draft.tell(
        Telling::new("main", format!("main() started{again}"))
            .with("state", "started")
            .with("pid", pid)
            .with("execution", execution),
    );
    Ok(())
}

/// Words for how main() ended, such as `main() was ended by signal 9, sent by SENDER`.
fn told(exit: &MainExit) -> String {
    match exit {
        MainExit { signal: Some(signal), signal_sender, .. } if !signal_sender.is_empty() => {
            format!("main() was ended by signal {signal}, sent by {signal_sender}")
        }
        MainExit { signal: Some(signal), .. } => format!("main() was ended by signal {signal}"),
        MainExit { code: Some(code), .. } => format!("main() exited with {code}"),
        MainExit { .. } => "main() ended".into(),
    }
}

/// The sender of the signal as the record keeps it.
fn sender(exit: &MainExit) -> String {
    cut(exit.signal_sender.clone(), SENDER_BYTES)
}

/// Records that main() has ended; the first recorded end of an execution stays.
pub fn main_ended(
    draft: &mut Draft,
    fence: &EpochFence,
    exit: &MainExit,
    stderr_tail: &str,
) -> Result<(), Refusal> {
    draft.dossier.check_epoch(fence)?;
    let now = timestamp(draft.now);
    let app = draft.dossier.state.application_mut();
    let main = app.main.get_or_insert_default();
    if main.state() == api::MainState::Ended || main.state() == api::MainState::Unspecified {
        return Ok(());
    }
    main.set_state(api::MainState::Ended);
    main.ended_at = Some(now);
    main.exit_code = exit.code;
    main.signal = exit.signal;
    main.signal_sender = sender(exit);
    let (pid, execution) = (main.pid, main.executions);
    if !app.terminal {
        app.set_phase(api::Phase::Finishing);
    }
    let tail = kept_tail(stderr_tail);
    draft.dossier.state.stderr_tail = tail.into();
    tell_end(draft, "ended", told(exit), exit, (pid, execution), tail);
    Ok(())
}

/// Records that a process other than the runner has killed main(). main() is executed again, so
/// this end is not the application's. `kills` says how often this has happened in this generation,
/// this time included; a number that is known is a repeat.
pub fn main_killed(
    draft: &mut Draft,
    fence: &EpochFence,
    exit: &MainExit,
    stderr_tail: &str,
    kills: u32,
) -> Result<(), Refusal> {
    draft.dossier.check_epoch(fence)?;
    if draft.dossier.is_terminal() {
        return Err(draft.dossier.already_ended());
    }
    let app = draft.dossier.state.application_mut();
    let main = app.main.get_or_insert_default();
    let is_over = matches!(main.state(), api::MainState::Ended | api::MainState::Unspecified);
    if is_over || kills <= main.kills {
        return Ok(());
    }
    let (pid, execution) = (main.pid, main.executions);
    main.set_state(api::MainState::Starting);
    (main.pid, main.started_at, main.kills) = (0, None, kills);
    app.set_phase(api::Phase::Starting);
    let said = format!("{}; it is executed again (kill {kills})", told(exit));
    tell_end(draft, "killed", said, exit, (pid, execution), kept_tail(stderr_tail));
    Ok(())
}

fn kept_tail(stderr_tail: &str) -> &str {
    let begin = (0..=stderr_tail.len()).find(|&at| {
        stderr_tail.len() - at <= STDERR_TAIL_BYTES && stderr_tail.is_char_boundary(at)
    });
    &stderr_tail[begin.unwrap_or(stderr_tail.len())..]
}

fn tell_end(
    draft: &mut Draft,
    state: &str,
    said: String,
    exit: &MainExit,
    (pid, execution): (u32, u32),
    tail: &str,
) {
    let optional =
        |number: Option<i32>| number.map(|number| number.to_string()).unwrap_or_default();
    draft.tell(
        Telling::new("main", said)
            .with("state", state)
            .with("pid", pid)
            .with("execution", execution)
            .with("exit_code", optional(exit.code))
            .with("signal", optional(exit.signal))
            .with("signal_sender", &exit.signal_sender)
            .with("stderr_tail", tail),
    );
}
