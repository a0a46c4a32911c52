//! The whole of mainspring as a user meets it: the built binaries, real processes, real sockets. A
//! [`Host`] is one state directory of a test's own; when it is dropped everything of it has to be
//! gone, or the test fails.

#![allow(
    clippy::disallowed_methods,
    reason = "tests start processes and wait by the machine's own clock"
)]

pub mod certificates;
pub mod chaos;
pub mod chronicle;
pub mod deployment;
pub mod disk;
pub mod etcd;
pub mod flink;
pub mod gateway;
pub mod host;
pub mod http;
pub mod local_cluster;
pub mod observer;
pub mod process;
pub mod s3;
pub mod server;

pub use deployment::Deployment;
pub use host::Host;
pub use local_cluster::LocalCluster;
pub use process::{Finished, Running};

use std::path::PathBuf;

/// The repository's root.
pub fn repository() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("e2e/ lies in the repository").to_owned()
}

/// A file of the repository, as an argument.
pub fn example(path: &str) -> String {
    let file = repository().join("examples").join(path);
    assert!(file.exists(), "no example {}", file.display());
    file.to_str().expect("the checkout's path is UTF-8").to_owned()
}
