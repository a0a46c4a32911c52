//! Makes sure that a host runs: starts `up` in the background when `host.lock` is free, and waits
//! until `host.json` says that everything is ready.
#![allow(clippy::disallowed_methods, reason = "starts `up`, which has to outlive this process")]

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chassis::clock::{Boot, Clock as _, SharedClock};
use chassis::run_as;
use client::places::Places;
use proto::Reason;
use rustix::process::Signal;

use super::file::HostFile;
use super::lock::{Holder, holder};
use super::service::{self, OWN_SESSION, make_directory};
use super::{build, log_file};
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};

/// How long a host may take until it is ready. A host whose service fails to start says so and ends
/// long before, so this bound is for a machine that has no time for its processes: it has room for
/// two starts, in each of which a service may take [`service::START`].
const READY: Duration = Duration::from_secs(150);

/// How long a host of another build may take to leave.
const LEAVES: Duration = Duration::from_secs(30);

/// How often `host.json` is looked for.
const LOOK: Duration = Duration::from_millis(3);

/// How often `up` is started. The second start is for an `up` that is leaving and still holds the
/// lock when the first one looks at it.
const STARTS: u32 = 2;

/// How often a lock is looked at again that names a process which is not there. A killed `up` is
/// named until the next one has written over its id, and an `up` in another container looks like
/// that all the time.
const DOUBTS: u32 = 100;

/// The size above which the log of a background `up` begins anew.
const MAX_LOG_BYTES: u64 = 1024 * 1024;

/// How long the start of the host took, if it had to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Started(pub(crate) Option<Duration>);

/// Returns when a host of this build, or one that works with it, is ready.
pub(crate) async fn ensure(places: &Places, clock: &SharedClock) -> OrFailure<Started> {
    let began = clock.boot();
    make_directory(places.state())
        .map_err(|error| Failure::of_state(format!("{}: {error}", places.state().display())))?;
    let mut up: Option<Child> = None;
    let mut starts = 0;
    // The byte in the log of `up` from which on this start's host writes.
    let mut said_from = None;
    let (mut replaced, mut doubts) = (false, 0);
    loop {
        match holder(&places.host_lock())? {
            Holder::Held(Some(pid)) => {
                let said = HostFile::read(&places.host_file()).map_err(damaged)?;
                let said = said.filter(|file| file.pid == pid);
                doubts += u32::from(said.as_ref().is_some_and(|file| file.process().is_none()));
                if let Some(file) = said.filter(|file| file.process().is_some() || doubts > DOUBTS)
                {
                    if file.build == build::ours() || replaced {
                        let started =
                            up.is_some().then(|| clock.boot().saturating_duration_since(began));
                        return fits(&file, places).map(|()| Started(started));
                    }
                    replaced = true;
                    replace(&file, clock).await;
                    continue;
                }
            }
            Holder::Held(None) => {}
            Holder::Free => {
                let gone = match up.as_mut() {
                    None => true,
                    Some(child) => child.try_wait()?.is_some(),
                };
                if gone && starts == STARTS {
                    return Err(not_started(places, said_from, "the host ended while it started"));
                }
                if gone {
                    let (child, from) = start(places)?;
                    up = Some(child);
                    said_from = said_from.or(Some(from));
                    starts += 1;
                }
            }
        }
        wait(clock, began, places, said_from).await?;
    }
}

/// The error for a damaged `host.json`. The host itself works on, but the file no longer tells
/// which processes it is made of.
fn damaged(error: std::io::Error) -> Failure {
    Failure::new(Exit::REFUSED, Reason::DataCorrupt, error.to_string())
        .help("mainspring down --yes ends the host; the next command starts it again, and applications go on")
}

async fn wait(
    clock: &SharedClock,
    began: Boot,
    places: &Places,
    said_from: Option<u64>,
) -> OrFailure<()> {
    if clock.boot().saturating_duration_since(began) > READY {
        let what = format!("the host is not ready after {} s", READY.as_secs());
        return Err(not_started(places, said_from, &what));
    }
    clock.sleep(LOOK).await;
    Ok(())
}

/// Asks a host of another build to leave. The host ends its services if it is idle, and the `up`
/// that is started next adopts what remains.
async fn replace(file: &HostFile, clock: &SharedClock) {
    if let Some(process) = file.process() {
        process.signal(Signal::TERM);
        // A host that does not leave is used if its protocol fits, which the caller checks next.
        let _ = chassis::clock::timeout(clock, LEAVES, service::ended(clock, &process)).await;
    }
}

fn fits(file: &HostFile, places: &Places) -> OrFailure<()> {
    runs_as_wished(file, places, std::env::var(run_as::VARIABLES[0]).ok())?;
    if file.protocol.abs_diff(proto::PROTOCOL) <= 1 {
        return Ok(());
    }
    let text = format!(
        "the host of {} is version {} with protocol {}; this is {} with protocol {}",
        places.state().display(),
        file.version,
        file.protocol,
        build::VERSION,
        proto::PROTOCOL
    );
    Err(Failure::new(Exit::REFUSED, Reason::HostIncompatible, text))
}

/// Refuses another user than the host's, because a host cannot change the user that its processes
/// run as, and the process that runs with more rights than wished for would give no sign of it.
fn runs_as_wished(file: &HostFile, places: &Places, wished: Option<String>) -> OrFailure<()> {
    let Some(wished) =
        wished.filter(|wished| !wished.is_empty() && file.run_as.as_ref() != Some(wished))
    else {
        return Ok(());
    };
    let theirs = file
        .run_as
        .as_ref()
        .map_or_else(|| "its own user".to_owned(), |user| format!("user {user}"));
    let text = format!(
        "the host of {} runs applications as {theirs}, not as {wished} ({})",
        places.state().display(),
        run_as::VARIABLES[0]
    );
    Err(Failure::new(Exit::REFUSED, Reason::HostIncompatible, text)
        .help("mainspring down ends it; the next command starts one that does"))
}

fn not_started(places: &Places, said_from: Option<u64>, what: &str) -> Failure {
    let log = up_log(places);
    let mut failure = Failure::new(
        Exit::UNREACHABLE,
        Reason::HostNotReachable,
        format!("{what}; its log is {}", log.display()),
    );
    for line in log_file::last_words(&log, said_from.unwrap_or_default()).unwrap_or_default() {
        failure = failure.detail(format!("| {line}"));
    }
    failure
}

/// Whether no process is `up`.
pub(crate) fn is_gone(places: &Places) -> bool {
    matches!(holder(&places.host_lock()), Ok(Holder::Free))
}

/// The file that a background `up` writes to.
pub(crate) fn up_log(places: &Places) -> PathBuf {
    places.state().join("up.log")
}

/// Starts `up` in the background. Answers with the process and with the byte of the log from which
/// on this process writes.
fn start(places: &Places) -> OrFailure<(Child, u64)> {
    let path = up_log(places);
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES) {
        std::fs::remove_file(&path)?;
    }
    let log = options
        .open(&path)
        .map_err(|error| Failure::of_state(format!("{}: {error}", path.display())))?;
    let said_from = log.metadata()?.len();
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["up", "--state-dir"])
        .arg(places.state())
        .current_dir("/")
        .env(OWN_SESSION, "1")
        .envs(service::give_back_memory())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    for (variable, _) in std::env::vars_os() {
        // The options of the verb that starts the host are not meant for the host.
        if variable.to_str().is_some_and(is_option_of_a_verb) {
            command.env_remove(variable);
        }
    }
    Ok((command.spawn()?, said_from))
}

/// Whether the variable is the twin of an option that says how one command prints, or which host
/// the command asks.
fn is_option_of_a_verb(variable: &str) -> bool {
    [
        "MAINSPRING_FORMAT",
        "MAINSPRING_QUIET",
        "MAINSPRING_COLOR",
        "MAINSPRING_PROGRESS",
        "MAINSPRING_CONTEXT",
    ]
    .contains(&variable)
}
