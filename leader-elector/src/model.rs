//! Who leads one application: entries, renewals and time come in, grants come out.
//!
//! There is no I/O and no clock here. `now` comes with each fact, and a grant counts only once the
//! caller has said that the grant is on disk. The seats of hosts are [`hosts`]' matter.

pub mod hosts;

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use chassis::clock::Boot;
use proto::{ApplicationRef, Epoch};
use serde::{Deserialize, Serialize};

/// The highest `at_least` that the elector takes: far above every honest epoch and far below
/// overflow.
pub const MAX_EPOCH: Epoch = Epoch(1 << 62);

/// One entry into a campaign; unique within one elector process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub u64);

/// What a contender says when it enters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enter {
    /// The application that the contender wants to lead. Leadership is per id; the generation is
    /// carried along.
    pub application: ApplicationRef,
    /// The contender's name, unique among the contenders of the application.
    pub holder: String,
    /// The granted epoch is above this one.
    pub at_least: Epoch,
    /// The epoch that the contender held until its stream broke; `None` for a new campaign.
    pub resume: Option<Epoch>,
    /// A file that the holder keeps locked while it lives. `None`: its lease is never freed early.
    pub lock_file: Option<PathBuf>,
}

/// One epoch given to one holder. A grant is on disk before the holder learns of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The application that is led.
    pub application: ApplicationRef,
    /// The epoch of the leadership.
    pub epoch: Epoch,
    /// The name of the contender that leads.
    pub holder: String,
    /// The boot of the elector's machine in which the grant was given: no holder outlives that
    /// boot.
    pub boot_id: String,
    /// When the grant was given: milliseconds since 1970, by the elector's wall clock. For people
    /// only.
    pub since_unix_ms: u64,
    /// Whether the holder has given the epoch up.
    pub resigned: bool,
}

/// Why a leadership ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The holder gave the leadership up.
    Resigned,
    /// No renewal came in time.
    LeaseExpired,
    /// The holder's stream broke and its lock is free, or its machine has booted again.
    ProcessGone,
    /// The same holder went on with the epoch on another stream.
    Resumed,
    /// Another epoch was granted.
    Superseded,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resigned => "resigned",
            Self::LeaseExpired => "lease expired",
            Self::ProcessGone => "process gone",
            Self::Resumed => "resumed on another stream",
            Self::Superseded => "superseded",
        })
    }
}

/// The position of an entry in its campaign, right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// The entry waits for the present leader, if there is one.
    Standby(Option<Leader>),
    /// The entry leads.
    Elected(Elected),
    /// The entry leads no more, or was refused to resume. Final.
    Lost(Cause),
}

/// The present leader, as standbys and observers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The contender's name.
    pub holder: String,
    /// The epoch of its leadership.
    pub epoch: Epoch,
    /// When its leadership began: milliseconds since 1970.
    pub since_unix_ms: u64,
}

/// What a new leader learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elected {
    /// The epoch of the new leadership.
    pub epoch: Epoch,
    /// The epoch before, and why it ended; `None` for the first.
    pub previous: Option<(Epoch, Cause)>,
    /// How long the leadership lasts after a renewal: what was granted, which may be more than what
    /// the elector is set to.
    pub lease: Duration,
}

/// What an observer sees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The present leader, if there is one.
    pub leader: Option<Leader>,
    /// The names of the standbys, in the order of the queue.
    pub standbys: Vec<String>,
}

/// What became of a contender that entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// The contender waits its turn.
    Queued,
    /// The contender goes on with its epoch.
    Resumed,
    /// The epoch that the contender wanted to resume is no longer its own.
    Refused(Cause),
}

/// The leadership of one application id.
///
/// An elector keeps one office per application and asks it before and after every write:
/// [`propose`](Self::propose) names the grant to write, [`granted`](Self::granted) makes it count.
/// At most one grant is on its way at a time, and at most one entry holds the seat.
#[derive(Debug)]
pub struct Office {
    lease: Duration,
    /// The newest epoch that was ever granted, resigned or not.
    last: Option<Grant>,
    /// Why the newest epoch ended, once it has.
    ended: Option<Cause>,
    /// What the present leader was told about its predecessor.
    previous: Option<(Epoch, Cause)>,
    seat: Seat,
    queue: VecDeque<(EntryId, Enter)>,
    /// Entries that have lost and whose streams are still open.
    lost: Vec<(EntryId, Cause)>,
}

#[derive(Debug)]
enum Seat {
    Vacant,
    /// The grant is on its way to the disk. `entry` is `None` once the entry's stream has broken.
    Granting {
        grant: Grant,
        entry: Option<(EntryId, Enter)>,
    },
    Held(Tenure),
}

#[derive(Debug)]
struct Tenure {
    /// The entry with the open stream; `None` after a restart of the elector and after a break.
    stream: Option<EntryId>,
    /// Whether this elector itself saw the stream break.
    broken: bool,
    lock_file: Option<PathBuf>,
    /// When the lease ends.
    until: Boot,
}

impl Office {
    /// The office as a starting elector finds it. An unresigned holder of the machine's present
    /// boot may be alive and may resume, so no other contender is granted before `opened + lease`.
    /// Every other holder is gone.
    pub fn open(lease: Duration, last: Option<Grant>, boot_id: &str, opened: Boot) -> Self {
        let mut office = Self {
            lease,
            last: None,
            ended: None,
            previous: None,
            seat: Seat::Vacant,
            queue: VecDeque::new(),
            lost: Vec::new(),
        };
        if let Some(last) = last {
            if last.resigned {
                office.ended = Some(Cause::Resigned);
            } else if last.boot_id != boot_id {
                office.ended = Some(Cause::ProcessGone);
            } else {
                office.seat = Seat::Held(Tenure {
                    stream: None,
                    broken: false,
                    lock_file: None,
                    until: opened + lease,
                });
            }
            office.last = Some(last);
        }
        office
    }

    /// A contender enters: it resumes, waits at the end of the queue, or is refused.
    pub fn enter(&mut self, now: Boot, id: EntryId, enter: Enter) -> Entered {
        self.expire(now);
        let Some(resume) = enter.resume else {
            self.queue.push_back((id, enter));
            return Entered::Queued;
        };
        match (&mut self.seat, &self.last) {
            (Seat::Held(held), Some(last))
                if last.epoch == resume && last.holder == enter.holder =>
            {
                if let Some(earlier) = held.stream.replace(id) {
                    self.lost.push((earlier, Cause::Resumed));
                }
                held.broken = false;
                held.lock_file = enter.lock_file;
                held.until = held.until.max(now + self.lease);
                Entered::Resumed
            }
            (_, last) => {
                let same = last.as_ref().is_some_and(|last| last.epoch == resume);
                let cause = self.ended.filter(|_| same).unwrap_or(Cause::Superseded);
                self.lost.push((id, cause));
                Entered::Refused(cause)
            }
        }
    }

    /// A renewal came in from an entry's own stream. `Err` says why the entry leads no more.
    pub fn renew(&mut self, now: Boot, id: EntryId) -> Result<(), Cause> {
        self.expire(now);
        match &mut self.seat {
            Seat::Held(held) if held.stream == Some(id) => {
                held.until = held.until.max(now + self.lease);
                Ok(())
            }
            _ => Err(self
                .lost
                .iter()
                .find(|(lost, _)| *lost == id)
                .map_or(Cause::Superseded, |(_, cause)| *cause)),
        }
    }

    /// This elector saw the entry's stream break: a standby has left, or a holder may be gone.
    pub fn broke(&mut self, id: EntryId) {
        self.queue.retain(|(queued, _)| *queued != id);
        self.lost.retain(|(lost, _)| *lost != id);
        match &mut self.seat {
            Seat::Held(held) if held.stream == Some(id) => {
                held.stream = None;
                held.broken = true;
            }
            Seat::Granting { entry, .. }
                if entry.as_ref().is_some_and(|(granting, _)| *granting == id) =>
            {
                *entry = None;
            }
            _ => {}
        }
    }

    /// Time passes: a lease whose end has come is over, whether its stream is open or not.
    pub fn expire(&mut self, now: Boot) -> bool {
        let over = matches!(&self.seat, Seat::Held(held) if now >= held.until);
        if over {
            self.vacate(Cause::LeaseExpired);
        }
        over
    }

    /// The lock that would prove, if it were free, that the holder is gone. There is one only after
    /// this elector saw the break.
    pub fn lock_to_probe(&self) -> Option<(Epoch, PathBuf)> {
        match (&self.seat, &self.last) {
            (Seat::Held(held), Some(last)) if held.broken => {
                held.lock_file.clone().map(|path| (last.epoch, path))
            }
            _ => None,
        }
    }

    /// The lock of [`lock_to_probe`](Self::lock_to_probe) was found free.
    pub fn lock_found_free(&mut self, epoch: Epoch) -> bool {
        let free = self.lock_to_probe().is_some_and(|(probed, _)| probed == epoch);
        if free {
            self.vacate(Cause::ProcessGone);
        }
        free
    }

    /// What to write for a holder that resigns; `None` if the holder does not hold this epoch.
    pub fn resign(&mut self, now: Boot, epoch: Epoch, holder: &str) -> Option<Grant> {
        self.expire(now);
        let held = matches!(self.seat, Seat::Held(_));
        let last = self
            .last
            .as_ref()
            .filter(|last| held && last.epoch == epoch && last.holder == holder)?;
        Some(Grant { resigned: true, ..last.clone() })
    }

    /// The resignation is on disk and counts from now on.
    pub fn resigned(&mut self, epoch: Epoch) {
        let held = matches!(self.seat, Seat::Held(_));
        if let Some(last) = self.last.as_mut().filter(|last| held && last.epoch == epoch) {
            last.resigned = true;
            self.vacate(Cause::Resigned);
        }
    }

    /// What to write for the first in the queue, if the seat is vacant. Until
    /// [`granted`](Self::granted) or [`not_granted`](Self::not_granted) nothing else is proposed.
    pub fn propose(&mut self, now: Boot, boot_id: &str, wall_unix_ms: u64) -> Option<Grant> {
        self.expire(now);
        if !matches!(self.seat, Seat::Vacant) {
            return None;
        }
        let (id, enter) = self.queue.pop_front()?;
        let floor =
            self.last.as_ref().map_or(enter.at_least, |last| last.epoch.max(enter.at_least));
        let grant = Grant {
            application: enter.application.clone(),
            epoch: floor.next(),
            holder: enter.holder.clone(),
            boot_id: boot_id.to_owned(),
            since_unix_ms: wall_unix_ms,
            resigned: false,
        };
        self.seat = Seat::Granting { grant: grant.clone(), entry: Some((id, enter)) };
        Some(grant)
    }

    /// The proposed grant is on disk, and its lease begins. If its entry has left meanwhile, no
    /// contender ever learned of the epoch.
    pub fn granted(&mut self, now: Boot) {
        match std::mem::replace(&mut self.seat, Seat::Vacant) {
            Seat::Granting { grant, entry } => {
                self.previous = self
                    .last
                    .as_ref()
                    .map(|last| (last.epoch, self.ended.unwrap_or(Cause::LeaseExpired)));
                self.ended = None;
                self.last = Some(grant);
                match entry {
                    None => self.vacate(Cause::ProcessGone),
                    Some((id, enter)) => {
                        let until = now + self.lease;
                        let lock_file = enter.lock_file;
                        self.seat = Seat::Held(Tenure {
                            stream: Some(id),
                            broken: false,
                            lock_file,
                            until,
                        });
                    }
                }
            }
            other => self.seat = other,
        }
    }

    /// The proposed grant could not be written, so its entry is first in the queue again.
    pub fn not_granted(&mut self) {
        match std::mem::replace(&mut self.seat, Seat::Vacant) {
            Seat::Granting { entry, .. } => {
                entry.into_iter().for_each(|entry| self.queue.push_front(entry))
            }
            other => self.seat = other,
        }
    }

    /// The present position of an entry.
    pub fn position(&self, id: EntryId) -> Position {
        if let Some((_, cause)) = self.lost.iter().find(|(lost, _)| *lost == id) {
            return Position::Lost(*cause);
        }
        match (&self.seat, &self.last) {
            (Seat::Held(held), Some(last)) if held.stream == Some(id) => {
                let (epoch, previous, lease) = (last.epoch, self.previous, self.lease);
                Position::Elected(Elected { epoch, previous, lease })
            }
            _ => Position::Standby(self.leader()),
        }
    }

    /// What an observer sees.
    pub fn view(&self) -> View {
        let standbys = self.queue.iter().map(|(_, enter)| enter.holder.clone()).collect();
        View { leader: self.leader(), standbys }
    }

    /// When time alone changes something.
    pub fn wake_at(&self) -> Option<Boot> {
        match &self.seat {
            Seat::Held(held) => Some(held.until),
            Seat::Vacant | Seat::Granting { .. } => None,
        }
    }

    /// The seat is vacant, the queue is empty, and no entry has to be told anything: the office can
    /// be read from disk again when it is needed.
    pub fn is_idle(&self) -> bool {
        matches!(self.seat, Seat::Vacant) && self.queue.is_empty() && self.lost.is_empty()
    }

    fn leader(&self) -> Option<Leader> {
        let last = self.last.as_ref().filter(|_| matches!(self.seat, Seat::Held(_)))?;
        Some(Leader {
            holder: last.holder.clone(),
            epoch: last.epoch,
            since_unix_ms: last.since_unix_ms,
        })
    }

    fn vacate(&mut self, cause: Cause) {
        if let Seat::Held(held) = std::mem::replace(&mut self.seat, Seat::Vacant)
            && let Some(stream) = held.stream
        {
            self.lost.push((stream, cause));
        }
        self.ended = Some(cause);
    }
}

#[cfg(test)]
mod tests;
