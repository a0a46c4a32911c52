//! Typed clients of the services, one file per peer. A call is retried here only where a repeat is
//! harmless. The outcome of every other call is *done*, *not done* or *unknown*, and
//! [`error::CallError`] says which one.

pub mod admission;
pub mod applications;
pub mod artifacts;
pub mod attempts;
pub mod backup;
pub mod boxed;
pub mod describe;
pub mod election;
#[cfg(test)]
mod elector_stand_in;
pub mod error;
pub mod execution;
pub mod health;
pub mod hosts;
pub mod jobs;
pub mod lifecycle;
pub mod live;
pub mod logs;
pub mod metrics;
pub mod outbox;
pub mod payloads;
pub mod places;
pub mod process_tree;
pub mod processes;
pub mod record;
pub mod tether;
