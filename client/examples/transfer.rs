//! Measures how long the bytes of one artifact take to the fetcher, and from the fetcher into the
//! record. `tools/bench.py` runs this program against services that it has started:
//!
//! `transfer STATE_DIR RUNS fetch|pin|send URI…`: each run takes the next URI and prints one line
//! with its milliseconds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use chassis::channel;
use chassis::clock::{Clock as _, SystemClock};
use chassis::credential::{DeploymentKey, Principal};
use chassis::transport::OsTransport;
use client::artifacts::{Artifacts, Wanted};
use client::payloads::Payloads;
use client::places::Places;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    chassis::install_crypto_provider();
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().context("transfer STATE_DIR RUNS fetch|pin|send URI…");
    let (state, runs, what): (PathBuf, usize, String) = (next()?.into(), next()?.parse()?, next()?);
    let uris: Vec<String> = arguments.collect();
    let places = Places::new(&state);
    let key = DeploymentKey::load_or_create(&places.deployment_key())?;
    let channel = |service| {
        let (transport, credential) = (Arc::new(OsTransport), key.mint(&Principal::Deployment));
        channel::connect(
            transport,
            Arc::new(SystemClock),
            places.service_endpoint(service),
            Some(credential),
        )
    };
    let artifacts = Artifacts::new(channel("artifact-fetcher"));
    let payloads = Payloads::new(channel("jobgraph-store"));
    let mut expected = None;
    for uri in uris.iter().cycle().take(runs) {
        // With a single address, every run after the first one meets an artifact that is cached.
        let wanted = Wanted {
            application: None,
            uri: uri.clone().into(),
            expected: expected.filter(|_| uris.len() == 1),
            link_to: None,
            executable: false,
        };
        let mut begun = SystemClock.boot();
        let fetched = artifacts.fetch(&wanted, |_| {}).await?;
        let digest = fetched.artifact.context("no artifact")?.digest.parse()?;
        expected = Some(digest);
        let path = match what.as_str() {
            "fetch" => None,
            "pin" => Some(fetched.path.as_str()),
            // The store does not understand this path, so the client sends the bytes, as it does to
            // a store on another host. The program has to run in `/`.
            _ => Some(fetched.path.trim_start_matches('/')),
        };
        if let Some(path) = path {
            begun = SystemClock.boot();
            payloads.put_file(digest, Path::new(path)).await?;
        }
        let took = SystemClock.boot().saturating_duration_since(begun);
        println!("{:.3}", took.as_secs_f64() * 1000.0);
    }
    Ok(())
}
