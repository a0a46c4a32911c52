//! The processes of clusters and entrypoints on a substrate: provision, watch, tear down; and the
//! tether that every such process runs under. Lifecycle does not look into job graphs and knows no
//! engine.

pub mod config;
pub mod error;
pub mod grpc;
pub mod model;
pub mod record;
pub mod service;
pub mod substrate;
pub mod tether;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chassis::channel;
use chassis::credential::Principal;
use chassis::server::{Authenticator, Footing, Limits, Serve};
use client::outbox::Outbox;
use client::record::RecordClient;

use config::Args;
use record::Store;
use service::Lifecycle;
use substrate::Local;

/// How long tasks may take to end. Minders need little of it: they only let go of their processes.
const GRACE: Duration = Duration::from_secs(5);

/// How long a call may take when its caller set no deadline: an end waits for output and for force.
const UNARY_DEADLINE: Duration = Duration::from_secs(90);

/// Serves lifecycle until `shutdown`. The processes that lifecycle has started go on without it,
/// for as long as the tethers' grace.
pub async fn serve(args: Args, footing: Footing) -> anyhow::Result<()> {
    let Footing { transport, clock, .. } = &footing;
    let places = args.places();
    let key = places.key()?;
    let mainspring = match &args.mainspring {
        Some(path) => path.clone(),
        None => std::env::current_exe().context("cannot find our own executable")?,
    };
    let store_channel = channel::connect(
        transport.clone(),
        clock.clone(),
        args.store(),
        Some(key.mint(&Principal::Deployment)),
    );
    let (host, is_shared) = (places.host()?, places.are_shared());
    let record = Arc::new(RecordClient::new(store_channel.clone()));
    let record = Store::new(record, store_channel, clock.clone(), host.clone()).shared(is_shared);
    // The outbox is made now, while there is room for a directory.
    if let Err(error) = Outbox::new(&places).make() {
        tracing::warn!("the outbox cannot be made: {error}");
    }
    let substrate = Local::new(
        places,
        key.clone(),
        mainspring,
        args.store(),
        config::inherited(),
        transport.clone(),
        clock.clone(),
    );
    let substrate = Arc::new(substrate.running_as(args.run_as.given()).on(&host));
    let tasks = footing.tasks();
    let service = Lifecycle::new(substrate, record, clock.clone(), tasks.handle());
    service.show_processes();
    let (routes, authenticator) = (grpc::routes(service.clone()), Authenticator::new(key));
    let server = Serve {
        limits: Limits { unary_deadline: UNARY_DEADLINE, ..Limits::default() },
        ..footing.serve("lifecycle", vec![args.listen()], authenticator, routes)
    };
    server.spawn(&tasks).await?;
    tasks.spawn_job("outbox", service.clone().ship_outbox());
    tasks.spawn_loop("following", service.clone().follow_record());
    if is_shared {
        tasks.spawn_loop("grace", service.clone().end_unconfirmed(args.grace.grace()));
    }
    tasks.spawn_job("adoption", service.adopt());
    Ok(tasks.run(GRACE).await?)
}
