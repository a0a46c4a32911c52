//! The clock of one machine, over the clock of the runtime, which stands still while there is
//! something to do and then moves on by itself.
#![allow(
    clippy::disallowed_methods,
    reason = "the clock of a simulated machine is made of the runtime's"
)]

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use chassis::clock::{Boot, Clock};
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a machine has been up when the simulation begins.
const UP_BEFORE: Duration = Duration::from_secs(1_000);

/// The longest single sleep. No sleep is so long that the end of time is asked for.
const SLICE: Duration = Duration::from_secs(3_600);

/// 2026-01-01 00:00:00 UTC, at which every simulation begins.
const WALL: Duration = Duration::from_secs(1_767_225_600);

/// The clocks of one machine: boot time that only grows, and wall time that can be set.
///
/// A machine that is paused has its clock closed: no sleep on it ends, while its boot time goes on,
/// as the time of a suspended machine does. What the machine does without a sleep is not held up.
#[derive(Debug)]
pub struct MachineClock {
    began: Instant,
    up_before: Duration,
    wall: Mutex<SystemTime>,
    open: watch::Sender<bool>,
}

impl MachineClock {
    /// A clock that shows `ahead` more than the time since the simulation began, as if its machine
    /// had been started so much earlier.
    pub fn new(began: Instant, ahead: Duration) -> Self {
        let wall = Mutex::new(SystemTime::UNIX_EPOCH + WALL);
        Self { began, up_before: UP_BEFORE + ahead, wall, open: watch::Sender::new(true) }
    }

    /// Sets wall time forward by so much, or back.
    pub fn set_forward(&self, by: Duration, back: bool) {
        let mut wall = self.wall.lock().unwrap_or_else(PoisonError::into_inner);
        *wall = if back { *wall - by } else { *wall + by };
    }

    /// Ends no sleep any more, until the clock is opened.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// Ends the sleeps again whose instant has come.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.began)
    }
}

#[async_trait]
impl Clock for MachineClock {
    fn wall(&self) -> SystemTime {
        *self.wall.lock().unwrap_or_else(PoisonError::into_inner) + self.elapsed()
    }

    fn boot(&self) -> Boot {
        Boot::from_nanos(0) + self.up_before + self.elapsed()
    }

    async fn sleep_until(&self, at: Boot) {
        let mut open = self.open.subscribe();
        tokio::task::yield_now().await;
        loop {
            // Waiting cannot fail: the sender is in `self`.
            let _ = open.wait_for(|open| *open).await;
            let left = at.saturating_duration_since(self.boot());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(SLICE)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The runtime's timers may be a part of a millisecond late.
    fn seconds(boot: Boot) -> u64 {
        boot.as_nanos() / 1_000_000_000
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_ends_at_its_instant_and_not_while_the_clock_is_closed() {
        let clock = MachineClock::new(Instant::now(), Duration::from_secs(7));
        assert_eq!(seconds(clock.boot()), 1_007);
        clock.sleep(Duration::from_secs(90)).await;
        assert_eq!(seconds(clock.boot()), 1_097);
        clock.close();
        let opens = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            clock.open();
        };
        tokio::join!(clock.sleep(Duration::from_secs(1)), opens);
        assert_eq!(seconds(clock.boot()), 1_102);
    }

    #[tokio::test(start_paused = true)]
    async fn wall_time_jumps_and_boot_time_does_not() {
        let clock = MachineClock::new(Instant::now(), Duration::ZERO);
        let (wall, boot) = (clock.wall(), clock.boot());
        clock.set_forward(Duration::from_secs(60), true);
        assert_eq!(clock.wall(), wall - Duration::from_secs(60));
        clock.set_forward(Duration::from_secs(90), false);
        assert_eq!((clock.wall(), clock.boot()), (wall + Duration::from_secs(30), boot));
    }
}
