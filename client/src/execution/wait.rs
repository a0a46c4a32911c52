//! Waiting for a runner that is away.

use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, SharedClock};
use tonic::{Code, Status};

use crate::error::CallError;

/// The first pause is short, because a fail-over takes a few hundred milliseconds.
const MIN_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Repeats a call while the runner is away.
pub(super) struct Retry {
    clock: SharedClock,
    backoff: Backoff,
}

impl Retry {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { clock, backoff: Backoff::new(MIN_PAUSE, MAX_PAUSE) }
    }

    /// Calls until the runner itself answers, with a result or a refusal.
    pub(super) async fn run<T, F, Fut>(&mut self, call: F) -> Result<T, CallError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, CallError>>,
    {
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.pause(error).await?,
            }
        }
    }

    /// Waits before the next try. The error comes back when another try would be answered the same.
    pub(super) async fn pause(&mut self, error: CallError) -> Result<(), CallError> {
        if !is_away(&error) {
            return Err(error);
        }
        tracing::debug!(error = %error, "the runner is away: waiting");
        let pause = self.backoff.next_delay().max(error.retry_after().unwrap_or_default());
        self.clock.sleep(pause).await;
        Ok(())
    }

    /// Makes the next pause a short one again, because the runner has answered.
    pub(super) fn reset(&mut self) {
        self.backoff.reset();
    }
}

/// Whether the runner, or one of the services behind it, is away for now. A refusal of ours always
/// carries a reason; a connection that broke ends in one of several codes without one.
fn is_away(error: &CallError) -> bool {
    error.is_retryable()
        || (error.reason().is_none()
            && matches!(error.code(), Code::Cancelled | Code::Internal | Code::Aborted))
}

/// The error of a stream that ended before its last message.
pub(super) fn cut_off() -> CallError {
    Status::unavailable("the runner closed the stream early").into()
}
