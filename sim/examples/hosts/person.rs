//! The person who submits the applications, and looks at the end what has become of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chassis::channel;
use chassis::clock::{Clock as _, SharedClock, timeout};
use chassis::credential::Principal;
use chassis::transport::SharedTransport;
use client::applications::Applications;
use client::error::CallError;
use futures::TryStreamExt as _;
use proto::{ApplicationId, ApplicationRef, Generation, api};
use sim::Links;

use crate::host::{self, Host};
use crate::notes::NOTE;
use crate::plan::{Application, HOSTS};
use crate::world::Deployment;

/// The machine of the person.
pub(crate) const PERSON: &str = "person";

/// How long one look at the end may take.
const LOOK: Duration = Duration::from_secs(20);

/// The pause before another store is asked to take a submission.
const AGAIN: Duration = Duration::from_millis(500);

/// The person who submits the applications, and looks at the end what has become of them.
#[derive(Clone)]
pub(crate) struct Person {
    /// The applications, as each host's store shows them.
    stores: Vec<Applications>,
    clock: SharedClock,
}

impl Person {
    /// A person at a machine of their own, with this clock.
    pub(crate) fn new(of: &Deployment, links: &Links, clock: SharedClock) -> Self {
        let transport: SharedTransport = Arc::new(links.machine(PERSON));
        let store = |host: &&str| {
            let credential = Some(of.key.mint(&Principal::Deployment));
            let (transport, clock) = (transport.clone(), clock.clone());
            let endpoint = host::store_of(host);
            Applications::new(channel::connect(transport, clock, endpoint, credential))
        };
        Self { stores: HOSTS.iter().map(store).collect(), clock }
    }

    /// Submits all applications, each at its time.
    pub(crate) async fn submit_all(self, of: Arc<Deployment>) {
        let mut planned: Vec<&Application> = of.plan.applications.iter().collect();
        planned.sort_by_key(|application| application.submitted_at);
        for application in planned {
            let early = application.submitted_at.saturating_sub(of.began.elapsed());
            self.clock.sleep(early).await;
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
            self.clock.sleep(AGAIN).await;
        }
    }

    /// Looks whether an application is clean, has one end, had leaders one after the other, and is
    /// over for each host.
    pub(crate) async fn judge(
        &self,
        of: &Deployment,
        planned: &Application,
        hosts: &[Option<Host>],
    ) {
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
                    for what in contradictions(&events).into_iter().chain(notes(of, id, &events)) {
                        wrong(what);
                    }
                    for what in lost_bytes(of, &now.jobs).await {
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
                    for job in now.jobs.iter().filter(|job| is_said_to_be_published(of, job)) {
                        wrong(format!("{} is recorded as published, and is not", job.name));
                    }
                    seen.insert(format!("{:?}, {} job(s)", now.outcome(), now.jobs.len()));
                }
                Ok(Err(error)) => wrong(format!("{host} does not show it: {error}")),
                Err(elapsed) => wrong(format!("{host} does not show it: {elapsed}")),
            }
        }
        for what in still_there(of, id, hosts).await {
            wrong(what);
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

/// Notes that are in the past twice, and those that the record has confirmed and does not have.
fn notes(of: &Deployment, id: &str, events: &[api::Event]) -> Vec<String> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events.iter().filter(|event| event.message.starts_with(NOTE)) {
        *times.entry(event.message.as_str()).or_default() += 1;
    }
    let confirmed = id.parse().map(|id| of.trace.confirmed_notes(&id)).unwrap_or_default();
    let missing = confirmed.iter().filter(|note| !times.contains_key(note.as_str()));
    let missing = missing.map(|note| format!("{note} was confirmed, and is not in the past"));
    let twice = times.iter().filter(|(_, times)| **times > 1);
    let twice = twice.map(|(note, times)| format!("{note} was written {times} times"));
    missing.chain(twice).collect()
}

/// The graphs of jobs that are not in the payloads.
async fn lost_bytes(of: &Deployment, jobs: &[api::Job]) -> Vec<String> {
    let mut lost = Vec::new();
    for job in jobs {
        if !of.blobs.has(&job.graph_digest).await {
            lost.push(format!("the graph of {} is not in the payloads", job.name));
        }
    }
    lost
}

/// Whether the record says of output that it has its final names, which it has not.
fn is_said_to_be_published(of: &Deployment, job: &api::Job) -> bool {
    let manifest = job.end.as_ref().and_then(|end| end.manifest.as_ref());
    let has_outputs = manifest.is_some_and(|manifest| !manifest.outputs.is_empty());
    let is_published = job.job_id.parse().is_ok_and(|job| of.trace.is_published(job));
    job.published && has_outputs && !is_published
}

/// What hosts still have of an application that is over: a contender, or a leader whom the elector
/// believes in.
async fn still_there(of: &Deployment, id: &str, hosts: &[Option<Host>]) -> Vec<String> {
    let Ok(id) = id.parse::<ApplicationId>() else { return Vec::new() };
    let application = ApplicationRef { id: id.clone(), generation: Generation(1) };
    let mut found = Vec::new();
    for (name, host) in HOSTS.iter().zip(hosts) {
        if !of.trace.has_left(&id, name) {
            found.push(format!("the contender on {name} has not left"));
        }
        let Some(host) = host else { continue };
        match host.leader(of, &application).await {
            Ok(None) => {}
            Ok(Some(leader)) => {
                found.push(format!("the elector on {name} believes that {} leads", leader.holder));
            }
            Err(error) => found.push(format!("the elector on {name} does not answer: {error}")),
        }
    }
    found
}
