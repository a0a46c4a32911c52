//! How far a process may reach, and what guards the wire: settings of every process that listens or
//! calls.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser as _;
use clap::builder::BoolishValueParser;

use super::os::GuardedNetwork;
use super::tls::{self, Unusable};
use super::{InsecureNetwork, OsTransport, SharedTransport, Tls, TlsFiles};
use crate::clock::SharedClock;

/// The variable of `--insecure-network`, which processes hand on to the processes that they start.
pub const INSECURE_NETWORK_VARIABLE: &str = "MAINSPRING_INSECURE_NETWORK";

/// The variable of `--tls`, which processes hand on to those of the processes that they start which
/// speak to a service by TCP, and run as the user whose key it is.
pub const TLS_VARIABLE: &str = "MAINSPRING_TLS";

/// How far a process may reach, and by which certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct NetworkArgs {
    /// Guard TCP by mutual TLS with the certificates of this directory
    ///
    /// It holds ca.crt, tls.crt and tls.key, as `mainspring certs` makes them and Kubernetes'
    /// secrets of certificates name them. Each service of the deployment needs such a directory, of
    /// one CA. Renewed files take effect without a restart.
    #[arg(
        long,
        env = TLS_VARIABLE,
        value_name = "DIR",
        global = true,
        hide_short_help = true
    )]
    pub tls: Option<PathBuf>,

    /// Listen on and call other machines in plain text
    ///
    /// Without it and without --tls, TCP beyond the loopback interface is refused: credentials and
    /// data could be read and changed on the way.
    #[arg(
        long,
        env = INSECURE_NETWORK_VARIABLE,
        value_parser = BoolishValueParser::new(),
        global = true,
        hide_short_help = true
    )]
    pub insecure_network: bool,
}

/// A command line that has these settings only.
#[derive(clap::Parser)]
struct Alone {
    #[command(flatten)]
    network: NetworkArgs,
}

impl NetworkArgs {
    /// The settings of the environment alone, for a command that has no options of its own for
    /// them.
    pub fn of_environment() -> io::Result<Self> {
        let alone = Alone::try_parse_from(["mainspring"]).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidInput, error.to_string().trim_end().to_owned())
        })?;
        Ok(alone.network)
    }

    /// The operating system's sockets, as far as the settings let them reach, guarded where they
    /// say so. An error names the certificate that is of no use.
    pub fn transport(self, clock: &SharedClock) -> io::Result<SharedTransport> {
        let plain = self.plain();
        if self.insecure_network {
            let what = match self.tls {
                None => "credentials and data are sent to other machines",
                Some(_) => "servers that are not of this deployment are spoken to",
            };
            tracing::warn!("--insecure-network: {what} in plain text");
        }
        let Some(files) = self.certificates()? else { return Ok(plain) };
        Ok(Arc::new(Tls::new(plain, Arc::new(GuardedNetwork), files, clock.clone())?))
    }

    /// The same for a command that has to work although the certificates are of no use: then only
    /// what needs them is refused.
    pub fn lenient_transport(self, clock: &SharedClock) -> SharedTransport {
        let plain = self.plain();
        let why = match self.transport(clock) {
            Ok(transport) => return transport,
            Err(error) => error.to_string(),
        };
        Arc::new(Unusable { plain, why })
    }

    /// Whether the certificates are good, for a command that looks at everything; `None` where TLS
    /// is off.
    pub fn examine(&self, clock: &SharedClock) -> Option<io::Result<TlsFiles>> {
        let examined = self.certificates().transpose()?;
        Some(examined.and_then(|files| tls::check(&files, clock).map(|()| files)))
    }

    fn plain(&self) -> SharedTransport {
        if self.insecure_network { Arc::new(InsecureNetwork) } else { Arc::new(OsTransport) }
    }

    fn certificates(&self) -> io::Result<Option<TlsFiles>> {
        let Some(directory) = &self.tls else { return Ok(None) };
        if directory.is_relative() {
            // Processes of other working directories are handed the same setting.
            let text = format!("--tls {}: name an absolute directory", directory.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(Some(TlsFiles::of_directory(directory)))
    }
}
