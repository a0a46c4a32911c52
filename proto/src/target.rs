//! Where processes run, as an application's spec names it.

/// Processes on this machine.
pub const LOCAL: &str = "local";

/// As [`LOCAL`], but for the cluster that jobs run in: it is there already and stays.
pub const STATIC: &str = "static";

/// All of this build.
pub const ALL: [&str; 2] = [LOCAL, STATIC];
