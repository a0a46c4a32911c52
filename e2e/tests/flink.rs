//! Flink, for real: unchanged programs on real Flink processes, any of which may die on the way.
//! `mainspring setup flink` must have run; `make test` sees to it, and leaves these tests out,
//! loudly, where it cannot. The long matrix is `make e2e-flink`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "flink/additions.rs"]
mod additions;
#[path = "flink/bad_input.rs"]
mod bad_input;
#[path = "flink/cancel.rs"]
mod cancel;
#[path = "flink/controls.rs"]
mod controls;
#[path = "flink/deaths.rs"]
mod deaths;
#[path = "flink/examples.rs"]
mod examples;
#[path = "flink/kills.rs"]
mod kills;
#[path = "flink/large_jar.rs"]
mod large_jar;
#[path = "flink/no_leader.rs"]
mod no_leader;
#[path = "flink/result.rs"]
mod result;
#[path = "flink/savepoint.rs"]
mod savepoint;
#[path = "flink/session.rs"]
mod session;
#[path = "flink/taken_port.rs"]
mod taken_port;
#[path = "flink/ui.rs"]
mod ui;
#[path = "flink/varying.rs"]
mod varying;
#[path = "flink/word_count.rs"]
mod word_count;
