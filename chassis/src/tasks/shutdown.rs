//! The one question "should this process end?".

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::detached;

/// The wish that a process end, asked once and for good. All clones are one shutdown.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A shutdown that only [`begin`](Self::begin) begins.
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that SIGINT and SIGTERM begin. A second signal leaves at once with 128 + its
    /// number. The call has to come inside the runtime.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::new();
        let mut signals = Signals::new()?;
        let begun = shutdown.clone();
        let why = "it has to outlive all other tasks to hear the second signal";
        detached("signals", why, async move {
            let first = signals.next().await;
            tracing::info!("shutting down ({first}); once more to leave at once");
            begun.begin();
            let second = signals.next().await;
            tracing::warn!("leaving at once ({second})");
            std::process::exit(128 + second.number());
        });
        Ok(shutdown)
    }

    /// Begins the shutdown. A second call changes nothing.
    pub fn begin(&self) {
        self.0.cancel();
    }

    /// Whether the shutdown has begun.
    pub fn is_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the shutdown begins.
    pub async fn begun(&self) {
        self.0.cancelled().await;
    }

    /// The token itself, for streams that have to own what they wait for.
    pub(crate) fn token(&self) -> CancellationToken {
        self.0.clone()
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

#[derive(Clone, Copy)]
enum Asked {
    Interrupt,
    Terminate,
}

impl Asked {
    fn number(self) -> i32 {
        match self {
            Self::Interrupt => SignalKind::interrupt().as_raw_value(),
            Self::Terminate => SignalKind::terminate().as_raw_value(),
        }
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
        }
    }
}
