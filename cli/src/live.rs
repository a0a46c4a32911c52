//! Watching an application: what is heard of it, and how that is shown.

pub(crate) mod follow;
pub(crate) mod story;
pub(crate) mod waiting;
pub(crate) mod watch;

pub(crate) use watch::{OnInterrupt, Watched, watch};
