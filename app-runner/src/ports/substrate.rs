//! Processes of clusters, by `mainspring.lifecycle.v1`.

use std::time::Duration;

use async_trait::async_trait;
use client::lifecycle::{Lifecycle, Provisioning};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::{ApplicationRef, EpochFence, Incarnation, engine};

use super::{ClusterNews, PortResult, ReadyCluster, Substrate};
use crate::error::PortError;

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
            let said: Vec<String> = exited.map(|r| format!("{}-{} {}", r.role, r.replica, r.exit)).collect();
            Ok(ClusterNews::Failed(said.join(", ")))
        });
        Ok(news.boxed())
    }

    async fn teardown(&self, fence: &EpochFence, incarnation: Incarnation) -> PortResult<Vec<String>> {
        Ok(self.0.teardown(fence, incarnation, TEARDOWN_GRACE).await?)
    }
}
