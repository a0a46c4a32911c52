//! `up` takes the lock, adopts the services that answer, starts those that are missing, supervises
//! and reconciles, and leaves a while after the last work.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chassis::BoxError;
use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, SharedClock};
use chassis::failpoint;
use chassis::tasks::{HowItEnded, Shutdown, TaskFailed, TaskSet};
use chassis::transport::Endpoint;
use client::admission::Admission;
use client::error::CallError;
use client::process_tree::Process;
use proto::Reason;
use proto::api::ListRequest;
use tokio::sync::{oneshot, watch};

use super::contenders::Contenders;
use super::file::{HostFile, KeptBy, ServiceEntry};
use super::lock::HostLock;
use super::queue;
use super::reconcile::{Company, Queue, Reconciler, Work};
use super::retention::{Retention, RetentionArgs};
use super::seat::Seat;
use super::service::{self, Reach, RunningService, ServiceProcess};
use super::supervise::{SharedHostFile, cap_logs, keep, watch_given};
use super::{ELECTOR, LIFECYCLE, SERVICES, STORE, Terms, build, metrics, option};
use crate::api::{Api, unclean_phases};
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};

/// How long a host waits for the first work, however short it lingers: the command that started the
/// host still has to submit it.
const FIRST_WORK: Duration = Duration::from_secs(10);

/// The shortest linger, so that the command which watched the last application can still read its
/// end.
const SHORTEST_LINGER: Duration = Duration::from_millis(500);

/// How long the store is asked, before the host leaves, whether anything is left to do.
const LAST_LOOK: Duration = Duration::from_secs(30);

/// How long tasks may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// How a host is to be run.
pub(crate) struct Upkeep {
    /// How long it stays after the last work.
    pub(crate) linger: Duration,
    pub(crate) terms: Terms,
    pub(crate) retention: RetentionArgs,
    /// Where the host shows its numbers, if it does.
    pub(crate) metrics: Option<Endpoint>,
}

/// Runs the host until a signal comes or nothing is left to do.
pub(crate) async fn run(
    reach: Reach,
    upkeep: Upkeep,
    shutdown: Shutdown,
    say: impl Fn(&str),
) -> OrFailure<Exit> {
    let places = &reach.places;
    let lock = HostLock::take(&places.host_lock(), &reach.clock).await;
    let unusable = |error| Failure::of_state(format!("{}: {error}", places.host_lock().display()));
    let Some(_lock) = lock.map_err(unusable)? else { return Err(runs_already(&reach)) };
    let page = match &upkeep.metrics {
        Some(endpoint) => Some(metrics::listen(endpoint).await?),
        None => None,
    };
    HostFile::remove(&places.host_file())?;
    let executable = std::env::current_exe()?;
    let began = reach.clock.boot();
    let running = bring_up(&reach, &executable).await?;
    let seat = match Seat::take(&reach).await {
        Ok(seat) => seat,
        Err(refused) => {
            end_services(&reach).await?;
            return Err(refused);
        }
    };
    failpoint::hit("up.services-ready").await;
    let me = Process::of(std::process::id())
        .ok_or_else(|| Failure::internal("/proc does not show this process"))?;
    let mut services: BTreeMap<_, _> =
        running.iter().map(|service| (service.name.to_owned(), service.entry(places))).collect();
    services.extend(reach.given.iter().map(|(name, at)| (name.clone(), ServiceEntry::given(at))));
    let file = HostFile {
        version: build::VERSION.to_owned(),
        build: build::ours(),
        protocol: proto::PROTOCOL,
        pid: me.pid,
        start_ticks: me.start_ticks,
        run_as: reach.run_as.as_ref().map(|run_as| run_as.user.name.clone()),
        services,
    };
    file.write(&places.host_file())?;
    let took = reach.clock.boot().saturating_duration_since(began);
    say(&format!("up after {:.2} s: {}", took.as_secs_f64(), places.state().display()));

    let (work, seen) = watch::channel(Work::default());
    let tasks = TaskSet::new(shutdown.clone(), reach.clock.clone());
    let file = SharedHostFile::new(file);
    for service in running {
        let name = service.name;
        tasks.spawn(
            name,
            until(shutdown.clone(), keep(reach.clone(), executable.clone(), service, file.clone())),
        );
    }
    if !reach.given.is_empty() {
        tasks.spawn("given services", until(shutdown.clone(), watch_given(reach.clone())));
    }
    if let Some(page) = page {
        tasks.spawn("metrics", metrics::serve(reach.clone(), page, shutdown.clone()));
    }
    tasks.spawn("logs", until(shutdown.clone(), cap_logs(reach.clone(), reach.clock.clone())));
    let api = Api::new(reach.channel(STORE), reach.clock.clone());
    let retention = Retention {
        api: api.clone(),
        places: reach.places.clone(),
        clock: reach.clock.clone(),
        args: upkeep.retention,
    };
    tasks.spawn("retention", until(shutdown.clone(), retention.run()));
    let contenders = Contenders::new(
        reach.channel(LIFECYCLE),
        reach.clock.clone(),
        executable,
        endpoints(&reach),
    );
    let company = seat.as_ref().map(|seat| Company::new(seat.me, seat.hosts.clone()));
    let (no_seat, mut refused) = oneshot::channel();
    if let Some(seat) = seat {
        tasks.spawn("seat", seat.keep(no_seat, shutdown.clone()));
    }
    let (waiting, in_line) = watch::channel(Queue::default());
    let admission = Admission::new(reach.channel(STORE));
    tasks.spawn(
        "queue",
        until(shutdown.clone(), queue::report(admission, in_line, reach.clock.clone())),
    );
    let reconciler = Reconciler::new(
        api,
        contenders,
        reach.clock.clone(),
        upkeep.terms,
        company,
        work,
        waiting,
    )?;
    tasks.spawn("reconcile", until(shutdown.clone(), reconciler.run()));
    // Of several hosts each is there for what the others may have to do at any moment.
    let is_shared = reach.places.are_shared();
    if !is_shared {
        tasks.spawn_job(
            "idle",
            leave_when_idle(seen.clone(), upkeep.linger, shutdown, reach.clock.clone()),
        );
    }
    let ended = match tasks.run(GRACE).await {
        // The task is in the log. That it was slow says nothing about the services.
        Err(TaskFailed { how: HowItEnded::Cut, .. }) => Ok(()),
        ended => ended,
    };
    let refused = refused.try_recv().ok();
    HostFile::remove(&places.host_file())?;

    // The last look comes after the file is gone, so that a command which submits after that look
    // finds no host and starts the next one. What other hosts do is no concern of this one's.
    let busy = seen.borrow().applications;
    let known = seen.borrow().known;
    let failed = ended.is_err() && refused.is_none();
    if busy > 0 {
        say(&format!(
            "leaving; the services stay for {busy} applications (mainspring down ends them)"
        ));
    } else if failed || !known || (!is_shared && may_be_busy(&reach).await) {
        say(
            "leaving; the services stay, because something may be left to do (mainspring down ends \
             them)",
        );
    } else {
        end_services(&reach).await?;
        say("nothing left to do: the host has ended");
    }
    if let Some(refused) = refused {
        return Err(refused.into());
    }
    ended.map_err(|error| Failure::internal(error.to_string()))?;
    Ok(Exit::SUCCEEDED)
}

/// The error for a lock that another process holds.
fn runs_already(reach: &Reach) -> Failure {
    let host = HostFile::read(&reach.places.host_file()).ok().flatten();
    let who = host
        .filter(|file| file.process().is_some())
        .map_or_else(|| "a host".to_owned(), |file| format!("a host (pid {})", file.pid));
    let text = format!("{who} runs already for {}", reach.places.state().display());
    Failure::new(Exit::REFUSED, Reason::HostRuns, text)
}

/// Ends a task that has no end of its own when the process is asked to end.
async fn until(
    shutdown: Shutdown,
    task: impl Future<Output = Result<(), BoxError>>,
) -> Result<(), BoxError> {
    tokio::select! {
        ended = task => ended,
        () = shutdown.begun() => Ok(()),
    }
}

/// The variables by which a contender finds the services; lifecycle adds the application.
fn endpoints(reach: &Reach) -> BTreeMap<String, String> {
    let state = reach.places.state().to_string_lossy().into_owned();
    let named = [
        ("MAINSPRING_STORE", STORE),
        ("MAINSPRING_ELECTOR", ELECTOR),
        ("MAINSPRING_FETCHER", "artifact-fetcher"),
        ("MAINSPRING_LIFECYCLE", LIFECYCLE),
    ];
    let mut variables: BTreeMap<_, _> = named
        .iter()
        .map(|(name, service)| ((*name).to_owned(), reach.endpoint(service).to_string()))
        .collect();
    variables.insert("MAINSPRING_STATE_DIR".to_owned(), state);
    variables.extend(reach.told());
    variables
}

/// Begins the shutdown once there has been nothing to do for the linger.
async fn leave_when_idle(
    mut work: watch::Receiver<Work>,
    linger: Duration,
    shutdown: Shutdown,
    clock: SharedClock,
) -> Result<(), BoxError> {
    let linger = linger.max(SHORTEST_LINGER);
    loop {
        let now = *work.borrow_and_update();
        let patience = if now.finished == 0 { linger.max(FIRST_WORK) } else { linger };
        let idle = now.known && now.applications == 0;
        tokio::select! {
            () = shutdown.begun() => return Ok(()),
            changed = work.changed() => if changed.is_err() {
                // The reconciler has gone. Whether it was meant to go is for the supervision of its
                // own task to say.
                shutdown.begun().await;
                return Ok(());
            },
            () = clock.sleep(patience), if idle => {
                tracing::info!("nothing to do for {patience:?}: leaving");
                shutdown.begin();
            }
        }
    }
}

/// Adopts the services that answer and are of this build (or cannot be replaced now), and starts
/// the others, all at once. Services whose endpoints were given only have to answer.
///
/// Several hosts have one key, and the store alone knows whether this host has it, or is to make
/// it. So the store of one of several hosts comes before the services that need the key.
async fn bring_up(reach: &Reach, executable: &Path) -> OrFailure<Vec<RunningService>> {
    for name in reach.given.keys() {
        service::answers(reach, name).await.map_err(|error| {
            Failure::new(Exit::UNREACHABLE, Reason::HostNotReachable, error)
                .help("its endpoint was given: start it, or leave the option out")
        })?;
    }
    if reach.given.contains_key(STORE) {
        // Such a store makes no key here.
        reach.places.key().map_err(|error| {
            Failure::new(Exit::UNREACHABLE, Reason::HostNotReachable, error.to_string())
        })?;
    }
    let mut found = Vec::new();
    for name in SERVICES.into_iter().filter(|&name| !reach.given.contains_key(name)) {
        found.push((name, service::find(&reach.places, name)?));
    }
    let ours = build::ours();
    let foreign = found
        .iter()
        .flat_map(|(_, all)| all)
        .any(|found| build::of_process(found.process.pid).as_ref() != Some(&ours));
    let replace = foreign && may_replace(reach).await?;
    let comes_first = |name: &str| reach.places.are_shared() && name == STORE;
    let (first, then): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(name, _)| comes_first(name));
    let mut running = Vec::new();
    for together in [first, then] {
        let each = together
            .into_iter()
            .map(|(name, processes)| one(reach, executable, name, processes, replace));
        let mut failed = None;
        for result in futures::future::join_all(each).await {
            match result {
                Ok(service) => running.push(service),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let Some(error) = failed else { continue };
        for service in &running {
            service::end(&reach.clock, &service.process).await;
        }
        return Err(Failure::new(Exit::UNREACHABLE, Reason::HostNotReachable, error));
    }
    Ok(running)
}

/// One service: the one process that answers, or a new process.
async fn one(
    reach: &Reach,
    executable: &Path,
    name: &'static str,
    found: Vec<ServiceProcess>,
    replace: bool,
) -> Result<RunningService, String> {
    let by_hand = found.iter().find(|found| found.kept_by == KeptBy::Hand);
    // A service that stayed as it is would start clusters as another user than the one that was
    // asked for, or keep their checkpoints where other hosts do not see them.
    let told_other =
        found.iter().any(|found| !service::was_told_the_same(found.process.pid, reach));
    if let (Some(ServiceProcess { process, .. }), true) = (by_hand, told_other) {
        return Err(format!(
            "{name} (pid {}) was started by hand with another MAINSPRING_RUN_AS or \
             MAINSPRING_SHARED_DIR than this host's: end it, or start both alike",
            process.pid
        ));
    }
    let replace = replace || told_other;
    if let [one] = found.as_slice()
        && (!replace || by_hand.is_some())
    {
        let mut adopted = RunningService::adopted(name, *one);
        if service::ready(reach, &mut adopted).await.is_ok() {
            tracing::info!(service = name, pid = one.process.pid, kept_by = ?one.kept_by, "adopted");
            return Ok(adopted);
        }
    }
    // Two processes cannot have one state directory, and a service that the operator started is not
    // ours to end.
    if let Some(ServiceProcess { process, .. }) = by_hand {
        return Err(format!(
            "{name} (pid {}) was started by hand for {} and does not answer at {}: name its endpoint with \
             --{}, or end it",
            process.pid,
            reach.places.state().display(),
            reach.endpoint(name),
            option(name)
        ));
    }
    for found in &found {
        service::end(&reach.clock, &found.process).await;
    }
    let mut running = service::start(reach, name, executable)?;
    match service::ready(reach, &mut running).await {
        Ok(()) => Ok(running),
        Err(error) => {
            service::end(&reach.clock, &running.process).await;
            Err(error)
        }
    }
}

/// Whether services of another build may be replaced: yes when they are idle; no when they are busy
/// and their protocol fits; otherwise that is an error.
async fn may_replace(reach: &Reach) -> OrFailure<bool> {
    if !reach.is_ready(STORE).await {
        return Ok(true);
    }
    let api = Api::new(reach.channel(STORE), reach.clock.clone());
    if !is_busy(&api).await? {
        return Ok(true);
    }
    let version = api.version().await?;
    if version.protocol.abs_diff(proto::PROTOCOL) <= 1 {
        return Ok(false);
    }
    let text = format!(
        "the host of {} runs {} (protocol {}), this is {} (protocol {}), and it has work",
        reach.places.state().display(),
        version.version,
        version.protocol,
        build::VERSION,
        proto::PROTOCOL
    );
    Err(Failure::new(Exit::REFUSED, Reason::HostIncompatible, text))
}

/// Whether the record holds an application that is not clean, or the store does not say whether it
/// does. Services that stay for nothing stay until the next command, so a store that answers late
/// is asked again.
async fn may_be_busy(reach: &Reach) -> bool {
    let api = Api::new(reach.channel(STORE), reach.clock.clone());
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    let end = reach.clock.boot() + LAST_LOOK;
    loop {
        match is_busy(&api).await {
            Ok(busy) => return busy,
            Err(error) if reach.clock.boot() >= end => {
                tracing::warn!("the store does not say what is left to do: {error}");
                return true;
            }
            Err(_) => reach.clock.sleep(backoff.next_delay()).await,
        }
    }
}

/// Whether the record holds an application that is not clean.
async fn is_busy(api: &Api) -> Result<bool, CallError> {
    let request = ListRequest { page_size: 1, phases: unclean_phases(), ..ListRequest::default() };
    Ok(!api.list(request).await?.applications.is_empty())
}

/// Ends all services that an `up` started for the state directory, in their order, and answers the
/// names of those that had to be killed.
pub(crate) async fn end_services(reach: &Reach) -> OrFailure<Vec<&'static str>> {
    let mut killed = Vec::new();
    for name in SERVICES {
        for process in service::find_kept(&reach.places, name)? {
            if service::end(&reach.clock, &process).await {
                killed.push(name);
            }
        }
    }
    Ok(killed)
}
