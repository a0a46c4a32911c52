//! The way to a deployment's etcd: which members there are, how a call finds one that answers, and
//! how a watch goes on after its stream broke.
//!
//! `etcd-client` speaks the protocol and recovers nothing: a call to a member that is gone fails,
//! and a watch whose stream ends is over. This crate adds what every user of etcd needs, so that
//! the store and the elector each add only what their keys mean.

mod config;
mod error;
mod lease;
mod link;
mod mirror;
mod transact;
mod user;
mod watch;

pub use config::{EtcdArgs, InvalidMember, Member};
pub use error::Error;
pub use lease::Lease;
pub use link::Etcd;
pub use mirror::{Copied, Mirror, copy_of};
pub use transact::revision_of;
pub use watch::{Heard, Watch};
