//! Every arrow of one run: a process dies right before the arrow and right after it, and the next
//! process goes on from the record. There is one end and one result, no job ends twice, and nothing
//! is left over.
//!
//! The table of the points is compared with the sources, so that a new arrow gets its row, and a
//! point that is never reached is a failure. `make e2e-arrows` is the long form: all points again,
//! with the record on etcd.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "arrows/arranged.rs"]
mod arranged;
#[path = "arrows/sources.rs"]
mod sources;
#[path = "support/squares.rs"]
#[allow(dead_code, reason = "services are killed by points here, and by no signal")]
mod squares;
#[path = "arrows/table.rs"]
mod table;
