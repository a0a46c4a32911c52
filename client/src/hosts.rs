//! Which hosts of a deployment are there. An [`Attendance`] is a host's own seat among them: a task
//! renews the seat for as long as the value lives, takes it again when the elector was away, and
//! tells which hosts have one.

mod stream;

use std::time::{Duration, SystemTime};

use chassis::MAX_MESSAGE_BYTES;
use chassis::backoff::Backoff;
use chassis::channel::GrpcChannel;
use chassis::clock::{Clock as _, SharedClock};
use chassis::tasks::{OwnedTask, owned};
use chassis::telemetry::trace;
use proto::election::hosts_service_client::HostsServiceClient;
use proto::election::{self as wire, ListHostsRequest};
use proto::{Place, Reason};
use tokio::sync::{oneshot, watch};
use tonic::Code;

use crate::error::CallError;
use stream::Stream;

/// How long a list may take: an elector goes from member to member of etcd for eight seconds.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// The shortest pause between two tries to reach the elector.
const RETRY_MIN: Duration = Duration::from_millis(100);

/// The longest pause between two tries. It is well below the lease of a seat, so that an elector
/// which is back finds its hosts before they are missed.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Client of the hosts of one deployment; cheap to clone.
#[derive(Clone)]
pub struct Hosts {
    inner: HostsServiceClient<GrpcChannel>,
    clock: SharedClock,
}

/// A host that has a seat.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    /// Which host it is.
    pub place: Place,
    /// The version of its build.
    pub version: String,
    /// When it took the seat, by the elector's wall clock.
    pub since: SystemTime,
}

impl Hosts {
    /// A client over a channel that carries the deployment's credential.
    pub fn new(channel: GrpcChannel, clock: SharedClock) -> Self {
        let inner = HostsServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner, clock }
    }

    /// Attends as a host, with the version of its build. It has to be called inside the runtime,
    /// because a task renews in the background. While the elector is away the task asks again, for
    /// as long as the attendance lives.
    pub fn attend(&self, place: Place, version: impl Into<String>) -> Attendance {
        let host = wire::Host { place: Some(place.into()), version: version.into(), since: None };
        let (present, hosts) = watch::channel(Vec::new());
        let (refused, refusal) = watch::channel(None);
        let (leave, leaves) = oneshot::channel();
        let keeper = Keeper { hosts: self.clone(), host, present, refused };
        let task = owned("attendance", trace::carry(keeper.keep(leaves)));
        Attendance { hosts, refusal, leave, task }
    }

    /// The hosts that have a seat, by name.
    pub async fn list(&self) -> Result<Vec<Host>, CallError> {
        let mut request = tonic::Request::new(ListHostsRequest {});
        request.set_timeout(LIST_TIMEOUT);
        let listed = self.inner.clone().list_hosts(request).await?.into_inner();
        Ok(read(listed.hosts))
    }
}

/// The hosts of an answer. A place that this build cannot read is no host to it.
fn read(hosts: Vec<wire::Host>) -> Vec<Host> {
    let read = |wire::Host { place, version, since }| match Place::read(place) {
        Ok(Some(place)) => {
            let since = since.and_then(|since| SystemTime::try_from(since).ok());
            Some(Host { place, version, since: since.unwrap_or(SystemTime::UNIX_EPOCH) })
        }
        Ok(None) => None,
        Err(error) => {
            tracing::warn!(%error, "a host is left out");
            None
        }
    };
    hosts.into_iter().filter_map(read).collect()
}

/// A host's seat. The seat is kept for as long as this value lives; a value that is dropped leaves
/// the seat to its lease at the latest.
pub struct Attendance {
    hosts: watch::Receiver<Vec<Host>>,
    refusal: watch::Receiver<Option<CallError>>,
    leave: oneshot::Sender<()>,
    task: OwnedTask<()>,
}

impl Attendance {
    /// All hosts that have a seat, by name, as the elector has told last. Empty means that it has
    /// told nothing yet, because this host is one of them. While the elector is away the hosts stay
    /// as they were told.
    pub fn hosts(&self) -> watch::Receiver<Vec<Host>> {
        self.hosts.clone()
    }

    /// Waits until this host is refused a seat for good, and says why: `HOST_NAME_TAKEN`,
    /// `HOST_SUPERSEDED`, or that the elector does not take the call at all. Nothing renews the
    /// seat then. Waits for ever while the host attends, or tries to.
    pub async fn refused(&self) -> CallError {
        let mut refusal = self.refusal.clone();
        match refusal.wait_for(Option::is_some).await.map(|refusal| refusal.clone()) {
            Ok(Some(error)) => error,
            // The task ended by a panic, which is in the log.
            _ => CallError::new(Code::Internal, "the attendance's task ended without a word"),
        }
    }

    /// Gives the seat up, so that no one waits for its lease. The call is bounded.
    pub async fn leave(self) {
        let Self { leave, task, .. } = self;
        // The send fails when the task has ended, and then there is no seat.
        let _ = leave.send(());
        let _ = task.await;
    }
}

/// The task of one attendance.
struct Keeper {
    hosts: Hosts,
    host: wire::Host,
    present: watch::Sender<Vec<Host>>,
    refused: watch::Sender<Option<CallError>>,
}

impl Keeper {
    /// Keeps the seat until it is left, or refused for good.
    async fn keep(self, mut leaves: oneshot::Receiver<()>) {
        let clock = &self.hosts.clock;
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            let opened = tokio::select! {
                _ = &mut leaves => return,
                opened = Stream::open(&self.hosts, &self.host) => opened,
            };
            let error = match opened {
                Ok(mut stream) => {
                    let broke = tokio::select! {
                        _ = &mut leaves => None,
                        error = self.stay(&mut stream, &mut backoff) => Some(error),
                    };
                    match broke {
                        Some(error) => error,
                        None => return stream.leave(clock).await,
                    }
                }
                Err(error) => error,
            };
            if is_final(&error) {
                tracing::warn!("this host attends no more: {error}");
                self.refused.send_replace(Some(error));
                return;
            }
            tracing::debug!("this host attends again soon: {error}");
            tokio::select! {
                _ = &mut leaves => return,
                () = clock.sleep(backoff.next_delay()) => {}
            }
        }
    }

    /// Renews on one stream, and tells what is heard, until the stream breaks.
    async fn stay(&self, stream: &mut Stream, backoff: &mut Backoff) -> CallError {
        self.tell(stream.take_first());
        loop {
            match stream.hear(&self.hosts.clock).await {
                Ok(hosts) => {
                    // A stream that broke after its first answer is opened ever more slowly.
                    backoff.reset();
                    self.tell(hosts);
                }
                Err(error) => return error,
            }
        }
    }

    fn tell(&self, hosts: Vec<Host>) {
        self.present.send_if_modified(|known| {
            let changed = *known != hosts;
            *known = hosts;
            changed
        });
    }
}

/// Whether another try would be refused as well. Everything else may go by: an elector that is
/// away, an etcd that has no room.
fn is_final(error: &CallError) -> bool {
    let refused = matches!(
        error.code(),
        Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
    );
    refused || matches!(error.reason(), Some(Reason::HostNameTaken | Reason::HostSuperseded))
}

#[cfg(test)]
mod tests;
