//! Library mode: a native Rust program as an application of mainspring.
//!
//! ```no_run
//! use mainspring_sdk::{ApplicationRunner, Job};
//!
//! fn main() -> std::process::ExitCode {
//!     ApplicationRunner::run(|env| async move {
//!         let orders = env.session().read_csv("/data/orders.csv", Default::default()).await?;
//!         let big = env.execute("big", Job::parquet(orders, "big/")).await?;
//!         let again = env.session().read_parquet(big.location()?, Default::default()).await?;
//!         env.show("report", again).await?;
//!         Ok(())
//!     })
//! }
//! ```
//!
//! # main() is executed again
//!
//! When the process that leads the application is lost, main() is ended with it and executed again,
//! from its first line, by the next leader. What makes that harmless is the record:
//!
//! - [`Environment::execute`] is a *journalled step*. Its job is known by its **name**: a job that
//!   has ended is answered from the record and is not run again, and a job that still runs is
//!   attached to.
//! - [`Environment::once`] keeps a value: a step whose value was kept is not run again.
//! - Everything else happens **each time**. That includes what a program does through its session
//!   outside `execute()`: `frame.collect()`, `frame.show()` or `write_parquet()` of DataFusion run
//!   in this process, on its memory. They are not journalled and not shown as jobs, and no commit
//!   covers their output. Effects outside the record (a mail, a row in another database) are
//!   at-least-once; give them the key of their `once` step.
//!
//! A re-executed main() must ask for the same jobs by the same names: decisions that may come out
//! differently (time, random numbers, an answer of another system) belong into a `once` step.
//!
//! # Started by hand
//!
//! The same binary without mainspring around it runs its jobs in its own process, from the same
//! stored bytes, and says so in one line on stderr. There is no record then: `once` remembers for
//! this process only.

mod application;
mod arguments;
mod environment;
mod error;
mod executor;
mod finished;
mod job;
mod once;
#[cfg(test)]
mod tests;

pub use application::{ApplicationRunner, MainResult};
pub use environment::Environment;
pub use error::{BoxError, Error};
pub use finished::{Finished, Written};
pub use job::Job;

/// The DataFusion that plans jobs here. A program depends on DataFusion through this, so that the
/// versions agree.
pub use datafusion;
pub use proto::{JobId, Reason, job::JobOutcome};
