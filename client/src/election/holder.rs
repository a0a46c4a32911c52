//! The task of one campaign. The task waits until the contender is elected, then renews the lease,
//! and resumes the same epoch when the elector has been away.
//!
//! A lease whose renewals are not answered is not lost for that reason: the holder does not act
//! past its deadline, and an elector that was away grants no other contender before the holder had
//! the time to resume. Only the elector knows, so the task asks until the elector answers.

use std::time::Duration;

use chassis::clock::{Boot, Clock as _, timeout};
use chassis::failpoint;
use proto::Epoch;
use tokio::sync::{oneshot, watch};

use super::pulse::{Gate, Pulse, pair};
use super::talk::{Heard, Talk};
use super::{Candidacy, Election, Leader, Lease, is_away, retry_backoff};
use crate::error::CallError;

/// A lease is renewed after each quarter of it.
const QUARTERS: u32 = 4;

/// How long the elector may take until it answers an entry for the first time. Afterwards the
/// contender enters anew.
const ENTER_TIMEOUT: Duration = Duration::from_secs(10);

/// For how many leases past its end the task holds on to an epoch while the elector does not
/// answer. The holder does not act meanwhile; the bound is for the processes that it has started,
/// which are frozen as long.
///
/// The leases that count are those that were granted, because a granted lease is what holder and
/// elector both know of how slow their deployment may be. Fifteen of them cover a slow one; sixty
/// leases of a minute would keep main() frozen for an hour.
pub(super) const PATIENCE_LEASES: u32 = 15;

/// The task holds on at least so long, however short the lease is. An etcd that has lost its quorum
/// keeps every lease until a person has brought a member back, and the time that a person needs
/// does not grow with the lease.
pub(super) const SHORTEST_PATIENCE: Duration = Duration::from_secs(120);

/// What the campaign of an elected contender hands out.
#[derive(Debug)]
pub(super) struct Won {
    pub(super) epoch: Epoch,
    pub(super) previous: Option<Epoch>,
    pub(super) cause: String,
    pub(super) deadline: watch::Receiver<Boot>,
    pub(super) lease: watch::Sender<Lease>,
    pub(super) pulse: Pulse,
}

/// One contender.
pub(super) struct Holder {
    election: Election,
    candidacy: Candidacy,
    leader: watch::Sender<Option<Leader>>,
    won: Option<oneshot::Sender<Result<Won, CallError>>>,
}

/// An epoch that the elector has granted.
struct Term {
    epoch: Epoch,
    previous: Option<Epoch>,
    cause: String,
    lease: Duration,
    /// When the last acknowledged renewal was sent; before the first acknowledgement, when the
    /// election arrived here.
    acknowledged: Boot,
    /// What the watchers hold. It exists from the first acknowledgement on.
    told: Option<Told>,
}

/// The sending ends of what a [`Leadership`](super::Leadership) watches.
struct Told {
    deadline: watch::Sender<Boot>,
    lease: watch::Sender<Lease>,
    gate: Gate,
}

impl Term {
    /// When the task gives the epoch up although the elector has said nothing. An epoch on which
    /// the holder has not acted yet has no patience, because nothing depends on it.
    fn given_up_at(&self) -> Boot {
        let patience = (self.lease * PATIENCE_LEASES).max(SHORTEST_PATIENCE);
        let patience = if self.told.is_some() { patience } else { Duration::ZERO };
        self.acknowledged + self.lease + patience
    }

    /// How long one try to resume may take. It is short against the lease for which a restarted
    /// elector waits for the holder.
    fn resume_timeout(&self) -> Duration {
        self.lease / 2
    }

    /// From this instant on the holder must not act.
    fn deadline(&self) -> Boot {
        // A test plants the bug to see that it would be noticed.
        if failpoint::is_planted("client.acts-past-its-lease") {
            return self.acknowledged + self.lease * QUARTERS;
        }
        self.acknowledged + self.lease * (QUARTERS - 1) / QUARTERS
    }
}

/// Why a leader's stream is of no more use.
enum Broke {
    /// The leadership is lost: the elector said so, or it said nothing for too long.
    Lost(String),
    /// The stream ended; the epoch may go on on another stream.
    Away(CallError),
}

impl Holder {
    pub(super) fn new(
        election: Election,
        candidacy: Candidacy,
        leader: watch::Sender<Option<Leader>>,
        won: oneshot::Sender<Result<Won, CallError>>,
    ) -> Self {
        Self { election, candidacy, leader, won: Some(won) }
    }

    pub(super) async fn run(mut self) {
        let mut backoff = retry_backoff();
        loop {
            let (talk, mut term) = match self.elected().await {
                Ok(elected) => elected,
                Err(error) => {
                    if let Some(won) = self.won.take() {
                        // The send fails when the campaign was dropped, and then no caller waits
                        // for the error.
                        let _ = won.send(Err(error));
                    }
                    return;
                }
            };
            let cause = self.lead(talk, &mut term).await;
            match term.told {
                Some(Told { lease, .. }) => {
                    tracing::info!(app.id = %self.candidacy.application.id, epoch = term.epoch.get(), "leadership lost: {cause}");
                    lease.send_replace(Lease::Lost(cause));
                    return;
                }
                // The holder has not acted on this epoch, so it may campaign again.
                None => tracing::info!(
                    epoch = term.epoch.get(),
                    "elected, but lost before the first renewal: {cause}"
                ),
            }
            self.election.clock.sleep(backoff.next_delay()).await;
        }
    }

    /// Campaigns until elected, for as long as the elector may come back.
    async fn elected(&mut self) -> Result<(Talk, Term), CallError> {
        let mut backoff = retry_backoff();
        loop {
            match self.campaign().await {
                Ok(Some(elected)) => return Ok(elected),
                Ok(None) => {
                    tracing::debug!("the campaign ended without an election; entering again")
                }
                Err(error) if is_away(&error) => {
                    tracing::debug!("the elector is away: {error}");
                    self.leader.send_replace(None);
                }
                Err(error) => return Err(error),
            }
            self.election.clock.sleep(backoff.next_delay()).await;
        }
    }

    /// Stands by on one stream until elected. `None` means that the elector has ended the
    /// candidacy.
    async fn campaign(&mut self) -> Result<Option<(Talk, Term)>, CallError> {
        let opened = timeout(
            &self.election.clock,
            ENTER_TIMEOUT,
            Talk::open(&self.election, &self.candidacy, None),
        )
        .await;
        let mut talk =
            opened.map_err(|elapsed| tonic::Status::unavailable(elapsed.to_string()))??;
        loop {
            match talk.hear().await? {
                Heard::Standby(leader) => {
                    self.leader.send_replace(leader);
                }
                Heard::Elected { epoch, lease, previous, cause } => {
                    let acknowledged = self.election.clock.boot();
                    return Ok(Some((
                        talk,
                        Term { epoch, previous, cause, lease, acknowledged, told: None },
                    )));
                }
                Heard::Renewed(_) => {}
                Heard::Lost(_) => return Ok(None),
            }
        }
    }

    /// Renews until the leadership is lost, and says why it is.
    async fn lead(&mut self, mut talk: Talk, term: &mut Term) -> String {
        loop {
            match self.renew(&mut talk, term).await {
                Broke::Lost(cause) => return cause,
                Broke::Away(error) => {
                    tracing::info!(
                        epoch = term.epoch.get(),
                        "the elector is away; resuming: {error}"
                    );
                    match self.resume(term).await {
                        Ok(resumed) => talk = resumed,
                        Err(cause) => return cause,
                    }
                }
            }
        }
    }

    /// Renews each quarter on one stream.
    async fn renew(&mut self, talk: &mut Talk, term: &mut Term) -> Broke {
        let clock = self.election.clock.clone();
        let mut renew_at = talk.renew().await + term.lease / QUARTERS;
        loop {
            let given_up_at = term.given_up_at();
            // Before the first acknowledgement the holder has no leadership, so there is no loop
            // that could hang.
            let gate = term.told.as_mut().map(|told| &mut told.gate);
            let due = async {
                clock.sleep_until(renew_at).await;
                if let Some(gate) = gate {
                    gate.pass().await;
                }
            };
            tokio::select! {
                heard = talk.hear() => match heard {
                    Ok(Heard::Renewed(sent_at)) => {
                        self.acknowledged(term, sent_at);
                        failpoint::hit("runner.after-renew").await;
                    }
                    Ok(Heard::Lost(cause)) => return Broke::Lost(cause),
                    Ok(Heard::Standby(_) | Heard::Elected { .. }) => {}
                    Err(error) if is_away(&error) => return Broke::Away(error),
                    Err(error) => return Broke::Lost(error.to_string()),
                },
                () = clock.sleep_until(given_up_at) => return Broke::Lost("lease expired".to_owned()),
                () = due => renew_at = talk.renew().await + term.lease / QUARTERS,
            }
        }
    }

    /// Opens another stream for the same epoch, until the elector says that the epoch is lost or
    /// patience ends. The error is the cause of the loss.
    async fn resume(&mut self, term: &mut Term) -> Result<Talk, String> {
        let clock = self.election.clock.clone();
        let given_up_at = term.given_up_at();
        let tries = self.try_to_resume(term);
        match timeout(&clock, given_up_at.saturating_duration_since(clock.boot()), tries).await {
            Ok(resumed) => resumed,
            Err(_) => Err("lease expired".to_owned()),
        }
    }

    async fn try_to_resume(&mut self, term: &mut Term) -> Result<Talk, String> {
        let clock = self.election.clock.clone();
        let mut backoff = retry_backoff();
        loop {
            // To resume is to renew, so a holder whose loop hangs must not resume.
            if let Some(told) = &mut term.told {
                told.gate.pass().await;
            }
            match timeout(&clock, term.resume_timeout(), self.resumed(term.epoch)).await {
                Ok(Ok(Ok((talk, lease)))) => {
                    // The elector may have been set to another lease while it was away. One that
                    // names none has said nothing of it.
                    if !lease.is_zero() {
                        term.lease = lease;
                    }
                    self.acknowledged(term, talk.entered_at);
                    return Ok(talk);
                }
                Ok(Ok(Err(cause))) => return Err(cause),
                Ok(Err(error)) if is_away(&error) => {
                    tracing::debug!("resuming again soon: {error}")
                }
                Ok(Err(error)) => return Err(error.to_string()),
                Err(elapsed) => tracing::debug!("resuming again soon: {elapsed}"),
            }
            clock.sleep(backoff.next_delay()).await;
        }
    }

    /// One try to resume, and the lease of the epoch from now on. The inner error is the cause that
    /// the elector gives for the loss.
    async fn resumed(&self, epoch: Epoch) -> Result<Result<(Talk, Duration), String>, CallError> {
        let mut talk = Talk::open(&self.election, &self.candidacy, Some(epoch)).await?;
        loop {
            match talk.hear().await? {
                Heard::Elected { epoch: resumed, lease, .. } if resumed == epoch => {
                    return Ok(Ok((talk, lease)));
                }
                Heard::Elected { epoch: other, .. } => {
                    return Ok(Err(format!("epoch {other} was granted instead")));
                }
                Heard::Lost(cause) => return Ok(Err(cause)),
                Heard::Standby(_) | Heard::Renewed(_) => {}
            }
        }
    }

    fn acknowledged(&mut self, term: &mut Term, sent_at: Boot) {
        term.acknowledged = match term.told {
            Some(_) => term.acknowledged.max(sent_at),
            None => sent_at,
        };
        let until = term.deadline();
        if let Some(told) = &term.told {
            told.deadline.send_if_modified(|known| std::mem::replace(known, until) != until);
            // The leadership may have been resigned meanwhile, and that is final.
            told.lease.send_if_modified(|lease| match lease {
                Lease::Until(known) => std::mem::replace(known, until) != until,
                Lease::Lost(_) => false,
            });
            return;
        }
        let (deadline, deadlines) = watch::channel(until);
        let lease = watch::Sender::new(Lease::Until(until));
        let (gate, pulse) = pair();
        let (epoch, previous, cause) = (term.epoch, term.previous, term.cause.clone());
        let won = Won { epoch, previous, cause, deadline: deadlines, lease: lease.clone(), pulse };
        term.told = Some(Told { deadline, lease, gate });
        self.leader.send_replace(Some(Leader { holder: self.candidacy.holder.clone(), epoch }));
        if let Some(told) = self.won.take() {
            // The send fails only if the campaign was dropped, and then this task ends with it.
            let _ = told.send(Ok(won));
        }
    }
}
