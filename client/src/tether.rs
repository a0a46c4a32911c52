//! A process under a tether: starting one, owning it, and taking over one that an earlier owner has
//! left.
//!
//! This file spawns `mainspring tether` and nothing else, and every process that runs for an
//! application is a tether or descends from one. Apart from the tether itself, only the CLI (the
//! host's processes, and engine executables that it asks) and an engine's own set-up and launch
//! start processes.
#![allow(clippy::disallowed_methods, reason = "the one file that spawns tethers")]

pub mod last_words;
pub mod output;
mod spec;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use chassis::channel::{self, GrpcChannel};
use chassis::clock::{Boot, Clock as _, SharedClock};
use chassis::credential::Credential;
use chassis::tasks::detached;
use chassis::transport::{Endpoint, SharedTransport};
use futures::StreamExt as _;
use proto::tether::tether_service_client::TetherServiceClient;
use proto::tether::{
    Claim, EndRequest, Lease, OwnRequest, OwnResponse, ReadOutputRequest, ReadOutputResponse,
};
use proto::tether::{OutputStream as WireStream, ReleaseRequest, own_request, own_response};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use crate::error::CallError;

pub use last_words::LastWords;
pub use output::{Chunk, OutputReader, Stream};
pub use spec::{Exit, OWNER_VARIABLE, TetherSpec, WORK_DIR_VARIABLE, default_lock_wait_ms};

/// How long a tether may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A tether could not be started.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TetherError {
    /// A file of the tether could not be written, or the executable could not be run.
    #[error("cannot {what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        error: Arc<io::Error>,
    },
    /// The tether left before it listened.
    #[error("the tether left before it listened ({status}): {said}")]
    Left {
        /// How the tether exited.
        status: String,
        /// The end of the tether's log.
        said: String,
    },
    /// The tether runs and does not listen.
    #[error("the tether does not listen on {0} after {START_TIMEOUT:?}")]
    Silent(Endpoint),
}

/// A client of one tether; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tether {
    inner: TetherServiceClient<GrpcChannel>,
    endpoint: Endpoint,
}

/// Starts a tether and waits until it listens. Nothing runs under the tether until an owner
/// [claims](Tether::own) it, and a tether that no owner claims within a minute leaves. The
/// directories of the spec are made (0700). The spec file holds the owner's token and the child's
/// environment, so only its user may read it, and the tether removes it.
pub async fn spawn(
    spec: &TetherSpec,
    mainspring: &Path,
    transport: SharedTransport,
    clock: SharedClock,
) -> Result<Tether, TetherError> {
    let spec_file = write_spec(spec).map_err(failed("write the tether's spec"))?;
    let log_path = spec.output_dir.join("tether.log");
    let log = File::create(&log_path).map_err(failed("create the tether's log"))?;
    let stderr = log.try_clone().map_err(failed("create the tether's log"))?;
    let mut command = tokio::process::Command::new(mainspring);
    command
        .args(["tether".as_ref(), "--spec".as_ref(), spec_file.as_os_str()])
        .env_clear()
        .env(OWNER_VARIABLE, &spec.owner_mark)
        // The working directory tells the tethers of one owner mark apart, for a caller that ends
        // one process of several.
        .envs(spec.env.get_key_value(WORK_DIR_VARIABLE))
        .envs(std::env::var_os("MAINSPRING_LOG").map(|levels| ("MAINSPRING_LOG", levels)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(stderr)
        .kill_on_drop(false);
    let what = format!("start {}", mainspring.display());
    let mut process = command.spawn().map_err(failed(&what))?;

    let endpoint = Endpoint::Unix(spec.socket.clone());
    let end = clock.boot() + START_TIMEOUT;
    let mut pause = Duration::from_millis(1);
    while transport.connect(&endpoint).await.is_err() {
        if let Ok(Some(status)) = process.try_wait() {
            let said = fs::read_to_string(&log_path).unwrap_or_default();
            let said = said
                .trim_end()
                .chars()
                .rev()
                .take(2000)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect();
            return Err(TetherError::Left { status: status.to_string(), said });
        }
        if clock.boot() >= end {
            // The tether has no child yet, so nothing else is lost with it.
            let _ = process.kill().await;
            return Err(TetherError::Silent(endpoint));
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    let why = "a tether outlives its owner, and stays as a zombie until its exit status is taken";
    detached("exit status of a tether", why, async move {
        let _ = process.wait().await;
    });
    Ok(Tether::connect(endpoint, spec.owner.clone(), transport, clock))
}

/// Writes the spec beside the output, 0600, and makes the directories that the spec names.
fn write_spec(spec: &TetherSpec) -> io::Result<std::path::PathBuf> {
    let parents = [&spec.socket, &spec.exit_file].into_iter().filter_map(|file| file.parent());
    let lock = spec.lock_file.as_deref().and_then(Path::parent);
    for directory in parents.chain(lock).chain([spec.output_dir.as_path()]) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let path = spec.output_dir.join("spec.json");
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let text = serde_json::to_vec(spec).map_err(io::Error::other)?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(&text)?;
    Ok(path)
}

fn failed(what: &str) -> impl FnOnce(io::Error) -> TetherError {
    let what = what.to_owned();
    move |error| TetherError::Io { what, error: Arc::new(error) }
}

impl Tether {
    /// A client of the tether at `endpoint`. This returns at once, because the first call connects.
    /// A tether that has left answers `Unavailable`.
    pub fn connect(
        endpoint: Endpoint,
        credential: Credential,
        transport: SharedTransport,
        clock: SharedClock,
    ) -> Self {
        Self::new(channel::connect(transport, clock, endpoint, Some(credential)))
    }

    /// A client over a channel that carries the tether's token.
    pub fn new(channel: GrpcChannel) -> Self {
        let endpoint = channel.endpoint().clone();
        Self { inner: TetherServiceClient::new(channel), endpoint }
    }

    /// Where the tether listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Claims the tether, replacing an earlier owner. With `start` the tether starts its child
    /// unless it has done so before. With a `lease` the tree is frozen past that instant, see
    /// [`Owned::set_deadline`]; without one the tree runs for as long as the owner is connected.
    pub async fn own(&self, start: bool, lease: Option<Boot>) -> Result<Owned, CallError> {
        let (deadline, deadlines) = watch::channel(lease);
        let claim = own_request::Message::Claim(Claim { start, lease: lease.map(wire_lease) });
        let renewals = WatchStream::from_changes(deadlines).filter_map(|deadline| async move {
            deadline.map(|at| own_request::Message::Lease(wire_lease(at)))
        });
        let requests = tokio_stream::once(claim)
            .chain(renewals)
            .map(|message| OwnRequest { message: Some(message) });
        let answers = self.inner.clone().own(requests).await?.into_inner();
        Ok(Owned { answers, deadline: Deadline(Arc::new(deadline)) })
    }

    /// Ends the tree: everything below the tether gets SIGTERM, and SIGKILL after `kill_after`.
    /// This returns when nothing is left.
    pub async fn end(&self, kill_after: Duration) -> Result<Exit, CallError> {
        let kill_after_wire = prost_types::Duration {
            seconds: i64::try_from(kill_after.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(kill_after.subsec_nanos()).unwrap_or(0),
        };
        let mut request = tonic::Request::new(EndRequest { kill_after: Some(kill_after_wire) });
        // Nothing outlives SIGKILL for long, so the bound is for a tether that hangs.
        request.set_timeout(kill_after + Duration::from_secs(30));
        let answer = self.inner.clone().end(request).await?.into_inner();
        Ok(answer.exited.unwrap_or_default().into())
    }

    /// The child's output from an offset on. With `follow` it goes on until the tree has ended and
    /// all is read.
    pub async fn read_output(&self, offset: u64, follow: bool) -> Result<Output, CallError> {
        let answers = self
            .inner
            .clone()
            .read_output(ReadOutputRequest { offset, follow })
            .await?
            .into_inner();
        Ok(Output { answers })
    }

    /// Says that the owner has recorded what it needs, so that the tether removes its socket and
    /// leaves. The tether refuses while the tree lives.
    pub async fn release(&self) -> Result<(), CallError> {
        self.inner.clone().release(ReleaseRequest {}).await?;
        Ok(())
    }
}

fn wire_lease(deadline: Boot) -> Lease {
    Lease { deadline_boot_nanos: deadline.as_nanos() }
}

/// What happens to an owned tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TetherEvent {
    /// The child runs.
    Started {
        /// The child's process id.
        pid: u32,
    },
    /// The lease ran out, and the tree is stopped.
    Frozen,
    /// A later deadline arrived, and the tree runs again.
    Thawed,
    /// The tree has ended, and nothing of it is left.
    Exited(Exit),
}

/// The ownership of a tether. A tether has one owner at a time, and the owner is a connection:
/// dropping this value breaks the connection, and the grace of the tree begins to run.
#[derive(Debug)]
pub struct Owned {
    answers: tonic::Streaming<OwnResponse>,
    deadline: Deadline,
}

impl Owned {
    /// The next event; `None` when the tether has left. Cancelling the wait loses nothing. The
    /// error is `Aborted` `TETHER_REPLACED` when another owner has claimed the tether.
    pub async fn next(&mut self) -> Result<Option<TetherEvent>, CallError> {
        loop {
            let Some(answer) = self.answers.message().await? else { return Ok(None) };
            return Ok(Some(match answer.message {
                Some(own_response::Message::Started(started)) => {
                    TetherEvent::Started { pid: started.pid }
                }
                Some(own_response::Message::Frozen(_)) => TetherEvent::Frozen,
                Some(own_response::Message::Thawed(_)) => TetherEvent::Thawed,
                Some(own_response::Message::Exited(exited)) => TetherEvent::Exited(exited.into()),
                // Only a newer tether sends such an event.
                None => continue,
            }));
        }
    }

    /// Sets until when the owner may act. Past this instant the tree is frozen, until a later
    /// deadline arrives.
    pub fn set_deadline(&self, deadline: Boot) {
        self.deadline.set(deadline);
    }

    /// A handle that sets deadlines from elsewhere, while [`next`](Self::next) waits here.
    pub fn deadline(&self) -> Deadline {
        self.deadline.clone()
    }
}

/// Hands deadlines to an owned tether; the latest one counts. On a broken ownership it has no
/// effect.
#[derive(Debug, Clone)]
pub struct Deadline(Arc<watch::Sender<Option<Boot>>>);

impl Deadline {
    /// Sets the deadline; see [`Owned::set_deadline`].
    pub fn set(&self, deadline: Boot) {
        self.0.send_replace(Some(deadline));
    }
}

/// Output of a child as it comes from its tether.
#[derive(Debug)]
pub struct Output {
    answers: tonic::Streaming<ReadOutputResponse>,
}

impl Output {
    /// The next chunk; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Chunk>, CallError> {
        let Some(answer) = self.answers.message().await? else { return Ok(None) };
        let stream = match answer.stream() {
            WireStream::Stderr => Stream::Stderr,
            WireStream::Stdout | WireStream::Unspecified => Stream::Stdout,
        };
        Ok(Some(Chunk {
            next_offset: answer.next_offset,
            stream,
            data: answer.data,
            lost_before: answer.lost_before,
            unix_nanos: answer.unix_nanos,
        }))
    }
}
