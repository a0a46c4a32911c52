//! Signals that end a watch: Ctrl-C, and the signals of a terminal that goes away.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;

/// The kind of signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Ctrl-C: the person at the keyboard wants something.
    Key,
    /// SIGTERM or SIGHUP: the process that watched is to go away.
    Gone,
}

/// The signals that reach this process from now on; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Interrupts(Arc<Mutex<[Signal; 3]>>);

impl Interrupts {
    /// Begins to listen; from here the signals no longer end the process by themselves.
    pub(crate) fn new() -> io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [key, terminate, hangup] = kinds.map(signal);
        Ok(Self(Arc::new(Mutex::new([key?, terminate?, hangup?]))))
    }

    /// Waits for the next signal. Only one waiter at a time gets it.
    pub(crate) async fn next(&self) -> Interrupt {
        let mut signals = self.0.lock().await;
        let [key, terminate, hangup] = &mut *signals;
        tokio::select! {
            _ = key.recv() => Interrupt::Key,
            _ = terminate.recv() => Interrupt::Gone,
            _ = hangup.recv() => Interrupt::Gone,
        }
    }

    /// Waits for any of the signals.
    pub(crate) async fn any(&self) {
        let _ = self.next().await;
    }
}
