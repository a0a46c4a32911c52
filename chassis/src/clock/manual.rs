//! A clock that moves when a test says so.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Boot, Clock};

/// A clock that stands still until [`advance`](Self::advance), which wakes every sleeper whose
/// instant has come.
#[derive(Debug)]
pub struct ManualClock {
    boot: watch::Sender<Boot>,
    /// The wall time at boot; wall time moves with boot time unless it is set.
    epoch: Mutex<SystemTime>,
    /// How many tasks sleep until each instant.
    sleepers: watch::Sender<BTreeMap<Boot, usize>>,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl ManualClock {
    /// A clock at 1,000 s after boot, on 2026-01-01 00:00:00 UTC.
    pub fn new() -> Self {
        let boot = Boot::from_nanos(1_000_000_000_000);
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        Self {
            epoch: Mutex::new(wall - Duration::from_nanos(boot.as_nanos())),
            boot: watch::Sender::new(boot),
            sleepers: watch::Sender::default(),
        }
    }

    /// Moves both clocks on and wakes the sleepers whose instant has come.
    pub fn advance(&self, by: Duration) {
        self.boot.send_modify(|boot| *boot += by);
    }

    /// Lets the wall clock jump, while boot time stays.
    pub fn set_wall(&self, wall: SystemTime) {
        let since_boot = Duration::from_nanos(self.boot().as_nanos());
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner) = wall - since_boot;
    }

    /// How many tasks are asleep on this clock.
    pub fn sleepers(&self) -> usize {
        self.sleepers.borrow().values().sum()
    }

    /// The earliest instant that a task sleeps until.
    pub fn next_wakeup(&self) -> Option<Boot> {
        self.sleepers.borrow().keys().next().copied()
    }

    /// Waits until at least `count` tasks are asleep, so that an `advance` is not too early for
    /// them.
    pub async fn wait_for_sleepers(&self, count: usize) {
        let mut sleepers = self.sleepers.subscribe();
        sleepers
            .wait_for(|now| now.values().sum::<usize>() >= count)
            .await
            .expect("the sender lives in self");
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn wall(&self) -> SystemTime {
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
            + Duration::from_nanos(self.boot().as_nanos())
    }

    fn boot(&self) -> Boot {
        *self.boot.borrow()
    }

    async fn sleep_until(&self, at: Boot) {
        let mut boot = self.boot.subscribe();
        if *boot.borrow_and_update() >= at {
            return tokio::task::yield_now().await;
        }
        let _asleep = Asleep::new(&self.sleepers, at);
        boot.wait_for(|now| *now >= at).await.expect("the sender lives in self");
    }
}

/// Counts one sleeper for as long as it lives, also when the sleep is dropped.
struct Asleep<'a> {
    sleepers: &'a watch::Sender<BTreeMap<Boot, usize>>,
    until: Boot,
}

impl<'a> Asleep<'a> {
    fn new(sleepers: &'a watch::Sender<BTreeMap<Boot, usize>>, until: Boot) -> Self {
        sleepers.send_modify(|sleepers| *sleepers.entry(until).or_default() += 1);
        Self { sleepers, until }
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.sleepers.send_modify(|sleepers| {
            if let Some(count) = sleepers.get_mut(&self.until) {
                *count -= 1;
            }
            sleepers.retain(|_, count| *count > 0);
        });
    }
}
