//! The owner of main()'s tether, which hands the lease on and tells how main() ended.

use std::time::Duration;

use chassis::clock::{Clock as _, SharedClock};
use chassis::tasks::{self, OwnedTask};
use client::tether::{Exit, Owned, Tether, TetherEvent};
use tokio::sync::watch;

use super::{Lease, deadline};

/// After a connection broke, the tether is asked so often, and after such pauses, whether it lives.
const ASK_AGAIN: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);

pub(super) struct Ownership {
    life: watch::Receiver<Life>,
    /// The task that owns the tether. Dropping the owner's stream is what tells the tether to end
    /// main().
    _task: OwnedTask<()>,
}

/// What the owner has seen of main()'s life.
#[derive(Debug, Clone, Default)]
struct Life {
    pid: u32,
    exit: Option<Exit>,
}

impl Ownership {
    /// Owns the tether until main() has ended. This returns once main() runs or could not be
    /// started.
    pub(super) async fn begin(
        tether: Tether,
        owned: Owned,
        lease: watch::Receiver<Lease>,
        clock: SharedClock,
    ) -> Self {
        let (sender, mut life) = watch::channel(Life::default());
        let task = tasks::owned("owner of main()", own(tether, owned, lease, clock, sender));
        // An error means that the task ended before either happened; `exited` answers for that
        // case.
        let _ = life.wait_for(|now| now.pid != 0 || now.exit.is_some()).await;
        Self { life, _task: task }
    }

    pub(super) fn pid(&self) -> u32 {
        self.life.borrow().pid
    }

    /// How main() ended. The exit says nothing when the tether was lost.
    pub(super) async fn exited(&self) -> Exit {
        let mut life = self.life.clone();
        let ended = life.wait_for(|now| now.exit.is_some()).await;
        ended.ok().and_then(|now| now.exit.clone()).unwrap_or_default()
    }
}

async fn own(
    tether: Tether,
    mut owned: Owned,
    mut lease: watch::Receiver<Lease>,
    clock: SharedClock,
    life: watch::Sender<Life>,
) {
    loop {
        let handed_on = owned.deadline();
        let broke = tokio::select! {
            event = owned.next() => match event {
                Ok(Some(TetherEvent::Started { pid })) => {
                    life.send_modify(|now| now.pid = pid);
                    false
                }
                Ok(Some(TetherEvent::Exited(exit))) => {
                    life.send_modify(|now| now.exit = Some(exit));
                    return;
                }
                Ok(Some(TetherEvent::Frozen)) => {
                    tracing::warn!("main() is frozen: the lease's deadline passed");
                    false
                }
                Ok(Some(TetherEvent::Thawed)) => {
                    tracing::info!("main() goes on: the lease is confirmed");
                    false
                }
                Ok(None) | Err(_) => true,
            },
            changed = lease.changed() => {
                if changed.is_err() {
                    // The leadership is over, and this task is about to be dropped with it.
                    std::future::pending::<()>().await;
                }
                if let Some(until) = deadline(&lease) {
                    handed_on.set(until);
                }
                false
            }
        };
        if !broke {
            continue;
        }
        match again(&tether, &lease, &clock).await {
            Some(anew) => owned = anew,
            None => {
                life.send_modify(|now| now.exit = Some(Exit::default()));
                return;
            }
        }
    }
}

/// Claims a tether again that did not say how its child ended.
async fn again(
    tether: &Tether,
    lease: &watch::Receiver<Lease>,
    clock: &SharedClock,
) -> Option<Owned> {
    for _ in 0..ASK_AGAIN {
        match tether.own(false, deadline(lease)).await {
            Ok(owned) => return Some(owned),
            Err(error) => tracing::debug!("main()'s tether: {error}"),
        }
        clock.sleep(PAUSE).await;
    }
    None
}
