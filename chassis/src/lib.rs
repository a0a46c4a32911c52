//! The process that every service runs in: clock, transport, credentials, server and client stacks,
//! supervised tasks, shutdown, telemetry. This crate knows no job: nothing here could name what the
//! service is for.
//!
//! The shape of a service's process: [`telemetry::init`] → open the state →
//! [`server::Footing::serve`] → spawn the server and the other parts on
//! [`server::Footing::tasks`] → [`tasks::TaskSet::run`] until a signal or a failed part →
//! [`telemetry::TelemetryGuard::shutdown`].

pub mod backoff;
pub mod channel;
pub mod clock;
pub mod cluster_grace;
pub mod credential;
pub mod disk;
pub mod environment;
pub mod failpoint;
pub mod http;
pub mod panics;
pub mod run_as;
pub mod server;
pub mod shared_dir;
pub mod tasks;
pub mod telemetry;
pub mod transport;

mod runtime;

pub use runtime::{install_crypto_provider, runtime};

/// The largest gRPC message that is sent or taken, in bytes, for `max_decoding_message_size` and
/// `max_encoding_message_size` of every generated client and server. Anything larger is streamed in
/// chunks.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// Any error that ends a task or a connection.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
