//! Processes of this machine, each under a tether of its own. The tether outlives a lifecycle that
//! is killed, for as long as its grace, and the next lifecycle finds the tether by its socket.

mod ground;
mod live;
mod place;
mod ports;
mod probe;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chassis::clock::{SharedClock, timeout};
use chassis::credential::DeploymentKey;
use chassis::run_as::RunAs;
use chassis::transport::{Endpoint, SharedTransport};
use client::attempts;
use client::outbox::Outbox;
use client::places::{Kind, Places};
use client::process_tree::{self, OwnerMark, Process};
use client::tether::{
    self, Exit, LastWords, OutputReader, Tether, TetherEvent, WORK_DIR_VARIABLE, output,
};
use futures::StreamExt as _;
use proto::{ApplicationRef, Generation, Place as Host};

use super::{
    Addresses, Adopted, Leftovers, Live, Output, Substrate, SubstrateError, leftover, unremoved,
};
use crate::model::{self, GroupId, Order, RoleSpec, Scope, Slot};
use crate::record::{LogSource, read_source, wire_source};
use ground::Ground;
use live::LocalLive;
use place::Place;

/// How long a tether may take to answer a claim. A tether that takes longer hangs, and is ended by
/// force.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(5);

/// How long ending by force may take. A process that withstands SIGKILL for longer waits for a
/// disk.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// How many starts have their output in a working directory: the present one and the one before.
const STARTS_KEPT: u32 = 2;

/// The substrate of this machine: every process is a child of a tether, in a directory of its own.
#[derive(Clone)]
pub struct Local {
    places: Places,
    outbox: Outbox,
    key: DeploymentKey,
    mainspring: PathBuf,
    ground: Ground,
    /// The name of this host, where the deployment has several.
    host: Option<String>,
    inherited: BTreeMap<String, String>,
    transport: SharedTransport,
    clock: SharedClock,
}

impl Local {
    /// A substrate on this machine. `mainspring` is the executable that is run as `mainspring
    /// tether`; `store` is handed to the processes, and `inherited` is the part of lifecycle's own
    /// environment that they get.
    pub fn new(
        places: Places,
        key: DeploymentKey,
        mainspring: PathBuf,
        store: Endpoint,
        inherited: BTreeMap<String, String>,
        transport: SharedTransport,
        clock: SharedClock,
    ) -> Self {
        let outbox = Outbox::new(&places);
        let ground = Ground::new(&places, None, store);
        Self { places, outbox, key, mainspring, ground, host: None, inherited, transport, clock }
    }

    /// The same substrate on this host. Where the deployment has several, contenders are called by
    /// their host, because each host counts its own.
    #[must_use]
    pub fn on(self, host: &Host) -> Self {
        let host = self.places.are_shared().then(|| host.name().to_owned());
        Self { host, ..self }
    }

    /// The same substrate, with clusters that run as a user of their own.
    #[must_use]
    pub fn running_as(self, run_as: Option<RunAs>) -> Self {
        let places = self.places.for_run_as(run_as.as_ref());
        let ground = Ground::new(&places, run_as, self.ground.store(false).clone());
        Self { places, ground, ..self }
    }

    fn place(&self, slot: &Slot) -> Place {
        Place::new(&self.places, slot)
    }

    fn tether(&self, order: &Order) -> Tether {
        let endpoint = Endpoint::Unix(self.place(&order.slot).keeper_socket(order.start));
        let token = self.key.mint(&place::owner(&order.slot.group));
        Tether::connect(endpoint, token, self.transport.clone(), self.clock.clone())
    }

    /// Claims a tether and has it start its child, unless it has.
    async fn claim(
        &self,
        order: &Order,
        tether: Tether,
    ) -> Result<Result<LocalLive, Exit>, SubstrateError> {
        let claimed = async {
            let mut owned = tether.own(true, None).await.map_err(|error| error.to_string())?;
            loop {
                match owned.next().await.map_err(|error| error.to_string())? {
                    Some(TetherEvent::Started { pid }) => {
                        let live =
                            LocalLive::new(self.clone(), order.clone(), pid, tether.clone(), owned);
                        return Ok(Ok(live));
                    }
                    Some(TetherEvent::Exited(exit)) => return Ok(Err(exit)),
                    Some(_) => {}
                    None => return Err("the tether left".to_owned()),
                }
            }
        };
        let claimed = timeout(&self.clock, CLAIM_TIMEOUT, claimed)
            .await
            .map_err(|elapsed| elapsed.to_string());
        claimed.and_then(|claimed| claimed).map_err(SubstrateError)
    }

    /// The group that a mark of this state directory names.
    fn group_of(&self, mark: &OwnerMark) -> Option<GroupId> {
        if mark.state != self.places.state_mark() {
            return None;
        }
        let application = ApplicationRef {
            id: mark.application.parse().ok()?,
            generation: Generation(mark.generation),
        };
        let kinds = [Kind::Attempt, Kind::Cluster, Kind::Contender];
        let kind = kinds.into_iter().find(|kind| kind.as_str() == mark.kind)?;
        Some(GroupId { application, kind, number: mark.number })
    }

    /// Ends every process with an owner mark that `wanted` accepts.
    async fn kill(
        &self,
        wanted: impl Fn(&Process, &OwnerMark) -> bool,
        slot: Option<&Slot>,
    ) -> Vec<String> {
        match process_tree::kill_marked(wanted, &self.clock, KILL_TIMEOUT).await {
            Ok(left) => left.iter().map(|process| leftover(process.pid, slot)).collect(),
            Err(error) => vec![format!("/proc cannot be read: {error}")],
        }
    }

    /// Ends what lives of one process, its tether included.
    async fn kill_slot(&self, slot: &Slot) -> Vec<String> {
        let work = self.place(slot).work().to_owned();
        let of_slot = |process: &Process, mark: &OwnerMark| {
            self.group_of(mark).as_ref() == Some(&slot.group)
                && process.variable(WORK_DIR_VARIABLE).is_some_and(|dir| *work == *dir)
        };
        self.kill(of_slot, Some(slot)).await
    }

    /// Moves output to the outbox, unless all of it is in the record.
    fn rescue(&self, source: &LogSource, output: &Path) -> io::Result<()> {
        if self.outbox.take(&wire_source(source), output)? {
            tracing::info!("{source}: its output waits to be shipped");
        }
        Ok(())
    }

    /// Saves what a group has said before its directory is removed. Answers what could not be
    /// saved.
    fn rescue_group(&self, group: &GroupId) -> Vec<String> {
        let kept = place::kept_outputs(group, &place::group_directory(&self.places, group));
        let rescued = kept.into_iter().map(|(slot, start, output)| {
            let rescued = self.rescue(&LogSource::new(&slot, start), &output);
            rescued.map_err(|error| unremoved(&output, &error))
        });
        rescued.filter_map(Result::err).collect()
    }

    /// Removes what the attempts of a generation left, none of which lives. No campaign for a
    /// generation that is over needs the lock of its main().
    fn remove_attempts(&self, application: &ApplicationRef) -> Vec<String> {
        let mut left = attempts::remove(&self.places, application);
        let lock = self.places.application_work(application).join(attempts::MAIN_LOCK);
        match fs::remove_file(&lock) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                left.push(unremoved(&lock, &error))
            }
            _ => {}
        }
        left
    }

    /// The exit of a process whose tether is gone. Nothing of the process is left afterwards.
    async fn exit_without_tether(&self, order: &Order) -> Exit {
        for left in self.kill_slot(&order.slot).await {
            tracing::error!("cannot end {left}");
        }
        let exit_file = self.place(&order.slot).exit_file(order.start);
        // An exit file that cannot be read says as little as an absent one.
        let exit = Exit::read(&exit_file).inspect_err(|error| tracing::warn!("{error}"));
        exit.ok().flatten().unwrap_or_default()
    }
}

/// The output that segments hold, from an offset on.
fn kept_output(directory: &Path, offset: u64) -> Output {
    let reader = OutputReader::new(directory, offset);
    let chunks = futures::stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        let read = tokio::task::spawn_blocking(move || {
            let chunk = reader.next_chunk();
            (reader, chunk)
        });
        match read.await {
            Ok((reader, Ok(Some(chunk)))) => Some((Ok(chunk), Some(reader))),
            Ok((_, Ok(None))) => None,
            Ok((_, Err(error))) => Some((Err(SubstrateError(error.to_string())), None)),
            Err(error) => Some((Err(SubstrateError(error.to_string())), None)),
        }
    });
    chunks.boxed()
}

#[async_trait]
impl Substrate for Local {
    fn addresses(&self, order: &Order) -> Addresses {
        let place = self.place(&order.slot);
        Addresses {
            endpoint: Endpoint::Unix(place.socket()).to_string(),
            keeper: Endpoint::Unix(place.keeper_socket(order.start)).to_string(),
        }
    }

    async fn choose_ports(&self, roles: &[RoleSpec]) -> Result<model::Addresses, SubstrateError> {
        ports::choose(&self.transport, roles)
            .await
            .map_err(|error| SubstrateError(error.to_string()))
    }

    async fn start(&self, order: &Order) -> Result<Arc<dyn Live>, SubstrateError> {
        let place = self.place(&order.slot);
        let failed =
            |error: io::Error| SubstrateError(format!("{}: {error}", place.work().display()));
        place.prepare(order, &self.key, &self.ground).map_err(failed)?;
        for start in place.starts_before(order.start.saturating_sub(STARTS_KEPT - 1)) {
            // Output that cannot be moved now goes with the group.
            let output = place.output_dir(start);
            if self.rescue(&LogSource::new(&order.slot, start), &output).is_ok() {
                let _ = fs::remove_dir_all(output);
            }
        }
        let host = self.host.as_deref();
        let spec = place.spec(order, host, &self.inherited, &self.places, &self.key, &self.ground);
        let tether =
            tether::spawn(&spec, &self.mainspring, self.transport.clone(), self.clock.clone())
                .await
                .map_err(|error| SubstrateError(error.to_string()))?;
        match self.claim(order, tether.clone()).await? {
            Ok(live) => Ok(Arc::new(live)),
            Err(exit) => {
                // The tether has nothing to keep. If it does not hear this, it leaves by itself.
                let _ = tether.release().await;
                Err(SubstrateError(exit.start_error))
            }
        }
    }

    async fn adopt(&self, order: &Order) -> Adopted {
        let tether = self.tether(order);
        if self.transport.connect(tether.endpoint()).await.is_ok() {
            match self.claim(order, tether.clone()).await {
                Ok(Ok(live)) => return Adopted::Live(Arc::new(live)),
                Ok(Err(exit)) => {
                    let _ = tether.release().await;
                    return Adopted::Gone(exit);
                }
                Err(error) => {
                    tracing::warn!("{}: its tether does not answer: {error}", order.slot.key())
                }
            }
        }
        Adopted::Gone(self.exit_without_tether(order).await)
    }

    async fn remains(&self, order: &Order, offset: u64) -> Output {
        kept_output(&self.place(&order.slot).output_dir(order.start), offset)
    }

    async fn forget_output(&self, order: &Order) {
        let directory = self.place(&order.slot).output_dir(order.start);
        if let Err(error) = output::discard(&directory) {
            tracing::debug!("{}: {error}", directory.display());
        }
    }

    async fn outbox(&self) -> Vec<LogSource> {
        let sources = self.outbox.sources().unwrap_or_else(|error| {
            tracing::warn!("the outbox cannot be read: {error}");
            Vec::new()
        });
        sources.into_iter().filter_map(read_source).collect()
    }

    async fn outbox_output(&self, source: &LogSource, offset: u64) -> Output {
        match self.outbox.directory_of(&wire_source(source)) {
            Ok(directory) => kept_output(&directory, offset),
            Err(error) => futures::stream::iter([Err(SubstrateError(error.to_string()))]).boxed(),
        }
    }

    async fn empty_outbox(&self, source: &LogSource) {
        if let Err(error) = self.outbox.remove(&wire_source(source)) {
            tracing::warn!("{source}: its output stays in the outbox: {error}");
        }
    }

    async fn last_words(&self, order: &Order, max_bytes: usize) -> LastWords {
        let directory = self.place(&order.slot).output_dir(order.start);
        let read = tokio::task::spawn_blocking(move || LastWords::read(&directory, max_bytes));
        read.await.ok().and_then(Result::ok).unwrap_or_default()
    }

    async fn generations(&self) -> Vec<ApplicationRef> {
        attempts::generations(&self.places)
    }

    async fn sweep(&self, scope: &Scope) -> Leftovers {
        let marked = |_: &Process, mark: &OwnerMark| {
            self.group_of(mark).is_some_and(|group| scope.holds(&group))
        };
        let mut left = Leftovers { alive: self.kill(marked, None).await, files: Vec::new() };
        for group in place::groups(&self.places, scope) {
            let mut directories =
                vec![self.places.sockets(&group.application, group.kind, group.number)];
            let unsaved = self.rescue_group(&group);
            if unsaved.is_empty() {
                directories.push(place::group_directory(&self.places, &group));
            }
            if self.places.are_apart() {
                let open = self.places.open();
                directories.push(open.sockets(&group.application, group.kind, group.number));
                directories.push(place::group_directory(&open, &group));
            }
            left.files.extend(unsaved);
            for directory in directories {
                match fs::remove_dir_all(&directory) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        left.files.push(unremoved(&directory, &error))
                    }
                    _ => {}
                }
            }
        }
        if let Scope::Attempts(application) = scope
            && left.alive.is_empty()
        {
            left.files.extend(self.remove_attempts(application));
        }
        if let Scope::Contenders(application) | Scope::Attempts(application) = scope {
            // The directories are empty now, unless another service keeps something for the
            // application; then the removal fails, as it should.
            let _ = fs::remove_dir(self.places.application_work(application));
            let _ = fs::remove_dir(self.places.open().application_work(application));
        }
        left
    }
}
