//! A standby is warm: the artifacts are in this host's cache before the standby leads, or on their
//! way into it. The fetcher gives an application that asks again the transfer that is under way, or
//! the bytes that the application was given before.

use std::sync::Arc;

use client::artifacts::Wanted;
use proto::{ApplicationRef, jobgraph};
use tokio::sync::watch;

use crate::ports::Ports;

/// Fetches all artifacts into the cache. The leader's own fetch reports what fails here.
pub(super) async fn fetch(
    ports: Ports,
    application: ApplicationRef,
    record: Arc<jobgraph::Record>,
) {
    let Some(known) = record.application.as_ref() else { return };
    if known.terminal {
        return;
    }
    let Some(spec) = known.spec.as_ref() else { return };
    let (activity, _) = watch::channel(String::new());
    let program = spec.program.iter().map(|program| (&program.uri, &program.digest));
    let others = spec.artifacts.iter().map(|artifact| (&artifact.uri, &artifact.digest));
    let wanted: Vec<Wanted> = program
        .chain(others)
        .map(|(uri, digest)| {
            let pinned = known
                .artifacts
                .iter()
                .find(|pinned| pinned.uri == *uri)
                .map_or(digest, |pinned| &pinned.digest);
            Wanted {
                application: Some(application.clone()),
                uri: uri.clone().into(),
                expected: pinned.parse().ok(),
                link_to: None,
                executable: false,
            }
        })
        .collect();
    let fetches = wanted.iter().map(|wanted| ports.artifacts.fetch(wanted, &activity));
    for error in futures::future::join_all(fetches).await.into_iter().filter_map(Result::err) {
        tracing::debug!("warming up: {error}");
    }
}
