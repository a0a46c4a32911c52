//! Who leads an application, since which epoch. The elector does not know what a leader does, and
//! it never renews a lease on its own: only the answer to a holder's own renewal does.
//!
//! [`model`] decides, [`election`] is the seam with its laws, [`service`] holds the conversations,
//! [`grpc`] speaks.

pub mod config;
pub mod election;
pub mod error;
pub mod examine;
pub mod grpc;
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

use config::Args;
use election::Election;
use election::embedded::{EmbeddedElection, EmbeddedLedger};
use election::etcd::EtcdElection;
use election::lock::FileLocks;
use service::Elector;

/// The name of this service: of its socket, its directory and its log.
pub const NAME: &str = "leader-elector";

/// How many connections one elector takes at a time: one for each contender.
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
    let election = election(&args, &places, &footing).await?;
    let elector = Elector::new(election, clock.clone(), args.lease(), shutdown.clone());
    let listen = args.listen.unwrap_or_else(|| places.service_endpoint(NAME));
    let authenticator = Authenticator::new(key);
    let server = Serve {
        limits: Limits { connections: CONNECTIONS, grace: GRACE, ..Limits::default() },
        ..footing.serve(NAME, vec![listen], authenticator, grpc::routes(elector))
    };
    let tasks = footing.tasks();
    server.spawn(&tasks).await?;
    // The server keeps a grace period of its own, and this one is above it.
    Ok(tasks.run(GRACE * 2).await?)
}

/// The election over what keeps the grants: etcd, or a file of this host.
async fn election(
    args: &Args,
    places: &Places,
    footing: &Footing,
) -> anyhow::Result<Arc<dyn Election>> {
    let (locks, clock, lease) = (Arc::new(FileLocks), footing.clock.clone(), args.lease());
    if args.etcd.is_given() {
        let etcd = Etcd::of(&args.etcd, &footing.transport, &footing.clock).await?;
        let election = EtcdElection::open(etcd, &args.etcd.prefix, locks, clock, lease)
            .await
            .context("cannot read the elections on etcd")?;
        return Ok(Arc::new(election));
    }
    let directory = places.service_state(NAME);
    disk::make_directories(&directory, 0o700)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let ledger = EmbeddedLedger::open(directory.join(examine::LEDGER))?;
    Ok(Arc::new(EmbeddedElection::new(ledger, locks, clock, lease, boot_id()?)))
}

/// The id of this machine's present boot.
fn boot_id() -> anyhow::Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    Ok(read_to_string(PATH).with_context(|| format!("cannot read {PATH}"))?.trim().to_owned())
}
