//! The steps of main(): an earlier one is ended, and this attempt's one is started, watched and
//! ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::record::{MainEnd, MainExit};
use chassis::backoff::Backoff;
use chassis::clock::Clock as _;
use chassis::failpoint;
use chassis::telemetry::trace::TRACEPARENT_VARIABLE;
use proto::{Epoch, Reason};
use tracing::Instrument as _;

use super::{Complaint, PAUSE, Performed, complain};
use crate::model::{Fact, Failure, Leave, exit};
use crate::ports::main_process::{Exited, Launch, LiveMain, PreviousMain};
use crate::service::shared::Shared;

/// The time that main() has to end by itself after SIGTERM.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The pause before a main() that was killed is executed again, which is longer with each kill.
const SHORTEST_KILL_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_KILL_PAUSE: Duration = Duration::from_secs(5);

pub(super) async fn end_previous(shared: &Arc<Shared>) -> Performed {
    let record = shared.record.borrow().clone();
    // A main() of another host has its tether there, which freezes it past its leader's lease and
    // ends it. What that main() still asks for is refused by the fence.
    let is_here = shared.ports.recorded(&record)?.main.elsewhere.is_none();
    let is_earlier = record.main_epoch != 0 && record.main_epoch < shared.fence.epoch.get();
    let previous = (is_here && is_earlier).then(|| PreviousMain {
        epoch: Epoch(record.main_epoch),
        tether_endpoint: record.main_tether_endpoint.clone(),
    });
    let error = match shared.ports.main.end_previous(&shared.fence, previous.as_ref()).await {
        Ok(finished) => return Ok(vec![Fact::PreviousEnded { finished }]),
        Err(error) => error.message,
    };
    // As long as an earlier main() may live, no other is started.
    let application = shared.application();
    let text = format!(
        "an earlier main() does not end and is tried again: {error}; help: end it by hand, or, once this application has \
         ended, leave it for good: mainspring abandon {application}"
    );
    let ended = shared.record.borrow().application.as_ref().is_some_and(|known| known.terminal);
    let condition = if ended { "TornDown" } else { "MainStarted" };
    let (kind, reason) = ("leftover", Reason::TreeAlive);
    complain(shared, Complaint { condition, kind, reason, text, job: None }).await;
    shared.ports.clock.sleep(PAUSE).await;
    Ok(vec![Fact::PreviousLives { message: error }])
}

pub(super) async fn start(shared: &Arc<Shared>) -> Performed {
    let Some((_, described)) = shared.described.get() else { return Ok(Vec::new()) };
    let attempt = shared.attempt_id();
    let tether_endpoint = shared.ports.main.tether_endpoint(&shared.fence);
    shared
        .patiently("record that main() starts", || {
            let starting = shared.ports.record.main_starting(&shared.fence, &tether_endpoint);
            failpoint::around("runner.main-starting", starting)
        })
        .await?;
    let mut environment: BTreeMap<String, String> =
        described.environment.clone().into_iter().collect();
    environment.extend(shared.spec.environment.clone());
    environment.extend(shared.secrets.clone());
    let application = shared.application();
    for (key, value) in [
        ("MAINSPRING_ENDPOINT", shared.execution_endpoint.get().cloned().unwrap_or_default()),
        ("MAINSPRING_APPLICATION", application.id.to_string()),
        ("MAINSPRING_GENERATION", application.generation.to_string()),
        ("MAINSPRING_EPOCH", shared.fence.epoch.to_string()),
        ("MAINSPRING_OUTPUT_DIR", shared.output_directory().to_string_lossy().into_owned()),
        (TRACEPARENT_VARIABLE, attempt.traceparent.clone()),
    ] {
        environment.insert(key.to_owned(), value);
    }
    let command = described.command.clone();
    let lease = shared.lease.clone();
    let launch = Launch { attempt, command, environment, lease };
    let main: Arc<dyn LiveMain> = match shared.ports.main.start(launch).await {
        Ok(main) => main.into(),
        Err(error) => {
            // What came of the start has no owner and would end by itself, but maybe after the
            // application.
            shared.ports.main.kill(&shared.fence).await;
            let why = Failure::new(
                Reason::MainNotStarted,
                format!("main() could not be started: {error}"),
            );
            return Ok(vec![Fact::MainNotStarted(why)]);
        }
    };
    shared.keep_main(main.clone());
    // The start is told before the task that waits for the exit is begun, so that the end of main()
    // does not overtake its start.
    shared.tell(Fact::MainStarted).await;
    let exit = until_exit(shared.clone(), main.clone()).instrument(tracing::Span::current());
    shared.spawn("main()'s exit", exit);
    let pid = main.pid();
    if pid != 0 {
        let record = || shared.ports.record.main_running(&shared.fence, pid);
        shared.patiently("record that main() runs", record).await?;
    }
    failpoint::hit("runner.in-main").await;
    Ok(Vec::new())
}

/// Tells the driver of main()'s end, then of its output being safe. Both waits are bounded by the
/// ports. A driver that does not listen any more is no error.
async fn until_exit(shared: Arc<Shared>, main: Arc<dyn LiveMain>) {
    let exited = end_of(&shared, &*main).await;
    for fact in facts_of(&shared, exited) {
        shared.tell(fact).await;
    }
    main.settle().await;
    shared.tell(Fact::OutputShipped).await;
}

/// Waits for main()'s end, and reads its exit code as its engine says.
async fn end_of(shared: &Shared, main: &dyn LiveMain) -> Exited {
    let mut exited = main.exited().await;
    if shared.described.get().is_some_and(|(_, described)| described.exits_with_signals) {
        exited.exit = exit::with_signal_of_code(exited.exit);
    }
    exited
}

fn facts_of(shared: &Shared, exited: Exited) -> Vec<Fact> {
    shared.keep_stderr_tail(&exited.stderr_tail);
    if let Some(error) = exited.start_error {
        let why =
            Failure::new(Reason::MainNotStarted, format!("main() could not be started: {error}"));
        let (exit, stderr_tail) = (MainExit::default(), String::new());
        return vec![Fact::Refused(why), Fact::MainExited { exit, seen: true, stderr_tail }];
    }
    let Exited { exit, seen, stderr_tail, .. } = exited;
    vec![Fact::MainExited { exit, seen, stderr_tail }]
}

pub(super) async fn stop(shared: &Arc<Shared>) -> Performed {
    let Some(main) = shared.main() else { return Ok(Vec::new()) };
    if let Err(error) = main.end(STOP_GRACE).await {
        tracing::warn!("main()'s tether does not end it ({error}): ending it by its owner mark");
        shared.ports.main.kill(&shared.fence).await;
    }
    let exited = end_of(shared, &*main).await;
    Ok(facts_of(shared, exited))
}

pub(super) async fn record_end(shared: &Arc<Shared>) -> Performed {
    let end = main_end(shared, 0).await;
    let record = || {
        let ended = shared.ports.record.main_ended(&shared.fence, end.clone());
        failpoint::around("runner.main-ended", ended)
    };
    shared.patiently("record main()'s end", record).await?;
    Ok(vec![Fact::MainEndRecorded])
}

pub(super) async fn record_kill(shared: &Arc<Shared>, kills: u32) -> Performed {
    let end = main_end(shared, kills).await;
    tracing::warn!(kills, exit = ?end.exit, "main() was killed from outside; it is executed again");
    let record = || shared.ports.record.main_ended(&shared.fence, end.clone());
    shared.patiently("record that main() was killed", record).await?;
    Ok(vec![Fact::MainKillRecorded])
}

/// How this attempt's main() ended. `kills` says how often main() was killed; 0 when this is its
/// end.
async fn main_end(shared: &Shared, kills: u32) -> MainEnd {
    let exit = match shared.main() {
        Some(main) => end_of(shared, &*main).await.exit,
        // This is an earlier attempt's main() that had ended well by itself.
        None => exit::exited(0),
    };
    MainEnd { exit, stderr_tail: shared.stderr_tail(), kills }
}

/// Waits before the attempt leaves main() to the next one, because the cause of a kill may not be
/// over yet: memory that other processes take comes back in a while.
pub(super) async fn execute_again(shared: &Arc<Shared>, kills: u32) -> Vec<Fact> {
    let mut backoff = Backoff::new(SHORTEST_KILL_PAUSE, LONGEST_KILL_PAUSE);
    let pause = (0..kills).map(|_| backoff.next_delay()).last().unwrap_or_default();
    shared.ports.clock.sleep(pause).await;
    vec![Fact::Leave(Leave::MainKilled)]
}
