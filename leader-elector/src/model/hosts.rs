//! The seats of hosts: who may take one, whose it is, and when it is free again.
//!
//! There is no I/O and no clock here; `now` comes with each fact. [`Host`] and [`Held`] decide for
//! every backend, [`Seats`] for the one that keeps seats in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use chassis::clock::Boot;
use proto::Place;

use crate::error::Error;

/// One stream on which a host attends. No two streams of a deployment have the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamId(pub i64);

/// A host that has a seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Which host it is. The seat goes by the name, and only the uid says whether two hosts are the
    /// same one.
    pub place: Place,
    /// The version of its build.
    pub version: String,
    /// When the host took the seat: milliseconds since 1970, for people only. A host that goes on
    /// in its seat on another stream has had it all the time.
    pub since_unix_ms: u64,
}

impl Host {
    /// The host once it has the seat of its name. `before` is the host that has the seat so far:
    /// the same one goes on in it, another one keeps it.
    pub fn seated(
        place: &Place,
        version: &str,
        wall_unix_ms: u64,
        before: Option<&Self>,
    ) -> Result<Self, Error> {
        let since_unix_ms = match before {
            Some(before) if before.place.uid() != place.uid() => {
                let by = before.place.uid();
                return Err(Error::HostNameTaken { host: place.name().to_owned(), by });
            }
            Some(before) => before.since_unix_ms,
            None => wall_unix_ms,
        };
        Ok(Self { place: place.clone(), version: version.to_owned(), since_unix_ms })
    }
}

/// A seat that is taken: by which host, and on which of its streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The host.
    pub host: Host,
    /// The stream. No other one of the same host has the seat.
    pub stream: StreamId,
}

impl Held {
    /// The name that the seat goes by.
    pub fn name(&self) -> &str {
        self.host.place.name()
    }

    /// Whether the seat is still this stream's. `present` is how the seat of that name stands now.
    pub fn stands(&self, present: Option<&Self>) -> Result<(), Error> {
        let host = self.name().to_owned();
        match present {
            Some(present) if present.stream == self.stream => Ok(()),
            Some(present) if present.host.place.uid() == self.host.place.uid() => {
                Err(Error::HostSuperseded { host })
            }
            Some(present) => Err(Error::HostNameTaken { host, by: present.host.place.uid() }),
            None => Err(Error::SeatFree { host }),
        }
    }
}

/// The seats of all hosts, where one process keeps them.
#[derive(Debug)]
pub struct Seats {
    lease: Duration,
    taken: BTreeMap<String, Taken>,
    streams: i64,
}

#[derive(Debug)]
struct Taken {
    held: Held,
    until: Boot,
}

impl Seats {
    /// Free seats. `lease` is how long a seat is kept after a renewal.
    pub fn new(lease: Duration) -> Self {
        Self { lease, taken: BTreeMap::new(), streams: 0 }
    }

    /// A host takes the seat of its name, on a stream of its own.
    pub fn take(
        &mut self,
        now: Boot,
        place: &Place,
        version: &str,
        wall_unix_ms: u64,
    ) -> Result<Held, Error> {
        self.expire(now);
        let before = self.taken.get(place.name()).map(|taken| &taken.held.host);
        let host = Host::seated(place, version, wall_unix_ms, before)?;
        self.streams += 1;
        let held = Held { host, stream: StreamId(self.streams) };
        let taken = Taken { held: held.clone(), until: now + self.lease };
        self.taken.insert(place.name().to_owned(), taken);
        Ok(held)
    }

    /// The host keeps its seat for another lease, if it still has the seat.
    pub fn renew(&mut self, now: Boot, held: &Held) -> Result<(), Error> {
        self.expire(now);
        let taken = self.taken.get_mut(held.name());
        held.stands(taken.as_ref().map(|taken| &taken.held))?;
        if let Some(taken) = taken {
            taken.until = now + self.lease;
        }
        Ok(())
    }

    /// The host gives its seat up. A seat that is not its own any more stays as it is.
    pub fn leave(&mut self, held: &Held) {
        if held.stands(self.held(held.name())).is_ok() {
            self.taken.remove(held.name());
        }
    }

    /// Frees the seats whose lease is over. Answers whether there were any.
    pub fn expire(&mut self, now: Boot) -> bool {
        let before = self.taken.len();
        self.taken.retain(|_, taken| now < taken.until);
        self.taken.len() < before
    }

    /// All hosts that have a seat, by name.
    pub fn hosts(&self) -> Vec<Host> {
        self.taken.values().map(|taken| taken.held.host.clone()).collect()
    }

    /// All hosts that have a seat, for the stream that has this one.
    pub fn seen_from(&self, held: &Held) -> Result<Vec<Host>, Error> {
        held.stands(self.held(held.name()))?;
        Ok(self.hosts())
    }

    /// When time alone frees a seat.
    pub fn wake_at(&self) -> Option<Boot> {
        self.taken.values().map(|taken| taken.until).min()
    }

    fn held(&self, name: &str) -> Option<&Held> {
        self.taken.get(name).map(|taken| &taken.held)
    }
}

#[cfg(test)]
mod tests;
