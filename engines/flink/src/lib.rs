//! The Flink engine: an unchanged Flink program on real Flink processes that are started for it.
//!
//! - [`home`]: where Flink's libraries, our jar and the class-data archives are
//! - [`java_home`]: the JDK that everything runs on
//! - [`jvm`]: how each JVM is started
//! - [`setup`]: makes the home

pub mod home;
pub mod java_home;
pub mod jvm;
pub mod setup;
mod sources;
