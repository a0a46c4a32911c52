//! The steps towards a live cluster.

use std::sync::Arc;
use std::time::Duration;

use ::record::ClusterRefused;
use chassis::clock::{Clock as _, timeout};
use chassis::failpoint;
use proto::{Incarnation, Reason, api, jobgraph};

use super::{Performed, takeover};
use crate::error::PortErrorKind;
use crate::model::Fact;
use crate::ports::substrate::ReadyCluster;
use crate::service::leading;
use crate::service::shared::Shared;

/// How long a cluster may take to answer an `Adopt`, doubled with each call in a row that it has
/// not answered: half a minute for all of them. The substrate is asked about a cluster that does
/// not answer by then.
const ADOPT_WITHIN: Duration = Duration::from_secs(1);
const MOST_DOUBLED: u32 = 4;

/// The pause before another incarnation is begun: none after the first death that this attempt saw,
/// four times `DEATH_PAUSE` after the second, then doubled with each, up to the longest.
const DEATH_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_DEATH_PAUSE: Duration = Duration::from_secs(10);

pub(super) async fn begin(shared: &Arc<Shared>, cause: &str, deaths: u32) -> Performed {
    if deaths > 1 {
        let pause = DEATH_PAUSE.saturating_mul(1 << deaths.min(10)).min(LONGEST_DEATH_PAUSE);
        shared.ports.clock.sleep(pause).await;
    }
    takeover::until_released(shared).await?;
    let engine = shared.engine.get().cloned().unwrap_or_default();
    // The request id is one per death, so a repeat after a lost answer asks for the same
    // incarnation.
    let request_id = format!("{}.{deaths}", shared.fence.epoch);
    let begun = shared.patiently("begin an incarnation", || {
        leading::begin_cluster(&shared.ports, &shared.fence, &request_id, cause, &engine)
    });
    match begun.await {
        Ok(Ok(incarnation)) => Ok(vec![Fact::ClusterBegun(incarnation)]),
        Ok(Err((ClusterRefused::KeepsDying, mut error))) => {
            if !cause.is_empty() {
                error.message = format!("{}; the last one: {cause}", error.message);
            }
            Ok(vec![Fact::Refused(error.failure(Reason::ClusterKeepsDying))])
        }
        Err(error) if error.kind == PortErrorKind::Refused => {
            Ok(vec![Fact::Refused(error.failure(Reason::Internal))])
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn provision(shared: &Arc<Shared>, incarnation: Incarnation) -> Performed {
    let Some((plan, _)) = shared.described.get() else { return Ok(Vec::new()) };
    let traceparent = shared.attempt_id().traceparent;
    let provisioned = shared.patiently("provision the cluster", || {
        let ready = shared.ports.substrate.provision(
            &shared.fence,
            incarnation,
            plan,
            &traceparent,
            &shared.deaths,
        );
        failpoint::around("runner.provision", ready)
    });
    match provisioned.await {
        Ok(cluster) => {
            let endpoint = cluster.jobs_endpoint.clone();
            shared.keep_ready(incarnation, cluster);
            Ok(vec![Fact::ClusterReady { incarnation, endpoint }])
        }
        Err(error) if error.reason == Some(Reason::PlanInvalid) => {
            Ok(vec![Fact::Refused(error.failure(Reason::PlanInvalid))])
        }
        Err(error) if error.is_superseded() => Err(error),
        Err(error) => Ok(vec![Fact::ClusterDied { incarnation, message: error.message }]),
    }
}

pub(super) async fn adopt(
    shared: &Arc<Shared>,
    incarnation: Incarnation,
    endpoint: &str,
    doubts: u32,
) -> Performed {
    let submitted = shared.submitted_jobs();
    let adopt = shared.patiently("adopt the cluster", || async {
        leading::reach_jobs(&shared.ports, &shared.fence, &shared.holder, incarnation).await?;
        let adopted = shared.ports.jobs.adopt(&shared.fence, incarnation, endpoint, &submitted);
        failpoint::around("runner.adopt", adopted).await
    });
    let within = ADOPT_WITHIN * (1 << doubts.min(MOST_DOUBLED));
    match timeout(&shared.ports.clock, within, adopt).await {
        Ok(Ok(jobs)) => {
            Ok(vec![Fact::Adopted { incarnation, endpoint: endpoint.to_owned(), jobs }])
        }
        Ok(Err(error)) if error.is_superseded() => Err(error),
        Ok(Err(error)) => Ok(vec![Fact::ClusterDied { incarnation, message: error.message }]),
        Err(elapsed) => {
            tracing::warn!("incarnation {incarnation} at {endpoint}: {elapsed}");
            Ok(vec![Fact::NotAdopted(incarnation)])
        }
    }
}

pub(super) async fn record_ready(
    shared: &Arc<Shared>,
    incarnation: Incarnation,
    endpoint: &str,
) -> Performed {
    let ReadyCluster { roles, addresses, .. } = shared.ready(incarnation).unwrap_or_default();
    let ready = jobgraph::RecordClusterRequest {
        fence: None,
        incarnation: incarnation.get(),
        state: api::ClusterState::Ready.into(),
        jobs_endpoint: endpoint.to_owned(),
        ready_roles: roles.into_iter().collect(),
        addresses: addresses.into_iter().collect(),
        message: String::new(),
    };
    let record = || async {
        // What follows is not passed for sure: the watch of the record overtakes the answer.
        failpoint::hit("runner.before-record-ready").await;
        shared.ports.record.record_cluster(&shared.fence, ready.clone()).await
    };
    shared.patiently("record the cluster", record).await?;
    Ok(vec![Fact::ReadyRecorded(incarnation)])
}

pub(super) async fn record_gone(
    shared: &Arc<Shared>,
    incarnation: Incarnation,
    message: &str,
) -> Performed {
    tracing::warn!("incarnation {incarnation} is gone: {message}");
    let gone = jobgraph::RecordClusterRequest {
        incarnation: incarnation.get(),
        state: api::ClusterState::Gone.into(),
        message: message.to_owned(),
        ..jobgraph::RecordClusterRequest::default()
    };
    let record = || shared.ports.record.record_cluster(&shared.fence, gone.clone());
    shared.patiently("record the cluster's end", record).await?;
    Ok(vec![Fact::GoneRecorded(incarnation)])
}
