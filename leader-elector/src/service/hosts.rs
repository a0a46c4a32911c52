//! The verbs of hosts: attending as a conversation, and a list.

use std::sync::Arc;
use std::time::Duration;

use chassis::clock::SharedClock;
use chassis::tasks::Shutdown;
use futures::stream::{BoxStream, StreamExt as _};
use proto::Place;

use crate::error::Error;
use crate::hosts::{Hosts, Seat};
use crate::model::hosts::Host;

/// What a host that attends hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attending {
    /// All hosts that have a seat, by name.
    pub hosts: Vec<Host>,
    /// How long the seat is kept after a renewal.
    pub lease: Duration,
}

/// The service over any seats of hosts.
#[derive(Clone)]
pub struct Attendance {
    hosts: Arc<dyn Hosts>,
    clock: SharedClock,
    shutdown: Shutdown,
}

impl Attendance {
    /// The service over these seats. At `shutdown` all conversations end, and the seats stay as
    /// they are.
    pub fn new(hosts: Arc<dyn Hosts>, clock: SharedClock, shutdown: Shutdown) -> Self {
        Self { hosts, clock, shutdown }
    }

    /// The clock of the process.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Takes a host's seat. Each item of `renewals` is a renewal, and their end frees the seat. An
    /// error in `renewals` is a break of the host's stream, and so is dropping the answers: then
    /// the seat is free when its lease has run out.
    pub async fn attend(
        &self,
        place: Place,
        version: String,
        renewals: BoxStream<'static, Result<(), Error>>,
    ) -> Result<BoxStream<'static, Result<Attending, Error>>, Error> {
        if self.shutdown.is_begun() {
            return Err(Error::ShuttingDown);
        }
        let name = place.name().to_owned();
        let seat = self.hosts.attend(place, version).await?;
        tracing::info!(host = name, "attends");
        let shutdown = self.shutdown.clone();
        let conversation =
            Conversation { name, seat: Some(seat), renewals, answered: false, shutdown };
        Ok(futures::stream::unfold(conversation, |mut conversation| async move {
            let answer = conversation.answer().await?;
            Some((answer, conversation))
        })
        .boxed())
    }

    /// All hosts that have a seat, by name.
    pub async fn list(&self) -> Result<Vec<Host>, Error> {
        self.hosts.list().await
    }
}

/// One host's conversation: renewals come in and answers go out, until one side ends it.
struct Conversation {
    name: String,
    /// `None` once the last word is said.
    seat: Option<Box<dyn Seat>>,
    renewals: BoxStream<'static, Result<(), Error>>,
    /// Whether the first message is answered, which comes before everything else.
    answered: bool,
    shutdown: Shutdown,
}

enum Event {
    Shutdown,
    Renewal(Option<Result<(), Error>>),
    News(Result<Vec<Host>, Error>),
}

impl Conversation {
    /// The next answer; `None` after the last one, and when the host has ended its side.
    async fn answer(&mut self) -> Option<Result<Attending, Error>> {
        let seat = self.seat.as_mut()?;
        let event = tokio::select! {
            biased;
            () = self.shutdown.begun() => Event::Shutdown,
            // Renewals come before news: a renewal that has arrived was sent before the lease is
            // judged.
            renewal = self.renewals.next(), if self.answered => Event::Renewal(renewal),
            hosts = seat.next() => Event::News(hosts),
        };
        let hosts = match event {
            Event::Shutdown => Err(Error::ShuttingDown),
            Event::Renewal(Some(Ok(()))) => seat.renew().await,
            Event::Renewal(Some(Err(error))) => {
                tracing::debug!(%error, host = self.name, "a host's stream broke");
                self.seat = None;
                return None;
            }
            Event::Renewal(None) => {
                tracing::info!(host = self.name, "leaves");
                let left = self.seat.take()?.leave().await;
                if let Err(error) = left {
                    tracing::debug!(%error, host = self.name, "a seat is left to its lease");
                }
                return None;
            }
            Event::News(hosts) => hosts,
        };
        self.answered = true;
        let lease = seat.lease();
        if let Err(error) = &hosts {
            tracing::info!(host = self.name, "attends no more: {error}");
            self.seat = None;
        }
        Some(hosts.map(|hosts| Attending { hosts, lease }))
    }
}
