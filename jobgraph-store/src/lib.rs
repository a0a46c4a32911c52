//! The durable record of applications: desired state from clients, observed state behind two
//! fences, events, logs and payloads.
//!
//! The store compares fences; it never decides who leads. What a write may do is decided in
//! [`model`] without I/O, and the decision is committed in [`service`] as one transaction against
//! the backend behind [`store`]; bytes are kept behind [`blobs`].

mod backend;
pub mod blobs;
pub mod config;
pub mod error;
pub mod examine;
pub mod grpc;
pub mod keys;
pub mod logs;
pub mod model;
pub mod restore;
pub mod service;
mod shared_dir;
pub mod store;

use std::time::Duration;

use anyhow::Context as _;
use chassis::credential::Principal;
use chassis::disk;
use chassis::run_as::{self, RunAs, Share};
use chassis::server::{Authenticator, Footing, Limits, Serve};
use chassis::transport::Endpoint;
use client::places::Places;

use crate::config::Args;
use crate::service::Service;
use crate::service::peers::OverNetwork;

/// How long calls may take to finish once the shutdown has begun.
const GRACE: Duration = Duration::from_secs(5);

/// The version of this build, as peers are told.
pub fn build() -> &'static str {
    option_env!("MAINSPRING_BUILD").unwrap_or(env!("CARGO_PKG_VERSION"))
}

/// The endpoints that the store listens at. Clusters of another user reach the store through a
/// socket of its own, in a directory that only their group enters.
fn endpoints(args: &Args) -> anyhow::Result<Vec<Endpoint>> {
    let (places, mut endpoints) = (args.places(), vec![args.endpoint()]);
    endpoints.extend(args.network.clone());
    if places.are_apart()
        && let Endpoint::Unix(socket) = places.open_store()
    {
        let directory = socket.parent().unwrap_or(&socket);
        let group = RunAs::group(&places.state_mark(), Share::Clusters);
        let made =
            run_as::make_way(directory).and_then(|()| run_as::share_with(directory, group, 0o750));
        made.with_context(|| format!("cannot make {}", directory.display()))?;
        endpoints.push(Endpoint::Unix(socket));
    }
    Ok(endpoints)
}

/// Opens the socket for clusters once it is bound; until then only its owner can reach it.
fn open_to_clusters(places: &Places) -> anyhow::Result<()> {
    match places.open_store() {
        Endpoint::Unix(socket) if places.are_apart() => {
            let group = RunAs::group(&places.state_mark(), Share::Clusters);
            let opened = run_as::share_with(&socket, group, 0o660);
            opened.with_context(|| format!("cannot open {} to clusters", socket.display()))
        }
        _ => Ok(()),
    }
}

/// Serves the record of one state directory until `shutdown`.
pub async fn serve(args: Args, footing: Footing) -> anyhow::Result<()> {
    args.check()?;
    let places = args.places();
    if let Some(shared) = places.shared() {
        shared_dir::open(shared, &footing.clock).await?;
    }
    let state = places.service_state(Args::SERVICE);
    disk::make_directories(&state, 0o700)
        .with_context(|| format!("cannot make {}", state.display()))?;
    let tasks = footing.tasks();
    let (metadata, key) = backend::open(&args, &state, &footing, &tasks).await?;
    restore::is_whole(&*metadata).await?;
    let blobs = blobs::shared::open(&args.blobs, &state, &*metadata, &footing.clock).await?;
    let service = Service::new(metadata, blobs, footing.clock.clone())
        .at(places.host()?)
        .sharing(places.shared());
    // Other stores may write the same record there, and have readers of it.
    let service = if args.etcd.is_given() { service.shared() } else { service };
    let indexed = service.index().await.context("cannot index what an older build has written")?;
    if indexed > 0 {
        tracing::info!(generations = indexed, "indexed what an older build has written");
    }
    let credential = key.mint(&Principal::Deployment);
    service.live.show_silence();
    let (routes, authenticator) = (grpc::routes(&service, &key), Authenticator::new(key));
    let server = Serve {
        limits: Limits { grace: GRACE, ..Limits::default() },
        ..footing.serve(Args::SERVICE, endpoints(&args)?, authenticator, routes)
    };
    server.spawn(&tasks).await?;
    open_to_clusters(&places)?;
    tasks.spawn_loop("caretaker", {
        let service = service.clone();
        async move { service.keep_house().await }
    });
    if let Some(network) = &args.network {
        let own = network.to_string();
        let way = OverNetwork::new(footing.transport.clone(), footing.clock.clone(), credential);
        let service = service.clone();
        tasks.spawn_loop("peers", async move { service.follow_peers(&way, &own).await });
    }
    tasks.spawn_loop("past", {
        let service = service.clone();
        let past = Duration::from_secs(args.past_seconds.into());
        async move { service.keep_past(past).await }
    });
    let ended = tasks.run(GRACE * 2).await;
    // Lines that were taken and not acknowledged would be shipped again; lines that can be made
    // durable now need not be.
    if let Err(error) = service.flush_logs().await {
        tracing::warn!(%error, "output that was not durable yet is shipped again");
    }
    if args.network.is_some()
        && let Err(error) = service.withdraw().await
    {
        tracing::debug!(%error, "other stores ask this one in vain for a while");
    }
    if let Err(error) = service.leave_chores().await {
        tracing::debug!(%error, "another store takes the chores over later");
    }
    Ok(ended?)
}
