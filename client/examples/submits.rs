//! Submits applications as fast as a store accepts them. `tools/bench.py` runs this program against
//! a host that it has started:
//!
//! `submits STATE_DIR CALLERS COUNT`: CALLERS callers, each over a connection of its own, submit
//! COUNT applications together. Prints one line: the seconds that all of them took, then the
//! milliseconds of each.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use chassis::channel;
use chassis::clock::{Clock as _, SystemClock};
use chassis::credential::{DeploymentKey, Principal};
use chassis::transport::OsTransport;
use client::applications::Applications;
use client::places::Places;
use proto::api;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    chassis::install_crypto_provider();
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().context("submits STATE_DIR CALLERS COUNT");
    let (state, callers, count): (PathBuf, usize, usize) =
        (next()?.into(), next()?.parse()?, next()?.parse()?);
    let places = Places::new(&state);
    let key = DeploymentKey::load_or_create(&places.deployment_key())?;
    let mut connected = Vec::new();
    for _ in 0..callers {
        let endpoint = places.service_endpoint("jobgraph-store");
        let credential = Some(key.mint(&Principal::Deployment));
        let channel =
            channel::connect(Arc::new(OsTransport), Arc::new(SystemClock), endpoint, credential);
        let applications = Applications::new(channel);
        // A first call opens the connection, which is not what is measured.
        applications.version().await?;
        connected.push(applications);
    }
    let numbers = AtomicUsize::new(0);
    let begun = SystemClock.boot();
    let each = connected.iter().map(|applications| submit(applications, &numbers, count));
    let took = futures::future::try_join_all(each).await?;
    let all = SystemClock.boot().saturating_duration_since(begun);
    let each: Vec<String> = took.concat().iter().map(|ms| format!("{ms:.3}")).collect();
    println!("{:.6} {}", all.as_secs_f64(), each.join(" "));
    Ok(())
}

/// Submits one application after the other until all numbers are taken, and answers the
/// milliseconds of each.
async fn submit(
    applications: &Applications,
    numbers: &AtomicUsize,
    count: usize,
) -> anyhow::Result<Vec<f64>> {
    let mut took = Vec::new();
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return Ok(took);
        }
        let program = api::Program { uri: "/nowhere/submits.sql".into(), ..Default::default() };
        let spec = api::ApplicationSpec {
            application_id: format!("submitted-{number}"),
            program: Some(program),
            engine: "datafusion".into(),
            ..Default::default()
        };
        let request_id = format!("r-{number}");
        let request = api::SubmitRequest { request_id, spec: Some(spec), ..Default::default() };
        let begun = SystemClock.boot();
        applications.submit(request).await?;
        let each = SystemClock.boot().saturating_duration_since(begun);
        took.push(each.as_secs_f64() * 1000.0);
    }
}
