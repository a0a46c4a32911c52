//! The names of fields on spans and log lines. There is one name per idea, so that one query finds
//! the idea in every process: `tracing::info!({ fields::APP_ID } = %id, "ended")`.

/// The application's id.
pub const APP_ID: &str = "app.id";
/// The application's generation.
pub const APP_GENERATION: &str = "app.generation";
/// The epoch of the leadership.
pub const EPOCH: &str = "epoch";
/// The number of the cluster's life.
pub const INCARNATION: &str = "incarnation";
/// The job's id, 32 hex digits.
pub const JOB_ID: &str = "job.id";
/// The job's name.
pub const JOB_NAME: &str = "job.name";
/// The role of a process, such as `worker`.
pub const ROLE: &str = "role";
/// An artifact's URI, without its secrets.
pub const ARTIFACT_URI: &str = "artifact.uri";
/// A SHA-256 in hex.
pub const DIGEST: &str = "digest";
/// A size in bytes.
pub const BYTES: &str = "bytes";
/// The process id.
pub const PID: &str = "process.pid";
/// The endpoint where a process listens, or that it connects to.
pub const ENDPOINT: &str = "endpoint";
/// The name of a peer service.
pub const PEER: &str = "peer";
/// The revision of a record.
pub const REVISION: &str = "revision";
/// The stable reason of an error.
pub const REASON: &str = "reason";
/// The full method of an rpc, such as `/mainspring.election.v1.ElectionService/Campaign`.
pub const RPC_METHOD: &str = "rpc.method";
/// The name of the gRPC code that an rpc ended with.
pub const RPC_CODE: &str = "rpc.code";
/// The trace id of an rpc, 32 hex digits, also where traces are off.
pub const TRACE_ID: &str = "trace.id";
