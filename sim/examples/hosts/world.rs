//! One simulation from its beginning to its verdict.
#![allow(
    clippy::disallowed_methods,
    reason = "the simulation itself waits by the runtime's clock, which no machine owns"
)]

use std::sync::Arc;
use std::time::Duration;

use chassis::clock::SharedClock;
use chassis::credential::DeploymentKey;
use chassis::tasks::owned;
use chassis::transport::SharedTransport;
use proto::Digest;
use sim::etcd::Etcd;
use sim::{Links, MachineClock};
use tokio::time::Instant;

use crate::blobs::SharedBlobs;
use crate::host::{self, Host};
use crate::person::{PERSON, Person};
use crate::plan::{CALM_AT, ENDS_AT, ETCD, Fault, HOSTS, Plan};
use crate::trace::Trace;

/// What all parts of one simulation share.
pub(crate) struct Deployment {
    pub(crate) plan: Plan,
    pub(crate) trace: Trace,
    pub(crate) key: DeploymentKey,
    pub(crate) blobs: SharedBlobs,
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
    if let Some(seconds) = plan.longest_lease {
        etcd.limit_leases(seconds);
    }
    let of = Arc::new(Deployment {
        plan,
        trace: Trace::new(began),
        key: DeploymentKey::from_bytes([7; 32]),
        blobs: SharedBlobs::new(seed),
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
        person.judge(&of, application, &stage.hosts).await;
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
            Fault::Slow(number, by) => self.links.slow(HOSTS[*number], *by),
            Fault::Usual(number) => self.links.slow(HOSTS[*number], Duration::ZERO),
            Fault::Payloads(in_trouble) => self.of.blobs.set_trouble(*in_trouble),
            Fault::Compact => self.etcd.compact(),
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
        self.of.blobs.set_trouble(false);
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
