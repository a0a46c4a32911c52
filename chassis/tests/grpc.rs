//! The server and the client stack through the wire, in one process. A service of the contract
//! stands in for the real ones: its methods do what their request says (answer, hang, panic, fail).
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "grpc/channel.rs"]
mod channel;
#[path = "grpc/fixture.rs"]
mod fixture;
#[path = "grpc/server.rs"]
mod server;
