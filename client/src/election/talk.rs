//! One campaign stream: what the contender says on it, what it hears, and when each renewal was
//! sent.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use chassis::clock::{Boot, Clock as _, SharedClock};
use chassis::failpoint;
use proto::Epoch;
use proto::election::campaign_request::Message as Said;
use proto::election::campaign_response::Message as Answered;
use proto::election::{CampaignRequest, CampaignResponse, Enter, Renew};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Candidacy, Election, Leader};
use crate::error::CallError;

/// How many renewals may be under way, which is more than fit into a lease.
const UNDER_WAY: usize = 16;

/// An open campaign stream.
pub(super) struct Talk {
    clock: SharedClock,
    say: mpsc::Sender<CampaignRequest>,
    answers: Streaming<CampaignResponse>,
    /// When `Enter` was sent.
    pub(super) entered_at: Boot,
    sequence: u64,
    /// Number and sending time of the renewals that are not acknowledged yet, oldest first.
    sent: VecDeque<(u64, Boot)>,
}

/// A message of the elector.
#[derive(Debug)]
pub(super) enum Heard {
    Standby(Option<Leader>),
    Elected {
        epoch: Epoch,
        lease: Duration,
        previous: Option<Epoch>,
        cause: String,
    },
    /// The renewal that was sent at this instant has been acknowledged.
    Renewed(Boot),
    Lost(String),
}

impl Talk {
    /// Opens a stream and enters the campaign, or resumes an epoch.
    pub(super) async fn open(
        election: &Election,
        candidacy: &Candidacy,
        resume: Option<Epoch>,
    ) -> Result<Self, CallError> {
        let (say, requests) = mpsc::channel(UNDER_WAY);
        let lock_file = candidacy
            .lock_file
            .as_deref()
            .map(Path::to_string_lossy)
            .unwrap_or_default()
            .into_owned();
        let enter = Enter {
            application: Some(candidacy.application.clone().into()),
            holder: candidacy.holder.clone(),
            at_least: candidacy.at_least.get(),
            resume_epoch: resume.map_or(0, Epoch::get),
            lock_file,
        };
        let entered_at = election.clock.boot();
        say.try_send(CampaignRequest { message: Some(Said::Enter(enter)) })
            .expect("the queue is new and has room");
        let answers =
            election.inner.clone().campaign(ReceiverStream::new(requests)).await?.into_inner();
        let clock = election.clock.clone();
        Ok(Self { clock, say, answers, entered_at, sequence: 0, sent: VecDeque::new() })
    }

    /// Sends a renewal and answers the time of sending. A stream that takes no renewal any more
    /// fails in [`hear`](Self::hear).
    pub(super) async fn renew(&mut self) -> Boot {
        failpoint::hit("runner.before-renew").await;
        self.sequence += 1;
        let sent_at = self.clock.boot();
        let renew =
            CampaignRequest { message: Some(Said::Renew(Renew { sequence: self.sequence })) };
        if self.say.try_send(renew).is_ok() {
            self.sent.push_back((self.sequence, sent_at));
        }
        sent_at
    }

    /// The next message of the elector. The wait is cancel safe.
    pub(super) async fn hear(&mut self) -> Result<Heard, CallError> {
        loop {
            let message = self.answers.message().await?.and_then(|answer| answer.message);
            return Ok(match message {
                Some(Answered::Standby(standby)) => {
                    Heard::Standby(Leader::named(standby.leader, standby.epoch))
                }
                Some(Answered::Elected(elected)) => Heard::Elected {
                    epoch: Epoch(elected.epoch),
                    lease: elected
                        .lease
                        .and_then(|lease| Duration::try_from(lease).ok())
                        .unwrap_or_default(),
                    previous: (elected.previous_epoch != 0)
                        .then_some(Epoch(elected.previous_epoch)),
                    cause: elected.cause,
                },
                Some(Answered::Renewed(renewed)) => match self.acknowledged(renewed.sequence) {
                    Some(sent_at) => Heard::Renewed(sent_at),
                    // The renewal was acknowledged before or never sent, so the message says
                    // nothing.
                    None => continue,
                },
                Some(Answered::Lost(lost)) => Heard::Lost(lost.cause),
                None => {
                    return Err(
                        Status::unavailable("the elector ended the campaign's stream").into()
                    );
                }
            });
        }
    }

    fn acknowledged(&mut self, sequence: u64) -> Option<Boot> {
        let at = self.sent.iter().position(|(sent, _)| *sent == sequence)?;
        self.sent.drain(..=at).next_back().map(|(_, sent_at)| sent_at)
    }
}
