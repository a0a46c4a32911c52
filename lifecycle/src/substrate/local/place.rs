//! Where one process of this machine has its files and sockets, and the tether's spec that follows
//! from it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::credential::{DeploymentKey, Kept, Principal};
use chassis::transport::{Endpoint, TLS_VARIABLE};
use client::places::{Kind, Places};
use client::tether::{TetherSpec, WORK_DIR_VARIABLE, default_lock_wait_ms};

use super::ground::Ground;
use crate::model::{GroupId, Order, RoleFile, Scope, Slot};

/// How long a process lives on without a lifecycle that owns its tether.
const GRACE: Duration = Duration::from_secs(60);

/// The principal that owns a group's tethers.
pub(super) fn owner(group: &GroupId) -> Principal {
    let kept = match group.kind {
        Kind::Contender => Kept::Contender,
        Kind::Cluster | Kind::Attempt => Kept::Cluster,
    };
    Principal::Owner {
        application: group.application.id.to_string(),
        generation: group.application.generation.get(),
        kept,
        number: group.number,
    }
}

/// The principal that gives orders to the role of a group that serves jobs.
fn jobs(group: &GroupId) -> Principal {
    Principal::Jobs {
        application: group.application.id.to_string(),
        generation: group.application.generation.get(),
        incarnation: group.number,
    }
}

/// The principal of the credential that the processes of a group hold.
pub(super) fn principal(group: &GroupId) -> Principal {
    let application = group.application.id.to_string();
    let generation = group.application.generation.get();
    match group.kind {
        Kind::Contender => Principal::Contender { application, generation },
        Kind::Cluster | Kind::Attempt => {
            Principal::Incarnation { application, generation, incarnation: group.number }
        }
    }
}

/// The directory of a group: `<work>/<id>@<generation>/cluster-3/` or `…/contender-0/`.
pub(super) fn group_directory(places: &Places, group: &GroupId) -> PathBuf {
    places.application_work(&group.application).join(format!(
        "{}-{}",
        group.kind.as_str(),
        group.number
    ))
}

/// The groups that leave something behind. Clusters that are only known to be lower than another
/// one leave nothing: the teardown that ended them has removed it, or the application's working
/// directory goes as a whole.
pub(super) fn groups(places: &Places, scope: &Scope) -> Vec<GroupId> {
    match scope {
        Scope::Group(group) => vec![group.clone()],
        // What attempts leave is where their runners have put it.
        Scope::ClustersBelow(..) | Scope::Attempts(_) => Vec::new(),
        Scope::Contenders(application) => {
            let prefix = format!("{}-", Kind::Contender.as_str());
            let numbers = names(&places.application_work(application))
                .filter_map(|name| name.strip_prefix(&prefix)?.parse().ok());
            let group = |number| GroupId {
                application: application.clone(),
                kind: Kind::Contender,
                number,
            };
            numbers.map(group).collect()
        }
    }
}

/// The starts of a group's processes that have kept output: role, replica, start, and where the
/// output is. The directories are asked, because lifecycle may know no more of the processes that
/// are to be ended.
pub(super) fn kept_outputs(group: &GroupId, directory: &Path) -> Vec<(Slot, u32, PathBuf)> {
    let works: Vec<(String, u32, PathBuf)> = match group.kind {
        Kind::Contender => vec![(Kind::Contender.as_str().to_owned(), 0, directory.to_owned())],
        Kind::Cluster | Kind::Attempt => names(directory)
            .filter_map(|name| {
                let (role, replica) = name.rsplit_once('-')?;
                Some((role.to_owned(), replica.parse().ok()?, directory.join(&name)))
            })
            .collect(),
    };
    let mut kept = Vec::new();
    for (role, replica, work) in works {
        let slot = Slot { group: group.clone(), role, replica };
        for name in names(&work.join(STARTS)) {
            if let Ok(start) = name.parse() {
                kept.push((slot.clone(), start, work.join(STARTS).join(name)));
            }
        }
    }
    kept
}

fn names(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// The directory below a working directory where the tethers of the starts keep what they keep.
const STARTS: &str = ".tether";

/// The files and sockets of one process.
pub(super) struct Place {
    /// The working directory.
    work: PathBuf,
    /// Where the tethers of the starts keep what they keep, which is nothing of the process's own.
    starts: PathBuf,
    /// Where the process serves.
    sockets: PathBuf,
    /// Where the tethers listen.
    keepers: PathBuf,
    name: String,
    /// Whether the process may enter only what is given to its group.
    is_apart: bool,
}

impl Place {
    pub(super) fn new(places: &Places, slot: &Slot) -> Self {
        let GroupId { application, kind, number } = &slot.group;
        // A contender is alone in its group, and is part of the host.
        let is_contender = *kind == Kind::Contender;
        let open = if is_contender { places.clone() } else { places.open() };
        let own =
            |directory: PathBuf| if is_contender { directory } else { directory.join(slot.name()) };
        Self {
            work: own(group_directory(&open, &slot.group)),
            starts: own(group_directory(places, &slot.group)).join(STARTS),
            sockets: open.sockets(application, *kind, *number),
            keepers: places.sockets(application, *kind, *number),
            name: slot.name(),
            is_apart: places.are_apart() && !is_contender,
        }
    }

    /// The working directory.
    pub(super) fn work(&self) -> &Path {
        &self.work
    }

    /// Where the process serves.
    pub(super) fn socket(&self) -> PathBuf {
        self.sockets.join(format!("{}.sock", self.name))
    }

    /// Where the tether of a start listens. Each start has a socket of its own, because the tether
    /// of the start before may not have left yet.
    pub(super) fn keeper_socket(&self, start: u32) -> PathBuf {
        self.keepers.join(format!("{}.{start}.tether.sock", self.name))
    }

    /// Where the tether of a start keeps output and exit.
    pub(super) fn output_dir(&self, start: u32) -> PathBuf {
        self.starts.join(start.to_string())
    }

    /// The file that says how a start ended.
    pub(super) fn exit_file(&self, start: u32) -> PathBuf {
        self.output_dir(start).join("exit.json")
    }

    fn token_file(&self) -> PathBuf {
        if self.is_apart { self.work.join(".token") } else { self.starts.join("token") }
    }

    /// The token that the role that serves jobs takes orders by, in that role's own directory only.
    fn jobs_token_file(&self) -> PathBuf {
        if self.is_apart { self.work.join(".jobs.token") } else { self.starts.join("jobs.token") }
    }

    /// Makes the directories, the credentials and the role's files.
    pub(super) fn prepare(
        &self,
        order: &Order,
        key: &DeploymentKey,
        ground: &Ground,
    ) -> io::Result<()> {
        private_directory(&self.starts)?;
        private_directory(&self.keepers)?;
        if self.is_apart {
            ground.make(&self.work, &self.sockets, order)?;
        } else {
            private_directory(&self.work)?;
            private_directory(&self.sockets)?;
        }
        let group = &order.slot.group;
        key.mint(&principal(group)).write_file(&self.token_file())?;
        if order.role.serves_jobs {
            key.mint(&jobs(group)).write_file(&self.jobs_token_file())?;
        }
        for RoleFile { path, content, executable } in &order.role.files {
            let path = self.work.join(path);
            if let Some(parent) = path.parent() {
                private_directory(parent)?;
            }
            fs::write(&path, content)?;
            let mode = if *executable { 0o700 } else { 0o600 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
        if self.is_apart {
            let given = order.role.files.iter().map(|file| Path::new(&file.path));
            let tokens = [self.token_file(), self.jobs_token_file()]
                .into_iter()
                .filter(|file| file.exists());
            ground.give(&self.work, given, tokens, order)?;
        }
        Ok(())
    }

    /// The starts before `start` that have left something: a process that is started again and
    /// again is not to fill the disk.
    pub(super) fn starts_before(&self, start: u32) -> Vec<u32> {
        let numbers = names(&self.starts).filter_map(|name| name.parse::<u32>().ok());
        numbers.filter(|number| *number < start).collect()
    }

    /// The spec that the process's tether is started with. `host` is this host's name, where the
    /// deployment has several.
    pub(super) fn spec(
        &self,
        order: &Order,
        host: Option<&str>,
        inherited: &BTreeMap<String, String>,
        places: &Places,
        key: &DeploymentKey,
        ground: &Ground,
    ) -> TetherSpec {
        let group = &order.slot.group;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut env = inherited.clone();
        let store = ground.store(self.is_apart);
        // The private key of the host's certificates is for processes that speak to a service by
        // TCP. Another user may not read that key.
        if self.is_apart || matches!(store, Endpoint::Unix(_)) {
            env.remove(TLS_VARIABLE);
        }
        let becomes = if self.is_apart { ground.becomes(order, &mut env) } else { None };
        env.extend(order.role.environment.clone());
        env.extend(order.role.port_variables());
        let endpoint = Endpoint::Unix(self.socket()).to_string();
        let mut ours = vec![
            ("MAINSPRING_ENDPOINT", endpoint),
            ("MAINSPRING_TOKEN_FILE", text(&self.token_file())),
            ("MAINSPRING_STORE", store.to_string()),
            ("MAINSPRING_APPLICATION", group.application.id.to_string()),
            ("MAINSPRING_GENERATION", group.application.generation.to_string()),
            (WORK_DIR_VARIABLE, text(&self.work)),
        ];
        match group.kind {
            Kind::Contender => ours.extend([
                ("MAINSPRING_CONTENDER", contender(host, group.number)),
                ("MAINSPRING_STATE_DIR", text(places.state())),
            ]),
            Kind::Cluster | Kind::Attempt => {
                ours.push(("MAINSPRING_INCARNATION", group.number.to_string()))
            }
        }
        if order.role.serves_jobs {
            ours.push(("MAINSPRING_JOBS_TOKEN_FILE", text(&self.jobs_token_file())));
        }
        if !order.traceparent.is_empty() {
            ours.push(("TRACEPARENT", order.traceparent.clone()));
        }
        env.extend(ours.into_iter().map(|(name, value)| (name.to_owned(), value)));
        TetherSpec {
            argv: order.role.command.clone(),
            env,
            cwd: self.work.clone(),
            socket: self.keeper_socket(order.start),
            owner: key.mint(&owner(group)),
            grace_ms: u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX),
            lock_file: None,
            lock_wait_ms: default_lock_wait_ms(),
            output_dir: self.output_dir(order.start),
            exit_file: self.exit_file(order.start),
            becomes,
            // A contender does not yield, because its work is to renew its lease in time.
            yields: group.kind != Kind::Contender,
            owner_mark: places.owner_mark(&group.application, group.kind, group.number),
        }
    }
}

/// The name of a contender among those of its application.
fn contender(host: Option<&str>, index: u64) -> String {
    match host {
        Some(host) => format!("{host}/runner-{index}"),
        None => format!("runner-{index}"),
    }
}

fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
