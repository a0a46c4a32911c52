//! What a tether does next, as a pure function of what it knows and of the time. The keeper carries
//! the decision out.

use std::time::Duration;

use chassis::clock::Boot;

/// How long a tether waits to be claimed, and how long an ended tether waits for its exit to be
/// noticed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The time between SIGTERM and SIGKILL when no caller says otherwise.
pub(crate) const DEFAULT_KILL_AFTER: Duration = Duration::from_secs(2);

/// How long an owner has to stay connected after an exit for the exit to count as seen. A program
/// whose owner was killed often exits by itself, and its end may be noticed before the broken
/// connection. Both connections of a killed process close together, so that there is no doubt this
/// much later.
pub(crate) const SETTLE: Duration = Duration::from_millis(250);

/// Where the child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The child was not asked for yet.
    Idle,
    /// The tether waits for the lock, until this instant.
    Locking(Boot),
    /// The child runs, or what it left behind.
    Running,
    /// Nothing of the tree is left, since this instant.
    Ended(Boot),
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Wait until [`Leash::wake_at`] or until something happens.
    Wait,
    /// The lock cannot be had, or is wanted no more: record that the child was not started.
    GiveUp(&'static str),
    /// Send SIGSTOP to all, until all are stopped.
    Freeze,
    /// Send SIGCONT to all.
    Thaw,
    /// Send SIGTERM to the child's group.
    Terminate,
    /// Send SIGKILL to all, again and again.
    Kill,
    /// Say in the exit file that the owner has seen the exit.
    Settle,
    /// Remove the socket and leave, because nothing is left to do.
    Leave,
}

/// The terms of a tether, and everything that a decision rests on.
///
/// The keeper tells the leash each fact and asks [`decide`](Self::decide) after it and at
/// [`wake_at`](Self::wake_at). Time comes in with each call, so that every decision can be tested
/// without waiting.
#[derive(Debug)]
pub(crate) struct Leash {
    grace: Duration,
    pub(crate) phase: Phase,
    /// The owner that is connected, by its claim's number.
    pub(crate) owner: Option<u64>,
    /// Since when no owner is connected; the last contact of any kind.
    pub(crate) alone_since: Boot,
    /// The end of the owner's lease.
    pub(crate) deadline: Option<Boot>,
    pub(crate) frozen: bool,
    /// Whether a freeze was begun that was not undone. Some of the tree may be stopped although the
    /// tree is not frozen: a parent that waits in the kernel for its child cannot be stopped.
    stopping: bool,
    /// Whether the child itself has exited; what it left behind may still run.
    child_exited: bool,
    /// The owner that was connected when the child exited.
    exit_seen_by: Option<u64>,
    /// Whether the tree was left alone for longer than the grace: an owner that comes now did not
    /// see why the tree ended.
    abandoned: bool,
    pub(crate) settled: bool,
    /// When SIGKILL begins, once the tree is being ended.
    kill_at: Option<Boot>,
    terminated: bool,
    released: bool,
    dismissed: bool,
}

impl Leash {
    pub(crate) fn new(grace: Duration, now: Boot) -> Self {
        Self {
            grace,
            phase: Phase::Idle,
            owner: None,
            alone_since: now,
            deadline: None,
            frozen: false,
            stopping: false,
            child_exited: false,
            exit_seen_by: None,
            abandoned: false,
            settled: false,
            kill_at: None,
            terminated: false,
            released: false,
            dismissed: false,
        }
    }

    /// Notes that the owner of this claim is connected from now on, in place of any earlier one.
    pub(crate) fn claimed(&mut self, owner: u64, deadline: Option<Boot>) {
        self.owner = Some(owner);
        self.deadline = deadline;
    }

    /// Notes that the stream of this claim broke. For an owner that was replaced before, that means
    /// nothing.
    pub(crate) fn disconnected(&mut self, owner: u64, now: Boot) {
        if self.owner == Some(owner) {
            self.owner = None;
            self.alone_since = now;
        }
    }

    /// Ends the tree, `kill_after` from now at the latest. An earlier instant that was asked for
    /// stays.
    pub(crate) fn end(&mut self, kill_after: Duration, now: Boot) {
        let kill_at = now + kill_after;
        self.kill_at = Some(self.kill_at.map_or(kill_at, |earlier| earlier.min(kill_at)));
    }

    /// Lets the tether leave as soon as the tree has ended.
    pub(crate) fn release(&mut self) {
        self.released = true;
    }

    /// Lets the tether leave once the tree has ended, released or not. An owner that is connected
    /// is told the exit before.
    pub(crate) fn dismiss(&mut self) {
        self.dismissed = true;
    }

    /// Notes that the child was sent its SIGTERM.
    pub(crate) fn terminated(&mut self) {
        self.terminated = true;
    }

    /// Notes that the child has exited, or could not be started; answers the claim of the owner
    /// that has seen it.
    pub(crate) fn exited(&mut self) -> Option<u64> {
        self.child_exited = true;
        self.exit_seen_by = self.owner.filter(|_| !self.abandoned);
        self.exit_seen_by
    }

    /// Whether the tree is being ended from here: a signal that the child dies of now is the
    /// tether's own.
    pub(crate) fn is_ending(&self) -> bool {
        self.kill_at.is_some()
    }

    /// Whether the child itself has exited.
    pub(crate) fn has_exited(&self) -> bool {
        self.child_exited
    }

    /// Whether the exit is known to have been seen by the owner that is connected now.
    pub(crate) fn is_seen(&self) -> bool {
        self.owner.is_some() && self.owner == self.exit_seen_by
    }

    pub(crate) fn decide(&mut self, now: Boot) -> Action {
        match self.phase {
            Phase::Idle if self.kill_at.is_some() => {
                Action::GiveUp("it was ended before it was started")
            }
            Phase::Idle if self.released => Action::Leave,
            Phase::Idle if self.owner.is_none() && now >= self.alone_since + PATIENCE => {
                Action::Leave
            }
            Phase::Idle => Action::Wait,
            Phase::Locking(_) if self.kill_at.is_some() => {
                Action::GiveUp("it was ended before it was started")
            }
            Phase::Locking(_) if self.is_abandoned(now) => {
                Action::GiveUp("its owner left before it was started")
            }
            Phase::Locking(until) if now >= until && self.is_past_deadline(now) => {
                Action::GiveUp("its owner's lease ran out before it was started")
            }
            Phase::Locking(until) if now >= until => {
                Action::GiveUp("the lock is held: something of an earlier start is still alive")
            }
            Phase::Locking(_) => Action::Wait,
            Phase::Running => self.decide_running(now),
            Phase::Ended(since) => {
                if !self.settled && self.is_seen() && (self.released || now >= since + SETTLE) {
                    Action::Settle
                } else if self.released || now >= self.leave_at(since) {
                    Action::Leave
                } else {
                    Action::Wait
                }
            }
        }
    }

    fn decide_running(&mut self, now: Boot) -> Action {
        if self.child_exited {
            return Action::Kill;
        }
        if self.kill_at.is_none() && self.is_abandoned(now) {
            // Without grace the tree gets no time to end by itself, because a successor of the
            // owner may be starting.
            let kill_after = if self.grace.is_zero() { Duration::ZERO } else { DEFAULT_KILL_AFTER };
            self.end(kill_after, now);
            self.abandoned = true;
        }
        let past_deadline = self.is_past_deadline(now);
        match self.kill_at {
            // A process that is stopped cannot end by itself.
            Some(kill_at) if now >= kill_at || self.frozen || past_deadline => Action::Kill,
            Some(_) if !self.terminated => Action::Terminate,
            Some(_) => Action::Wait,
            None if past_deadline && !self.frozen => {
                self.stopping = true;
                Action::Freeze
            }
            None if (self.frozen || self.stopping) && !past_deadline => {
                self.stopping = false;
                Action::Thaw
            }
            None => Action::Wait,
        }
    }

    /// Whether the child may be started now: it is wanted, and its owner may act.
    pub(crate) fn may_start(&mut self, now: Boot) -> bool {
        matches!(self.phase, Phase::Locking(_))
            && self.decide(now) == Action::Wait
            && !self.is_past_deadline(now)
    }

    fn is_past_deadline(&self, now: Boot) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    fn is_abandoned(&self, now: Boot) -> bool {
        self.owner.is_none() && now >= self.alone_since + self.grace
    }

    /// When a tether leaves whose tree ended at `since` and that is not released.
    fn leave_at(&self, since: Boot) -> Boot {
        match self.owner {
            // No owner has to be told, and a successor may be waiting.
            None if self.dismissed => since,
            Some(_) if self.dismissed => since + SETTLE,
            None => self.alone_since.max(since) + self.grace.max(PATIENCE),
            Some(_) => Boot::from_nanos(u64::MAX),
        }
    }

    /// When to decide again if nothing happens before.
    pub(crate) fn wake_at(&self) -> Boot {
        let never = Boot::from_nanos(u64::MAX);
        let when_alone =
            |after: Duration| if self.owner.is_none() { self.alone_since + after } else { never };
        match self.phase {
            Phase::Idle => when_alone(PATIENCE),
            Phase::Locking(until) => until.min(when_alone(self.grace)),
            Phase::Running => {
                let freeze = if self.frozen { None } else { self.deadline };
                let end = self.kill_at.unwrap_or_else(|| when_alone(self.grace));
                freeze.unwrap_or(never).min(end)
            }
            Phase::Ended(since) if !self.settled && self.is_seen() => since + SETTLE,
            Phase::Ended(since) => self.leave_at(since),
        }
    }
}

#[cfg(test)]
mod tests;
