//! The in-memory etcd through the real client: against a real etcd, and under faults.
#![allow(clippy::unwrap_used)]

mod differential;
mod faults;
mod member;
mod script;
mod side;
