//! Whether plain text may leave this machine: a setting of every process that listens or calls.

use std::sync::Arc;

use clap::builder::BoolishValueParser;

use super::{InsecureNetwork, OsTransport, SharedTransport};

/// The variable of the setting, which processes hand on to the processes that they start.
pub const INSECURE_NETWORK_VARIABLE: &str = "MAINSPRING_INSECURE_NETWORK";

/// How far a process may reach in plain text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub struct NetworkArgs {
    /// Listen on and call other machines in plain text
    ///
    /// Without it TCP beyond the loopback interface is refused: credentials and data could be read
    /// and changed on the way.
    #[arg(
        long,
        env = INSECURE_NETWORK_VARIABLE,
        value_parser = BoolishValueParser::new(),
        global = true,
        hide_short_help = true
    )]
    pub insecure_network: bool,
}

impl NetworkArgs {
    /// The operating system's sockets, as far as the setting lets them reach.
    pub fn transport(self) -> SharedTransport {
        if self.insecure_network { Arc::new(InsecureNetwork) } else { Arc::new(OsTransport) }
    }
}
