#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::{Boot, Clock, Elapsed, ManualClock, SharedClock, SystemClock, timeout};

#[test]
fn boot_arithmetic_saturates_at_both_ends() {
    let second = Boot::from_nanos(1_000_000_000);
    assert_eq!((second + Duration::from_millis(500)).as_nanos(), 1_500_000_000);
    assert_eq!(second + Duration::MAX, Boot::from_nanos(u64::MAX));
    assert_eq!(second - Duration::from_secs(9), Boot::from_nanos(0));
    assert_eq!(second.saturating_duration_since(second + Duration::from_secs(1)), Duration::ZERO);
    assert_eq!(
        (second + Duration::from_secs(3)).saturating_duration_since(second),
        Duration::from_secs(3)
    );
}

#[tokio::test]
async fn an_advance_wakes_those_whose_instant_has_come_and_nobody_else() {
    let clock = Arc::new(ManualClock::new());
    let early = tokio::spawn({
        let clock = clock.clone();
        async move { clock.sleep(Duration::from_secs(1)).await }
    });
    let late = tokio::spawn({
        let clock = clock.clone();
        async move { clock.sleep(Duration::from_secs(2)).await }
    });
    clock.wait_for_sleepers(2).await;
    clock.advance(Duration::from_secs(1));
    early.await.unwrap();
    assert_eq!(
        (clock.sleepers(), clock.next_wakeup()),
        (1, Some(clock.boot() + Duration::from_secs(1)))
    );
    assert!(!late.is_finished());
    clock.advance(Duration::from_secs(1));
    late.await.unwrap();
    assert_eq!((clock.sleepers(), clock.next_wakeup()), (0, None));
}

#[tokio::test]
async fn a_timeout_counts_the_injected_clock() {
    let clock = Arc::new(ManualClock::new());
    let shared: SharedClock = clock.clone();
    let waiting =
        tokio::spawn(
            async move { timeout(&shared, Duration::from_secs(3600), pending::<()>()).await },
        );
    clock.wait_for_sleepers(1).await;
    assert_eq!(clock.next_wakeup(), Some(clock.boot() + Duration::from_secs(3600)));
    clock.advance(Duration::from_secs(3600));
    assert_eq!(waiting.await.unwrap(), Err(Elapsed(Duration::from_secs(3600))));
    assert_eq!(
        timeout(&*clock, Duration::ZERO, async { 7 }).await,
        Ok(7),
        "an answer that is there wins"
    );
}

#[tokio::test]
async fn the_wall_clock_may_jump_and_boot_time_does_not() {
    let clock = ManualClock::new();
    let (wall, boot) = (clock.wall(), clock.boot());
    clock.set_wall(wall - Duration::from_secs(86_400));
    assert_eq!(clock.wall(), wall - Duration::from_secs(86_400));
    assert_eq!(clock.boot(), boot);
    clock.advance(Duration::from_secs(1));
    assert_eq!(clock.wall(), wall - Duration::from_secs(86_399));
}

/// A `select!` in a loop over a sleep that is over would otherwise never let the runtime look at
/// its sockets.
#[tokio::test]
async fn a_sleep_that_is_over_gives_the_thread_back_all_the_same() {
    let clocks: [SharedClock; 2] = [Arc::new(SystemClock), Arc::new(ManualClock::new())];
    for clock in clocks {
        let mut over = pin!(clock.sleep_until(Boot::from_nanos(0)));
        assert!(futures::poll!(over.as_mut()).is_pending());
        over.await;
    }
}

#[tokio::test]
async fn the_system_clock_never_wakes_early() {
    let clock = SystemClock;
    let at = clock.boot() + Duration::from_millis(20);
    clock.sleep_until(at).await;
    assert!(clock.boot() >= at);
    clock.sleep_until(Boot::from_nanos(0)).await;
}
