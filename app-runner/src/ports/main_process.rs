//! main() under its tether. The tether freezes main() past this runner's lease and ends it with the
//! ownership, and the runner ships main()'s output to the record.

mod owner;
mod shipping;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::record::MainExit;
use async_trait::async_trait;
use chassis::clock::Boot;
use chassis::tasks::owned;
use chassis::telemetry::trace;
use client::election::Lease;
use client::logs::Logs;
use client::places::Kind;
use client::process_tree;
use client::tether::{self, Exit, TetherSpec, output};
use proto::{ApplicationRef, Epoch, EpochFence, Reason};
use tokio::sync::watch;

use super::PortResult;
use super::engine::{AttemptId, Tethers, inherited};
use super::workspace::{self, AttemptPlaces, MAIN_LOCK};
use crate::error::PortError;
use owner::Ownership;
use shipping::Shipping;

/// main() and the processes that it starts, on this host. The leader of an application first ends
/// what earlier attempts left, and only then starts its own main(), so that two main()s of one
/// application never overlap on a host.
#[async_trait]
pub trait MainProcess: Send + Sync {
    /// Ends every tree of lower epochs on this host. After a success none of them lives. The answer
    /// is `true` when the earlier main() had ended by itself with exit code 0.
    async fn end_previous(
        &self,
        fence: &EpochFence,
        previous: Option<&PreviousMain>,
    ) -> PortResult<bool>;
    /// The endpoint where the tether of this attempt's main() will listen.
    fn tether_endpoint(&self, fence: &EpochFence) -> String;
    /// Starts main() under a tether, and ships its output from there on.
    async fn start(&self, launch: Launch) -> PortResult<Box<dyn LiveMain>>;
    /// Ends every process of this attempt and of the earlier ones of the same generation, by owner
    /// marks. The call is bounded, and processes that it cannot end are logged.
    async fn kill(&self, fence: &EpochFence);
}

/// A main() that was started by this runner.
#[async_trait]
pub trait LiveMain: Send + Sync {
    /// The process id of main().
    fn pid(&self) -> u32;
    /// Waits until main() has ended.
    async fn exited(&self) -> Exited;
    /// Asks main() to end, and kills it after the grace. This returns when nothing is left of it.
    async fn end(&self, grace: Duration) -> PortResult<()>;
    /// Waits until main()'s output is in the record, then lets the tether go. The wait is bounded.
    /// Output that is not in the record by then stays in the tether's files.
    async fn settle(&self);
}

/// The terms on which main() is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The attempt that main() belongs to.
    pub attempt: AttemptId,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The whole environment, but for what the port adds: variables of the host such as `PATH`, the
    /// place of the token and the owner mark.
    pub environment: BTreeMap<String, String>,
    /// The lease that main() runs under.
    pub lease: watch::Receiver<Lease>,
}

/// The main() of an earlier attempt, as the record knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreviousMain {
    /// The epoch of the attempt that started it.
    pub epoch: Epoch,
    /// The endpoint where its tether listened.
    pub tether_endpoint: String,
}

/// How main() ended, as far as this runner knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exited {
    /// The exit code or the signal.
    pub exit: MainExit,
    /// Whether the tether saw the end while this runner owned it.
    pub seen: bool,
    /// Why main() could not be started at all, if that is so.
    pub start_error: Option<String>,
    /// The end of main()'s stderr; empty after an exit with code 0.
    pub stderr_tail: String,
}

/// How long the end of a tree may take before the caller or the log is told which processes live.
const KILL_WITHIN: Duration = Duration::from_secs(10);

/// How much of the end of main()'s stderr is kept with main()'s end, in bytes.
const TAIL_BYTES: usize = 4096;

/// main() as a child of `mainspring tether`.
pub struct TetheredMain {
    tethers: Tethers,
    logs: Logs,
}

impl TetheredMain {
    /// A port that ships output over `logs`.
    pub fn new(tethers: Tethers, logs: Logs) -> Self {
        Self { tethers, logs }
    }

    fn places(&self, fence: &EpochFence) -> AttemptPlaces {
        AttemptPlaces::new(&self.tethers.places, fence)
    }

    /// Ships output until the tree has ended and all of its output is durable.
    fn ship(&self, tether: tether::Tether, source: proto::jobgraph::LogSource) -> Shipping {
        let (done, shipped) = watch::channel(false);
        let (logs, clock) = (self.logs.clone(), self.tethers.clock.clone());
        let task = owned(
            "shipping of main()'s output",
            trace::carry(async move {
                match logs.ship(&tether, &source, &clock).await {
                    Ok(()) => drop(done.send_replace(true)),
                    Err(error) => tracing::warn!("output of main() is not in the record: {error}"),
                }
            }),
        );
        Shipping { shipped, task }
    }

    fn spec(&self, launch: &Launch) -> PortResult<TetherSpec> {
        let fence = &launch.attempt.fence;
        let at = self.places(fence);
        let mut env = inherited();
        // The log levels are those of the deployment, and main()'s stderr belongs to the program.
        env.remove("MAINSPRING_LOG");
        let Tethers { places, run_as, .. } = &self.tethers;
        let becomes = run_as.as_ref().map(|run_as| {
            run_as.describe(&mut env);
            run_as.identity(
                &places.state_mark(),
                &fence.application.to_string(),
                workspace::MAIN,
                &[],
            )
        });
        env.extend(launch.environment.clone());
        env.insert("MAINSPRING_TOKEN_FILE".into(), at.token_file.to_string_lossy().into_owned());
        Ok(TetherSpec {
            argv: launch.command.clone(),
            env,
            cwd: launch.attempt.directory.clone(),
            socket: at.sockets.join("main-0.tether.sock"),
            owner: self.tethers.keyring.of_attempt(fence)?.main_tether,
            grace_ms: 0,
            lock_file: Some(
                self.tethers.places.application_work(&fence.application).join(MAIN_LOCK),
            ),
            lock_wait_ms: tether::default_lock_wait_ms(),
            becomes,
            yields: true,
            output_dir: at.output(),
            exit_file: at.control.join("main.exit"),
            owner_mark: self.tethers.places.owner_mark(
                &fence.application,
                Kind::Attempt,
                fence.epoch.get(),
            ),
        })
    }
}

#[async_trait]
impl MainProcess for TetheredMain {
    async fn end_previous(
        &self,
        fence: &EpochFence,
        previous: Option<&PreviousMain>,
    ) -> PortResult<bool> {
        let Tethers { places, clock, .. } = &self.tethers;
        let left = process_tree::kill_earlier_attempts(
            places,
            &fence.application.id,
            fence.epoch,
            clock,
            KILL_WITHIN,
        );
        let left = left
            .await
            .map_err(|error| PortError::away(format!("cannot look for processes: {error}")))?;
        if !left.is_empty() {
            let pids: Vec<String> = left.iter().map(|process| process.pid.to_string()).collect();
            return Err(PortError::away(format!("still alive: pid {}", pids.join(", "))));
        }
        for error in workspace::rescue_output(places, &fence.application, Some(fence.epoch)) {
            // The output stays where it is, and is tried again when the application's directories
            // are removed.
            tracing::warn!("an earlier main()'s output: {error}");
        }
        let Some(previous) = previous else { return Ok(false) };
        let earlier = self.places(&EpochFence { epoch: previous.epoch, ..fence.clone() });
        let exit = Exit::read(&earlier.control.join("main.exit"));
        // An unreadable exit says as little as an absent one, so main() is executed again.
        let exit = exit.inspect_err(|error| tracing::warn!("{error}"));
        Ok(exit.ok().flatten().is_some_and(|exit| exit.code == Some(0)))
    }

    fn tether_endpoint(&self, fence: &EpochFence) -> String {
        format!("unix:{}", self.places(fence).sockets.join("main-0.tether.sock").display())
    }

    async fn start(&self, launch: Launch) -> PortResult<Box<dyn LiveMain>> {
        let Tethers { mainspring, transport, clock, .. } = &self.tethers;
        let spec = self.spec(&launch)?;
        let refused = |text: String| PortError::refused(Reason::MainNotStarted, text);
        let tether = tether::spawn(&spec, mainspring, transport.clone(), clock.clone()).await;
        let tether = tether.map_err(|error| refused(error.to_string()))?;
        let owned = tether.own(true, deadline(&launch.lease)).await?;
        let ownership =
            Ownership::begin(tether.clone(), owned, launch.lease.clone(), clock.clone()).await;
        let shipping = self.ship(tether.clone(), workspace::source(&launch.attempt.fence));
        Ok(Box::new(OwnMain {
            tethers: self.tethers.clone(),
            tether,
            ownership: Arc::new(ownership),
            shipping,
            output_dir: spec.output_dir,
            stderr_tail: OnceLock::new(),
        }))
    }

    async fn kill(&self, fence: &EpochFence) {
        let state = self.tethers.places.state_mark();
        let application: &ApplicationRef = &fence.application;
        let own = |_: &process_tree::Process, mark: &process_tree::OwnerMark| {
            mark.state == state
                && mark.application == application.id.as_str()
                && mark.generation == application.generation.get()
                && mark.kind == Kind::Attempt.as_str()
                && mark.number <= fence.epoch.get()
        };
        match process_tree::kill_marked(own, &self.tethers.clock, KILL_WITHIN).await {
            Ok(left) if left.is_empty() => {}
            Ok(left) => {
                tracing::error!("{} process(es) of the attempt live after SIGKILL", left.len())
            }
            Err(error) => tracing::error!("cannot look for the attempt's processes: {error}"),
        }
    }
}

fn deadline(lease: &watch::Receiver<Lease>) -> Option<Boot> {
    match &*lease.borrow() {
        Lease::Until(until) => Some(*until),
        // The instant is long past, so main() starts frozen, and is ended with the attempt.
        Lease::Lost(_) => Some(Boot::from_nanos(0)),
    }
}

/// The main() of this attempt.
struct OwnMain {
    tethers: Tethers,
    tether: tether::Tether,
    ownership: Arc<Ownership>,
    shipping: Shipping,
    output_dir: std::path::PathBuf,
    /// The end of stderr, which is read once, because output that is in the record is removed here.
    stderr_tail: OnceLock<String>,
}

impl OwnMain {
    fn stderr_tail(&self) -> String {
        let read = || {
            output::tail(&self.output_dir, tether::Stream::Stderr, TAIL_BYTES).unwrap_or_default()
        };
        self.stderr_tail.get_or_init(read).clone()
    }
}

#[async_trait]
impl LiveMain for OwnMain {
    fn pid(&self) -> u32 {
        self.ownership.pid()
    }

    async fn exited(&self) -> Exited {
        let exit = self.ownership.exited().await;
        let stderr_tail = if exit.code == Some(0) { String::new() } else { self.stderr_tail() };
        let start_error = (!exit.start_error.is_empty()).then(|| exit.start_error.clone());
        Exited {
            exit: MainExit {
                code: exit.code,
                signal: exit.signal,
                signal_sender: exit.signal_sender,
            },
            seen: exit.seen_by_owner,
            start_error,
            stderr_tail: stderr_tail.trim_end().to_owned(),
        }
    }

    async fn end(&self, grace: Duration) -> PortResult<()> {
        self.tether.end(grace).await?;
        Ok(())
    }

    async fn settle(&self) {
        self.shipping.settle(&self.tethers.clock, &self.output_dir).await;
        if let Err(error) = self.tether.release().await {
            tracing::debug!("main()'s tether: {error}");
        }
    }
}
