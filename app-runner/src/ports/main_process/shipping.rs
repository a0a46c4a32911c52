//! main()'s output on its way into the record, and what becomes of the output's files.

use std::path::Path;
use std::time::Duration;

use chassis::clock::{SharedClock, timeout};
use chassis::tasks::OwnedTask;
use client::tether::output;
use tokio::sync::watch;

/// How long the last output of an ended main() may take into the record.
const SHIP_WITHIN: Duration = Duration::from_secs(10);

/// Output on its way into the record. The shipping ends with the value that holds it, because two
/// shippings of the same output would take turns for ever.
pub(super) struct Shipping {
    pub(super) shipped: watch::Receiver<bool>,
    /// The task that ships. It is cut when the shipping is dropped, and the output that it has not
    /// shipped is in the tether's files or in the outbox.
    pub(super) task: OwnedTask<()>,
}

impl Shipping {
    /// Waits until the shipping has ended. The answer is whether all of the output is in the
    /// record.
    async fn is_done(&self) -> bool {
        let mut shipped = self.shipped.clone();
        shipped.wait_for(|shipped| *shipped).await.is_ok()
    }

    /// Waits for a while until all of the output is in the record. Then the tether's files are
    /// removed; otherwise they stay, with all that they hold.
    pub(super) async fn settle(&self, clock: &SharedClock, output_dir: &Path) {
        let shipped = timeout(clock, SHIP_WITHIN, self.is_done()).await;
        if shipped.unwrap_or(false) {
            if let Err(error) = output::discard(output_dir) {
                tracing::debug!("main()'s output is in the record and stays here, too: {error}");
            }
        } else {
            tracing::warn!(
                "the last output of main() is not in the record after {SHIP_WITHIN:?}: it is kept"
            );
            self.task.cut();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use std::sync::Arc;

    use chassis::clock::{ManualClock, SystemClock};
    use chassis::tasks::owned;

    use super::*;

    async fn soon<F: Future>(what: F) -> F::Output {
        timeout(&SystemClock, Duration::from_secs(20), what).await.expect("it is bounded")
    }

    /// Settles a shipping that gives no sign but what `shipped` says. The answer is whether the
    /// output's file is there afterwards.
    async fn keeps_its_file(shipped: watch::Receiver<bool>) -> bool {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("output-00000000000000000000.seg");
        std::fs::write(&file, "last words").unwrap();
        let clock = Arc::new(ManualClock::new());
        let shared: SharedClock = clock.clone();
        let shipping = Shipping { shipped, task: owned("shipping", std::future::pending()) };
        let time_passes = async {
            clock.wait_for_sleepers(1).await;
            clock.advance(SHIP_WITHIN);
            std::future::pending::<()>().await;
        };
        soon(async {
            tokio::select! {
                () = shipping.settle(&shared, directory.path()) => {}
                () = time_passes => {}
            }
        })
        .await;
        if file.exists() {
            // The task has to end, because the next shipping would take turns with it.
            soon(async {
                while !shipping.task.is_finished() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        file.exists()
    }

    #[tokio::test]
    async fn output_goes_from_its_files_only_once_all_of_it_is_in_the_record() {
        let (_done, shipped) = watch::channel(true);
        assert!(!keeps_its_file(shipped).await, "all of it is in the record");
        let (_silent, shipped) = watch::channel(false);
        assert!(keeps_its_file(shipped).await, "nothing was heard in time");
        let (refused, shipped) = watch::channel(false);
        drop(refused);
        assert!(keeps_its_file(shipped).await, "the shipping has given up");
    }
}
