//! Processes of clusters, by `mainspring.lifecycle.v1`.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use client::lifecycle::{Lifecycle, Provisioning};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::lifecycle::RoleStatus;
use proto::{ApplicationRef, EpochFence, Incarnation, engine};
use tokio::sync::watch;

use super::PortResult;
use crate::error::PortError;

/// The processes of clusters, wherever they run. The runner decides which incarnation of a cluster
/// there is to be, and the substrate makes it so and tells what becomes of it.
#[async_trait]
pub trait Substrate: Send + Sync {
    /// Realises the roles of an incarnation and waits until they are ready. Processes that die and
    /// are started again meanwhile are put into `deaths`.
    async fn provision(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        plan: &engine::Plan,
        traceparent: &str,
        deaths: &watch::Sender<Deaths>,
    ) -> PortResult<ReadyCluster>;
    /// Tells what becomes of an incarnation: that it goes on and which of its processes died, or
    /// that it cannot go on.
    async fn watch(
        &self,
        application: &ApplicationRef,
        incarnation: Incarnation,
    ) -> PortResult<BoxStream<'static, PortResult<ClusterNews>>>;
    /// Ends an incarnation. The answer names what could not be removed, one line each.
    async fn teardown(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
    ) -> PortResult<Vec<String>>;
}

/// A cluster whose processes are ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadyCluster {
    /// The endpoint where the cluster's jobs are served.
    pub jobs_endpoint: String,
    /// The number of ready processes of each role.
    pub roles: BTreeMap<String, u32>,
    /// The named ports of the cluster's roles: `<role>/<port>` to `host:port`.
    pub addresses: BTreeMap<String, String>,
}

/// What a substrate says of an incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterNews {
    /// The incarnation goes on. These of its processes have died and are started again, or were.
    Lives(Vec<Death>),
    /// The incarnation cannot go on, for this reason.
    Failed(String),
}

/// The death of a process that has not ended its incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// The name of the process, such as `taskmanager-0`.
    pub process: String,
    /// How often the process has died in this incarnation, this time included.
    pub count: u32,
    /// How the process exited, and why, as far as it said so.
    pub cause: String,
}

/// The deaths in an incarnation that are known, the latest of each process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deaths {
    /// The incarnation that the deaths belong to.
    pub incarnation: Incarnation,
    /// The latest death of each process, by the name of the process.
    pub latest: BTreeMap<String, Death>,
}

/// Takes in what was seen of an incarnation. Receivers of `deaths` are woken only for a death that
/// is new.
pub fn note_deaths(deaths: &watch::Sender<Deaths>, incarnation: Incarnation, seen: Vec<Death>) {
    deaths.send_if_modified(|known| {
        if known.incarnation != incarnation {
            *known = Deaths { incarnation, latest: BTreeMap::new() };
        }
        let mut is_news = false;
        for death in seen {
            if known.latest.get(&death.process).is_none_or(|latest| latest.count < death.count) {
                known.latest.insert(death.process.clone(), death);
                is_news = true;
            }
        }
        is_news
    });
}

/// The time that the cluster's processes have to end by themselves.
const TEARDOWN_GRACE: Duration = Duration::from_secs(2);

/// How a process died last, if it ever died.
fn death(role: &RoleStatus) -> Option<Death> {
    (role.deaths > 0).then(|| Death {
        process: format!("{}-{}", role.role, role.replica),
        count: role.deaths,
        cause: role.last_exit.clone(),
    })
}

/// Why an incarnation cannot go on: how its processes ended. Processes that had died before and
/// were started again are included.
fn why_failed(roles: &[RoleStatus]) -> String {
    let said = |role: &RoleStatus| {
        let exit = if role.last_exit.is_empty() { &role.exit } else { &role.last_exit };
        (!exit.is_empty()).then(|| format!("{}-{} {exit}", role.role, role.replica))
    };
    roles.iter().filter_map(said).collect::<Vec<_>>().join(", ")
}

/// The service lifecycle, over a client that carries the contender's credential.
#[async_trait]
impl Substrate for Lifecycle {
    async fn provision(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        plan: &engine::Plan,
        traceparent: &str,
        deaths: &watch::Sender<Deaths>,
    ) -> PortResult<ReadyCluster> {
        let planned = plan.clone();
        let progress = Lifecycle::provision(self, fence, incarnation, planned, traceparent).await?;
        let mut progress = std::pin::pin!(progress);
        while let Some(item) = progress.next().await {
            let ready = match item? {
                Provisioning::Role(role) => {
                    note_deaths(deaths, incarnation, death(&role).into_iter().collect());
                    continue;
                }
                Provisioning::Ready(ready) => ready,
            };
            let mut cluster = ReadyCluster {
                jobs_endpoint: ready.jobs_endpoint,
                addresses: plan.addresses.clone().into_iter().chain(ready.addresses).collect(),
                ..ReadyCluster::default()
            };
            for role in ready.roles {
                *cluster.roles.entry(role.role).or_default() += 1;
            }
            return Ok(cluster);
        }
        Err(PortError::away("lifecycle ended the provision before the cluster was ready"))
    }

    async fn watch(
        &self,
        application: &ApplicationRef,
        incarnation: Incarnation,
    ) -> PortResult<BoxStream<'static, PortResult<ClusterNews>>> {
        let news = self.watch_cluster(application, incarnation).await?;
        let news = news.map(|news| {
            let news = news?;
            if news.gone {
                return Ok(ClusterNews::Failed("its processes are gone".to_owned()));
            }
            if !news.failed {
                return Ok(ClusterNews::Lives(news.roles.iter().filter_map(death).collect()));
            }
            Ok(ClusterNews::Failed(why_failed(&news.roles)))
        });
        Ok(news.boxed())
    }

    async fn teardown(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
    ) -> PortResult<Vec<String>> {
        Ok(Lifecycle::teardown(self, fence, incarnation, TEARDOWN_GRACE).await?)
    }
}
