//! The engine's `describe` under a tether without grace, started again on the same endpoint when it dies.

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

/// The engine's `describe`: at most one process at a time per attempt. A call after it died starts it again.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Finds the executable and starts it. `ENGINE_NOT_FOUND` names where it looked. `None` once the attempt's engine was
    /// [ended](Self::end), be it meanwhile.
    async fn start(&self, attempt: &AttemptId) -> PortResult<Option<EngineInfo>>;
    /// The plan of a cluster.
    async fn plan(&self, subject: &Subject) -> PortResult<engine::Plan>;
    /// How main() is launched.
    async fn launch(&self, subject: &Subject) -> PortResult<engine::DescribeMainResponse>;
    /// Staged files to their final names.
    async fn publish(&self, job: JobId, manifest: job::Manifest, own: &[JobId]) -> PortResult<()>;
    /// Removes staging and checkpoints that nobody needs.
    async fn sweep(&self, what: engine::SweepRequest) -> PortResult<()>;
    /// Ends the process, also one that is being started; the attempt gets no other one after that. Bounded.
    async fn end(&self, fence: &EpochFence);
}

/// Which engine runs the application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// Absolute path of its executable.
    pub path: String,
    /// Equal job names are allowed within one attempt.
    pub equal_job_names: bool,
    /// One program's graph has other bytes each time that main() is executed.
    pub graph_bytes_vary: bool,
}

/// Identity and places of one attempt.
#[derive(Debug, Clone)]
pub struct AttemptId {
    /// This leader's fence.
    pub fence: EpochFence,
    /// The engine's name.
    pub engine: String,
    /// main()'s working directory, absolute; the artifacts lie in it.
    pub directory: PathBuf,
    /// W3C trace context of the run; may be empty.
    pub traceparent: String,
    /// Where this runner serves `ExecutionService`.
    pub execution: String,
}

/// How long `describe` may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Pauses before one that died is started again.
const RESTART_MIN: Duration = Duration::from_millis(20);
const RESTART_MAX: Duration = Duration::from_secs(5);

/// How long ending it may take.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Time for its last spans, where there are any.
const FLUSH: Duration = Duration::from_secs(2);

/// What a process of this deployment needs of the runner's own environment.
const INHERITED: [&str; 7] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "MAINSPRING_LOG"];

/// What every tether of a runner needs.
#[derive(Clone)]
pub struct Tethers {
    /// Of this host.
    pub places: Places,
    /// The executable that is a tether.
    pub mainspring: PathBuf,
    /// To reach tethers.
    pub transport: SharedTransport,
    /// Time.
    pub clock: SharedClock,
    /// Whom main() becomes, where that is not what the runner is.
    pub run_as: Option<RunAs>,
    /// What the record answered: who owns a tether shows one of these.
    pub keyring: Keyring,
}

/// The `describe` process of one attempt.
pub struct TetheredEngine(Arc<Shared>);

struct Shared {
    tethers: Tethers,
    path: EnginePath,
    state: Mutex<State>,
    /// The attempt, by its epoch, whose process was ended for good. A start that is under way listens to it.
    ended: watch::Sender<Option<Epoch>>,
}

#[derive(Default)]
struct State {
    attempt: Option<AttemptId>,
    running: Option<Running>,
    starts: u32,
    keeper: Option<OwnedTask<()>>,
}

struct Running {
    describe: Describe,
    tether: Tether,
    info: EngineInfo,
    gone: watch::Receiver<bool>,
    /// Dropped, it gives the ownership up: the tether ends the process at once.
    _owner: OwnedTask<()>,
}

impl TetheredEngine {
    /// Looks for executables along `path`.
    pub fn new(tethers: Tethers, path: EnginePath) -> Self {
        Self(Arc::new(Shared { tethers, path, state: Mutex::default(), ended: watch::Sender::default() }))
    }
}

/// Starts `describe` again whenever it dies: main() talks to the front in it, when nobody else has a reason to ask for it.
async fn keep(shared: Weak<Shared>, mut gone: watch::Receiver<bool>, clock: SharedClock) {
    let mut backoff = Backoff::new(RESTART_MIN, RESTART_MAX);
    loop {
        until_gone(gone.clone()).await;
        clock.sleep(backoff.next_delay()).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut state = shared.state.lock().await;
        match shared.ensure(&mut state).await {
            Ok(running) => gone = running.gone.clone(),
            Err(error) => tracing::warn!("the engine's describe process is not started: {error}"),
        }
    }
}

impl Shared {
    /// The client of the living process; starts one when there is none.
    async fn describe(&self) -> PortResult<Describe> {
        let mut state = self.state.lock().await;
        self.ensure(&mut state).await.map(|running| running.describe.clone())
    }

    async fn ensure<'a>(&self, state: &'a mut State) -> PortResult<&'a Running> {
        if state.running.as_ref().is_some_and(|running| *running.gone.borrow()) {
            tracing::warn!("the engine's describe process died: starting it again");
            state.running = None;
        }
        if state.running.is_none() {
            let attempt = state.attempt.clone().ok_or_else(|| PortError::away("describe was not started"))?;
            if self.has_ended(&attempt.fence) {
                return Err(ended());
            }
            let starts = state.starts;
            state.starts += 1;
            state.running = Some(self.spawn(&attempt, starts).await?);
        }
        state.running.as_ref().ok_or_else(|| PortError::away("describe was not started"))
    }

    async fn spawn(&self, attempt: &AttemptId, starts: u32) -> PortResult<Running> {
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
            // Part of the engine, as trusted as the host that found it.
            becomes: None,
            // What it does for main() and the cluster, such as to publish, others wait for.
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
    ) -> PortResult<Running> {
        let Tethers { transport, clock, keyring, .. } = &self.tethers;
        let mut owned = tether.own(true, None).await?;
        let (gone_sender, gone) = watch::channel(false);
        let owner = tasks::owned("owner of describe", async move {
            // Whatever ends this, the process is not ours any more.
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
        Ok(Running { describe, tether: tether.clone(), info, gone, _owner: owner })
    }

    /// Ends what runs under a tether, and has it leave.
    async fn retire(&self, tether: &Tether, grace: Duration) {
        let ended = timeout(&self.tethers.clock, END_WITHIN, async {
            tether.end(grace).await?;
            tether.release().await
        });
        match ended.await {
            Ok(Ok(())) => {}
            // Without an owner the tether ends it in any case.
            Ok(Err(error)) => tracing::debug!("describe's tether: {error}"),
            Err(elapsed) => tracing::warn!("describe's tether: {elapsed}"),
        }
    }

    fn has_ended(&self, fence: &EpochFence) -> bool {
        *self.ended.borrow() == Some(fence.epoch)
    }

    async fn until_ended(&self, fence: &EpochFence) {
        // The sender is ours.
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

/// Asks until the process listens.
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

/// What is passed on from the runner's own environment.
pub(super) fn inherited() -> BTreeMap<String, String> {
    let named = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    named.chain(environment::of_engines()).chain(telemetry::variables()).collect()
}

#[async_trait]
impl Engine for TetheredEngine {
    async fn start(&self, attempt: &AttemptId) -> PortResult<Option<EngineInfo>> {
        let shared = &self.0;
        let mut state = shared.state.lock().await;
        if shared.has_ended(&attempt.fence) {
            return Ok(None);
        }
        let same = state.attempt.as_ref().is_some_and(|known| known.fence == attempt.fence);
        if !same {
            *state = State { attempt: Some(attempt.clone()), ..State::default() };
        }
        let running = match shared.ensure(&mut state).await {
            Err(_) if shared.has_ended(&attempt.fence) => return Ok(None),
            running => running?,
        };
        let (info, gone) = (running.info.clone(), running.gone.clone());
        if state.keeper.is_none() {
            let kept = keep(Arc::downgrade(shared), gone, shared.tethers.clock.clone());
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
        // Before the lock: a start that holds it gives up.
        self.0.ended.send_replace(Some(fence.epoch));
        let running = {
            // While this is held nobody is in the midst of starting one.
            let mut state = self.0.state.lock().await;
            state.keeper = None;
            state.running.take()
        };
        let Some(running) = running else { return };
        // It keeps nothing but its spans.
        let grace = trace::current_traceparent().map_or(Duration::ZERO, |_| FLUSH);
        self.0.retire(&running.tether, grace).await;
    }
}
