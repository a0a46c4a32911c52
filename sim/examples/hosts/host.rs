//! One life of a host: the store and the elector as their services are put together, and one
//! contender for each application, started again as lifecycle starts it again.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use app_runner::error::GaveUp;
use app_runner::service::{Contender, EXIT_RESTART, Identity};
use chassis::channel::{self, GrpcChannel};
use chassis::clock::{Clock as _, SharedClock, timeout};
use chassis::credential::{Credential, Principal};
use chassis::server::{Authenticator, Footing};
use chassis::tasks::{OwnedTask, Shutdown, TaskFailed, TaskSet, owned};
use chassis::transport::{Endpoint, SharedTransport};
use client::applications::Applications;
use client::election::{Election, Leader};
use etcd::{Etcd, Member};
use futures::StreamExt as _;
use jobgraph_store::service::Service;
use jobgraph_store::service::peers::OverNetwork;
use jobgraph_store::store::etcd::EtcdMetadata;
use leader_elector::config::HOST_LEASE;
use leader_elector::election::etcd::EtcdElection;
use leader_elector::election::lock::Locks;
use leader_elector::hosts::etcd::EtcdHosts;
use leader_elector::service::Elector;
use leader_elector::service::hosts::Attendance;
use proto::{ApplicationRef, Generation, Place, PlaceUid};
use sim::{Links, Machine, MachineClock};
use tokio::sync::watch;

use crate::cluster::Clusters;
use crate::plan::{ETCD, HOSTS};
use crate::ports::{self, Site};
use crate::world::Deployment;

/// The sockets of a host's services.
pub(crate) const STORE: &str = "/sockets/store";
pub(crate) const ELECTOR: &str = "/sockets/elector";

/// The port at which other machines reach a host's store.
const STORE_PORT: u16 = 7_001;

/// The port of etcd.
const ETCD_PORT: u16 = 2_379;

/// What all keys of the deployment begin with.
const PREFIX: &str = "/mainspring";

/// How long a silent leader keeps its leadership.
const LEASE: Duration = Duration::from_secs(2);

/// How far back changes can be watched from.
const PAST: Duration = Duration::from_secs(900);

/// The pause before a service or a contender that ended is started again.
const RESTART: Duration = Duration::from_secs(1);

/// How often each store sweeps its payloads, whatever their age.
const SWEEP: Duration = Duration::from_millis(1_700);

/// How long the elector may take to say who leads.
const OBSERVE: Duration = Duration::from_secs(10);

/// How long tasks may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// The uids of the hosts.
const UIDS: [[u8; 8]; 3] = [[0xa; 8], [0xb; 8], [0xc; 8]];

/// Where other machines reach the store of a host.
pub(crate) fn store_of(host: &str) -> Endpoint {
    Endpoint::Tcp(host.to_owned(), STORE_PORT)
}

/// Where etcd is.
pub(crate) fn etcd() -> Endpoint {
    Endpoint::Tcp(ETCD.to_owned(), ETCD_PORT)
}

/// One life of a host, as its parts see it.
#[derive(Clone)]
pub(crate) struct At {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) transport: SharedTransport,
    pub(crate) clock: SharedClock,
    /// Changes when the contenders of this host are killed.
    kills: watch::Receiver<()>,
}

impl At {
    /// A channel to a socket of this host.
    pub(crate) fn channel(&self, socket: &str, credential: Credential) -> GrpcChannel {
        let endpoint = Endpoint::Unix(socket.into());
        channel::connect(self.transport.clone(), self.clock.clone(), endpoint, Some(credential))
    }
}

/// A host that runs.
pub(crate) struct Host {
    machine: Machine,
    pub(crate) clock: Arc<MachineClock>,
    at: At,
    kills: watch::Sender<()>,
    _serves: OwnedTask<()>,
}

impl Host {
    /// Starts a host by its number.
    pub(crate) fn start(
        of: &Arc<Deployment>,
        links: &Links,
        number: usize,
    ) -> anyhow::Result<Self> {
        let (name, uid) = (HOSTS[number], PlaceUid::from_bytes(UIDS[number]));
        let machine = links.machine(name);
        let clock = MachineClock::new(of.began, of.plan.ahead[number]);
        let clock = Arc::new(clock.faster_by(of.plan.faster_ppm[number]));
        let place = Place::host(name, uid)?;
        let transport = Arc::new(machine.clone());
        let (kills, killed) = watch::channel(());
        let at = At { name, place, transport, clock: clock.clone(), kills: killed };
        let serves = owned("host", serve(of.clone(), at.clone()));
        Ok(Self { machine, clock, at, kills, _serves: serves })
    }

    /// Kills the contenders, which are started again.
    pub(crate) fn kill_contenders(&self) {
        self.kills.send_replace(());
    }

    /// Who leads an application, as the elector of this host sees it.
    pub(crate) async fn leader(
        &self,
        of: &Deployment,
        application: &ApplicationRef,
    ) -> anyhow::Result<Option<Leader>> {
        let channel = self.at.channel(ELECTOR, ports::contender(of, application));
        let elector = Election::new(channel, self.at.clock.clone());
        let view = timeout(&self.at.clock, OBSERVE, async {
            elector.observe(&application.id).await?.next().await.transpose()
        });
        Ok(view.await??.unwrap_or_default().leader)
    }

    /// Ends the host as a loss of power does: nothing of it goes on, and what it has asked is done
    /// or not.
    pub(crate) fn crash(self) {
        self.machine.crash();
        // A task that has no owner may still wait on this clock; it waits for ever.
        self.clock.close();
    }
}

/// Runs the services and the contenders, and starts them again when they end.
async fn serve(of: Arc<Deployment>, at: At) {
    loop {
        if let Err(error) = run(&of, &at).await {
            let what = format!("its services have ended: {error:#}");
            if error.is::<TaskFailed>() {
                of.trace.wrong(format!("on {}: {what}", at.name));
            } else {
                of.trace.note(at.name, what);
            }
        }
        at.clock.sleep(RESTART).await;
    }
}

async fn run(of: &Arc<Deployment>, at: &At) -> anyhow::Result<()> {
    let (transport, clock) = (at.transport.clone(), at.clock.clone());
    let footing = Footing { transport, clock, shutdown: Shutdown::new() };
    let tasks = footing.tasks();
    serve_store(of, at, &footing, &tasks).await?;
    serve_elector(of, &footing, &tasks).await?;
    for planned in &of.plan.applications {
        let application = ApplicationRef { id: planned.id.parse()?, generation: Generation(1) };
        let clusters = Arc::new(Clusters::new(of.clone(), at.clone(), application.clone()));
        let followed = clusters.clone();
        tasks.spawn_loop("lifecycle", async move { followed.follow().await });
        let contends = contend(of.clone(), at.clone(), application, clusters);
        tasks.spawn_loop("contender", contends);
    }
    Ok(tasks.run(GRACE).await?)
}

/// The store, as `jobgraph_store::serve` puts it together on etcd, with payloads in memory that all
/// stores share.
async fn serve_store(
    of: &Deployment,
    at: &At,
    footing: &Footing,
    tasks: &TaskSet,
) -> anyhow::Result<()> {
    let metadata = EtcdMetadata::open(way_to_etcd(footing).await?, PREFIX, at.name).await?;
    let (blobs, clock) = (of.blobs.reached_by(footing.clock.clone()), footing.clock.clone());
    let (blobs, sweeps_by) = (Arc::new(blobs), clock.clone());
    let service = Service::new(Arc::new(metadata), blobs, clock).at(at.place.clone()).shared();
    let routes = jobgraph_store::grpc::routes(&service, &of.key);
    let endpoints = vec![Endpoint::Unix(STORE.into()), store_of(at.name)];
    let authenticator = Authenticator::new(of.key.clone());
    footing.serve("jobgraph-store", endpoints, authenticator, routes).spawn(tasks).await?;
    service.index().await?;
    let keeper = service.clone();
    tasks.spawn_loop("caretaker", async move { keeper.keep_house().await });
    let keeper = service.clone();
    tasks.spawn_loop("past", async move { keeper.keep_past(PAST).await });
    let sweeper = service.clone();
    tasks.spawn_loop("sweeper", async move { keep_sweeping(&sweeper, &sweeps_by).await });
    let credential = of.key.mint(&Principal::Deployment);
    let way = OverNetwork::new(footing.transport.clone(), footing.clock.clone(), credential);
    let own = store_of(at.name).to_string();
    tasks.spawn_loop("peers", async move { service.follow_peers(&way, &own).await });
    Ok(())
}

/// Sweeps again and again, as the caretaker does every ten minutes, and spares no payload for its
/// age: what sweeps rest on is no clock.
async fn keep_sweeping(service: &Service, clock: &SharedClock) {
    loop {
        clock.sleep(SWEEP).await;
        // A sweep that fails half-way is finished by the next one.
        let _ = service.sweep_all(Duration::ZERO).await;
    }
}

/// The elector, as `leader_elector::serve` puts it together on etcd.
async fn serve_elector(of: &Deployment, footing: &Footing, tasks: &TaskSet) -> anyhow::Result<()> {
    let (way, clock) = (way_to_etcd(footing).await?, footing.clock.clone());
    let election =
        EtcdElection::open(way.clone(), PREFIX, Arc::new(NoLocks), clock.clone(), LEASE).await?;
    let hosts = EtcdHosts::open(way, PREFIX, clock.clone(), HOST_LEASE).await?;
    let shutdown = footing.shutdown.clone();
    let elector = Elector::new(Arc::new(election), clock.clone(), LEASE, shutdown.clone());
    let attendance = Attendance::new(Arc::new(hosts), clock, shutdown);
    let routes = leader_elector::grpc::routes(elector, attendance);
    let authenticator = Authenticator::new(of.key.clone());
    let endpoints = vec![Endpoint::Unix(ELECTOR.into())];
    footing.serve(leader_elector::NAME, endpoints, authenticator, routes).spawn(tasks).await?;
    Ok(())
}

async fn way_to_etcd(footing: &Footing) -> anyhow::Result<Etcd> {
    Ok(Etcd::new(&[Member::at(etcd())], &footing.transport, &footing.clock).await?)
}

/// Locks of which nothing is known: a leader that is gone keeps its lease.
struct NoLocks;

impl Locks for NoLocks {
    fn is_free(&self, _path: &std::path::Path) -> bool {
        false
    }
}

/// Ends what a contender leaves, also when the contender is cut off.
struct Ends(Arc<Site>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Contends for an application once it was submitted, and again until it is clean.
async fn contend(
    of: Arc<Deployment>,
    at: At,
    application: ApplicationRef,
    clusters: Arc<Clusters>,
) {
    let known = Applications::new(at.channel(STORE, of.key.mint(&Principal::Deployment)));
    while known.get(&application.id, Some(application.generation)).await.is_err() {
        at.clock.sleep(RESTART).await;
    }
    let (holder, mut kills) = (format!("{}/runner-0", at.name), at.kills.clone());
    loop {
        kills.mark_unchanged();
        let site = Site::new(
            of.clone(),
            at.clone(),
            application.clone(),
            holder.clone(),
            clusters.clone(),
        );
        let site = Arc::new(site);
        let ends = Ends(site.clone());
        let identity = Identity { application: application.clone(), holder: holder.clone() };
        let contender = Contender::new(identity, site.ports(), site, Shutdown::new());
        let came_to = tokio::select! {
            biased;
            // The sender is the host's, which outlives its contenders.
            _ = kills.changed() => Ok(EXIT_RESTART),
            came_to = contender.run() => came_to,
        };
        drop(ends);
        match came_to {
            Ok(EXIT_RESTART) => {}
            Ok(code) => {
                of.trace.note(at.name, format!("{application}: {holder} leaves with {code}"));
                of.trace.left(&application.id, at.name);
                check_clean(&of, &at, &known, &application).await;
                return pending().await;
            }
            Err(error) if GaveUp::over(&error).is_some() => {
                of.trace.wrong(format!("{application}: {holder} gave up: {error}"));
                return pending().await;
            }
            Err(error) => of.trace.note(at.name, format!("{application}: {holder}: {error}")),
        }
        at.clock.sleep(RESTART).await;
    }
}

/// A contender leaves with the application's code only once nothing is left to do.
async fn check_clean(of: &Deployment, at: &At, known: &Applications, application: &ApplicationRef) {
    loop {
        match known.get(&application.id, Some(application.generation)).await {
            Ok(now) if now.clean => return of.trace.clean(&application.id),
            Ok(_) => {
                return of.trace.wrong(format!(
                    "{application}: the contender on {} has left, and it is not clean",
                    at.name
                ));
            }
            Err(_) => at.clock.sleep(RESTART).await,
        }
    }
}
