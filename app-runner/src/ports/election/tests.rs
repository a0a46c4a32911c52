//! A contender's leadership before an elector that says what the test says. Time passes only when
//! the test advances the clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use chassis::channel::connect;
use chassis::clock::{Clock as _, ManualClock, SystemClock, timeout};
use chassis::credential::{DeploymentKey, Principal};
use chassis::server::{Authenticator, Limits, Serve};
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport};
use futures::FutureExt as _;
use proto::Generation;
use proto::election::campaign_request::Message as Asked;
use proto::election::campaign_response::Message as Said;
use proto::election::election_service_server::{ElectionService, ElectionServiceServer};
use proto::election::{
    CampaignRequest, CampaignResponse, Elected, Lost, ObserveRequest, ObserveResponse, Renewed,
    ResignRequest, ResignResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::*;

const LEASE: Duration = Duration::from_secs(4);

/// The elector's end of one campaign.
struct Elector {
    asked: Streaming<CampaignRequest>,
    say: mpsc::Sender<Result<CampaignResponse, Status>>,
}

impl Elector {
    async fn asked(&mut self) -> Asked {
        soon(self.asked.message()).await.unwrap().unwrap().message.unwrap()
    }

    async fn say(&self, message: Said) {
        self.say.send(Ok(CampaignResponse { message: Some(message) })).await.unwrap();
    }
}

struct Puppet(mpsc::Sender<Elector>);

#[tonic::async_trait]
impl ElectionService for Puppet {
    type CampaignStream = ReceiverStream<Result<CampaignResponse, Status>>;
    type ObserveStream = futures::stream::BoxStream<'static, Result<ObserveResponse, Status>>;

    async fn campaign(
        &self,
        request: Request<Streaming<CampaignRequest>>,
    ) -> Result<Response<Self::CampaignStream>, Status> {
        let (say, said) = mpsc::channel(8);
        let _ = self.0.send(Elector { asked: request.into_inner(), say }).await;
        Ok(Response::new(ReceiverStream::new(said)))
    }

    async fn observe(
        &self,
        _: Request<ObserveRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn resign(&self, _: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        Ok(Response::new(ResignResponse { was_leader: true }))
    }
}

async fn soon<F: Future>(what: F) -> F::Output {
    timeout(&SystemClock, Duration::from_secs(20), what).await.expect("comes about")
}

#[tokio::test]
async fn a_lease_is_renewed_by_turns_of_the_leaders_loop_alone_and_its_loss_is_passed_on() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::Unix(directory.path().join("elector.sock"));
    let clock = Arc::new(ManualClock::new());
    let (key, shutdown) = (DeploymentKey::generate(), Shutdown::new());
    let credential = key.mint(&Principal::Deployment);
    let (sender, mut campaigns) = mpsc::channel(8);
    let server = chassis::server::bind(Serve {
        name: "leader-elector",
        endpoints: vec![endpoint.clone()],
        transport: Arc::new(OsTransport),
        clock: clock.clone(),
        authenticator: Authenticator::new(key),
        routes: tonic::service::Routes::new(ElectionServiceServer::new(Puppet(sender))),
        shutdown: shutdown.clone(),
        limits: Limits::default(),
    });
    tokio::spawn(server.await.unwrap().run());
    let channel = connect(Arc::new(OsTransport), clock.clone(), endpoint, Some(credential));
    let elector = elector::Election::new(channel, clock.clone());
    let lock_file = directory.path().join("work/main.lock");
    let port =
        ElectorElection::new(elector, clock.clone(), "runner-0".to_owned(), lock_file.clone());

    let campaign = tokio::spawn(async move {
        let application =
            ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(1) };
        port.campaign(&application, Epoch(6)).await
    });
    let mut elector = soon(campaigns.recv()).await.unwrap();
    let Asked::Enter(enter) = elector.asked().await else { panic!("it does not enter") };
    assert_eq!((enter.holder.as_str(), enter.at_least), ("runner-0", 6));
    assert_eq!(enter.lock_file, lock_file.to_str().unwrap());
    assert!(lock_file.exists(), "an elector takes a lock for free only if its file is there");
    let lease = Some(prost_types::Duration::try_from(LEASE).unwrap());
    elector.say(Said::Elected(Elected { epoch: 7, lease, ..Elected::default() })).await;
    assert!(matches!(elector.asked().await, Asked::Renew(renew) if renew.sequence == 1));
    elector.say(Said::Renewed(Renewed { sequence: 1 })).await;
    let leadership = soon(campaign).await.unwrap().unwrap();
    assert_eq!(leadership.epoch(), Epoch(7));

    let mut turns = leadership.turns();
    clock.advance(LEASE / 4);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
        assert!(
            elector.asked.message().now_or_never().is_none(),
            "renewed without a turn of the loop"
        );
    }
    soon(turns.next()).await.unwrap();
    assert!(matches!(elector.asked().await, Asked::Renew(renew) if renew.sequence == 2));
    elector.say(Said::Renewed(Renewed { sequence: 2 })).await;
    let mut lease = leadership.lease();
    let until = Lease::Until(clock.boot() + LEASE * 3 / 4);
    soon(lease.wait_for(|lease| *lease == until)).await.unwrap();
    elector.say(Said::Lost(Lost { cause: "superseded".into() })).await;
    soon(lease.wait_for(|lease| *lease == Lease::Lost("superseded".into()))).await.unwrap();
    shutdown.begin();
}
