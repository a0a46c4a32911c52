//! One service of the host: finding the process that serves as it, starting one, asking whether it
//! is ready, ending it.
#![allow(
    clippy::disallowed_methods,
    reason = "starts the services of the host, which have to outlive `up`"
)]

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chassis::channel::connect;
use chassis::clock::{Clock as _, SharedClock, timeout};
use chassis::credential::{Credential, Principal};
use chassis::run_as::{self, RunAs};
use chassis::shared_dir;
use chassis::telemetry::metrics::page;
use chassis::transport::{Endpoint, SharedTransport, Untrusted};
use client::health;
use client::places::Places;
use client::process_tree::{self, Process};
use rustix::process::Signal;
use tokio::process::{Child, Command};

use super::file::{Given, KeptBy, ServiceEntry};
use super::{build, log_file};
use crate::failure::{Failure, OrFailure};

/// How long a service may take until it is ready. A service that cannot start ends and is seen at
/// once; only one that gets no time from its machine, or from its disk, is waited for so long.
pub(crate) const START: Duration = Duration::from_secs(60);

/// How long a service may take to leave when it is asked to; then it is killed.
const LEAVE: Duration = Duration::from_secs(10);

/// The longest pause between looks at whether a process that is no child of ours lives.
const LOOK: Duration = Duration::from_millis(200);

/// How long one question for health may take.
const ASK: Duration = Duration::from_secs(2);

/// The variable that tells a child to begin a session of its own, so that the end of a terminal
/// does not end it.
pub(crate) const OWN_SESSION: &str = "MAINSPRING_OWN_SESSION";

/// The variable that bounds how many arenas glibc's allocator makes; other allocators do not read
/// it.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// Variables that belong to one application's process and must not reach a host that happens to be
/// started below such a process, or to `up` alone.
const FOREIGN: [&str; 17] = [
    "TRACEPARENT",
    "MAINSPRING_OWNER",
    "MAINSPRING_TOKEN_FILE",
    "MAINSPRING_EXECUTION_TOKEN_FILE",
    "MAINSPRING_JOBS_TOKEN_FILE",
    "MAINSPRING_ENDPOINT",
    "MAINSPRING_APPLICATION",
    "MAINSPRING_GENERATION",
    "MAINSPRING_EPOCH",
    "MAINSPRING_INCARNATION",
    "MAINSPRING_WORK_DIR",
    "MAINSPRING_LISTEN",
    page::VARIABLE,
    "MAINSPRING_STORE",
    "MAINSPRING_ELECTOR",
    "MAINSPRING_FETCHER",
    "MAINSPRING_LIFECYCLE",
];

/// How the host reaches its services. Verbs about the host itself use the same value, so that they
/// find each service where the running host has it.
#[derive(Clone)]
pub(crate) struct Reach {
    pub(crate) places: Places,
    pub(crate) transport: SharedTransport,
    pub(crate) clock: SharedClock,
    pub(crate) given: Given,
    /// The deployment's token, once there is a key to mint it from.
    credential: Arc<OnceLock<Credential>>,
    /// The user that the processes of applications run as.
    pub(crate) run_as: Option<RunAs>,
}

impl Reach {
    /// Reads the deployment's key, or makes one if there is none. One of several hosts may have no
    /// key before its store runs, which makes it or says what is missing.
    pub(crate) fn new(
        places: Places,
        transport: SharedTransport,
        clock: SharedClock,
        given: Given,
    ) -> OrFailure<Self> {
        let reach =
            Self { places, transport, clock, given, credential: Arc::default(), run_as: None };
        if let Err(error) = reach.read_credential()
            && !(reach.places.are_shared() && error.kind() == io::ErrorKind::NotFound)
        {
            return Err(Failure::of_state(error));
        }
        Ok(reach)
    }

    /// The deployment's token. The key is read once, and again only for as long as there is none.
    fn read_credential(&self) -> io::Result<Credential> {
        if let Some(known) = self.credential.get() {
            return Ok(known.clone());
        }
        let minted = self.places.key()?.mint(&Principal::Deployment);
        Ok(self.credential.get_or_init(|| minted).clone())
    }

    /// A host whose applications run as a user of their own.
    pub(crate) fn running_as(self, run_as: Option<RunAs>) -> Self {
        Self { run_as, ..self }
    }

    /// The variables that tell services and contenders of that user, and of what this host shares
    /// with others.
    pub(crate) fn told(&self) -> BTreeMap<String, String> {
        let [name, place] = run_as::VARIABLES;
        let user = self.run_as.iter().flat_map(|RunAs { user, directory }| {
            [(name, user.name.clone()), (place, directory.to_string_lossy().into_owned())]
        });
        let shared = self.places.shared().map(|shared| shared.to_string_lossy().into_owned());
        let shared = shared.map(|shared| (shared_dir::VARIABLE, shared));
        user.chain(shared).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The endpoint at which a service listens.
    pub(crate) fn endpoint(&self, name: &str) -> Endpoint {
        self.given.get(name).cloned().unwrap_or_else(|| self.places.service_endpoint(name))
    }

    /// A channel to a service.
    pub(crate) fn channel(&self, name: &str) -> chassis::channel::GrpcChannel {
        connect(
            self.transport.clone(),
            self.clock.clone(),
            self.endpoint(name),
            // Without a key a call is refused for what it lacks, and health needs no credential.
            self.read_credential().ok(),
        )
    }

    /// Why TLS lets no connection to a service come about, with the way out; `None` if it does, or
    /// if something else is in the way.
    pub(crate) async fn mistrust(&self, name: &str) -> Option<String> {
        let endpoint = self.endpoint(name);
        let connecting = self.transport.connect_trusted(&endpoint);
        let error = timeout(&self.clock, ASK, connecting).await.ok()?.err()?;
        Untrusted::is_cause_of(&error).then(|| error.to_string())
    }

    /// Whether a service says that it serves.
    pub(crate) async fn is_ready(&self, name: &str) -> bool {
        // Connecting to an absent socket costs microseconds, a channel to it much more.
        if self.transport.connect(&self.endpoint(name)).await.is_err() {
            return false;
        }
        timeout(&self.clock, ASK, health::is_serving(self.channel(name))).await.unwrap_or(false)
    }
}

/// A running service: a child of this process, or a process that was found.
#[derive(Debug)]
pub(crate) struct RunningService {
    pub(crate) name: &'static str,
    pub(crate) process: Process,
    kept_by: KeptBy,
    child: Option<Child>,
    /// The byte of its log from which on this process writes.
    said_from: u64,
}

impl RunningService {
    /// A process that was found.
    pub(crate) fn adopted(name: &'static str, found: ServiceProcess) -> Self {
        Self { name, process: found.process, kept_by: found.kept_by, child: None, said_from: 0 }
    }

    /// Whether an `up` has started the process, so that the host may end it.
    pub(crate) fn is_ours(&self) -> bool {
        self.kept_by == KeptBy::Up
    }

    /// What `host.json` says about it.
    pub(crate) fn entry(&self, places: &Places) -> ServiceEntry {
        ServiceEntry {
            endpoint: places.service_endpoint(self.name).to_string(),
            pid: self.process.pid,
            start_ticks: self.process.start_ticks,
            build: build::of_process(self.process.pid).unwrap_or_default(),
            kept_by: self.kept_by,
        }
    }

    /// Waits until the process has ended, and answers how it ended if it was a child.
    pub(crate) async fn ended(&mut self, clock: &SharedClock) -> String {
        let Some(child) = self.child.as_mut() else {
            ended(clock, &self.process).await;
            return "gone".to_owned();
        };
        match child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }
}

/// A process that serves as one of the host's services.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServiceProcess {
    pub(crate) process: Process,
    pub(crate) kept_by: KeptBy,
}

/// The processes that serve as `name` for this state directory, by their command lines, so that
/// even a service is found that no file names.
pub(crate) fn find(places: &Places, name: &str) -> io::Result<Vec<ServiceProcess>> {
    let state = places.state().as_os_str().as_bytes();
    let me = rustix::process::getuid().as_raw();
    let serves = |process: &Process| {
        !process.is_zombie()
            && is_service(process.pid, name, state)
            && owner(process.pid) == Some(me)
    };
    let found = process_tree::all()?.into_iter().filter(serves);
    Ok(found.map(|process| ServiceProcess { process, kept_by: kept_by(process.pid) }).collect())
}

/// The processes of [`find`] that an `up` started, because verbs end no others.
pub(crate) fn find_kept(places: &Places, name: &str) -> io::Result<Vec<Process>> {
    let found = find(places, name)?.into_iter();
    Ok(found.filter(|found| found.kept_by == KeptBy::Up).map(|found| found.process).collect())
}

/// Whether a service of the state directory was told of a directory that its host shares with
/// others.
pub(crate) fn any_is_shared(places: &Places) -> io::Result<bool> {
    let variable = format!("{}=", chassis::shared_dir::VARIABLE);
    let was_told = |found: &ServiceProcess| {
        let path = format!("/proc/{}/environ", found.process.pid);
        let environment = std::fs::read(path).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|told| {
            told.strip_prefix(variable.as_bytes()).is_some_and(|value| !value.is_empty())
        })
    };
    for name in super::SERVICES {
        if find(places, name)?.iter().any(was_told) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tells from the mark in a process's environment whether an `up` started it, because `up` has its
/// children begin a session of their own.
fn kept_by(pid: u32) -> KeptBy {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let marked = environment.split(|&byte| byte == 0).any(|variable| {
        variable.strip_prefix(OWN_SESSION.as_bytes()).is_some_and(|rest| rest == b"=1")
    });
    if marked { KeptBy::Up } else { KeptBy::Hand }
}

/// Whether a process was told what this host says of the user that applications run as, and of what
/// it shares with other hosts.
pub(crate) fn was_told_the_same(pid: u32, reach: &Reach) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let told = |name: &str| {
        let value = |variable: &[u8]| {
            let rest = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(String::from_utf8_lossy(rest).into_owned())
        };
        environment.split(|&byte| byte == 0).find_map(value)
    };
    let ours = reach.told();
    let mut names = run_as::VARIABLES.into_iter().chain([shared_dir::VARIABLE]);
    names.all(|name| told(name).as_ref() == ours.get(name))
}

fn owner(pid: u32) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(format!("/proc/{pid}")).ok().map(|metadata| metadata.uid())
}

fn is_service(pid: u32, name: &str, state: &[u8]) -> bool {
    let command_line = command_line(pid);
    let words: Vec<&[u8]> = command_line.split(|&byte| byte == 0).collect();
    matches!(words.as_slice(), [_, b"serve", service, b"--state-dir", directory, ..]
        if *service == name.as_bytes() && *directory == state)
}

/// Whether a process looks like an `up`, or `serve host`, regardless of its options.
pub(crate) fn is_up(pid: u32) -> bool {
    let line = command_line(pid);
    let words: Vec<&[u8]> = line.split(|&byte| byte == 0).skip(1).collect();
    matches!(words.as_slice(), [b"serve", b"host", ..]) || words.contains(&&b"up"[..])
}

/// The words of a process's command line, each ended by a zero; empty when the process is gone.
fn command_line(pid: u32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// Starts a service as a process of its own session. Its stderr is appended to
/// `<state>/<service>/log`.
pub(crate) fn start(
    reach: &Reach,
    name: &'static str,
    executable: &Path,
) -> Result<RunningService, String> {
    // The error names the directory, because the directory is what most often cannot be used.
    let directory = reach.places.service_state(name);
    spawn(reach, name, executable)
        .map_err(|error| format!("{name} cannot be started in {}: {error}", directory.display()))
}

fn spawn(reach: &Reach, name: &'static str, executable: &Path) -> io::Result<RunningService> {
    let directory = reach.places.service_state(name);
    make_directory(&directory)?;
    let log = log(&reach.places, name);
    log_file::cap(&log, log_file::MAX_BYTES)?;
    let stderr = log_file::open(&log)?;
    let said_from = stderr.metadata()?.len();
    let mut command = Command::new(executable);
    command
        .args(["serve", name, "--state-dir"])
        .arg(reach.places.state())
        .args(["--listen", &reach.endpoint(name).to_string()])
        .current_dir("/")
        .env(OWN_SESSION, "1")
        .envs(reach.told())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr);
    for variable in FOREIGN {
        command.env_remove(variable);
    }
    command.envs(give_back_memory());
    let child = command.spawn()?;
    let process = child
        .id()
        .and_then(Process::of)
        .ok_or_else(|| io::Error::other(format!("{name} is gone already")))?;
    Ok(RunningService { name, process, kept_by: KeptBy::Up, child: Some(child), said_from })
}

/// Has a process of the host give memory back once it has less to do. glibc's allocator makes an
/// arena for each thread that meets another one, up to eight for each core, and what a moment of
/// much work leaves in an arena stays there, because the holes are filled only by what the same
/// arena needs next. One arena is enough for a process that waits for disks and sockets. A value
/// that the operator has set is left alone.
pub(crate) fn give_back_memory() -> Option<(&'static str, &'static str)> {
    std::env::var_os(ARENAS).is_none().then_some((ARENAS, "1"))
}

/// Waits until a service serves; `Err` if it does not within the time that a start may take.
pub(crate) async fn answers(reach: &Reach, name: &str) -> Result<(), String> {
    let becomes_ready = async {
        let mut pause = Duration::from_millis(2);
        while !reach.is_ready(name).await {
            reach.clock.sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_millis(50));
        }
    };
    let answered = timeout(&reach.clock, START, becomes_ready).await;
    answered
        .map_err(|elapsed| format!("{name} is not ready at {}: {elapsed}", reach.endpoint(name)))
}

/// Waits until a service is ready; `Err` says how its process ended instead, or that it took too
/// long.
pub(crate) async fn ready(reach: &Reach, running: &mut RunningService) -> Result<(), String> {
    let name = running.name;
    let outcome = tokio::select! {
        answered = answers(reach, name) => answered,
        how = running.ended(&reach.clock) => Err(format!("{name} ended while it started ({how})")),
    };
    outcome.map_err(|error| {
        let words =
            log_file::last_words(&log(&reach.places, name), running.said_from).unwrap_or_default();
        if words.is_empty() { error } else { format!("{error}: {}", words.join("; ")) }
    })
}

/// Asks a process to leave, and kills it if it does not. Answers whether it had to be killed.
pub(crate) async fn end(clock: &SharedClock, process: &Process) -> bool {
    if !process.signal(Signal::TERM) {
        return false;
    }
    if timeout(clock, LEAVE, ended(clock, process)).await.is_ok() {
        return false;
    }
    process.signal(Signal::KILL);
    // A killed process is gone as soon as the kernel gets to it; the bound is for a process that
    // hangs in the kernel.
    let _ = timeout(clock, LEAVE, ended(clock, process)).await;
    true
}

/// Waits until exactly this process has ended (it may still be a zombie). The process need not be a
/// child of this one, and without `unsafe` the end of such a process can only be asked for again
/// and again.
pub(crate) async fn ended(clock: &SharedClock, process: &Process) {
    let mut pause = Duration::from_millis(2);
    while Process::of(process.pid)
        .is_some_and(|now| now.start_ticks == process.start_ticks && !now.is_zombie())
    {
        clock.sleep(pause).await;
        pause = (pause * 3 / 2).min(LOOK);
    }
}

/// The file that a service's stderr goes to.
pub(crate) fn log(places: &Places, name: &str) -> PathBuf {
    places.service_state(name).join("log")
}

/// Makes a directory that only its owner may enter; a directory that exists keeps its mode.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
