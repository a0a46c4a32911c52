//! Who leads an application, since which epoch. The elector does not know what a leader does, and
//! it never renews a lease on its own: only the answer to a holder's own renewal does.
//!
//! [`model`] decides, [`election`] is the seam with its laws, [`service`] holds the conversations,
//! [`grpc`] speaks. [`hosts`] is a second and smaller seam: which hosts of the deployment are
//! there.

pub mod config;
pub mod election;
pub mod error;
pub mod examine;
pub mod grpc;
pub mod hosts;
pub mod model;
pub mod service;

use std::fs::read_to_string;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chassis::disk;
use chassis::server::{Authenticator, Footing, Limits, Serve};
use client::places::Places;
use etcd::Etcd;

use config::{Args, HOST_LEASE};
use election::Election;
use election::embedded::{EmbeddedElection, EmbeddedLedger};
use election::etcd::EtcdElection;
use election::lock::FileLocks;
use election::standbys::WithStandbys;
use hosts::Hosts;
use hosts::etcd::EtcdHosts;
use hosts::memory::MemoryHosts;
use service::Elector;
use service::hosts::Attendance;

/// The name of this service: of its socket, its directory and its log.
pub const NAME: &str = "leader-elector";

/// How many connections one elector takes at a time: one for each contender and host.
const CONNECTIONS: usize = 16 * 1024;

/// How long calls may go on once the shutdown has begun. The longest of them is a write of a few
/// hundred bytes.
const GRACE: Duration = Duration::from_secs(2);

/// Serves until the shutdown begins. Conversations then end, and their contenders are not taken for
/// gone.
pub async fn serve(args: Args, footing: Footing) -> anyhow::Result<()> {
    let Footing { clock, shutdown, .. } = &footing;
    let places = args.places();
    let key = places.key()?;
    let (election, hosts) = backends(&args, &places, &footing).await?;
    let elector = Elector::new(election, clock.clone(), args.lease(), shutdown.clone());
    let attendance = Attendance::new(hosts, clock.clone(), shutdown.clone());
    let listen = args.listen.unwrap_or_else(|| places.service_endpoint(NAME));
    let authenticator = Authenticator::new(key);
    let server = Serve {
        limits: Limits { connections: CONNECTIONS, grace: GRACE, ..Limits::default() },
        ..footing.serve(NAME, vec![listen], authenticator, grpc::routes(elector, attendance))
    };
    let tasks = footing.tasks();
    server.spawn(&tasks).await?;
    // The server keeps a grace period of its own, and this one is above it.
    Ok(tasks.run(GRACE * 2).await?)
}

/// The election over what keeps the grants, etcd or a file of this host, and the seats of hosts:
/// beside the grants on etcd, else in memory, because then one host is all there is.
async fn backends(
    args: &Args,
    places: &Places,
    footing: &Footing,
) -> anyhow::Result<(Arc<dyn Election>, Arc<dyn Hosts>)> {
    let (locks, clock, lease) = (Arc::new(FileLocks), footing.clock.clone(), args.lease());
    if args.etcd.is_given() {
        let etcd = Etcd::of(&args.etcd, &footing.transport, &footing.clock).await?;
        let prefix = &args.etcd.prefix;
        // Renewals have connections of their own.
        let own = Etcd::of(&args.etcd, &footing.transport, &footing.clock).await?;
        let election = EtcdElection::open(own, prefix, locks, clock.clone(), lease)
            .await
            .context("cannot read the elections on etcd")?;
        let election = WithStandbys::over(Arc::new(election), etcd.clone(), prefix)
            .await
            .context("cannot read the standbys on etcd")?;
        let hosts = EtcdHosts::open(etcd, prefix, clock, HOST_LEASE)
            .await
            .context("cannot read the seats of hosts on etcd")?;
        return Ok((Arc::new(election), Arc::new(hosts)));
    }
    let directory = places.service_state(NAME);
    disk::make_directories(&directory, 0o700)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let ledger = EmbeddedLedger::open(directory.join(examine::LEDGER))?;
    let hosts = MemoryHosts::new(clock.clone(), HOST_LEASE);
    let election = EmbeddedElection::new(ledger, locks, clock, lease, boot_id()?);
    Ok((Arc::new(election), Arc::new(hosts)))
}

/// The id of this machine's present boot.
fn boot_id() -> anyhow::Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    Ok(read_to_string(PATH).with_context(|| format!("cannot read {PATH}"))?.trim().to_owned())
}
