//! Processes of clusters, by `mainspring.lifecycle.v1`.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use client::lifecycle::{Lifecycle, Provisioning};
use client::tether::output;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::lifecycle::RoleStatus;
use proto::{ApplicationRef, EpochFence, Incarnation, engine};

use super::PortResult;
use crate::error::PortError;

/// The processes of clusters.
#[async_trait]
pub trait Substrate: Send + Sync {
    /// Realises the roles of an incarnation and waits until they are ready.
    async fn provision(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        plan: &engine::Plan,
        traceparent: &str,
    ) -> PortResult<ReadyCluster>;
    /// What becomes of it.
    async fn watch(
        &self,
        application: &ApplicationRef,
        incarnation: Incarnation,
    ) -> PortResult<BoxStream<'static, PortResult<ClusterNews>>>;
    /// Ends it; answers what could not be removed, one line each.
    async fn teardown(&self, fence: &EpochFence, incarnation: Incarnation) -> PortResult<Vec<String>>;
}

/// A cluster whose processes are ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadyCluster {
    /// Where its jobs are served.
    pub jobs_endpoint: String,
    /// Ready processes by role.
    pub roles: BTreeMap<String, u32>,
    /// Named ports of its roles: `<role>/<port>` to `host:port`.
    pub addresses: BTreeMap<String, String>,
}

/// What a substrate says of an incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterNews {
    /// All is as it should be.
    Lives,
    /// It cannot go on, and why.
    Failed(String),
}

/// Time for the cluster's processes to end by themselves.
const TEARDOWN_GRACE: Duration = Duration::from_secs(2);

/// Lifecycle as a runner sees it.
#[derive(Debug, Clone)]
pub struct LifecycleSubstrate(Lifecycle);

impl LifecycleSubstrate {
    /// Over a client that carries the deployment's credential.
    pub fn new(lifecycle: Lifecycle) -> Self {
        Self(lifecycle)
    }
}

/// How a process exited, and the last line that it said if it did so by itself.
fn last_word(role: &RoleStatus) -> String {
    let RoleStatus { role: name, replica, exit, stderr_tail, exit_code, .. } = role;
    match output::last_word(stderr_tail).filter(|_| exit_code.is_some()) {
        Some(line) => format!("{name}-{replica} {exit} ({line})"),
        None => format!("{name}-{replica} {exit}"),
    }
}

#[async_trait]
impl Substrate for LifecycleSubstrate {
    async fn provision(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        plan: &engine::Plan,
        traceparent: &str,
    ) -> PortResult<ReadyCluster> {
        let progress = self.0.provision(fence, incarnation, plan.roles.clone(), traceparent).await?;
        let mut progress = std::pin::pin!(progress);
        while let Some(item) = progress.next().await {
            if let Provisioning::Ready(ready) = item? {
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
        }
        Err(PortError::away("lifecycle ended the provision before the cluster was ready"))
    }

    async fn watch(
        &self,
        application: &ApplicationRef,
        incarnation: Incarnation,
    ) -> PortResult<BoxStream<'static, PortResult<ClusterNews>>> {
        let news = self.0.watch_cluster(application, incarnation).await?;
        let news = news.map(|news| {
            let news = news?;
            if news.gone {
                return Ok(ClusterNews::Failed("its processes are gone".to_owned()));
            }
            if !news.failed {
                return Ok(ClusterNews::Lives);
            }
            let exited = news.roles.iter().filter(|role| !role.exit.is_empty());
            Ok(ClusterNews::Failed(exited.map(last_word).collect::<Vec<_>>().join(", ")))
        });
        Ok(news.boxed())
    }

    async fn teardown(&self, fence: &EpochFence, incarnation: Incarnation) -> PortResult<Vec<String>> {
        Ok(self.0.teardown(fence, incarnation, TEARDOWN_GRACE).await?)
    }
}
