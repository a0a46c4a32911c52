//! The one task that owns the tree: the keeper hears commands, signals and the clock, asks the
//! [`Leash`] what to do, and does it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use chassis::clock::{Boot, Clock as _, SharedClock, timeout};
use chassis::disk;
use chassis::tasks::{OwnedTask, owned};
use client::process_tree::Ending;
use client::tether::{Exit, TetherSpec};
use rustix::process::{Pid, Signal};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::leash::{Action, DEFAULT_KILL_AFTER, Leash, Phase};
use super::oom::OomWatch;
use super::output::{self, Progress};
use super::tree;

/// How often to ask again for a lock that is held.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How soon to go on with a tree that could not be stopped or ended at once. Each further pause is
/// twice as long, up to how often a frozen tree is looked at.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// How often to look at a frozen tree, because a process outside the tree may have let one of its
/// processes run again.
const FROZEN_PAUSE: Duration = Duration::from_millis(100);

/// How long reading the rest of the output may hold up the report of an exit.
const DRAIN: Duration = Duration::from_secs(5);

/// What callers want of the tether.
#[derive(Debug)]
pub(crate) enum Command {
    /// Make the caller the owner; answered with the number of its claim.
    Claim { start: bool, deadline: Option<Boot>, owner: oneshot::Sender<u64> },
    /// Take the owner's next deadline.
    Renew { owner: u64, deadline: Boot },
    /// Note that an owner's stream broke.
    Disconnected { owner: u64 },
    /// End the tree.
    End { kill_after: Duration },
    /// Leave; answered with `false` while the tree is alive.
    Release { accepted: oneshot::Sender<bool> },
    /// Note that a caller asked for something else, so that the tether is not forgotten.
    Contact,
}

/// What owners are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// The claim that counts.
    pub(crate) owner: Option<u64>,
    /// The id of the child, once it was started.
    pub(crate) pid: Option<u32>,
    pub(crate) frozen: bool,
    /// The exit, once nothing of the tree is left.
    pub(crate) exit: Option<Exit>,
    /// The claim that was connected at the exit: its owner may take the exit as seen.
    pub(crate) seen_by: Option<u64>,
}

impl Status {
    /// The exit as the owner of a claim may understand it.
    pub(crate) fn exit_for(&self, owner: Option<u64>) -> Option<Exit> {
        let mut exit = self.exit.clone()?;
        exit.seen_by_owner |= owner.is_some() && owner == self.seen_by;
        Some(exit)
    }
}

/// Keeps the tree of one tether: the child and its descendants, what they say, and how they end.
pub(crate) struct Keeper {
    spec: TetherSpec,
    clock: SharedClock,
    commands: mpsc::Receiver<Command>,
    status: watch::Sender<Status>,
    progress: watch::Sender<Progress>,
    leash: Leash,
    claims: u64,
    child: Option<Pid>,
    oom: Option<OomWatch>,
    lock: Option<File>,
    exit: Exit,
    /// The claim whose owner has seen the exit.
    seen_by: Option<u64>,
    survivors: HashSet<(u32, u64)>,
    ending: Ending,
    output: Option<(OwnedTask<io::Result<()>>, CancellationToken)>,
    freeze_pause: Duration,
    kill_pause: Duration,
    child_signal: Signals,
    terminate_signal: Signals,
    /// Held so that these signals do nothing: a process that wants the tree ended says so through
    /// the socket, or sends SIGTERM.
    _unheard: [Signals; 2],
}

impl Keeper {
    /// A keeper with nothing to keep yet. The call has to come inside the runtime: signals are
    /// heard from here on.
    pub(crate) fn new(
        spec: TetherSpec,
        clock: SharedClock,
        commands: mpsc::Receiver<Command>,
        status: watch::Sender<Status>,
        progress: watch::Sender<Progress>,
    ) -> io::Result<Self> {
        let leash = Leash::new(spec.grace(), clock.boot());
        Ok(Self {
            spec,
            clock,
            commands,
            status,
            progress,
            leash,
            claims: 0,
            child: None,
            oom: None,
            lock: None,
            exit: Exit::default(),
            seen_by: None,
            survivors: HashSet::new(),
            ending: Ending::default(),
            output: None,
            freeze_pause: FIRST_PAUSE,
            kill_pause: FIRST_PAUSE,
            child_signal: signal(SignalKind::child())?,
            terminate_signal: signal(SignalKind::terminate())?,
            _unheard: [signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?],
        })
    }

    /// Keeps the tree until there is nothing left to do. If anything goes wrong here, nothing of
    /// the tree outlives it.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        let kept = self.keep().await;
        if kept.is_err() {
            while tree::kill(&mut self.ending, self.clock.boot()).is_ok_and(|hit| !hit.is_empty()) {
                self.clock.sleep(Duration::from_millis(5)).await;
            }
        }
        kept
    }

    async fn keep(&mut self) -> io::Result<()> {
        loop {
            self.reap().await?;
            self.lock_and_start().await;
            let Some(wake_at) = self.act().await? else { return Ok(()) };
            tokio::select! {
                Some(command) = self.commands.recv() => self.hear(command),
                _ = self.child_signal.recv() => {}
                _ = self.terminate_signal.recv() => {
                    self.leash.end(DEFAULT_KILL_AFTER, self.clock.boot());
                    self.leash.dismiss();
                }
                () = self.clock.sleep_until(wake_at) => {}
            }
        }
    }

    fn hear(&mut self, command: Command) {
        let now = self.clock.boot();
        if self.leash.owner.is_none() {
            self.touch(now, &command);
        }
        match command {
            Command::Claim { start, deadline, owner } => {
                self.claims += 1;
                self.leash.claimed(self.claims, deadline);
                if start && self.leash.phase == Phase::Idle {
                    self.leash.phase =
                        Phase::Locking(now + Duration::from_millis(self.spec.lock_wait_ms));
                }
                let claim = self.claims;
                self.status.send_modify(|status| status.owner = Some(claim));
                // The caller may be gone already; then its stream breaks next.
                let _ = owner.send(claim);
            }
            Command::Renew { owner, deadline } if self.leash.owner == Some(owner) => {
                self.leash.deadline = Some(deadline);
            }
            Command::Renew { .. } | Command::Contact => {}
            Command::Disconnected { owner } => self.leash.disconnected(owner, now),
            Command::End { kill_after } => self.leash.end(kill_after, now),
            Command::Release { accepted } => {
                let free = matches!(self.leash.phase, Phase::Idle | Phase::Ended(_));
                if free {
                    self.leash.release();
                }
                let _ = accepted.send(free);
            }
        }
    }

    /// Notes a question from a caller that is no owner: it keeps an ended tether from being
    /// forgotten, and does not keep a running tree alive.
    fn touch(&mut self, now: Boot, command: &Command) {
        let asks = matches!(command, Command::Contact | Command::End { .. });
        if asks && matches!(self.leash.phase, Phase::Ended(_)) {
            self.leash.alone_since = now;
        }
    }

    async fn reap(&mut self) -> io::Result<()> {
        let (Some(child), Phase::Running) = (self.child, self.leash.phase) else { return Ok(()) };
        if let (Some(oom), Some(pid), false) =
            (&mut self.oom, number(child), self.leash.has_exited())
        {
            oom.look(pid, self.clock.boot());
        }
        let reaped = tree::reap(child)?;
        if let Some((code, signal)) = reaped.child {
            (self.exit.code, self.exit.signal) = (code, signal);
            let by_somebody = signal == Some(Signal::KILL.as_raw()) && !self.leash.is_ending();
            if let Some(oom) = self.oom.as_ref().filter(|_| by_somebody) {
                self.exit.signal_sender = oom.sender();
            }
            self.seen_by = self.leash.exited();
        }
        if reaped.none_left {
            self.exit.survivors_killed = u32::try_from(self.survivors.len()).unwrap_or(u32::MAX);
            self.end().await;
        }
        Ok(())
    }

    /// Takes the lock and starts the child, if that is what comes next.
    async fn lock_and_start(&mut self) {
        if !self.leash.may_start(self.clock.boot()) {
            return;
        }
        if self.lock_is_needed() {
            match self.spec.lock_file.as_deref().map(tree::try_lock) {
                Some(Ok(Some(lock))) => self.lock = Some(lock),
                Some(Ok(None)) | None => return,
                Some(Err(error)) => {
                    let path = self.spec.lock_file.as_deref().unwrap_or(Path::new(""));
                    return self
                        .not_started(format!("cannot lock {}: {error}", path.display()))
                        .await;
                }
            }
        }
        match tree::start(&self.spec, self.lock.as_ref()) {
            Ok(child) => {
                let ended = CancellationToken::new();
                let keep = output::keep(
                    self.spec.output_dir.clone(),
                    child.stdout,
                    child.stderr,
                    self.clock.clone(),
                    ended.clone(),
                    self.progress.clone(),
                );
                self.output = Some((owned("output", keep), ended));
                self.child = Some(child.pid);
                self.leash.phase = Phase::Running;
                let pid = number(child.pid);
                self.oom = pid.map(|pid| OomWatch::new(pid, self.clock.boot()));
                tracing::info!(pid, "started");
                self.status.send_modify(|status| status.pid = pid);
            }
            Err(error) => {
                let program = self.spec.argv.first().map_or("", String::as_str);
                self.not_started(format!("cannot start {program}: {error}")).await;
            }
        }
    }

    fn lock_is_needed(&self) -> bool {
        self.spec.lock_file.is_some() && self.lock.is_none()
    }

    async fn not_started(&mut self, why: String) {
        self.exit.start_error = why;
        self.seen_by = self.leash.exited();
        self.end().await;
    }

    /// Does what the leash says. Answers when to look again; `None` when it is time to leave.
    async fn act(&mut self) -> io::Result<Option<Boot>> {
        loop {
            let now = self.clock.boot();
            match self.leash.decide(now) {
                Action::Wait => return Ok(Some(self.wake_at(now))),
                Action::GiveUp(why) => self.not_started(why.to_owned()).await,
                Action::Freeze => {
                    // A process that waits in the kernel stops when it comes back from there, and
                    // starts none before, so the next look need not come at once.
                    if !tree::freeze()? {
                        return Ok(Some(now + longer(&mut self.freeze_pause)));
                    }
                    self.set_frozen(true);
                    tracing::warn!("frozen: the owner's lease ran out");
                }
                Action::Thaw => {
                    tree::thaw()?;
                    self.set_frozen(false);
                    tracing::info!("thawed");
                }
                Action::Terminate => {
                    if let Some(child) = self.child {
                        tree::terminate(child);
                    }
                    self.leash.terminated();
                }
                Action::Kill => {
                    let hit = tree::kill(&mut self.ending, now)?;
                    if self.leash.has_exited() {
                        self.survivors
                            .extend(hit.iter().map(|process| (process.pid, process.start_ticks)));
                    }
                    // SIGCHLD comes sooner; the pause is for processes that are orphaned without
                    // one.
                    return Ok(Some(now + longer(&mut self.kill_pause)));
                }
                Action::Settle => {
                    self.exit.seen_by_owner = true;
                    self.leash.settled = true;
                    self.keep_exit();
                    let exit = self.exit.clone();
                    self.status.send_modify(|status| status.exit = Some(exit));
                }
                Action::Leave => return Ok(None),
            }
        }
    }

    fn wake_at(&mut self, now: Boot) -> Boot {
        let wake_at = self.leash.wake_at();
        match self.leash.phase {
            Phase::Locking(_) => wake_at.min(now + LOCK_PAUSE),
            Phase::Running if self.leash.frozen => {
                // Errors of /proc come up again at the next freeze or kill.
                let _ = tree::freeze();
                wake_at.min(now + FROZEN_PAUSE)
            }
            _ => wake_at,
        }
    }

    fn set_frozen(&mut self, frozen: bool) {
        self.freeze_pause = FIRST_PAUSE;
        self.leash.frozen = frozen;
        self.status.send_modify(|status| status.frozen = frozen);
    }

    /// Keeps the exit, then tells it: nothing of the tree is left.
    async fn end(&mut self) {
        // No process is left that could hold the lock, so a successor may start.
        self.lock = None;
        match self.output.take() {
            Some((output, ended)) => {
                ended.cancel();
                match timeout(&self.clock, DRAIN, output).await {
                    Ok(Ok(Ok(()))) => {}
                    Ok(Ok(Err(error))) => tracing::warn!("output was lost: {error}"),
                    Ok(Err(_)) | Err(_) => {
                        tracing::warn!("the rest of the output was not kept in time")
                    }
                }
            }
            None => self.progress.send_modify(|progress| progress.complete = true),
        }
        self.keep_exit();
        self.leash.phase = Phase::Ended(self.clock.boot());
        tracing::info!("ended: {}", self.exit);
        let (exit, seen_by) = (self.exit.clone(), self.seen_by);
        self.status.send_modify(|status| {
            status.exit = Some(exit);
            status.seen_by = seen_by;
            status.frozen = false;
        });
    }

    /// Keeps the exit. A disk that does not take it is no reason not to tell the owner, which may
    /// have a disk of its own.
    fn keep_exit(&self) {
        if let Err(error) = self.write_exit() {
            tracing::error!(
                "the exit cannot be kept in {}: {error}",
                self.spec.exit_file.display()
            );
        }
    }

    /// Replaces the exit file in one step; the file is on disk when this returns.
    fn write_exit(&self) -> io::Result<()> {
        let path = &self.spec.exit_file;
        let new = path.with_added_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&self.exit).map_err(io::Error::other)?)?;
        file.sync_all()?;
        disk::replace(&new, path)
    }
}

/// A process id as the rest of the world writes it.
fn number(pid: Pid) -> Option<u32> {
    u32::try_from(pid.as_raw_nonzero().get()).ok()
}

/// This pause; the next one is twice as long.
fn longer(pause: &mut Duration) -> Duration {
    let this = *pause;
    *pause = (this * 2).min(FROZEN_PAUSE);
    this
}
