//! One stream's seat, over the register.

use std::sync::Arc;
use std::time::Duration;

use ::etcd::Lease;
use async_trait::async_trait;

use super::PATIENCE;
use super::register::{Register, Seated};
use crate::error::Error;
use crate::hosts::Seat;
use crate::model::hosts::Host;

/// A host renews so many times in a lease, so a renewal may take no longer than until the next one.
const RENEWALS_IN_A_LEASE: u32 = 3;

/// One stream's seat.
pub(super) struct EtcdSeat {
    register: Arc<Register>,
    seated: Seated,
    lease: Lease,
    granted: Duration,
    told: Option<Vec<Host>>,
}

impl EtcdSeat {
    /// The seat that was taken under this lease, which lasts for `granted`.
    pub(super) fn of(
        register: Arc<Register>,
        seated: Seated,
        lease: Lease,
        granted: Duration,
    ) -> Self {
        Self { register, seated, lease, granted, told: None }
    }
}

#[async_trait]
impl Seat for EtcdSeat {
    fn lease(&self) -> Duration {
        self.granted
    }

    async fn next(&mut self) -> Result<Vec<Host>, Error> {
        let mut changes = self.register.changes();
        loop {
            changes.borrow_and_update();
            let hosts = self.register.seen_from(&self.seated)?;
            if self.told.as_ref() != Some(&hosts) {
                self.told = Some(hosts.clone());
                return Ok(hosts);
            }
            // Waiting cannot fail: the sender is in `self`.
            let _ = changes.changed().await;
        }
    }

    async fn renew(&mut self) -> Result<Vec<Host>, Error> {
        let renewed = self.lease.renew(self.granted / RENEWALS_IN_A_LEASE).await?;
        // A lease outlives its key where another stream has the seat, or the key was deleted by
        // hand: the register says so.
        let hosts = self.register.seen_from(&self.seated)?;
        if !renewed {
            return Err(Error::SeatFree { host: self.seated.held.name().to_owned() });
        }
        self.told = Some(hosts.clone());
        Ok(hosts)
    }

    /// The lease takes with it the key that still lasts by it, and no other stream's.
    async fn leave(self: Box<Self>) -> Result<(), Error> {
        Ok(self.lease.revoke(PATIENCE).await?)
    }
}
