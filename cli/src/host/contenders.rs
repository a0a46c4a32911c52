//! What the host asks of lifecycle: to keep contenders for an application, to end what is left of
//! them, and of which applications there are clusters.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use chassis::channel::GrpcChannel;
use chassis::clock::{SharedClock, timeout};
use chassis::transport::{INSECURE_NETWORK_VARIABLE, TLS_VARIABLE};
use chassis::{cluster_grace, environment, shared_dir, telemetry};
use client::error::CallError;
use client::lifecycle::Lifecycle;
use proto::engine::{Readiness, RestartPolicy, Role, readiness};
use proto::lifecycle::{ProcessStatus, ProvisionContendersRequest};
use proto::{ApplicationRef, Code};

use crate::exit::Exit;

/// The exit codes of a contender whose application is clean, the same as those of `wait`. Lifecycle
/// does not start such a contender again.
const DONE: [i32; 4] = [0, 1, 3, 4];

/// The exit codes of a contender that gave up, because another start would meet the same error or
/// the same command line.
const GAVE_UP: [Exit; 2] = [Exit::GAVE_UP, Exit::USAGE];

/// The longest that one call may take.
const CALL: Duration = Duration::from_secs(60);

/// The longest that one call may take while the host is being ended, since the processes are killed
/// next anyway.
const LAST_CALL: Duration = Duration::from_secs(10);

/// The variables of the host that a contender needs to find places and programs, to log, and to be
/// tested. What tracing needs begins with `OTEL_` and is added apart.
const HANDED_ON: [&str; 17] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "MAINSPRING_LOG",
    "MAINSPRING_LOG_FORMAT",
    "MAINSPRING_FAILPOINTS",
    INSECURE_NETWORK_VARIABLE,
    TLS_VARIABLE,
    shared_dir::VARIABLE,
    cluster_grace::VARIABLE,
    "RUST_BACKTRACE",
];

/// Keeps contenders, by asking lifecycle to.
#[derive(Clone)]
pub(crate) struct Contenders {
    lifecycle: Lifecycle,
    clock: SharedClock,
    role: Role,
}

impl Contenders {
    /// Contenders run as `executable serve app-runner`; `environment` is added to what every
    /// process needs.
    pub(crate) fn new(
        channel: GrpcChannel,
        clock: SharedClock,
        executable: PathBuf,
        environment: BTreeMap<String, String>,
    ) -> Self {
        let mut variables: BTreeMap<String, String> = HANDED_ON
            .iter()
            .filter_map(|&name| Some((name.to_owned(), std::env::var(name).ok()?)))
            .collect();
        variables.extend(environment::of_engines());
        variables.extend(telemetry::variables());
        variables.extend(environment);
        let role = Role {
            name: "contender".to_owned(),
            command: vec![
                executable.to_string_lossy().into_owned(),
                "serve".into(),
                "app-runner".into(),
            ],
            environment: variables.into_iter().collect(),
            replicas: 1,
            readiness: Some(Readiness {
                timeout: None,
                probe: Some(readiness::Probe::GrpcHealth(true)),
            }),
            restart: RestartPolicy::Always.into(),
            fatal_exit_codes: GAVE_UP.map(|exit| i32::from(exit.code())).to_vec(),
            ..Role::default()
        };
        Self { lifecycle: Lifecycle::new(channel), clock, role }
    }

    /// Has lifecycle keep `count` contenders until the application is clean, as a part of the trace
    /// that `traceparent` names. A repeated call changes nothing; a call with another `wish` has
    /// contenders that gave up tried again.
    pub(crate) async fn keep(
        &self,
        application: &ApplicationRef,
        count: u32,
        wish: u64,
        traceparent: String,
    ) -> Result<(), CallError> {
        let request = ProvisionContendersRequest {
            application: Some(application.clone().into()),
            count,
            role: Some(Role { replicas: count, ..self.role.clone() }),
            traceparent,
            done_exit_codes: DONE.to_vec(),
            wish,
        };
        self.bounded(self.lifecycle.provision_contenders(request)).await.map(drop)
    }

    /// Ends what is left of an application's contenders, and answers what could not be ended.
    pub(crate) async fn end(&self, application: &ApplicationRef) -> Result<Vec<String>, CallError> {
        self.bounded(self.lifecycle.teardown_contenders(application)).await
    }

    /// The applications that lifecycle has contenders of, each with how many there are to be:
    /// lifecycle numbers contenders from 0 on, and one that has ended may be missing.
    pub(crate) async fn known(&self) -> Result<HashMap<ApplicationRef, u32>, CallError> {
        let mut known = HashMap::new();
        for contender in self.bounded(contenders(&self.lifecycle)).await? {
            let count = known.entry(contender.of).or_default();
            *count = contender.number.saturating_add(1).max(*count);
        }
        Ok(known)
    }

    async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        bounded(&self.clock, CALL, call).await
    }
}

/// Ends the contenders of all applications but these, before the host is ended: contenders that
/// neither `up` nor lifecycle had torn down by then would stay until the next `up`. Contenders that
/// gave up are forgotten for these applications too, so that the next `up` tries them again. A
/// teardown that is already under way is waited for. What cannot be done is logged and left.
pub(crate) async fn end_all_but(
    unclean: &HashSet<ApplicationRef>,
    channel: GrpcChannel,
    clock: &SharedClock,
) {
    let lifecycle = Lifecycle::new(channel);
    let known = match bounded(clock, LAST_CALL, contenders(&lifecycle)).await {
        Ok(known) => known,
        Err(error) => return tracing::warn!("lifecycle does not tell its processes: {error}"),
    };
    let is_over = |known: &Contender| known.gave_up || !unclean.contains(&known.of);
    let over: HashSet<ApplicationRef> =
        known.into_iter().filter(is_over).map(|known| known.of).collect();
    let ends = over.iter().map(async |application| {
        match bounded(clock, LAST_CALL, lifecycle.teardown_contenders(application)).await {
            Ok(left) => {
                left.iter().for_each(|left| tracing::warn!(%application, "left over: {left}"))
            }
            Err(error) => tracing::warn!(%application, "its contenders are not torn down: {error}"),
        }
    });
    futures::future::join_all(ends).await;
}

/// The applications that lifecycle has processes of clusters of, as far as it answers in time.
pub(crate) async fn with_clusters(
    channel: GrpcChannel,
    clock: &SharedClock,
) -> Result<BTreeSet<ApplicationRef>, CallError> {
    let lifecycle = Lifecycle::new(channel);
    let processes = bounded(clock, LAST_CALL, lifecycle.list_processes(None)).await?.into_iter();
    let of_clusters = processes.filter(|process| process.kind == "cluster");
    let of = |process: ProcessStatus| ApplicationRef::try_from(process.application).ok();
    Ok(of_clusters.filter_map(of).collect())
}

/// A contender that lifecycle has.
struct Contender {
    of: ApplicationRef,
    number: u32,
    gave_up: bool,
}

async fn contenders(lifecycle: &Lifecycle) -> Result<Vec<Contender>, CallError> {
    let processes: Vec<ProcessStatus> = lifecycle.list_processes(None).await?;
    let contenders = processes.into_iter().filter(|process| process.kind == "contender");
    let read = |process: ProcessStatus| {
        let gave_up = process.status.is_some_and(|status| status.gave_up);
        let number = u32::try_from(process.number).ok()?;
        Some(Contender { of: process.application.try_into().ok()?, number, gave_up })
    };
    Ok(contenders.filter_map(read).collect())
}

async fn bounded<T>(
    clock: &SharedClock,
    within: Duration,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    match timeout(clock, within, call).await {
        Ok(answer) => answer,
        Err(elapsed) => {
            Err(CallError::new(Code::DeadlineExceeded, format!("lifecycle gave {elapsed}")))
        }
    }
}
