//! The client of lifecycle: the processes of clusters and entrypoints on a substrate. Every call
//! may be repeated.

use std::time::Duration;

use chassis::MAX_MESSAGE_BYTES;
use chassis::channel::GrpcChannel;
use futures::{Stream, StreamExt as _};
use proto::engine::Plan;
use proto::lifecycle::lifecycle_service_client::LifecycleServiceClient;
use proto::lifecycle::{
    ClusterReady, ListProcessesRequest, ProcessStatus, ProvisionContendersRequest,
    ProvisionRequest, RoleStatus, TeardownContendersRequest, TeardownRequest, WatchClusterRequest,
    WatchClusterResponse, provision_response,
};
use proto::{ApplicationRef, EpochFence, Incarnation};

use crate::error::CallError;

/// How long a teardown may take on top of the grace that the processes are given.
const TEARDOWN_TIMEOUT: Duration = Duration::from_secs(60);

/// Client of lifecycle; cheap to clone.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    inner: LifecycleServiceClient<GrpcChannel>,
}

/// How far the provision of an incarnation has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Provisioning {
    /// A process has come further.
    Role(RoleStatus),
    /// All processes are ready. This is the last item.
    Ready(ClusterReady),
}

impl Lifecycle {
    /// A client over a channel that carries the deployment's credential.
    pub fn new(channel: GrpcChannel) -> Self {
        let inner = LifecycleServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner }
    }

    /// Realises an incarnation as it is planned, and tells the progress until all roles are ready.
    pub async fn provision(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        plan: Plan,
        traceparent: &str,
    ) -> Result<impl Stream<Item = Result<Provisioning, CallError>> + Send + use<>, CallError> {
        let request = ProvisionRequest {
            fence: Some(fence.clone().into()),
            incarnation: incarnation.get(),
            commit: plan.commit,
            roles: plan.roles,
            traceparent: traceparent.to_owned(),
        };
        let answers = self.inner.clone().provision(request).await?.into_inner();
        Ok(answers.filter_map(|answer| async move {
            match answer.map(|answer| answer.item) {
                Ok(Some(provision_response::Item::Role(role))) => {
                    Some(Ok(Provisioning::Role(role)))
                }
                Ok(Some(provision_response::Item::Ready(ready))) => {
                    Some(Ok(Provisioning::Ready(ready)))
                }
                Ok(None) => None,
                Err(status) => Some(Err(status.into())),
            }
        }))
    }

    /// The state of an incarnation's processes and its changes, until the incarnation is gone.
    pub async fn watch_cluster(
        &self,
        application: &ApplicationRef,
        incarnation: Incarnation,
    ) -> Result<impl Stream<Item = Result<WatchClusterResponse, CallError>> + Send + use<>, CallError>
    {
        let request = WatchClusterRequest {
            application: Some(application.clone().into()),
            incarnation: incarnation.get(),
        };
        let answers = self.inner.clone().watch_cluster(request).await?.into_inner();
        Ok(answers.map(|answer| answer.map_err(CallError::from)))
    }

    /// Ends all processes of exactly this incarnation. The answer names what could not be removed,
    /// one line each.
    pub async fn teardown(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        grace: Duration,
    ) -> Result<Vec<String>, CallError> {
        let mut request = tonic::Request::new(TeardownRequest {
            fence: Some(fence.clone().into()),
            incarnation: incarnation.get(),
            grace: prost_types::Duration::try_from(grace).ok(),
        });
        request.set_timeout(grace.saturating_add(TEARDOWN_TIMEOUT));
        Ok(self.inner.clone().teardown(request).await?.into_inner().leftovers)
    }

    /// Keeps contenders of an application running. The request says how many there are and how they
    /// are started.
    pub async fn provision_contenders(
        &self,
        request: ProvisionContendersRequest,
    ) -> Result<Vec<RoleStatus>, CallError> {
        Ok(self.inner.clone().provision_contenders(request).await?.into_inner().contenders)
    }

    /// Ends what is left of an application's contenders. The answer names what could not be
    /// removed, one line each.
    pub async fn teardown_contenders(
        &self,
        application: &ApplicationRef,
    ) -> Result<Vec<String>, CallError> {
        let mut request = tonic::Request::new(TeardownContendersRequest {
            application: Some(application.clone().into()),
        });
        request.set_timeout(TEARDOWN_TIMEOUT);
        Ok(self.inner.clone().teardown_contenders(request).await?.into_inner().leftovers)
    }

    /// All processes that lifecycle knows, of one application or of all.
    pub async fn list_processes(
        &self,
        application: Option<&ApplicationRef>,
    ) -> Result<Vec<ProcessStatus>, CallError> {
        let request = ListProcessesRequest { application: application.cloned().map(Into::into) };
        Ok(self.inner.clone().list_processes(request).await?.into_inner().processes)
    }
}
