//! Flink under test: its own examples, programs of this repository, and what has to come of them.

mod cast;
mod exactly_once;
mod moment;
mod posts;
mod programs;
mod session;
mod trial;

pub use cast::Part;
pub use exactly_once::{ExactlyOnce, Tally, tally};
pub use moment::Moment;
pub use posts::posts;
pub use programs::{
    WORD_COUNT, examples, examples_of, for_a_newer_java, jar_with, padded, plugin, programs,
};
pub use session::SessionCluster;
pub use trial::{Trial, Verdict};
