//! Time as a seam. Every decision and every sleep goes through a [`Clock`]; `std::time` and
//! `tokio::time` are used only in [`SystemClock`]'s file. Deadlines and leases count [`Boot`] time,
//! which goes on while the machine sleeps and never jumps; wall time is for people and for the
//! absolute instants in the record.

#[cfg(any(test, feature = "testing"))]
mod manual;
mod system;

use std::future::Future;
use std::ops::{Add, AddAssign, Sub};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::future::{Either, select};

#[cfg(any(test, feature = "testing"))]
pub use manual::ManualClock;
pub use system::SystemClock;

/// A clock that is handed down from `main` or from a test.
pub type SharedClock = Arc<dyn Clock>;

/// Tells the time, and waits for a later time.
///
/// Every service is handed one clock and passes it down. A test hands down a [`ManualClock`]
/// instead, which is how a lease can run out without a wait.
///
/// Laws: `boot` never goes back; `sleep_until(at)` returns no earlier than `boot() >= at`, soon if
/// that is so already, and is cancelled by dropping it. Every sleep gives the thread back at least
/// once, also a sleep whose instant has passed: a loop that computes an instant in the past turns
/// in vain, but it does not keep the runtime from its sockets.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The wall clock. It may jump in either direction.
    fn wall(&self) -> SystemTime;

    /// The time since boot, suspension included.
    fn boot(&self) -> Boot;

    /// Waits until `boot()` is at least `at`.
    async fn sleep_until(&self, at: Boot);

    /// Waits for `duration` from now.
    async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.boot() + duration).await;
    }
}

#[async_trait]
impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn wall(&self) -> SystemTime {
        (**self).wall()
    }

    fn boot(&self) -> Boot {
        (**self).boot()
    }

    async fn sleep_until(&self, at: Boot) {
        (**self).sleep_until(at).await;
    }
}

/// An instant of `CLOCK_BOOTTIME`, in nanoseconds. Comparable between processes of one machine and
/// one boot only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Boot(u64);

impl Boot {
    /// The instant that many nanoseconds after boot.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since boot.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Boot {
    type Output = Self;

    /// Adding saturates: a wait of `Duration::MAX` is a wait for ever.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Boot {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Boot {
    type Output = Self;

    /// Subtracting saturates at boot.
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The time given to [`timeout`] passed before the future was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {0:?}")]
pub struct Elapsed(pub Duration);

/// Waits for `future`, at most for `after` by `clock`. The future is dropped when the time passes
/// first.
pub async fn timeout<C, F>(clock: &C, after: Duration, future: F) -> Result<F::Output, Elapsed>
where
    C: Clock + ?Sized,
    F: Future,
{
    // `select` polls the left side first, so an answer that is there wins over a deadline that has
    // just passed.
    match select(pin!(future), pin!(clock.sleep(after))).await {
        Either::Left((output, _)) => Ok(output),
        Either::Right(_) => Err(Elapsed(after)),
    }
}

#[cfg(test)]
mod tests;
