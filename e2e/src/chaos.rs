//! Chaos: a deployment of three hosts on three members of etcd, to which faults are done that
//! follow from a seed, one application after the other; and what has to hold whatever is done.
//!
//! A cycle is drawn from its seed alone ([`Plan`]). An application is submitted; when the moment of
//! the first fault has come, the faults strike and are undone; then the application has to become
//! clean. What is checked afterwards ([`Report`]) rests on witnesses of which none is asked through
//! the product: an [`Observer`](crate::observer::Observer) of all processes, a
//! [`Chronicle`](crate::chronicle::Chronicle) of what was committed on etcd, and a reader of the
//! output who reads all the time. Only what people are told is asked of the product itself: the
//! status and the events.

mod application;
mod bed;
mod cycle;
mod draw;
mod fault;
mod laws;
mod plan;
mod reader;
mod series;
mod strike;
mod sum;
mod table;

pub use application::{Application, Program};
pub use bed::Bed;
pub use cycle::{Report, run};
pub use draw::Draw;
pub use fault::{Aim, Fault, Kind};
pub use plan::{Choice, HOSTS, POINTS, Plan, Step, When};
pub use series::series;
pub use sum::{Shown, Sum, repeat};
pub use table::Table;
