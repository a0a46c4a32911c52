//! The embedded engine: DataFusion behind mainspring's engine contract.
//!
//! A *job graph* is a logical plan in an envelope of this engine's ([`graph`]). The graph is
//! planned from a `.sql` script ([`script`]) or from a `DataFrame`, stored as bytes, and run by
//! another process ([`execute`]), which stages its output; [`publish`] gives the staged files their
//! final names once the job's end is in the record.
//!
//! Those modules know no gRPC. [`describe`], [`worker`] and [`sql_main`] are what the executable
//! `mainspring-datafusion` serves and runs.

mod defaults;
pub mod describe;
pub mod error;
pub mod execute;
mod file_url;
pub mod graph;
pub mod manifest;
pub mod publish;
pub mod rows;
pub mod script;
pub mod session;
pub mod settings;
pub mod sql_main;
pub mod table;
pub mod wire;
pub mod worker;
