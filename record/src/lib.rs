//! The fenced record, as leaders and clusters see it: one trait, its types, its errors and its
//! limits.
//!
//! The record is where two processes that believe to be the same one are told apart. Everything a
//! leader decides goes through [`Record`] with the epoch that it was elected with, and everything a
//! cluster reports goes through it with its incarnation; the fence is compared inside the write. A
//! caller therefore needs no clock and no lock to be safe: a write that is answered has happened
//! under a fence that held, and one that is refused as superseded tells the caller to stop.
//!
//! There are two implementations: the store's service, which keeps the record, and the client,
//! which asks it over the wire. The laws of the record (`jobgraph-store/src/service/laws`) judge
//! both through this trait, so a test that runs a caller over the service proves the same as one
//! over a socket.

mod error;
pub mod limits;
mod types;
mod verbs;

pub use error::{
    Answer, ClusterRefused, EndRefused, Error, GraphRefused, Nothing, PinRefused, Refused, Told,
};
pub use types::{ApplicationEnd, Confirmed, Holder, MainEnd, MainExit, Standing};
pub use verbs::{Beats, Record, Records};
