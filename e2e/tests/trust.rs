//! What each process may do to the others: main() with its token, a contender with its own, and a
//! main() under a user of its own.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "trust/doors.rs"]
mod doors;
#[path = "trust/run_as.rs"]
mod run_as;
#[path = "trust/waiting.rs"]
mod waiting;
