//! The processes that the record keeps: those that may live, as their lifecycle would read them.

use std::sync::Arc;

use chassis::channel::connect;
use chassis::clock::{SharedClock, SystemClock};
use chassis::credential::{DeploymentKey, Principal};
use chassis::transport::OsTransport;
use client::places::Places;
use client::processes::Processes;
use e2e::Host;

/// The keys of all processes of all hosts, as this host's store answers them.
pub(crate) fn of(host: &Host) -> Vec<String> {
    let places = Places::new(host.state());
    let key = DeploymentKey::load(&places.deployment_key()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listed = runtime.block_on(async {
        let clock: SharedClock = Arc::new(SystemClock);
        let channel = connect(
            Arc::new(OsTransport),
            clock,
            places.service_endpoint("jobgraph-store"),
            Some(key.mint(&Principal::Deployment)),
        );
        Processes::new(channel).list("").await.unwrap()
    });
    listed.into_iter().map(|process| process.key).collect()
}
