//! The outside world of the control plane, in memory: what a simulation puts in the place of real
//! servers, of the network and of the machines' clocks, so that time is what the simulation says
//! and nothing is random.
//!
//! What stands here is judged by the real thing: the in-memory etcd answers random scripts exactly
//! as a real one does (`tests/etcd`). What simulates whole hosts is `examples/hosts`.

mod clock;
pub mod etcd;
mod links;
mod network;

pub use clock::MachineClock;
pub use links::{Links, Machine};
pub use network::Network;
