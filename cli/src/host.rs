//! The host of one state directory: four services, and `up`, which keeps them running and has contenders kept for every
//! application that is not clean. Services outlive `up`: whoever takes its place adopts them.

pub(crate) mod build;
pub(crate) mod contenders;
mod ensure;
pub(crate) mod file;
pub(crate) mod leftovers;
pub(crate) mod lock;
pub(crate) mod log_file;
mod queue;
mod reconcile;
pub(crate) mod retention;
pub(crate) mod room;
pub(crate) mod service;
mod supervise;
pub(crate) mod up;

pub(crate) use ensure::{Started, ensure, is_gone};
pub(crate) use reconcile::admission::Terms;

/// The service that people talk to.
pub(crate) const STORE: &str = "jobgraph-store";
/// The service that keeps processes.
pub(crate) const LIFECYCLE: &str = "lifecycle";

/// The services of a host. They are started together and ended in this order: who starts processes first, who
/// remembers last.
pub(crate) const SERVICES: [&str; 4] = [LIFECYCLE, "leader-elector", "artifact-fetcher", STORE];

/// The option of `up` that gives a service's endpoint, without its dashes.
pub(crate) fn option(service: &str) -> &'static str {
    match service {
        STORE => "store",
        LIFECYCLE => "lifecycle",
        "leader-elector" => "elector",
        _ => "fetcher",
    }
}
