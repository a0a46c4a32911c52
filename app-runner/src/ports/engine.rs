//! The engine's `describe` under a tether without grace. A `describe` that dies is started again on
//! the same endpoint.

mod find;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use chassis::backoff::Backoff;
use chassis::channel;
use chassis::clock::{Clock as _, SharedClock, timeout};
use chassis::run_as::RunAs;
use chassis::tasks::{self, OwnedTask};
use chassis::telemetry::trace::{self, TRACEPARENT_VARIABLE};
use chassis::transport::{Endpoint, SharedTransport};
use chassis::{environment, telemetry};
use client::describe::{Describe, Subject};
use client::places::{Kind, Places};
use client::tether::{self, Tether, TetherEvent, TetherSpec, output};
use proto::{Epoch, EpochFence, JobId, Reason, engine, job};
use tokio::sync::{Mutex, watch};

use super::PortResult;
use super::keyring::Keyring;
use super::workspace::AttemptPlaces;
use crate::error::PortError;

pub use find::{EnginePath, find};

/// The engine's `describe`, at most one process at a time in an attempt. Plans, launches,
/// publishing and sweeping are the engine's knowledge, which this process has and the runner does
/// not. A call after the process died starts it again, so a caller repeats a failed call and does
/// nothing else.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Finds the executable and starts it. The refusal `ENGINE_NOT_FOUND` names the places that
    /// were looked at. The answer is `None` once the attempt's engine was [ended](Self::end), also
    /// if that happens during the start.
    async fn start(&self, attempt: &AttemptId) -> PortResult<Option<EngineInfo>>;
    /// The plan of a cluster for the application.
    async fn plan(&self, subject: &Subject) -> PortResult<engine::Plan>;
    /// How main() is launched.
    async fn launch(&self, subject: &Subject) -> PortResult<engine::DescribeMainResponse>;
    /// Renames the staged files of a committed job to their final names.
    async fn publish(&self, job: JobId, manifest: job::Manifest, own: &[JobId]) -> PortResult<()>;
    /// Removes staging directories that no job will commit, and checkpoints that no job needs any
    /// more.
    async fn sweep(&self, what: engine::SweepRequest) -> PortResult<()>;
    /// Ends the process, also one that is being started. The attempt gets no other one after that.
    /// The call is bounded.
    async fn end(&self, fence: &EpochFence);
}

/// The engine that runs the application, as its `describe` presents itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// The name of the engine.
    pub name: String,
    /// The version that the engine gives itself.
    pub version: String,
    /// The absolute path of the engine's executable.
    pub path: String,
    /// Whether equal job names are allowed within one attempt.
    pub equal_job_names: bool,
    /// Whether one program's graph has other bytes each time that main() is executed.
    pub graph_bytes_vary: bool,
}

/// The identity and the places of one attempt.
#[derive(Debug, Clone)]
pub struct AttemptId {
    /// The fence of the leader whose attempt this is.
    pub fence: EpochFence,
    /// The name of the engine, which is the end of its executable's name.
    pub engine: String,
    /// main()'s working directory, absolute. The artifacts lie in it.
    pub directory: PathBuf,
    /// The W3C trace context of the run, which may be empty.
    pub traceparent: String,
    /// The endpoint where this runner serves `ExecutionService`.
    pub execution: String,
}

/// How long `describe` may take until it answers its first call.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// The pauses before a `describe` that died is started again.
const RESTART_MIN: Duration = Duration::from_millis(20);
const RESTART_MAX: Duration = Duration::from_secs(5);

/// How long the end of `describe` and of its tether may take.
const END_WITHIN: Duration = Duration::from_secs(5);

/// The time that `describe` has for its last spans, in a run that is traced.
const FLUSH: Duration = Duration::from_secs(2);

/// The variables that a process of this deployment needs of the runner's own environment.
const INHERITED: [&str; 7] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "MAINSPRING_LOG"];

/// What every tether of a runner needs.
#[derive(Clone)]
pub struct Tethers {
    /// The directories and sockets of this host.
    pub places: Places,
    /// The executable `mainspring`, which runs as the tether.
    pub mainspring: PathBuf,
    /// The transport to the tethers and to `describe`.
    pub transport: SharedTransport,
    /// The clock of all waits.
    pub clock: SharedClock,
    /// The user that main() becomes, where main() does not run as the runner's own user.
    pub run_as: Option<RunAs>,
    /// The tokens that the record answered. The owner of a tether shows one of them.
    pub keyring: Keyring,
}

/// The `describe` process of one attempt.
pub struct TetheredEngine(Arc<Slot>);

/// The place of the one `describe` process, which the engine shares with the task that keeps the
/// process alive.
struct Slot {
    tethers: Tethers,
    path: EnginePath,
    state: Mutex<SlotState>,
    /// The epoch of the attempt whose process was ended for good. A start that is under way listens
    /// to this channel, so that an end does not wait for the start.
    ended: watch::Sender<Option<Epoch>>,
}

/// What is in the slot now.
#[derive(Default)]
struct SlotState {
    attempt: Option<AttemptId>,
    running: Option<LiveDescribe>,
    starts: u32,
    keeper: Option<OwnedTask<()>>,
}

/// A `describe` process that has answered.
struct LiveDescribe {
    describe: Describe,
    tether: Tether,
    info: EngineInfo,
    gone: watch::Receiver<bool>,
    /// The task that owns the tether. Dropping the task gives the ownership up, and the tether ends
    /// the process at once.
    _owner: OwnedTask<()>,
}

impl TetheredEngine {
    /// An engine whose executable is looked for along `path`.
    pub fn new(tethers: Tethers, path: EnginePath) -> Self {
        Self(Arc::new(Slot {
            tethers,
            path,
            state: Mutex::default(),
            ended: watch::Sender::default(),
        }))
    }
}

/// Starts `describe` again when it dies. main() talks to the front in that process, also when the
/// runner has no call to make that would start it.
async fn keep(slot: Weak<Slot>, mut gone: watch::Receiver<bool>, clock: SharedClock) {
    let mut backoff = Backoff::new(RESTART_MIN, RESTART_MAX);
    loop {
        until_gone(gone.clone()).await;
        clock.sleep(backoff.next_delay()).await;
        let Some(slot) = slot.upgrade() else { return };
        let mut state = slot.state.lock().await;
        match slot.ensure(&mut state).await {
            Ok(running) => gone = running.gone.clone(),
            Err(error) => tracing::warn!("the engine's describe process is not started: {error}"),
        }
    }
}

impl Slot {
    /// The client of the living process. When no process lives, one is started.
    async fn describe(&self) -> PortResult<Describe> {
        let mut state = self.state.lock().await;
        self.ensure(&mut state).await.map(|running| running.describe.clone())
    }

    async fn ensure<'a>(&self, state: &'a mut SlotState) -> PortResult<&'a LiveDescribe> {
        if state.running.as_ref().is_some_and(|running| *running.gone.borrow()) {
            tracing::warn!("the engine's describe process died: starting it again");
            state.running = None;
        }
        if state.running.is_none() {
            let attempt =
                state.attempt.clone().ok_or_else(|| PortError::away("describe was not started"))?;
            if self.has_ended(&attempt.fence) {
                return Err(ended());
            }
            let starts = state.starts;
            state.starts += 1;
            state.running = Some(self.spawn(&attempt, starts).await?);
        }
        state.running.as_ref().ok_or_else(|| PortError::away("describe was not started"))
    }

    async fn spawn(&self, attempt: &AttemptId, starts: u32) -> PortResult<LiveDescribe> {
        let executable = find(&attempt.engine, &self.path)?;
        let Tethers { places, mainspring, transport, clock, .. } = &self.tethers;
        let at = AttemptPlaces::new(places, &attempt.fence);
        let endpoint = Endpoint::Unix(at.sockets.join("describe-0.sock"));
        let mut env: BTreeMap<String, String> = inherited();
        env.extend(chassis::failpoint::handed_on());
        env.insert("MAINSPRING_ENDPOINT".into(), endpoint.to_string());
        let text = |path: &Path| path.to_string_lossy().into_owned();
        for (name, value) in [
            ("MAINSPRING_TOKEN_FILE", text(&at.describe_token_file)),
            ("MAINSPRING_EXECUTION_TOKEN_FILE", text(&at.token_file)),
            ("MAINSPRING_EXECUTION", attempt.execution.clone()),
            ("MAINSPRING_APPLICATION", attempt.fence.application.id.to_string()),
            ("MAINSPRING_GENERATION", attempt.fence.application.generation.to_string()),
            ("MAINSPRING_EPOCH", attempt.fence.epoch.to_string()),
        ] {
            env.insert(name.to_owned(), value);
        }
        if !attempt.traceparent.is_empty() {
            env.insert(TRACEPARENT_VARIABLE.into(), attempt.traceparent.clone());
        }
        let output_dir = at.control.join(format!("describe-{starts}"));
        let spec = TetherSpec {
            argv: vec![executable.to_string_lossy().into_owned(), "describe".into()],
            env,
            cwd: at.control.clone(),
            socket: at.sockets.join(format!("describe-{starts}.tether.sock")),
            owner: self.tethers.keyring.of_attempt(&attempt.fence)?.describe_tether,
            grace_ms: 0,
            lock_file: None,
            lock_wait_ms: tether::default_lock_wait_ms(),
            // `describe` is part of the engine, and as trusted as the host that found it.
            becomes: None,
            // `describe` does not yield, because main() and the cluster wait for its work, such as
            // publishing.
            yields: false,
            output_dir: output_dir.clone(),
            exit_file: at.control.join(format!("describe-{starts}.exit")),
            owner_mark: places.owner_mark(
                &attempt.fence.application,
                Kind::Attempt,
                attempt.fence.epoch.get(),
            ),
        };
        let tether = tether::spawn(&spec, mainspring, transport.clone(), clock.clone()).await;
        let tether = tether.map_err(|error| PortError::away(format!("describe: {error}")))?;
        let started = tokio::select! {
            started = self.started(attempt, &tether, endpoint, &executable, &output_dir) => started,
            () = self.until_ended(&attempt.fence) => Err(ended()),
        };
        if started.is_err() {
            self.retire(&tether, Duration::ZERO).await;
        }
        started
    }

    /// Owns a fresh tether, and waits until the process under it answers.
    async fn started(
        &self,
        attempt: &AttemptId,
        tether: &Tether,
        endpoint: Endpoint,
        executable: &Path,
        output_dir: &Path,
    ) -> PortResult<LiveDescribe> {
        let Tethers { transport, clock, keyring, .. } = &self.tethers;
        let mut owned = tether.own(true, None).await?;
        let (gone_sender, gone) = watch::channel(false);
        let owner = tasks::owned("owner of describe", async move {
            // The stream of events has ended or told of the exit, so this runner does not own the
            // process any more.
            while let Ok(Some(event)) = owned.next().await {
                if matches!(event, TetherEvent::Exited(_)) {
                    break;
                }
            }
            gone_sender.send_replace(true);
        });
        let token = keyring.of_attempt(&attempt.fence)?.describe;
        let channel = channel::connect(transport.clone(), clock.clone(), endpoint, Some(token));
        let describe = Describe::new(channel);
        let info = tokio::select! {
            info = timeout(clock, READY_WITHIN, answers(&describe, clock)) => {
                info.map_err(|elapsed| PortError::away(format!("{}: {elapsed}", executable.display())))??
            }
            () = until_gone(gone.clone()) => {
                let said = output::tail(output_dir, tether::Stream::Stderr, 2048).unwrap_or_default();
                let text = format!(
                    "{} describe left before it answered: {}; run it by hand to see why",
                    executable.display(),
                    said.trim()
                );
                return Err(PortError::refused(Reason::EngineNotFound, text));
            }
        };
        let info = EngineInfo {
            name: info.engine,
            version: info.version,
            path: executable.to_string_lossy().into_owned(),
            equal_job_names: info.equal_job_names,
            graph_bytes_vary: info.graph_bytes_vary,
        };
        Ok(LiveDescribe { describe, tether: tether.clone(), info, gone, _owner: owner })
    }

    /// Ends the process under a tether, and then lets the tether leave.
    async fn retire(&self, tether: &Tether, grace: Duration) {
        let ended = timeout(&self.tethers.clock, END_WITHIN, async {
            tether.end(grace).await?;
            tether.release().await
        });
        match ended.await {
            Ok(Ok(())) => {}
            // A tether that has lost its owner ends its process in any case.
            Ok(Err(error)) => tracing::debug!("describe's tether: {error}"),
            Err(elapsed) => tracing::warn!("describe's tether: {elapsed}"),
        }
    }

    fn has_ended(&self, fence: &EpochFence) -> bool {
        *self.ended.borrow() == Some(fence.epoch)
    }

    async fn until_ended(&self, fence: &EpochFence) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.ended.subscribe().wait_for(|ended| *ended == Some(fence.epoch)).await;
    }
}

fn ended() -> PortError {
    PortError::away("describe was ended")
}

async fn until_gone(mut gone: watch::Receiver<bool>) {
    // An error means that the owner's task is gone, and the process with it.
    let _ = gone.wait_for(|gone| *gone).await;
}

/// Asks until the process listens. The caller bounds the wait.
async fn answers(describe: &Describe, clock: &SharedClock) -> PortResult<engine::InfoResponse> {
    let mut pause = Duration::from_millis(1);
    loop {
        match describe.info().await.map_err(PortError::from) {
            Err(error) if error.is_away() => {}
            answered => return answered,
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// The variables that are passed on from the runner's own environment.
pub(super) fn inherited() -> BTreeMap<String, String> {
    let named =
        INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    named.chain(environment::of_engines()).chain(telemetry::variables()).collect()
}

#[async_trait]
impl Engine for TetheredEngine {
    async fn start(&self, attempt: &AttemptId) -> PortResult<Option<EngineInfo>> {
        let slot = &self.0;
        let mut state = slot.state.lock().await;
        if slot.has_ended(&attempt.fence) {
            return Ok(None);
        }
        let same = state.attempt.as_ref().is_some_and(|known| known.fence == attempt.fence);
        if !same {
            *state = SlotState { attempt: Some(attempt.clone()), ..SlotState::default() };
        }
        let running = match slot.ensure(&mut state).await {
            Err(_) if slot.has_ended(&attempt.fence) => return Ok(None),
            running => running?,
        };
        let (info, gone) = (running.info.clone(), running.gone.clone());
        if state.keeper.is_none() {
            let kept = keep(Arc::downgrade(slot), gone, slot.tethers.clock.clone());
            state.keeper = Some(tasks::owned("keeper of describe", trace::carry(kept)));
        }
        Ok(Some(info))
    }

    async fn plan(&self, subject: &Subject) -> PortResult<engine::Plan> {
        Ok(self.0.describe().await?.cluster(subject).await?)
    }

    async fn launch(&self, subject: &Subject) -> PortResult<engine::DescribeMainResponse> {
        Ok(self.0.describe().await?.main(subject).await?)
    }

    async fn publish(&self, job: JobId, manifest: job::Manifest, own: &[JobId]) -> PortResult<()> {
        self.0.describe().await?.publish(job, manifest, own).await?;
        Ok(())
    }

    async fn sweep(&self, what: engine::SweepRequest) -> PortResult<()> {
        self.0.describe().await?.sweep(what).await?;
        Ok(())
    }

    async fn end(&self, fence: &EpochFence) {
        // The mark is set before the lock is taken, so that a start that holds the lock gives up.
        self.0.ended.send_replace(Some(fence.epoch));
        let running = {
            // While the lock is held, no start is under way.
            let mut state = self.0.state.lock().await;
            state.keeper = None;
            state.running.take()
        };
        let Some(running) = running else { return };
        // `describe` has nothing to save but its spans, so an untraced run gives it no grace.
        let grace = trace::current_traceparent().map_or(Duration::ZERO, |_| FLUSH);
        self.0.retire(&running.tether, grace).await;
    }
}
