//! Asking again while a peer is away. A peer that has died is started again by its supervisor,
//! which takes a moment.

use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, SharedClock};

use crate::error::PortError;
use crate::ports::PortResult;

const MIN: Duration = Duration::from_millis(10);
const MAX: Duration = Duration::from_secs(1);

pub(super) fn backoff() -> Backoff {
    Backoff::new(MIN, MAX)
}

/// Repeats a call until it is answered with a result or a refusal. The bound is the caller's: the
/// driver drops the call with the attempt, or when the step is not wanted any more.
pub(super) async fn patiently<T, E, F, Fut>(
    clock: &SharedClock,
    what: &str,
    mut call: F,
) -> PortResult<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Into<PortError>,
{
    let mut backoff = backoff();
    let mut tries = 0_u32;
    loop {
        tries = tries.saturating_add(1);
        match call().await.map_err(Into::into) {
            Err(error) if error.is_away() => {
                if tries.is_power_of_two() && tries >= 4 {
                    tracing::warn!(tries, "cannot {what}, trying again: {error}");
                }
                clock.sleep(backoff.next_delay()).await;
            }
            answered => {
                if tries >= 4 {
                    tracing::info!(tries, "could {what} again");
                }
                return answered;
            }
        }
    }
}
