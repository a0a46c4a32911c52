//! `JobsService` for the cluster of any engine: who may give orders there, how they are refused, and how its jobs are watched. An engine
//! says what its jobs are, as a [`Cluster`]; [`routes`] serves it.

mod args;
mod cluster;
mod grpc;
mod orders;
mod refusal;

pub use args::{ClusterArgs, Tokens};
pub use cluster::{Cluster, Savepoint, Submission, Trigger};
pub use grpc::routes;
pub use orders::{NotTaken, Orders};
pub use refusal::Refusal;
