//! The server and the client stack through the wire, in one process: a service of the contract whose methods do what
//! their request says (answer, hang, panic, fail) stands in for the real ones.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "grpc/channel.rs"]
mod channel;
#[path = "grpc/fixture.rs"]
mod fixture;
#[path = "grpc/server.rs"]
mod server;
