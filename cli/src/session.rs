//! What a verb works with: its output, the places of files, and the way to the host: this
//! machine's own, or the hosts of a context.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chassis::channel::GrpcChannel;
use chassis::clock::{SharedClock, SystemClock};
use chassis::credential::{DeploymentKey, Principal};
use chassis::shared_dir::SharedArgs;
use chassis::transport::{NetworkArgs, SharedTransport};
use client::places::Places;
use proto::Reason;

use crate::api::Api;
use crate::context::{self, Asked, Elsewhere, Origin};
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::host::file::Given;
use crate::host::file::HostFile;
use crate::host::service::Reach;
use crate::host::{self, Started};
use crate::output::{Color, Format, Output, Verbosity};

/// The options that every verb takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// The context whose hosts are asked, or local for this machine's host
    ///
    /// Default: the current one of the file of contexts (mainspring context list), unless
    /// --state-dir is given; without such a file, local.
    #[arg(
        long,
        value_name = "NAME",
        global = true,
        hide_short_help = true,
        help_heading = "On every verb"
    )]
    pub(crate) context: Option<String>,

    /// Where the host keeps everything
    ///
    /// Default: $XDG_STATE_HOME/mainspring, or ~/.local/state/mainspring.
    #[arg(long, value_name = "DIR", global = true, help_heading = "On every verb")]
    pub(crate) state_dir: Option<PathBuf>,

    /// The answer's shape
    #[arg(
        short = 'o',
        long,
        value_name = "FORMAT",
        global = true,
        default_value = "table",
        hide_default_value = true,
        help_heading = "On every verb"
    )]
    pub(crate) format: Format,

    /// When to colour
    #[arg(
        long,
        value_name = "WHEN",
        global = true,
        default_value = "auto",
        hide_default_value = true,
        help_heading = "On every verb"
    )]
    pub(crate) color: Color,

    /// How much to tell while something runs
    #[arg(
        long,
        value_name = "HOW",
        global = true,
        default_value = "auto",
        hide_default_value = true,
        help_heading = "On every verb"
    )]
    pub(crate) progress: Verbosity,

    /// Say nothing but answers and errors
    #[arg(short, long, global = true, help_heading = "On every verb")]
    pub(crate) quiet: bool,

    /// Where the state directory was given.
    #[arg(skip)]
    pub(crate) state_dir_given: Origin,
}

/// The state directory of a command that is not about this machine's host: nothing can be made or
/// found there, so that a verb which forgets to ask where it is does nothing to that host.
const NOWHERE: &str = "/dev/null/mainspring";

/// One invocation of the command.
pub(crate) struct Session {
    pub(crate) out: Output,
    pub(crate) places: Places,
    pub(crate) clock: SharedClock,
    pub(crate) transport: SharedTransport,
    /// What was said about which host is meant.
    pub(crate) asked: Asked,
    /// The hosts of the context that was chosen; `None` for this machine's host.
    pub(crate) elsewhere: Option<Elsewhere>,
}

impl Session {
    /// A session with these options. Nothing is read or written yet but the file of contexts, and
    /// that only if the verb is about a host.
    pub(crate) fn new(common: &Common, about_a_host: bool) -> OrFailure<Self> {
        let asked = Asked { context: common.context.clone(), state_dir: common.state_dir_given };
        let elsewhere = if about_a_host { context::chosen(&asked)? } else { None };
        let here = about_a_host && elsewhere.is_none();
        let places = if here {
            let shared =
                SharedArgs::of_environment().map_err(|error| Failure::usage(error.to_string()))?;
            Places::new(state_directory(common.state_dir.clone())?).sharing(shared.shared_dir)
        } else {
            Places::new(NOWHERE)
        };
        let clock: SharedClock = Arc::new(SystemClock);
        let network =
            NetworkArgs::of_environment().map_err(|error| Failure::usage(error.to_string()))?;
        let out = Output::new(common.format, common.color, common.progress, common.quiet);
        Ok(Self {
            out: out.about(elsewhere.as_ref().map(Elsewhere::name)),
            places,
            transport: network.lenient_transport(&clock),
            clock,
            asked,
            elsewhere,
        })
    }

    /// The name of the context whose hosts are asked; `None` for this machine's host.
    pub(crate) fn context(&self) -> Option<&str> {
        self.elsewhere.as_ref().map(Elsewhere::name)
    }

    /// Refuses a verb that is about this machine where the hosts of a context are meant. `why` says
    /// what the verb does to this machine.
    pub(crate) fn only_here(&self, verb: &str, why: &str) -> OrFailure<()> {
        let Some(context) = self.context() else { return Ok(()) };
        let text = format!("`{verb}` {why}, and context {context} is about other hosts");
        Err(Failure::usage(text).help(format!(
            "run it on one of those hosts; --context {} means this machine",
            context::LOCAL
        )))
    }

    /// The API of the host, which is started if there is none; with a context, of one of its hosts.
    pub(crate) async fn api(&self) -> OrFailure<Api> {
        Ok(self.started_api().await?.0)
    }

    /// The API after a call has failed: of the host, which is started again if it has gone; with a
    /// context, of a host that answers now, for which the caller waits for `at_most`.
    pub(crate) async fn api_again(&self, at_most: Duration) -> OrFailure<Api> {
        let Some(elsewhere) = &self.elsewhere else { return self.api().await };
        let channel = elsewhere.channel_again(at_most, &self.clock, &self.out).await?;
        Ok(Api::new(channel, self.clock.clone()))
    }

    /// The API of the host, and whether and in which time it had to be started.
    pub(crate) async fn started_api(&self) -> OrFailure<(Api, Started)> {
        if let Some(elsewhere) = &self.elsewhere {
            let channel = elsewhere.channel(&self.clock, &self.out).await?;
            return Ok((Api::new(channel, self.clock.clone()), Started(None)));
        }
        let started = host::ensure(&self.places, &self.clock).await?;
        Ok((self.api_of_running_host()?, started))
    }

    /// The way to the record itself: of the host, which is started if there is none; with a
    /// context, of one of its hosts.
    pub(crate) async fn record(&self) -> OrFailure<GrpcChannel> {
        if let Some(elsewhere) = &self.elsewhere {
            return elsewhere.channel(&self.clock, &self.out).await;
        }
        host::ensure(&self.places, &self.clock).await?;
        self.record_of_running_host()
    }

    /// Starts this machine's host again if it has gone away. What is wrong with the host is
    /// reported by the next call, which fails. The hosts of a context are kept by others.
    pub(crate) async fn keep_host(&self) {
        if self.elsewhere.is_some() {
            return;
        }
        if let Err(failure) = host::ensure(&self.places, &self.clock).await {
            tracing::warn!("{}", failure.message);
        }
    }

    /// The API of this machine's host, if it runs; calls fail if there is none.
    fn api_of_running_host(&self) -> OrFailure<Api> {
        Ok(Api::new(self.record_of_running_host()?, self.clock.clone()))
    }

    fn record_of_running_host(&self) -> OrFailure<GrpcChannel> {
        let key = DeploymentKey::load(&self.places.deployment_key()).map_err(|error| {
            Failure::new(Exit::UNREACHABLE, Reason::HostNotReachable, error.to_string())
        })?;
        let given = self.given().remove(host::STORE);
        let endpoint = given.unwrap_or_else(|| self.places.service_endpoint(host::STORE));
        let credential = key.mint(&Principal::Deployment);
        Ok(chassis::channel::connect(
            self.transport.clone(),
            self.clock.clone(),
            endpoint,
            Some(credential),
        ))
    }

    /// How the services of the host are reached, for verbs about the host itself.
    pub(crate) fn reach(&self) -> OrFailure<Reach> {
        Reach::new(self.places.clone(), self.transport.clone(), self.clock.clone(), self.given())
    }

    /// The endpoints that were given to the host that runs.
    fn given(&self) -> Given {
        // A damaged file counts as none here, because the function that looks for the host reports
        // the damage.
        let file = HostFile::read(&self.places.host_file()).ok().flatten();
        file.filter(|file| file.process().is_some()).map(|file| file.given()).unwrap_or_default()
    }
}

/// The absolute state directory: that of the option, or the place where the XDG rules put state.
fn state_directory(chosen: Option<PathBuf>) -> OrFailure<PathBuf> {
    let non_empty =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = chosen
        .or_else(|| non_empty("XDG_STATE_HOME").map(|base| base.join("mainspring")))
        .or_else(|| non_empty("HOME").map(|home| home.join(".local/state/mainspring")))
        .ok_or_else(|| {
            Failure::usage("there is no state directory: HOME is not set")
                .help("name one with --state-dir")
        })?;
    std::path::absolute(&directory).map_err(|error| {
        Failure::usage(format!("state directory {}: {error}", directory.display()))
    })
}
