//! Where processes run, as an application's spec names it.

/// Processes on this machine.
pub const LOCAL: &str = "local";

/// The cluster that jobs run in is there already and stays; every other process is on this machine,
/// as with [`LOCAL`].
pub const STATIC: &str = "static";

/// Every target of this build.
pub const ALL: [&str; 2] = [LOCAL, STATIC];
