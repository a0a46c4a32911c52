//! The outside world of the control plane, in memory: what a simulation puts in the place of real
//! servers and of the network, so that time is a clock that a test moves and nothing is random.
//!
//! What stands here is judged by the real thing: the in-memory etcd answers random scripts exactly
//! as a real one does (`tests/etcd`).

pub mod etcd;
mod network;

pub use network::Network;
