//! Through the wire: `DescribeService` and `JobsService` on real sockets, the worker over the real
//! store, and `sql-main` as a process of its own.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and start the built binary"
)]

#[path = "grpc/describe.rs"]
mod describe;
#[path = "grpc/script.rs"]
mod script;
#[path = "grpc/store.rs"]
mod store;
#[path = "grpc/worker.rs"]
mod worker;

use std::sync::Arc;

use chassis::channel::{GrpcChannel, connect};
use chassis::clock::{SharedClock, SystemClock};
use chassis::credential::{Credential, DeploymentKey, Principal};
use chassis::transport::{Endpoint, OsTransport};

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

fn key() -> DeploymentKey {
    DeploymentKey::from_bytes([7; 32])
}

fn token(principal: Principal) -> Credential {
    key().mint(&principal)
}

fn channel(endpoint: &Endpoint, token: Option<Credential>) -> GrpcChannel {
    connect(Arc::new(OsTransport), clock(), endpoint.clone(), token)
}

/// Waits until the condition holds; a test that waits longer than 20 s fails.
async fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    for _ in 0..4000 {
        if let Some(value) = condition() {
            return value;
        }
        chassis::clock::Clock::sleep(&SystemClock, std::time::Duration::from_millis(5)).await;
    }
    panic!("waited too long for {what}");
}

/// Returns once the server listens.
async fn ready(endpoint: &Endpoint) {
    let Endpoint::Unix(path) = endpoint else { panic!("tests use unix sockets") };
    until("the socket", || path.exists().then_some(())).await;
}
