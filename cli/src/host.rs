//! The host of one state directory: four services, and `up`, which keeps the services running and
//! has lifecycle keep contenders for every application that is not clean. The services outlive
//! `up`, and the next `up` adopts them.

pub(crate) mod build;
pub(crate) mod contenders;
mod ensure;
pub(crate) mod file;
pub(crate) mod leftovers;
pub(crate) mod lock;
pub(crate) mod log_file;
mod metrics;
mod queue;
mod reconcile;
pub(crate) mod retention;
pub(crate) mod room;
pub(crate) mod seat;
pub(crate) mod service;
mod supervise;
pub(crate) mod up;

pub(crate) use ensure::{Started, ensure, is_gone};
pub(crate) use reconcile::admission::Terms;

/// The service that answers people and tooling.
pub(crate) const STORE: &str = "jobgraph-store";
/// The service that keeps the processes of clusters and contenders.
pub(crate) const LIFECYCLE: &str = "lifecycle";
/// The service that says who leads, and which hosts are there.
pub(crate) const ELECTOR: &str = "leader-elector";

/// The services of a host. They are started together and ended in this order, so that the one which
/// starts processes goes first and the one which remembers goes last.
pub(crate) const SERVICES: [&str; 4] = [LIFECYCLE, ELECTOR, "artifact-fetcher", STORE];

/// The option of `up` that gives a service's endpoint, without its dashes.
pub(crate) fn option(service: &str) -> &'static str {
    match service {
        STORE => "store",
        LIFECYCLE => "lifecycle",
        ELECTOR => "elector",
        _ => "fetcher",
    }
}
