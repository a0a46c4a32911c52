//! Signals that end a watch: Ctrl-C, and those of a terminal that goes away.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Ctrl-C: somebody at the keyboard wants something.
    Key,
    /// SIGTERM or SIGHUP: whoever watched goes away.
    Gone,
}

/// Signals of this process from now on.
#[derive(Debug, Clone)]
pub(crate) struct Interrupts(Arc<Mutex<[Signal; 3]>>);

impl Interrupts {
    /// Begins to listen; from here the signals no longer end the process by themselves.
    pub(crate) fn new() -> io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [key, terminate, hangup] = kinds.map(signal);
        Ok(Self(Arc::new(Mutex::new([key?, terminate?, hangup?]))))
    }

    /// The next one. One waiter at a time.
    pub(crate) async fn next(&self) -> Interrupt {
        let mut signals = self.0.lock().await;
        let [key, terminate, hangup] = &mut *signals;
        tokio::select! {
            _ = key.recv() => Interrupt::Key,
            _ = terminate.recv() => Interrupt::Gone,
            _ = hangup.recv() => Interrupt::Gone,
        }
    }

    /// Any of them.
    pub(crate) async fn any(&self) {
        let _ = self.next().await;
    }
}
