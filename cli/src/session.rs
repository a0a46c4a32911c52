//! What a verb works with: its output, the places of files, and the way to the host.

use std::path::PathBuf;
use std::sync::Arc;

use chassis::clock::{SharedClock, SystemClock};
use chassis::credential::{DeploymentKey, Principal};
use chassis::transport::{NetworkArgs, SharedTransport};
use client::places::Places;
use proto::Reason;

use crate::api::Api;
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
}

/// One invocation of the command.
pub(crate) struct Session {
    pub(crate) out: Output,
    pub(crate) places: Places,
    pub(crate) clock: SharedClock,
    pub(crate) transport: SharedTransport,
}

impl Session {
    /// A session with these options; nothing is read or written yet.
    pub(crate) fn new(common: &Common) -> OrFailure<Self> {
        let clock: SharedClock = Arc::new(SystemClock);
        let network =
            NetworkArgs::of_environment().map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Self {
            out: Output::new(common.format, common.color, common.progress, common.quiet),
            places: Places::new(state_directory(common.state_dir.clone())?),
            transport: network.lenient_transport(&clock),
            clock,
        })
    }

    /// The API of the host, which is started if there is none.
    pub(crate) async fn api(&self) -> OrFailure<Api> {
        Ok(self.started_api().await?.0)
    }

    /// The API of the host, and whether and in which time it had to be started.
    pub(crate) async fn started_api(&self) -> OrFailure<(Api, Started)> {
        let started = host::ensure(&self.places, &self.clock).await?;
        Ok((self.api_of_running_host()?, started))
    }

    /// Starts the host again if it has gone away. What is wrong with the host is reported by the
    /// next call, which fails.
    pub(crate) async fn keep_host(&self) {
        if let Err(failure) = host::ensure(&self.places, &self.clock).await {
            tracing::warn!("{}", failure.message);
        }
    }

    /// The API of the host that runs; calls fail if there is none.
    pub(crate) fn api_of_running_host(&self) -> OrFailure<Api> {
        let key = DeploymentKey::load(&self.places.deployment_key()).map_err(|error| {
            Failure::new(Exit::UNREACHABLE, Reason::HostNotReachable, error.to_string())
        })?;
        let given = self.given().remove(host::STORE);
        let endpoint = given.unwrap_or_else(|| self.places.service_endpoint(host::STORE));
        let credential = key.mint(&Principal::Deployment);
        let channel = chassis::channel::connect(
            self.transport.clone(),
            self.clock.clone(),
            endpoint,
            Some(credential),
        );
        Ok(Api::new(channel, self.clock.clone()))
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
