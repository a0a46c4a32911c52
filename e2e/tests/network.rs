//! Hosts whose network drops what it is given, without a word to either side: from etcd and back,
//! one way only, between two hosts, and from one member. Another host leads once a leader cannot
//! hear of its lease, and nothing is disturbed by less than that. Each host and each member is a
//! machine of its own here (`deploy/local-cluster`), which needs root.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "network/beats.rs"]
mod beats;
#[path = "network/cut_off.rs"]
mod cut_off;
#[path = "network/power.rs"]
mod power;
#[path = "network/program.rs"]
mod program;
#[path = "network/undisturbed.rs"]
mod undisturbed;

#[path = "support/hosts.rs"]
#[allow(dead_code, reason = "other tests need what submits the script itself")]
mod hosts;
#[path = "support/squares.rs"]
#[allow(dead_code, reason = "other tests need what is for one host")]
mod squares;

/// How many hosts there are: with one of them cut off, two are left to take its place.
const HOSTS: usize = 3;
