//! Flink under test: its own examples, programs of ours, and what has to come of them.

mod cast;
mod exactly_once;
mod programs;

pub use cast::Part;
pub use exactly_once::{ExactlyOnce, Tally};
pub use programs::{WORD_COUNT, examples, programs};
