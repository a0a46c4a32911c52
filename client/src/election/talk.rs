//! One campaign stream: what is said on it, what is heard, and when each renewal was sent.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use chassis::clock::{Boot, Clock as _, SharedClock};
use proto::Epoch;
use proto::election::campaign_request::Message as Said;
use proto::election::campaign_response::Message as Answered;
use proto::election::{CampaignRequest, CampaignResponse, Enter, Renew};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Candidacy, Election, Leader};
use crate::error::CallError;

/// Renewals that may be under way: more than ever fit into a lease.
const UNDER_WAY: usize = 16;

/// An open stream.
pub(super) struct Talk {
    clock: SharedClock,
    say: mpsc::Sender<CampaignRequest>,
    answers: Streaming<CampaignResponse>,
    /// When `Enter` was sent.
    pub(super) entered_at: Boot,
    sequence: u64,
    /// Number and sending time of renewals that are not acknowledged yet, oldest first.
    sent: VecDeque<(u64, Boot)>,
}

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    Standby(Option<Leader>),
    Elected {
        epoch: Epoch,
        lease: Duration,
        previous: Option<Epoch>,
        cause: String,
    },
    /// The renewal that was sent then has been acknowledged.
    Renewed(Boot),
    Lost(String),
}

impl Talk {
    /// Opens a stream and enters.
    pub(super) async fn open(
        election: &Election,
        candidacy: &Candidacy,
        resume: Option<Epoch>,
    ) -> Result<Self, CallError> {
        let (say, requests) = mpsc::channel(UNDER_WAY);
        let lock_file =
            candidacy.lock_file.as_deref().map(Path::to_string_lossy).unwrap_or_default().into_owned();
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
        let answers = election.inner.clone().campaign(ReceiverStream::new(requests)).await?.into_inner();
        let clock = election.clock.clone();
        Ok(Self { clock, say, answers, entered_at, sequence: 0, sent: VecDeque::new() })
    }

    /// Sends a renewal; answers when. A stream that takes none any more is found out by [`hear`](Self::hear).
    pub(super) fn renew(&mut self) -> Boot {
        self.sequence += 1;
        let sent_at = self.clock.boot();
        let renew = CampaignRequest { message: Some(Said::Renew(Renew { sequence: self.sequence })) };
        if self.say.try_send(renew).is_ok() {
            self.sent.push_back((self.sequence, sent_at));
        }
        sent_at
    }

    /// The next answer. Cancel safe.
    pub(super) async fn hear(&mut self) -> Result<Heard, CallError> {
        loop {
            let message = self.answers.message().await?.and_then(|answer| answer.message);
            return Ok(match message {
                Some(Answered::Standby(standby)) => {
                    Heard::Standby(Leader::named(standby.leader, standby.epoch))
                }
                Some(Answered::Elected(elected)) => Heard::Elected {
                    epoch: Epoch(elected.epoch),
                    lease: elected.lease.and_then(|lease| Duration::try_from(lease).ok()).unwrap_or_default(),
                    previous: (elected.previous_epoch != 0).then_some(Epoch(elected.previous_epoch)),
                    cause: elected.cause,
                },
                Some(Answered::Renewed(renewed)) => match self.acknowledged(renewed.sequence) {
                    Some(sent_at) => Heard::Renewed(sent_at),
                    // Acknowledged before, or never sent: says nothing.
                    None => continue,
                },
                Some(Answered::Lost(lost)) => Heard::Lost(lost.cause),
                None => return Err(Status::unavailable("the elector ended the campaign's stream").into()),
            });
        }
    }

    fn acknowledged(&mut self, sequence: u64) -> Option<Boot> {
        let at = self.sent.iter().position(|(sent, _)| *sent == sequence)?;
        self.sent.drain(..=at).next_back().map(|(_, sent_at)| sent_at)
    }
}
