//! Settings, parsed into types at the door.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::ensure;
use chassis::run_as::RunAsArgs;
use chassis::shared_dir::SharedArgs;
use chassis::transport::Endpoint;
use client::places::Places;
use etcd::EtcdArgs;

use crate::blobs::location::BlobsArgs;

/// Settings of `mainspring serve jobgraph-store`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where to listen: unix:/path or tcp://host:port. Default: the socket of this state
    /// directory's host.
    #[arg(long, env = "MAINSPRING_LISTEN", value_name = "ENDPOINT")]
    pub listen: Option<Endpoint>,

    /// Where the stores of other hosts reach this one, too: tcp://host:port, with a name or an
    /// address of this host. They ask it how its leaders do.
    #[arg(long, env = "MAINSPRING_NETWORK", value_name = "ENDPOINT")]
    pub network: Option<Endpoint>,

    /// Where the record is kept, in `jobgraph-store/` below it; with an etcd only its payloads, and
    /// with a place of their own not even those.
    #[arg(long, env = "MAINSPRING_STATE_DIR", value_name = "DIR")]
    pub state_dir: PathBuf,

    /// The etcd that keeps the metadata.
    #[command(flatten)]
    pub etcd: EtcdArgs,

    /// The place of the payloads.
    #[command(flatten)]
    pub blobs: BlobsArgs,

    /// How many seconds back changes can be watched from, and pages of a list be read on; never
    /// more than the last 10,000 changes.
    #[arg(long, env = "MAINSPRING_PAST_SECONDS", value_name = "SECONDS", default_value_t = 900)]
    pub past_seconds: u32,

    /// The user that clusters run as; such clusters are served at a socket of their own
    #[command(flatten)]
    pub run_as: RunAsArgs,

    /// What this host shares with the others; it is looked at before the store serves
    #[command(flatten)]
    pub shared: SharedArgs,
}

impl Args {
    /// The service's name, in places and logs.
    pub const SERVICE: &'static str = "jobgraph-store";

    /// The places of the host that this store serves.
    pub fn places(&self) -> Places {
        Places::new(self.state_dir.clone())
            .for_run_as(self.run_as.given().as_ref())
            .sharing(self.shared.shared_dir.clone())
    }

    /// Refuses settings that do not go together.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if let Some(network) = &self.network {
            ensure!(
                leads_here(network),
                "MAINSPRING_NETWORK says where other hosts reach this store, and nothing at \
                 {network} is reached from there: name this host and a port, as in tcp://host:7070"
            );
        }
        let Some(shared) = &self.shared.shared_dir else { return Ok(()) };
        let shared = shared.display();
        ensure!(
            self.etcd.is_given(),
            "hosts that share {shared} have one record, and no etcd is named: name its members \
             with MAINSPRING_ETCD, or leave MAINSPRING_SHARED_DIR out"
        );
        ensure!(
            self.blobs.location.is_some(),
            "hosts that share {shared} have one record, and no place for its payloads is named: \
             name one with MAINSPRING_BLOBS, or leave MAINSPRING_SHARED_DIR out"
        );
        ensure!(
            self.run_as.run_as.is_none(),
            "programs of hosts that share {shared} cannot run as another user yet, because each \
             host computes the groups that keep them apart: leave MAINSPRING_RUN_AS out"
        );
        Ok(())
    }

    /// The endpoint that the store listens at.
    pub fn endpoint(&self) -> Endpoint {
        self.listen
            .clone()
            .unwrap_or_else(|| Endpoint::Unix(self.places().service_socket(Self::SERVICE)))
    }
}

/// Whether another host that connects to this endpoint can come to this one.
fn leads_here(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix(_) => false,
        Endpoint::Tcp(host, port) => {
            *port != 0 && !host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn refusal(options: &[&str]) -> Option<String> {
        let always = ["serve", "--state-dir", "/state"];
        let command = Command::try_parse_from(always.iter().chain(options)).unwrap();
        command.args.check().err().map(|refused| refused.to_string())
    }

    #[test]
    fn other_hosts_are_not_told_an_address_that_leads_nowhere() {
        for good in ["tcp://node-7:7070", "tcp://10.0.0.7:7070", "tcp://[fd00::7]:7070"] {
            assert_eq!(refusal(&["--network", good]), None);
        }
        for wrong in ["tcp://0.0.0.0:7070", "tcp://[::]:7070", "tcp://node-7:0", "unix:/s"] {
            let refused = refusal(&["--network", wrong]).unwrap();
            assert!(refused.contains(wrong) && refused.contains("MAINSPRING_NETWORK"), "{refused}");
        }
    }

    #[test]
    fn hosts_that_share_a_directory_share_a_record_and_its_payloads() {
        let (etcd, blobs) =
            (["--etcd", "http://10.0.0.1:2379"], ["--blobs", "file:///mnt/payloads"]);
        let shared = ["--shared-dir", "/mnt/shared"];
        assert_eq!(refusal(&[]), None);
        assert_eq!(refusal(&etcd), None);
        assert_eq!(refusal(&[shared, etcd, blobs].concat()), None);
        // Every machine has this user.
        let run_as = ["--run-as", "nobody"];
        for (options, named) in [
            (shared.to_vec(), "MAINSPRING_ETCD"),
            ([shared, blobs].concat(), "MAINSPRING_ETCD"),
            ([shared, etcd].concat(), "MAINSPRING_BLOBS"),
            ([shared, etcd, blobs, run_as].concat(), "MAINSPRING_RUN_AS"),
        ] {
            let refused = refusal(&options).unwrap();
            assert!(refused.contains(named) && refused.contains("/mnt/shared"), "{refused}");
        }
    }
}
