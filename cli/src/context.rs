//! Contexts: named ways to the hosts of other deployments, as kubeconfig has them for clusters.
//! With a context the command talks to a store of one of those hosts, and to nothing else: the
//! command starts no host, ends none, and reads no state directory.

mod choice;
mod credential;
pub(crate) mod file;
mod hosts;
mod transport;
pub(crate) mod update;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::channel::GrpcChannel;
use chassis::clock::{Clock as _, SharedClock};
use chassis::transport::Endpoint;
use proto::Reason;
use tokio::sync::OnceCell;

pub(crate) use self::choice::{Asked, LOCAL, Origin};
use self::choice::{Choice, choose};
use self::file::{Context, Contexts};
use self::hosts::{Hosts, Said, Silence};
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::output::{Output, Style};

/// How long hosts that have answered may be away before a command that waits gives up.
const AWAY: Duration = Duration::from_secs(30);

/// The hosts of the context that was chosen, as one command talks to them.
pub(crate) struct Elsewhere {
    context: Context,
    /// Made at the first call, because a command may have to be asked for the credential.
    hosts: OnceCell<Arc<Hosts>>,
    /// The channel to the host that answered last.
    channel: Mutex<Option<GrpcChannel>>,
    /// Whether it was said which host answers.
    told: AtomicBool,
}

/// The context that was asked for or is current; `None` where this machine's host is meant.
pub(crate) fn chosen(asked: &Asked) -> OrFailure<Option<Elsewhere>> {
    let named = match choose(asked)? {
        Choice::Local => return Ok(None),
        Choice::Named(name) => Some(name),
        Choice::Current => None,
    };
    let (contexts, directory) = match file::path()? {
        Some(path) => {
            let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
            (file::read(&path)?, directory)
        }
        None => Default::default(),
    };
    let name = named.or_else(|| contexts.current.clone()).filter(|name| name != LOCAL);
    let Some(name) = name else { return Ok(None) };
    let context = contexts.find(&name).ok_or_else(|| unknown(&name, &contexts))?;
    Ok(Some(Elsewhere::new(context.resolved(&directory))))
}

/// The name of the context that the command line, the environment or the file chooses.
pub(crate) fn in_use(asked: &Asked, contexts: &Contexts) -> OrFailure<String> {
    Ok(match choose(asked)? {
        Choice::Local => LOCAL.to_owned(),
        Choice::Named(name) => name,
        Choice::Current => contexts.current.clone().unwrap_or_else(|| LOCAL.to_owned()),
    })
}

/// The failure for a name that no context has.
pub(crate) fn unknown(name: &str, contexts: &Contexts) -> Failure {
    let names = contexts.contexts.iter().map(|context| context.name.as_str());
    let there: Vec<_> = names.chain([LOCAL]).collect();
    Failure::usage(format!("there is no context {name:?}"))
        .help(format!("there are {}; mainspring context add makes another one", there.join(", ")))
}

impl Elsewhere {
    /// The hosts of a context with absolute paths; nothing is read or asked yet.
    pub(crate) fn new(context: Context) -> Self {
        Self {
            context,
            hosts: OnceCell::new(),
            channel: Mutex::default(),
            told: AtomicBool::new(false),
        }
    }

    /// The context's name.
    pub(crate) fn name(&self) -> &str {
        &self.context.name
    }

    /// A channel to a host that answers: the one that answered this command before, or one that
    /// answers now.
    pub(crate) async fn channel(
        &self,
        clock: &SharedClock,
        out: &Output,
    ) -> OrFailure<GrpcChannel> {
        let known = self.channel.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(channel) => Ok(channel),
            None => self.answering(Duration::ZERO, clock, out).await,
        }
    }

    /// A channel to a host that answers now, after a call to one has failed: to another one, if
    /// another one answers. For a while, and for `at_most`, no host has to answer.
    pub(crate) async fn channel_again(
        &self,
        at_most: Duration,
        clock: &SharedClock,
        out: &Output,
    ) -> OrFailure<GrpcChannel> {
        self.hosts(clock).await?.turn_away();
        self.answering(AWAY.min(at_most), clock, out).await
    }

    async fn answering(
        &self,
        patience: Duration,
        clock: &SharedClock,
        out: &Output,
    ) -> OrFailure<GrpcChannel> {
        let hosts = self.hosts(clock).await?;
        let end = clock.boot() + patience;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let channel = loop {
            match hosts.channel().await {
                Ok(channel) => break channel,
                Err(_) if clock.boot() < end => clock.sleep(backoff.next_delay()).await,
                Err(Silence(all)) => return Err(self.unreachable(all)),
            }
        };
        if !self.told.swap(true, Ordering::Relaxed) {
            self.tell(channel.endpoint(), out);
        }
        *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = Some(channel.clone());
        Ok(channel)
    }

    /// What each host says, in the order of the endpoints.
    pub(crate) async fn ask_all(&self, clock: &SharedClock) -> OrFailure<Vec<(Endpoint, Said)>> {
        Ok(self.hosts(clock).await?.ask_all().await)
    }

    async fn hosts(&self, clock: &SharedClock) -> OrFailure<&Arc<Hosts>> {
        let make = || async {
            let transport = transport::of(&self.context, clock)?;
            let credential = credential::of(&self.context, clock).await?;
            let endpoints = self.context.endpoints.clone();
            Ok::<_, Failure>(Arc::new(Hosts::new(endpoints, credential, transport, clock.clone())))
        };
        self.hosts.get_or_try_init(make).await
    }

    /// Says where the answers come from, and that they can be read on the way where that is so.
    fn tell(&self, endpoint: &Endpoint, out: &Output) {
        let text = format!("context {}: {endpoint}", self.name());
        if transport::is_plain(&self.context) {
            let plain =
                "in plain text: the credential and all data can be read and changed on the way";
            out.talk(format!("{text}, {}", out.paint(Style::Warn, plain)));
        } else {
            out.tell(text);
        }
    }

    fn unreachable(&self, silent: Vec<String>) -> Failure {
        let text = format!("no host of context {} answers", self.name());
        let failure = Failure::new(Exit::UNREACHABLE, Reason::HostNotReachable, text);
        silent.into_iter().fold(failure, |failure, why| failure.detail(format!("| {why}")))
    }
}
