//! A thread that ends the process when a loop that carries the process has stopped turning.
#![allow(
    clippy::disallowed_methods,
    reason = "sleeps on a thread of its own, because the runtime may be what hangs"
)]

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{Either, select};

use crate::clock::SharedClock;

/// How often the thread looks. The thread counts looks instead of reading a clock, so that a
/// suspended machine or a stopped process is not taken for a loop that hangs.
const LOOK: Duration = Duration::from_secs(1);

/// How often [`Pulse::during`] beats.
const BEAT: Duration = Duration::from_secs(1);

/// The exit code of a process that its watchdog ended; a host starts such a process again.
const EXIT_HANGS: i32 = 70;

/// The sign of life of one loop. The watchdog ends with the last clone.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Starts a watchdog: once `looks` seconds in a row have passed without a beat, the process
    /// ends with exit code 70 and the name of the loop in its log.
    pub fn watched(name: &'static str, looks: u32) -> io::Result<Self> {
        let beats = Arc::new(AtomicU64::new(0));
        let watched = Arc::downgrade(&beats);
        let look = move || {
            std::thread::sleep(LOOK);
            watched.upgrade().map(|beats| beats.load(Ordering::Relaxed))
        };
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            if hangs(looks, look) {
                tracing::error!(
                    "{name} has not turned for {looks} s: this process ends, to be started again"
                );
                std::process::exit(EXIT_HANGS);
            }
        })?;
        Ok(Self(beats))
    }

    /// Says that the loop turns.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Beats while the loop waits for one future, which has a bound of its own.
    pub async fn during<F: Future>(&self, clock: &SharedClock, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            self.beat();
            match select(future.as_mut(), pin!(clock.sleep(BEAT))).await {
                Either::Left((output, _)) => return output,
                Either::Right(_) => {}
            }
        }
    }
}

/// Looks again and again. `true` once so many looks in a row saw no beat; `false` if a look finds
/// before that the loop is gone.
fn hangs(looks: u32, mut look: impl FnMut() -> Option<u64>) -> bool {
    let (mut seen, mut still) = (None, 0);
    while still < looks {
        let Some(beats) = look() else { return false };
        still = if seen == Some(beats) { still + 1 } else { 0 };
        seen = Some(beats);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(beats: &[u64]) -> bool {
        let mut beats = beats.iter().copied();
        hangs(3, || beats.next())
    }

    #[test]
    fn a_loop_hangs_when_three_looks_in_a_row_saw_no_beat() {
        assert!(of(&[0, 0, 0, 0]), "the first look knows no beat before it");
        assert!(of(&[1, 2, 2, 2, 2]));
        assert!(!of(&[0, 0, 0, 1, 1, 1, 2]), "it beat in time, then it left");
        assert!(!of(&[]));
    }
}
