//! The verbs: a campaign as a conversation, observing, resigning; those of hosts are in [`hosts`].

pub mod hosts;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chassis::clock::{Clock as _, SharedClock};
use chassis::tasks::Shutdown;
use chassis::telemetry::metrics::{Count, Level};
use futures::stream::{BoxStream, StreamExt as _};
use proto::{ApplicationId, EpochFence};

use crate::election::{Campaign, Election};
use crate::error::Error;
use crate::model::{Elected, Enter, Leader, Position, View};

static ELECTIONS: Count =
    Count::new("mainspring.elections", "Leaders elected, by what ended the leadership before");

static LEADERS: Level =
    Level::new("mainspring.leaders", "Leaders that hold a stream to this elector");

/// A standby hears once in so many leases who leads.
const STANDBY_EVERY_LEASES: u32 = 2;

/// What a contender hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The contender waits for this leader, if there is one.
    Standby(Option<Leader>),
    /// The contender leads, for as long as each renewal reaches the elector within the lease of the
    /// last one.
    Elected(Elected),
    /// The renewal of this number was taken.
    Renewed(u64),
    /// The contender leads no more, and why. This is the last word.
    Lost(String),
}

/// The service over any election.
#[derive(Clone)]
pub struct Elector {
    election: Arc<dyn Election>,
    clock: SharedClock,
    lease: Duration,
    shutdown: Shutdown,
    leaders: Arc<AtomicUsize>,
}

/// A leader that holds a stream, counted while it lives.
struct Led(Arc<AtomicUsize>);

impl Led {
    fn new(leaders: &Arc<AtomicUsize>) -> Self {
        LEADERS.set(leaders.fetch_add(1, Ordering::Relaxed) + 1, &[]);
        Self(leaders.clone())
    }
}

impl Drop for Led {
    fn drop(&mut self) {
        LEADERS.set(self.0.fetch_sub(1, Ordering::Relaxed) - 1, &[]);
    }
}

impl Elector {
    /// The service over an election. At `shutdown` all conversations end, which is held against no
    /// contender.
    pub fn new(
        election: Arc<dyn Election>,
        clock: SharedClock,
        lease: Duration,
        shutdown: Shutdown,
    ) -> Self {
        Self { election, clock, lease, shutdown, leaders: Arc::default() }
    }

    /// The clock of the process.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Enters a campaign. `renewals` are the numbers that the holder sends. The end of `renewals`
    /// or an error in it is a break of the holder's stream, and so is dropping the answers.
    pub async fn campaign(
        &self,
        enter: Enter,
        renewals: BoxStream<'static, Result<u64, Error>>,
    ) -> Result<BoxStream<'static, Result<Answer, Error>>, Error> {
        if self.shutdown.is_begun() {
            return Err(Error::ShuttingDown);
        }
        let resumes = enter.resume.is_some();
        let campaign = self.election.enter(enter).await?;
        let conversation = Conversation {
            service: self.clone(),
            campaign: Some(campaign),
            renewals,
            waiting_for: None,
            resumes,
            leads: None,
        };
        Ok(futures::stream::unfold(conversation, |mut conversation| async move {
            let answer = conversation.answer().await?;
            Some((answer, conversation))
        })
        .boxed())
    }

    /// Who leads, at once and after each change.
    pub async fn observe(
        &self,
        application: &ApplicationId,
    ) -> Result<BoxStream<'static, Result<View, Error>>, Error> {
        let observation = self.election.observe(application).await?;
        Ok(futures::stream::unfold(Some(observation), |observation| async move {
            let mut observation = observation?;
            match observation.next().await {
                Ok(view) => Some((Ok(view), Some(observation))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed())
    }

    /// Gives a leadership up.
    pub async fn resign(&self, fence: &EpochFence, holder: &str) -> Result<bool, Error> {
        self.election.resign(fence, holder).await
    }
}

/// One contender's conversation: renewals come in and answers go out, until one side ends it.
struct Conversation {
    service: Elector,
    /// `None` once the last word is said.
    campaign: Option<Box<dyn Campaign>>,
    renewals: BoxStream<'static, Result<u64, Error>>,
    /// The leader that a standby waits for, said again now and then.
    waiting_for: Option<Option<Leader>>,
    /// Whether the contender goes on with an epoch that it held before.
    resumes: bool,
    /// `Some` once the contender leads.
    leads: Option<Led>,
}

enum Event {
    Shutdown,
    Renewal(Option<Result<u64, Error>>),
    News(Result<Position, Error>),
    StillWaiting,
}

impl Conversation {
    /// The next answer; `None` after the last one, and when the holder's stream broke.
    async fn answer(&mut self) -> Option<Result<Answer, Error>> {
        loop {
            let campaign = self.campaign.as_mut()?;
            let clock = &self.service.clock;
            let again = clock.sleep(self.service.lease * STANDBY_EVERY_LEASES);
            let event = tokio::select! {
                biased;
                () = self.service.shutdown.begun() => Event::Shutdown,
                // Renewals come before news: a renewal that has arrived was sent before the lease
                // is judged.
                renewal = self.renewals.next() => Event::Renewal(renewal),
                position = campaign.next() => Event::News(position),
                () = again, if self.waiting_for.is_some() => Event::StillWaiting,
            };
            match event {
                Event::Shutdown => {
                    self.campaign.take()?.leave_open();
                    return Some(Err(Error::ShuttingDown));
                }
                Event::Renewal(None | Some(Err(_))) => {
                    self.campaign = None;
                    return None;
                }
                Event::Renewal(Some(Ok(sequence))) => return Some(self.renew(sequence).await),
                Event::News(position) => {
                    if let Some(answer) = self.news(position) {
                        return Some(answer);
                    }
                }
                Event::StillWaiting => {
                    return self.waiting_for.clone().map(|leader| Ok(Answer::Standby(leader)));
                }
            }
        }
    }

    async fn renew(&mut self, sequence: u64) -> Result<Answer, Error> {
        if self.leads.is_none() {
            self.campaign = None;
            return Err(Error::Request { field: "renew", why: "only the leader renews".into() });
        }
        let campaign = self.campaign.as_mut().expect("asked for above: a campaign is on");
        match campaign.renew().await {
            Ok(Ok(())) => Ok(Answer::Renewed(sequence)),
            Ok(Err(cause)) => {
                self.campaign = None;
                Ok(Answer::Lost(cause.to_string()))
            }
            Err(error) => {
                self.campaign = None;
                Err(error)
            }
        }
    }

    fn news(&mut self, position: Result<Position, Error>) -> Option<Result<Answer, Error>> {
        match position {
            Ok(Position::Standby(leader)) => {
                self.waiting_for = Some(leader.clone());
                Some(Ok(Answer::Standby(leader)))
            }
            Ok(Position::Elected(elected)) => {
                self.waiting_for = None;
                self.leads = Some(Led::new(&self.service.leaders));
                if !self.resumes {
                    let ended = elected.previous.map(|(_, cause)| cause.to_string());
                    ELECTIONS.add(1, &[("after", ended.as_deref().unwrap_or("none"))]);
                }
                Some(Ok(Answer::Elected(elected)))
            }
            Ok(Position::Lost(cause)) => {
                self.campaign = None;
                Some(Ok(Answer::Lost(cause.to_string())))
            }
            Err(error) => {
                self.campaign = None;
                Some(Err(error))
            }
        }
    }
}
