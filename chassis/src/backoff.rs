//! How long to wait before trying again.

#[cfg(any(test, feature = "testing"))]
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Exponential backoff with jitter: the n-th wait is drawn evenly from half to the whole of `min ·
/// 2ⁿ`, at most `max`. Jitter keeps the clients of a service that came back from arriving together.
#[derive(Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    ceiling: Duration,
    random: StdRng,
}

impl Backoff {
    /// A backoff whose waits grow from `min` to at most `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self::with_random(min, max, drawn())
    }

    /// As [`new`](Self::new), with waits that repeat for the same seed: for simulations.
    pub fn with_seed(min: Duration, max: Duration, seed: u64) -> Self {
        Self::with_random(min, max, StdRng::seed_from_u64(seed))
    }

    fn with_random(min: Duration, max: Duration, random: StdRng) -> Self {
        let max = max.max(min);
        Self { min, max, ceiling: min, random }
    }

    /// The next wait; the one after it is about twice as long.
    pub fn next_delay(&mut self) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = ceiling.saturating_mul(2).min(self.max);
        ceiling.mul_f64(self.random.random_range(0.5..=1.0))
    }

    /// Starts from `min` again, after something worked.
    pub fn reset(&mut self) {
        self.ceiling = self.min;
    }
}

/// What the randomness of new backoffs is drawn from, if this process is a simulation.
#[cfg(any(test, feature = "testing"))]
static SEEDS: Mutex<Option<StdRng>> = Mutex::new(None);

/// Makes this process a simulation: from now on the waits of all new backoffs follow from the seed
/// and from the order in which the backoffs are made.
#[cfg(any(test, feature = "testing"))]
pub fn seed(seed: u64) {
    *SEEDS.lock().unwrap_or_else(PoisonError::into_inner) = Some(StdRng::seed_from_u64(seed));
}

/// The randomness of one backoff.
fn drawn() -> StdRng {
    #[cfg(any(test, feature = "testing"))]
    if let Some(seeds) = SEEDS.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        return StdRng::from_rng(seeds);
    }
    StdRng::from_rng(&mut rand::rng())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_millis(1000);

    #[test]
    fn waits_double_up_to_the_maximum_and_start_again_after_a_reset() {
        let mut backoff = Backoff::new(MIN, MAX);
        for ceiling in [100, 200, 400, 800, 1000, 1000, 1000] {
            let (delay, ceiling) = (backoff.next_delay(), Duration::from_millis(ceiling));
            assert!(
                delay >= ceiling / 2 && delay <= ceiling,
                "{delay:?} is outside half to whole of {ceiling:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next_delay() <= MIN);
    }

    #[test]
    fn two_processes_do_not_wait_in_step_and_one_seed_repeats() {
        let waits = |mut backoff: Backoff| (0..8).map(|_| backoff.next_delay()).collect::<Vec<_>>();
        assert_ne!(waits(Backoff::new(MIN, MAX)), waits(Backoff::new(MIN, MAX)));
        assert_eq!(waits(Backoff::with_seed(MIN, MAX, 7)), waits(Backoff::with_seed(MIN, MAX, 7)));
    }
}
