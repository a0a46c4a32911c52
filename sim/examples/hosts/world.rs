//! One simulation from its beginning to its verdict.
#![allow(
    clippy::disallowed_methods,
    reason = "the simulation itself waits by the runtime's clock, which no machine owns"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chassis::channel;
use chassis::clock::{SharedClock, timeout};
use chassis::credential::{DeploymentKey, Principal};
use chassis::tasks::owned;
use chassis::transport::SharedTransport;
use client::applications::Applications;
use client::error::CallError;
use futures::TryStreamExt as _;
use jobgraph_store::blobs::memory::MemoryBlobs;
use proto::{ApplicationId, Digest, api};
use sim::etcd::Etcd;
use sim::{Links, MachineClock};
use tokio::time::Instant;

use crate::host::{self, Host};
use crate::plan::{Application, CALM_AT, ENDS_AT, ETCD, Fault, HOSTS, Plan};
use crate::trace::Trace;

/// The machine of the person who submits and looks.
const PERSON: &str = "person";

/// How long one look at the end may take.
const LOOK: Duration = Duration::from_secs(20);

/// What all parts of one simulation share.
pub(crate) struct Deployment {
    pub(crate) plan: Plan,
    pub(crate) trace: Trace,
    pub(crate) key: DeploymentKey,
    pub(crate) blobs: MemoryBlobs,
    pub(crate) began: Instant,
}

/// What a simulation came to.
pub(crate) struct Ran {
    pub(crate) plan: Plan,
    pub(crate) lines: Vec<String>,
    pub(crate) wrong: Vec<String>,
    pub(crate) digest: Digest,
}

/// Runs the simulation of a seed.
pub(crate) fn run(seed: u64) -> anyhow::Result<Ran> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build()?;
    runtime.block_on(simulate(Plan::of(seed), seed))
}

async fn simulate(plan: Plan, seed: u64) -> anyhow::Result<Ran> {
    let (began, links) = (Instant::now(), Links::new(seed));
    let clock: SharedClock = Arc::new(MachineClock::new(began, Duration::ZERO));
    let etcd = Etcd::new(clock.clone());
    let of_etcd: SharedTransport = Arc::new(links.machine(ETCD));
    let _member = etcd.serve(&of_etcd, &host::etcd()).await?;
    let of = Arc::new(Deployment {
        plan,
        trace: Trace::new(began),
        key: DeploymentKey::from_bytes([7; 32]),
        blobs: MemoryBlobs::default(),
        began,
    });
    let hosts = (0..HOSTS.len()).map(|number| Host::start(&of, &links, number).map(Some));
    let hosts = hosts.collect::<anyhow::Result<Vec<_>>>()?;
    let mut stage = Stage { of: of.clone(), links: links.clone(), etcd, hosts };
    let person = Person::new(&of, &links, clock);
    let submitting = owned("person", person.clone().submit_all(of.clone()));
    for (at, fault) in &of.plan.faults {
        tokio::time::sleep_until(began + *at).await;
        of.trace.note("plan", format!("{fault:?}"));
        stage.play(fault).await?;
    }
    tokio::time::sleep_until(began + CALM_AT).await;
    of.trace.note("plan", "calm");
    stage.calm().await?;
    tokio::time::sleep_until(began + ENDS_AT).await;
    drop(submitting);
    for application in &of.plan.applications {
        person.judge(&of, application).await;
    }
    let (lines, wrong, digest) = of.trace.take();
    Ok(Ran { plan: of.plan.clone(), lines, wrong, digest })
}

/// What faults happen to.
struct Stage {
    of: Arc<Deployment>,
    links: Links,
    etcd: Etcd,
    /// The hosts that run, each at its number.
    hosts: Vec<Option<Host>>,
}

impl Stage {
    async fn play(&mut self, fault: &Fault) -> anyhow::Result<()> {
        match fault {
            Fault::Cut(from, to) => self.links.cut(from, to),
            Fault::Mend(from, to) => self.links.mend(from, to),
            Fault::Crash(number) => {
                if let Some(host) = self.hosts[*number].take() {
                    host.crash();
                    // Time passes once each task of the host has been dropped.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    self.of.trace.crashed(HOSTS[*number]);
                }
            }
            Fault::Kill(number) => {
                if let Some(host) = &self.hosts[*number] {
                    host.kill_contenders();
                }
            }
            Fault::Start(number) => {
                if self.hosts[*number].is_none() {
                    self.hosts[*number] = Some(Host::start(&self.of, &self.links, *number)?);
                }
            }
            Fault::Pause(number) => {
                for other in others(HOSTS[*number]) {
                    self.links.cut(HOSTS[*number], other);
                    self.links.cut(other, HOSTS[*number]);
                }
                if let Some(host) = &self.hosts[*number] {
                    host.clock.close();
                }
            }
            Fault::Resume(number) => {
                for other in others(HOSTS[*number]) {
                    self.links.mend(HOSTS[*number], other);
                    self.links.mend(other, HOSTS[*number]);
                }
                if let Some(host) = &self.hosts[*number] {
                    host.clock.open();
                }
            }
            Fault::LoseAnswers(writes) => self.etcd.lose_answers(0..*writes),
            Fault::NoLeader => self.etcd.lose_leader(),
            Fault::Leader => self.etcd.elect_leader(),
            Fault::Wall(number, by, back) => {
                if let Some(host) = &self.hosts[*number] {
                    host.clock.set_forward(*by, *back);
                }
            }
        }
        Ok(())
    }

    /// Ends all faults.
    async fn calm(&mut self) -> anyhow::Result<()> {
        self.links.mend_all();
        self.etcd.lose_answers(0..0);
        self.etcd.elect_leader();
        for number in 0..HOSTS.len() {
            self.play(&Fault::Start(number)).await?;
            self.play(&Fault::Resume(number)).await?;
        }
        Ok(())
    }
}

/// All machines but this one.
fn others(machine: &str) -> impl Iterator<Item = &'static str> {
    HOSTS.into_iter().chain([ETCD, PERSON]).filter(move |other| *other != machine)
}

/// The person who submits the applications, and looks at the end what has become of them.
#[derive(Clone)]
struct Person {
    /// The applications, as each host's store shows them.
    stores: Vec<Applications>,
    clock: SharedClock,
}

impl Person {
    fn new(of: &Deployment, links: &Links, clock: SharedClock) -> Self {
        let transport: SharedTransport = Arc::new(links.machine(PERSON));
        let store = |host: &&str| {
            let credential = Some(of.key.mint(&Principal::Deployment));
            let (transport, clock) = (transport.clone(), clock.clone());
            let endpoint = host::store_of(host);
            Applications::new(channel::connect(transport, clock, endpoint, credential))
        };
        Self { stores: HOSTS.iter().map(store).collect(), clock }
    }

    async fn submit_all(self, of: Arc<Deployment>) {
        let mut planned: Vec<&Application> = of.plan.applications.iter().collect();
        planned.sort_by_key(|application| application.submitted_at);
        for application in planned {
            tokio::time::sleep_until(of.began + application.submitted_at).await;
            self.submit(&application.id).await;
            of.trace.note(PERSON, format!("{} is submitted", application.id));
        }
    }

    /// Submits at one store after the other until one of them takes it.
    async fn submit(&self, id: &str) {
        let program = api::Program { uri: "/programs/daily.sql".into(), ..Default::default() };
        let spec = api::ApplicationSpec {
            application_id: id.to_owned(),
            program: Some(program),
            engine: "simulated".to_owned(),
            ..api::ApplicationSpec::default()
        };
        let request = api::SubmitRequest {
            request_id: format!("wish for {id}"),
            spec: Some(spec),
            ..api::SubmitRequest::default()
        };
        for store in self.stores.iter().cycle() {
            if let Ok(Ok(_)) = timeout(&self.clock, LOOK, store.submit(request.clone())).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Looks whether an application is clean, has one end, and had leaders one after the other.
    async fn judge(&self, of: &Deployment, planned: &Application) {
        let id = &planned.id;
        let wrong = |what: String| of.trace.wrong(format!("{id}: {what}"));
        let mut seen = BTreeSet::new();
        for (host, store) in HOSTS.iter().zip(&self.stores) {
            match timeout(&self.clock, LOOK, look(store, id)).await {
                Ok(Ok((now, events))) => {
                    if !now.terminal || !now.clean {
                        let phase = now.phase();
                        wrong(format!("is not clean long after the faults, but {phase:?}"));
                    }
                    for what in contradictions(&events) {
                        wrong(what);
                    }
                    let unpublished = now.jobs.iter().filter(|job| {
                        let end = job.end.as_ref();
                        let manifest = end.and_then(|end| end.manifest.as_ref());
                        manifest.is_some_and(|manifest| !manifest.outputs.is_empty())
                            && !job.published
                    });
                    for job in unpublished {
                        wrong(format!("the output of {} is not published", job.name));
                    }
                    seen.insert(format!("{:?}, {} job(s)", now.outcome(), now.jobs.len()));
                }
                Ok(Err(error)) => wrong(format!("{host} does not show it: {error}")),
                Err(elapsed) => wrong(format!("{host} does not show it: {elapsed}")),
            }
        }
        for seen in &seen {
            of.trace.note(PERSON, format!("{id}: {seen}"));
        }
        if seen.len() > 1 {
            wrong(format!("hosts do not agree: {seen:?}"));
        }
    }
}

/// An application with its past, as one store shows them.
async fn look(
    store: &Applications,
    id: &str,
) -> Result<(api::Application, Vec<api::Event>), CallError> {
    let named: Result<ApplicationId, _> = id.parse();
    let named = named.map_err(|error| {
        CallError::new(proto::Code::InvalidArgument, format!("{id} is no id: {error}"))
    })?;
    let now = store.get(&named, None).await?;
    let request =
        api::EventsRequest { application_id: id.to_owned(), ..api::EventsRequest::default() };
    let events = store.events(request).await?.try_collect().await?;
    Ok((now, events))
}

/// What cannot all be so in the past of one application.
fn contradictions(events: &[api::Event]) -> Vec<String> {
    let mut found = Vec::new();
    for kind in ["ended", "clean"] {
        let times = events.iter().filter(|event| event.kind == kind).count();
        if times > 1 {
            found.push(format!("{kind} was recorded {times} times"));
        }
    }
    let led: Vec<u64> =
        events.iter().filter(|event| event.kind == "leader").map(|event| event.epoch).collect();
    if !led.is_sorted_by(|earlier, later| earlier < later) {
        found.push(format!("leaders came with the epochs {led:?}"));
    }
    let mut published = BTreeSet::new();
    for event in events.iter().filter(|event| event.kind == "published") {
        if !published.insert(&event.job_id) {
            found.push(format!("job {} was published more than once", event.job_id));
        }
    }
    found
}
