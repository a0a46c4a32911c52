//! Renewals that need a turn of the holder's own loop.

use std::sync::Arc;

use tokio::sync::watch;

/// For how many renewals the holder's loop has turned, and whether renewals wait for it at all.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    /// A pulse was handed out, so renewals need turns from now on.
    gated: bool,
    turns: u64,
}

/// The holder's side; see [`Leadership::pulse`](super::Leadership::pulse).
#[derive(Debug, Clone)]
pub struct Pulse {
    due: watch::Receiver<u64>,
    turned: Arc<watch::Sender<Count>>,
}

/// The renewing task's side.
#[derive(Debug)]
pub(super) struct Gate {
    due: watch::Sender<u64>,
    turned: watch::Receiver<Count>,
}

pub(super) fn pair() -> (Gate, Pulse) {
    let (due, dues) = watch::channel(0);
    let (turned, turns) = watch::channel(Count::default());
    (Gate { due, turned: turns }, Pulse { due: dues, turned: Arc::new(turned) })
}

impl Pulse {
    /// Waits until a renewal is due, and thereby allows it. The wait is cancel safe. Once the
    /// leadership is over it does not end.
    pub async fn due(&mut self) {
        let due = self.due.wait_for(|due| *due > self.turned.borrow().turns).await.map(|due| *due);
        let Ok(due) = due else { return std::future::pending().await };
        self.turned.send_modify(|count| count.turns = due);
    }

    /// Hands the pulse to the holder's loop, from when on renewals wait for the loop.
    pub(super) fn take(&self) -> Self {
        self.turned.send_modify(|count| count.gated = true);
        self.clone()
    }
}

impl Gate {
    /// Waits until the holder's loop has turned for a renewal that is due now; returns at once
    /// while no pulse was handed out. The wait is cancel safe: a renewal that is due stays due.
    pub(super) async fn pass(&mut self) {
        if !self.turned.borrow().gated {
            return;
        }
        let answered = self.turned.borrow().turns;
        self.due.send_if_modified(|due| {
            let first = *due <= answered;
            *due = (*due).max(answered + 1);
            first
        });
        let passed = self.turned.wait_for(|count| count.turns > answered).await.is_ok();
        if !passed {
            // The holder's loop is gone for good, and nothing may be renewed without it.
            std::future::pending::<()>().await;
        }
    }
}
