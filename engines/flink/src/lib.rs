//! The Flink engine: an unchanged Flink program on real Flink processes that are started for it.
//!
//! - [`describe`]: what the engine says about an application, and with it the [`front`]: Flink's
//!   REST API as main() sees it
//! - [`jobs`]: the one process of a cluster that acts on the JobManager, and keeps checkpoints and
//!   ends in the record
//! - [`launch`]: becoming a JobManager or TaskManager, or the JVM that prints what `execute()`
//!   returned
//! - [`session`]: a Flink cluster that runs already, and is used by other applications too
//! - [`graph`], [`plan`]: a job as the record keeps it, and as people see it
//! - [`settings`], [`memory`], [`additions`], [`cluster`]: what a user says, and what follows for
//!   each JVM
//! - [`home`], [`java_home`], [`jvm`], [`role`], [`setup`]: Flink's libraries, the JDK, and how
//!   each JVM is started

pub mod additions;
mod answer;
pub mod bytes;
pub mod cluster;
pub mod describe;
pub mod front;
pub mod graph;
pub mod home;
pub mod java_home;
pub mod java_options;
mod jobmanager;
pub mod jobs;
mod json;
pub mod jvm;
pub mod launch;
pub mod memory;
pub mod plan;
mod plugins;
pub mod role;
mod served;
pub mod session;
pub mod settings;
pub mod setup;
mod sources;
