//! `JobsService` for the cluster of any engine: which leader may give orders there, how calls are
//! refused, and how the jobs are watched. An engine says what its jobs are, as a [`Cluster`];
//! [`routes`] serves it.

mod args;
mod cluster;
mod grpc;
mod orders;
mod refusal;

pub use args::{ClusterArgs, Tokens};
pub use cluster::{Cluster, NewJob, Savepoint, Trigger};
pub use grpc::routes;
pub use orders::{NotTaken, Orders};
pub use refusal::OrderRefusal;
