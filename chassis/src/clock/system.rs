//! The machine's own clocks.
#![allow(
    clippy::disallowed_methods,
    reason = "the one file that reads the machine's clocks and sleeps on them"
)]

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rustix::time::{ClockId, clock_gettime};

use super::{Boot, Clock};

/// The longest single sleep. tokio counts `CLOCK_MONOTONIC`, which stands still while the machine
/// is suspended. After the machine wakes up, a sleeper learns within one slice that its instant has
/// passed.
const SLICE: Duration = Duration::from_secs(1);

/// `CLOCK_REALTIME` and `CLOCK_BOOTTIME` of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn boot(&self) -> Boot {
        let now = clock_gettime(ClockId::Boottime);
        // Both parts are non-negative: the kernel counts from boot.
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
        Boot::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    async fn sleep_until(&self, at: Boot) {
        // tokio answers a sleep that is over without giving the thread back, so the thread is given
        // back here.
        tokio::task::yield_now().await;
        loop {
            let left = at.saturating_duration_since(self.boot());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(SLICE)).await;
        }
    }
}
