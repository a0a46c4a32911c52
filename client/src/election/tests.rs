//! A holder against an elector that says what the test says, while time stands still.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use chassis::clock::{Boot, Clock as _, ManualClock};
use futures::FutureExt as _;
use futures::stream::BoxStream;
use proto::election::campaign_request::Message as Asked;
use proto::election::campaign_response::Message as Said;
use proto::election::election_service_server::{ElectionService, ElectionServiceServer};
use proto::election::{
    CampaignRequest, CampaignResponse, Elected, Enter, Lost, Renewed, ResignResponse,
};
use proto::{Generation, election as wire};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::holder::{PATIENCE_LEASES, SHORTEST_PATIENCE};
use super::*;
use crate::elector_stand_in::{StandIn, soon};

const LEASE: Duration = Duration::from_secs(4);

/// The elector's end of one stream.
struct Conversation {
    asked: Streaming<CampaignRequest>,
    say: mpsc::Sender<Result<CampaignResponse, Status>>,
}

struct Puppet(mpsc::Sender<Conversation>);

#[tonic::async_trait]
impl ElectionService for Puppet {
    type CampaignStream = ReceiverStream<Result<CampaignResponse, Status>>;
    type ObserveStream = BoxStream<'static, Result<ObserveResponse, Status>>;

    async fn campaign(
        &self,
        request: Request<Streaming<CampaignRequest>>,
    ) -> Result<Response<Self::CampaignStream>, Status> {
        let (say, said) = mpsc::channel(8);
        let _ = self.0.send(Conversation { asked: request.into_inner(), say }).await;
        Ok(Response::new(ReceiverStream::new(said)))
    }

    async fn observe(
        &self,
        _: Request<ObserveRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn resign(&self, _: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        Ok(Response::new(wire::ResignResponse { was_leader: true }))
    }
}

struct Stage {
    clock: Arc<ManualClock>,
    election: Election,
    conversations: mpsc::Receiver<Conversation>,
    _elector: StandIn,
}

impl Stage {
    async fn new() -> Self {
        let (sender, conversations) = mpsc::channel(8);
        let routes = Routes::new(ElectionServiceServer::new(Puppet(sender)));
        let elector = StandIn::serving(routes).await;
        let clock = elector.clock.clone();
        let election = Election::new(elector.channel.clone(), clock.clone());
        Self { clock, election, conversations, _elector: elector }
    }

    fn campaign(&self) -> Campaign {
        let application =
            ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(1) };
        let (holder, lock_file) = ("runner-0".to_owned(), Some("/main.lock".into()));
        self.election.campaign(Candidacy { application, holder, at_least: Epoch(6), lock_file })
    }

    /// The holder's next stream, and what the holder entered with.
    async fn entered(&mut self) -> (Conversation, Enter) {
        let mut conversation = soon(self.conversations.recv()).await.unwrap();
        match conversation.asked().await {
            Some(Asked::Enter(enter)) => (conversation, enter),
            other => panic!("expected to be entered, got {other:?}"),
        }
    }

    /// Waits until the holder pauses between two tries.
    async fn asleep(&self) {
        let pauses =
            || self.clock.next_wakeup().is_some_and(|at| at <= self.clock.boot() + RETRY_MAX);
        soon(async {
            while !pauses() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// A leader of epoch 7 whose first renewal was sent and acknowledged at the answered instant.
    async fn led(&mut self) -> (Leadership, Conversation, Boot) {
        let campaign = self.campaign();
        let (mut conversation, _) = self.entered().await;
        conversation.elect(7).await;
        assert_eq!(conversation.renewal().await, 1);
        conversation.say(Said::Renewed(Renewed { sequence: 1 })).await;
        (soon(campaign.elected()).await.unwrap(), conversation, self.clock.boot())
    }
}

impl Conversation {
    async fn asked(&mut self) -> Option<Asked> {
        soon(self.asked.message()).await.ok().flatten().and_then(|request| request.message)
    }

    async fn renewal(&mut self) -> u64 {
        match self.asked().await {
            Some(Asked::Renew(renew)) => renew.sequence,
            other => panic!("expected a renewal, got {other:?}"),
        }
    }

    async fn say(&self, message: Said) {
        self.say.send(Ok(CampaignResponse { message: Some(message) })).await.unwrap();
    }

    async fn elect(&self, epoch: u64) {
        self.elect_for(epoch, LEASE).await;
    }

    async fn elect_for(&self, epoch: u64, lease: Duration) {
        self.elect_with(epoch, Some(prost_types::Duration::try_from(lease).unwrap())).await;
    }

    async fn elect_with(&self, epoch: u64, lease: Option<prost_types::Duration>) {
        self.say(Said::Elected(Elected {
            epoch,
            lease,
            previous_epoch: 5,
            cause: "resigned".into(),
        }))
        .await;
    }
}

#[tokio::test]
async fn a_deadline_counts_from_the_sending_of_what_was_acknowledged_last() {
    let mut stage = Stage::new().await;
    let campaign = stage.campaign();
    let (mut elector, enter) = stage.entered().await;
    assert_eq!(
        (enter.at_least, enter.resume_epoch, enter.lock_file.as_str()),
        (6, 0, "/main.lock")
    );
    // The holder stands by for an hour, so the time of its entry says nothing about now.
    elector.say(Said::Standby(wire::Standby { leader: "runner-1".into(), epoch: 5 })).await;
    soon(campaign.standby().wait_for(Option::is_some)).await.unwrap();
    stage.clock.advance(Duration::from_secs(3600));
    elector.elect(7).await;
    assert_eq!(elector.renewal().await, 1);
    let first_sent_at = stage.clock.boot();
    stage.clock.advance(Duration::from_millis(500));
    elector.say(Said::Renewed(Renewed { sequence: 1 })).await;
    let leadership = soon(campaign.elected()).await.unwrap();
    assert_eq!((leadership.epoch(), leadership.previous_epoch()), (Epoch(7), Some(Epoch(5))));
    let mut deadline = leadership.deadline();
    assert_eq!(*deadline.borrow_and_update(), first_sent_at + LEASE * 3 / 4);

    stage.clock.advance(Duration::from_millis(500));
    assert_eq!(elector.renewal().await, 2, "each quarter");
    stage.clock.advance(Duration::from_millis(900));
    // The answer to a renewal that was never sent moves nothing.
    elector.say(Said::Renewed(Renewed { sequence: 99 })).await;
    elector.say(Said::Renewed(Renewed { sequence: 2 })).await;
    soon(deadline.changed()).await.unwrap();
    let until = first_sent_at + LEASE / 4 + LEASE * 3 / 4;
    assert_eq!(*deadline.borrow_and_update(), until);
    assert_eq!(*leadership.lease().borrow(), Lease::Until(until));
}

#[tokio::test]
async fn past_the_deadline_a_silent_elector_is_waited_for_until_it_says_something_or_patience_ends()
{
    let mut stage = Stage::new().await;
    let (leadership, mut elector, sent_at) = stage.led().await;
    stage.clock.advance(LEASE * 2);
    assert_eq!(elector.renewal().await, 2, "it goes on asking");
    assert_eq!(
        *leadership.lease().borrow(),
        Lease::Until(sent_at + LEASE * 3 / 4),
        "and does not act"
    );
    elector.say(Said::Renewed(Renewed { sequence: 2 })).await;
    let mut lease = leadership.lease();
    let until = sent_at + LEASE * 2 + LEASE * 3 / 4;
    soon(lease.wait_for(|lease| *lease == Lease::Until(until))).await.unwrap();

    stage.clock.advance(LEASE + SHORTEST_PATIENCE - Duration::from_nanos(1));
    assert_eq!(*lease.borrow(), Lease::Until(until));
    stage.clock.advance(Duration::from_nanos(1));
    assert_eq!(soon(leadership.lost()).await, "lease expired");
    assert_eq!(*leadership.deadline().borrow(), until, "and nothing moved it");
}

#[tokio::test]
async fn a_broken_stream_is_resumed_with_the_epoch_until_somebody_says_that_it_is_lost() {
    let mut stage = Stage::new().await;
    let (leadership, elector, _) = stage.led().await;
    let mut deadline = leadership.deadline();
    stage.clock.advance(Duration::from_millis(700));
    drop(elector);
    let (elector, enter) = stage.entered().await;
    assert_eq!((enter.resume_epoch, enter.holder.as_str()), (7, "runner-0"));
    let entered_at = stage.clock.boot();
    stage.clock.advance(Duration::from_millis(100));
    elector.elect(7).await;
    soon(deadline.wait_for(|until| *until == entered_at + LEASE * 3 / 4)).await.unwrap();
    drop(elector);
    let (elector, enter) = stage.entered().await;
    assert_eq!(enter.resume_epoch, 7);
    elector.say(Said::Lost(Lost { cause: "superseded".into() })).await;
    assert_eq!(soon(leadership.lost()).await, "superseded");
}

#[tokio::test]
async fn an_elector_that_was_away_for_longer_than_a_lease_confirms_the_same_epoch() {
    let mut stage = Stage::new().await;
    let (leadership, elector, sent_at) = stage.led().await;
    let mut lease = leadership.lease();
    drop(elector);
    // Each try meets an elector that dies, until two and a half leases have passed.
    for _ in 0..10 {
        let (dying, enter) = stage.entered().await;
        assert_eq!(enter.resume_epoch, 7);
        drop(dying);
        stage.asleep().await;
        stage.clock.advance(LEASE / 4);
    }
    assert_eq!(
        *lease.borrow(),
        Lease::Until(sent_at + LEASE * 3 / 4),
        "not lost, and nothing to act on"
    );
    let (mut elector, enter) = stage.entered().await;
    assert_eq!((enter.resume_epoch, enter.holder.as_str()), (7, "runner-0"));
    elector.elect(7).await;
    let until = sent_at + LEASE * 10 / 4 + LEASE * 3 / 4;
    soon(lease.wait_for(|lease| *lease == Lease::Until(until))).await.unwrap();
    assert_eq!(elector.renewal().await, 1, "and it is renewed as before");
    assert_eq!(leadership.epoch(), Epoch(7));
}

#[tokio::test]
async fn who_is_refused_after_the_elector_was_away_gives_up_at_once() {
    let mut stage = Stage::new().await;
    let (leadership, elector, _) = stage.led().await;
    stage.clock.advance(LEASE * 2);
    drop(elector);
    let (elector, enter) = stage.entered().await;
    assert_eq!(enter.resume_epoch, 7);
    elector.say(Said::Lost(Lost { cause: "superseded".into() })).await;
    assert_eq!(soon(leadership.lost()).await, "superseded");
}

#[tokio::test]
async fn an_elector_that_stays_away_is_given_up_in_the_end() {
    let mut stage = Stage::new().await;
    let (leadership, elector, sent_at) = stage.led().await;
    drop(elector);
    let (_silent, enter) = stage.entered().await;
    assert_eq!(enter.resume_epoch, 7);
    stage.clock.advance(LEASE + SHORTEST_PATIENCE);
    assert_eq!(soon(leadership.lost()).await, "lease expired");
    assert_eq!(*leadership.deadline().borrow(), sent_at + LEASE * 3 / 4);
}

/// An elector that was set to another lease while it was away says so to a holder that resumes.
#[tokio::test]
async fn the_lease_that_was_granted_last_is_what_the_holder_counts_by() {
    let mut stage = Stage::new().await;
    let (leadership, elector, _) = stage.led().await;
    let mut deadline = leadership.deadline();
    stage.clock.advance(LEASE / 2);
    drop(elector);
    let (mut elector, enter) = stage.entered().await;
    assert_eq!(enter.resume_epoch, 7);
    let (granted, resumed_at) = (LEASE * 3, stage.clock.boot());
    elector.elect_for(7, granted).await;
    soon(deadline.wait_for(|until| *until == resumed_at + granted * 3 / 4)).await.unwrap();
    assert_eq!(elector.renewal().await, 1);
    let patience = granted * PATIENCE_LEASES;
    assert!(patience > SHORTEST_PATIENCE, "the leases are what counts here");
    stage.clock.advance(granted + patience - Duration::from_nanos(1));
    assert!(matches!(*leadership.lease().borrow(), Lease::Until(_)), "it is waited for");
    stage.clock.advance(Duration::from_nanos(1));
    assert_eq!(soon(leadership.lost()).await, "lease expired");
}

/// A holder that counted by a lease of zero would never act again, and would renew without a pause.
#[tokio::test]
async fn an_elector_that_names_no_lease_leaves_the_one_that_was_granted() {
    let mut stage = Stage::new().await;
    let (leadership, elector, _) = stage.led().await;
    let mut deadline = leadership.deadline();
    stage.clock.advance(LEASE / 2);
    drop(elector);
    let (elector, _) = stage.entered().await;
    let resumed_at = stage.clock.boot();
    elector.elect_with(7, None).await;
    soon(deadline.changed()).await.unwrap();
    assert_eq!(*deadline.borrow(), resumed_at + LEASE * 3 / 4);
}

#[tokio::test]
async fn a_holder_whose_loop_hangs_neither_renews_nor_resumes() {
    let mut stage = Stage::new().await;
    let (leadership, mut elector, _) = stage.led().await;
    let mut pulse = leadership.pulse();
    stage.clock.advance(LEASE / 4);
    soon(pulse.due()).await;
    assert_eq!(elector.renewal().await, 2, "it turned");
    stage.clock.advance(LEASE / 4);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
        assert!(
            elector.asked.message().now_or_never().is_none(),
            "it renewed although its loop hangs"
        );
    }
    drop(elector);
    stage.clock.advance(LEASE);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
        assert!(stage.conversations.try_recv().is_err(), "it resumed although its loop hangs");
    }
    soon(pulse.due()).await;
    let (_elector, enter) = stage.entered().await;
    assert_eq!(enter.resume_epoch, 7, "it hung for a moment only, and asks whether it still leads");
}

#[tokio::test]
async fn dropping_a_campaign_or_a_leadership_ends_its_stream() {
    let mut stage = Stage::new().await;
    let campaign = stage.campaign();
    let (mut elector, _) = stage.entered().await;
    drop(campaign);
    assert!(elector.asked().await.is_none(), "withdrawn");
    let (leadership, mut elector, _) = stage.led().await;
    drop(leadership);
    assert!(elector.asked().await.is_none(), "no more renewals");
}

#[tokio::test]
async fn a_resigned_leadership_is_over_for_everybody_who_watches_it() {
    let mut stage = Stage::new().await;
    let (leadership, mut elector, _) = stage.led().await;
    let mut lease = leadership.lease();
    assert!(leadership.resign().await);
    soon(lease.wait_for(|lease| *lease == Lease::Lost("resigned".into()))).await.unwrap();
    assert!(elector.asked().await.is_none(), "no more renewals");
}
