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

/// The parts that the rates of clocks are counted in.
const MILLION: u32 = 1_000_000;

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
    /// How many parts of a million the clocks run faster than the runtime's.
    faster_ppm: i32,
    wall: Mutex<SystemTime>,
    open: watch::Sender<bool>,
}

impl MachineClock {
    /// A clock that shows `ahead` more than the time since the simulation began, as if its machine
    /// had been started so much earlier.
    pub fn new(began: Instant, ahead: Duration) -> Self {
        let wall = Mutex::new(SystemTime::UNIX_EPOCH + WALL);
        let (up_before, open) = (UP_BEFORE + ahead, watch::Sender::new(true));
        Self { began, up_before, faster_ppm: 0, wall, open }
    }

    /// The same clocks, which run faster by so many parts of a million, or slower.
    #[must_use]
    pub fn faster_by(self, faster_ppm: i32) -> Self {
        Self { faster_ppm, ..self }
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
        let real = Instant::now().saturating_duration_since(self.began);
        scaled(real, MILLION.saturating_add_signed(self.faster_ppm), MILLION)
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
            let rate = MILLION.saturating_add_signed(self.faster_ppm);
            tokio::time::sleep(scaled(left, MILLION, rate).min(SLICE)).await;
        }
    }
}

/// So many times this long, by the second number.
fn scaled(time: Duration, times: u32, by: u32) -> Duration {
    let nanos = time.as_nanos() * u128::from(times) / u128::from(by.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
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
    async fn a_clock_that_runs_faster_comes_earlier_to_its_instant() {
        let began = Instant::now();
        for (faster_ppm, real_ms) in [(0, 100_000), (10_000, 99_010), (-10_000, 101_011)] {
            let clock = MachineClock::new(began, Duration::ZERO).faster_by(faster_ppm);
            let (wall, now) = (clock.wall(), Instant::now());
            clock.sleep(Duration::from_secs(100)).await;
            let real = now.elapsed().as_millis();
            assert!(real.abs_diff(real_ms) <= 3, "{faster_ppm}: {real} ms, not {real_ms}");
            let shown = clock.wall().duration_since(wall).unwrap_or_default();
            assert!(shown.as_millis().abs_diff(100_000) <= 3, "{faster_ppm}: {shown:?}");
        }
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
