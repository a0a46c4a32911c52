//! The wire: etcd's generated services over the cluster. What this project does not call is refused
//! as unimplemented.

mod status;
mod streams;
mod wire;

use std::sync::Arc;

use chassis::clock::Boot;
use chassis::tasks::Fed;
use chassis::transport::Incoming;
use etcd_client::proto::{
    PbAlarmRequest, PbAlarmResponse, PbCompactionRequest, PbCompactionResponse,
    PbDefragmentRequest, PbDefragmentResponse, PbDeleteRequest, PbDeleteResponse,
    PbDowngradeRequest, PbDowngradeResponse, PbHashKvRequest, PbHashKvResponse, PbHashRequest,
    PbHashResponse, PbKvServer, PbKvService, PbLeaseGrantRequest, PbLeaseGrantResponse,
    PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse, PbLeaseLeasesRequest, PbLeaseLeasesResponse,
    PbLeaseRevokeRequest, PbLeaseRevokeResponse, PbLeaseServer, PbLeaseService, PbLeaseStatus,
    PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse, PbMaintenanceServer, PbMaintenanceService,
    PbMoveLeaderRequest, PbMoveLeaderResponse, PbPutRequest, PbPutResponse, PbRangeRequest,
    PbRangeResponse, PbRangeStreamResponse, PbSnapshotRequest, PbSnapshotResponse, PbStatusRequest,
    PbStatusResponse, PbTxnRequest, PbTxnResponse, PbWatchRequest, PbWatchResponse, PbWatchServer,
    PbWatchService,
};
use prost::Message;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::Cluster;
use super::model::{Refusal, State};
use wire::{MEMBER_ID, TERM, header};

/// The largest request that is taken, in bytes.
const MAX_REQUEST_BYTES: usize = 1_536 * 1024;

/// What a member says of its build.
const VERSION: &str = "3.6.16";

/// What a method answers.
type Answer<T> = Result<Response<T>, Status>;

/// One member's services.
struct Served(Arc<Cluster>);

/// Serves until no connection can come any more.
pub(super) async fn serve(cluster: Arc<Cluster>, incoming: Incoming) {
    let served = Server::builder()
        .add_service(PbKvServer::new(Served(cluster.clone())))
        .add_service(PbWatchServer::new(Served(cluster.clone())))
        .add_service(PbLeaseServer::new(Served(cluster.clone())))
        .add_service(PbMaintenanceServer::new(Served(cluster)))
        .serve_with_incoming(incoming)
        .await;
    if let Err(error) = served {
        tracing::warn!(%error, "a member of the in-memory etcd ended");
    }
}

/// The message of a write, if it is not too large.
fn sized<T: Message>(request: Request<T>) -> Result<T, Refusal> {
    let message = request.into_inner();
    if message.encoded_len() > MAX_REQUEST_BYTES { Err(Refusal::TooLarge) } else { Ok(message) }
}

fn unimplemented<T>() -> Answer<T> {
    Err(Status::unimplemented("the in-memory etcd does not do this"))
}

#[tonic::async_trait]
impl PbKvService for Served {
    type RangeStreamStream = Fed<PbRangeStreamResponse, Status>;

    async fn range(&self, request: Request<PbRangeRequest>) -> Answer<PbRangeResponse> {
        let range = wire::range(request.into_inner())?;
        let (ranged, _) = self.0.read(|state, _| state.range(&range))?;
        Ok(Response::new(wire::ranged(ranged, header)))
    }

    async fn range_stream(&self, _: Request<PbRangeRequest>) -> Answer<Self::RangeStreamStream> {
        unimplemented()
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Answer<PbPutResponse> {
        let put = wire::put(sized(request)?);
        let (done, _) = self.0.write(|state, _| state.put(&put))?;
        Ok(Response::new(wire::put_done(done, header)))
    }

    async fn delete_range(&self, request: Request<PbDeleteRequest>) -> Answer<PbDeleteResponse> {
        let delete = wire::delete(request.into_inner());
        let (deleted, _) = self.0.write(|state, _| state.delete(&delete))?;
        Ok(Response::new(wire::deleted(deleted, header)))
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Answer<PbTxnResponse> {
        let txn = wire::txn(sized(request)?)?;
        let act = |state: &mut State, _: Boot| state.txn(&txn);
        let (done, _) = if txn.may_write() { self.0.write(act)? } else { self.0.act(act)? };
        Ok(Response::new(wire::txn_done(done, header)))
    }

    async fn compact(&self, request: Request<PbCompactionRequest>) -> Answer<PbCompactionResponse> {
        let before = request.into_inner().revision;
        let ((), revision) = self.0.write(|state, _| state.compact(before))?;
        Ok(Response::new(PbCompactionResponse { header: header(revision) }))
    }
}

#[tonic::async_trait]
impl PbWatchService for Served {
    type WatchStream = Fed<PbWatchResponse, Status>;

    async fn watch(
        &self,
        request: Request<Streaming<PbWatchRequest>>,
    ) -> Answer<Self::WatchStream> {
        Ok(Response::new(streams::watch(self.0.clone(), request.into_inner())))
    }
}

#[tonic::async_trait]
impl PbLeaseService for Served {
    type LeaseKeepAliveStream = Fed<PbLeaseKeepAliveResponse, Status>;

    async fn lease_grant(
        &self,
        request: Request<PbLeaseGrantRequest>,
    ) -> Answer<PbLeaseGrantResponse> {
        let asked = request.into_inner();
        let ((id, ttl), revision) =
            self.0.write(|state, now| state.grant(now, asked.id, asked.ttl))?;
        let header = header(revision);
        Ok(Response::new(PbLeaseGrantResponse { header, id, ttl, error: String::new() }))
    }

    async fn lease_revoke(
        &self,
        request: Request<PbLeaseRevokeRequest>,
    ) -> Answer<PbLeaseRevokeResponse> {
        let id = request.into_inner().id;
        let ((), revision) = self.0.write(|state, _| state.revoke(id))?;
        Ok(Response::new(PbLeaseRevokeResponse { header: header(revision) }))
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Answer<Self::LeaseKeepAliveStream> {
        Ok(Response::new(streams::keep_alive(self.0.clone(), request.into_inner())))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<PbLeaseTimeToLiveRequest>,
    ) -> Answer<PbLeaseTimeToLiveResponse> {
        let asked = request.into_inner();
        let (left, revision) = self.0.read(|state, now| Ok(state.remaining(now, asked.id)))?;
        let (header, id) = (header(revision), asked.id);
        Ok(Response::new(match left {
            Some(left) => PbLeaseTimeToLiveResponse {
                header,
                id,
                ttl: left.seconds,
                granted_ttl: left.granted,
                keys: if asked.keys { left.keys } else { Vec::new() },
            },
            None => {
                PbLeaseTimeToLiveResponse { header, id, ttl: -1, granted_ttl: 0, keys: Vec::new() }
            }
        }))
    }

    async fn lease_leases(
        &self,
        _: Request<PbLeaseLeasesRequest>,
    ) -> Answer<PbLeaseLeasesResponse> {
        let (ids, revision) = self.0.read(|state, _| Ok(state.leases()))?;
        let leases = ids.into_iter().map(|id| PbLeaseStatus { id }).collect();
        Ok(Response::new(PbLeaseLeasesResponse { header: header(revision), leases }))
    }
}

#[tonic::async_trait]
impl PbMaintenanceService for Served {
    type SnapshotStream = Fed<PbSnapshotResponse, Status>;

    async fn alarm(&self, request: Request<PbAlarmRequest>) -> Answer<PbAlarmResponse> {
        let asked = request.into_inner();
        let (alarms, revision) = self.0.write(|state, _| Ok(wire::alarm(state, &asked)))?;
        Ok(Response::new(PbAlarmResponse { header: header(revision), alarms }))
    }

    async fn status(&self, _: Request<PbStatusRequest>) -> Answer<PbStatusResponse> {
        let ((), revision) = self.0.read(|_, _| Ok(()))?;
        Ok(Response::new(PbStatusResponse {
            header: header(revision),
            version: VERSION.to_owned(),
            leader: MEMBER_ID,
            raft_term: TERM,
            ..PbStatusResponse::default()
        }))
    }

    async fn defragment(&self, _: Request<PbDefragmentRequest>) -> Answer<PbDefragmentResponse> {
        unimplemented()
    }

    async fn hash(&self, _: Request<PbHashRequest>) -> Answer<PbHashResponse> {
        unimplemented()
    }

    async fn hash_kv(&self, _: Request<PbHashKvRequest>) -> Answer<PbHashKvResponse> {
        unimplemented()
    }

    async fn snapshot(&self, _: Request<PbSnapshotRequest>) -> Answer<Self::SnapshotStream> {
        unimplemented()
    }

    async fn move_leader(&self, _: Request<PbMoveLeaderRequest>) -> Answer<PbMoveLeaderResponse> {
        unimplemented()
    }

    async fn downgrade(&self, _: Request<PbDowngradeRequest>) -> Answer<PbDowngradeResponse> {
        unimplemented()
    }
}
