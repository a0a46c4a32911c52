//! Bytes by digest, from anywhere, once. One fetcher serves a whole host: it streams an artifact
//! from its source, verifies it, and keeps it under its SHA-256. The fetcher never runs what it
//! fetched, and never gives out bytes that it has not verified.
//!
//! [`model`] decides what a URI means and what may be evicted, [`source`] is where bytes come from,
//! [`cache`] where they are kept, [`service`] has the verbs, [`grpc`] the wire.

pub mod cache;
pub mod config;
pub mod error;
pub mod grpc;
pub mod model;
pub mod service;
pub mod source;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chassis::server::{Authenticator, Footing};
use chassis::telemetry::metrics;

use crate::config::Args;

/// The name of this service: of its socket, its directory and its log.
pub const NAME: &str = "artifact-fetcher";

/// How long transfers may go on once the shutdown has begun.
const GRACE: Duration = Duration::from_secs(2);

/// Serves until the shutdown begins.
pub async fn serve(args: Args, footing: Footing) -> anyhow::Result<()> {
    let clock = &footing.clock;
    let places = args.places();
    let directory = places.service_state(NAME);
    let cache = cache::Cache::open(&directory, args.cache_limit, clock.clone())
        .with_context(|| format!("the artifact cache {}", directory.display()))?;
    let key = places.key()?;
    let tasks = footing.tasks();
    let sources = source::Sources::local_and_http(clock.clone()).context("the HTTP client")?;
    let cache = Arc::new(cache);
    show_size(&cache);
    let fetcher = service::Fetcher::new(cache, sources, tasks.handle(), clock.clone());
    let listen = args.listen.unwrap_or_else(|| places.service_endpoint(NAME));
    let authenticator = Authenticator::new(key);
    let server = footing.serve(NAME, vec![listen], authenticator, grpc::routes(fetcher));
    server.spawn(&tasks).await?;
    Ok(tasks.run(GRACE).await?)
}

/// Shows how full the cache is.
fn show_size(cache: &Arc<cache::Cache>) {
    let cache = cache.clone();
    let help = "Bytes of artifacts that the cache holds, and may hold";
    metrics::look_up("mainspring.cache.size", "By", help, move |say| {
        if let Ok(held) = cache.size_bytes() {
            say(held as f64, &[("of", "held")]);
        }
        say(cache.limit_bytes() as f64, &[("of", "limit")]);
    });
}
