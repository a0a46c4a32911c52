//! Output that outlived its process's files. The lifecycle that runs ships the outbox, also after
//! the application is clean, and removes output only once it is durable in the record.

use std::time::Duration;

use chassis::BoxError;
use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, timeout};

use super::Lifecycle;
use super::shipping::{Origin, Shipped, Shipping};
use crate::record::LogSource;

/// How often the outbox is looked into: a runner waits for its application's output to leave it.
const LOOK: Duration = Duration::from_secs(1);

/// The longest pause after output could not be shipped.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long one source may take before the next one has its turn.
const TURN: Duration = Duration::from_secs(30);

impl Lifecycle {
    /// Ships what is in the outbox, again and again, until the shutdown.
    pub async fn ship_outbox(self) -> Result<(), BoxError> {
        let mut backoff = Backoff::new(LOOK, LONGEST_PAUSE);
        loop {
            let mut is_left = false;
            for source in self.0.substrate.outbox().await {
                is_left |= tokio::select! {
                    shipped = self.ship_one(source) => !shipped,
                    () = self.0.tasks.shutdown().begun() => return Ok(()),
                };
            }
            if !is_left {
                backoff.reset();
            }
            tokio::select! {
                () = self.0.clock.sleep(backoff.next_delay()) => {}
                () = self.0.tasks.shutdown().begun() => return Ok(()),
            }
        }
    }

    /// Ships one source; `true` if it has left the outbox.
    async fn ship_one(&self, source: LogSource) -> bool {
        let (substrate, record, clock) =
            (self.0.substrate.clone(), self.0.record.clone(), self.0.clock.clone());
        let shipping =
            Shipping { source: source.clone(), origin: Origin::Outbox, substrate, record, clock };
        match timeout(&self.0.clock, TURN, shipping.run()).await {
            Ok(Shipped::Whole | Shipped::Unwanted) => {
                self.0.substrate.empty_outbox(&source).await;
                tracing::info!("{source}: its output has left the outbox");
                true
            }
            Ok(Shipped::Refused) | Err(_) => false,
        }
    }
}
