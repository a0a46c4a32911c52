//! `mainspring.election.v1.HostsService` over the service.

use chassis::clock::timeout;
use chassis::server::require_deployment;
use futures::stream::{BoxStream, StreamExt as _};
use proto::Place;
use proto::election::hosts_service_server::HostsService;
use proto::election::{
    self as wire, AttendRequest, AttendResponse, ListHostsRequest, ListHostsResponse,
};
use tonic::{Request, Response, Status, Streaming};

use super::{ENTER_WITHIN, malformed, timestamp};
use crate::error::Error;
use crate::model::hosts::Host;
use crate::service::hosts::{Attendance, Attending};

/// The longest version of a build, in bytes.
const MAX_VERSION_BYTES: usize = 128;

pub(super) struct Grpc {
    pub(super) attendance: Attendance,
}

#[tonic::async_trait]
impl HostsService for Grpc {
    type AttendStream = BoxStream<'static, Result<AttendResponse, Status>>;

    async fn attend(
        &self,
        request: Request<Streaming<AttendRequest>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        require_deployment(&request)?;
        let mut requests = request.into_inner();
        let first = timeout(self.attendance.clock(), ENTER_WITHIN, requests.message()).await;
        let (place, version) = match first {
            Ok(message) => match message?.and_then(|request| request.host) {
                Some(host) => introduced(host)?,
                None => return Err(malformed("host", "the first message names the host").into()),
            },
            Err(elapsed) => return Err(malformed("host", elapsed.to_string()).into()),
        };
        // A stream that its caller cancels ends, as one does whose caller has said all. One whose
        // connection breaks fails.
        let renewals = requests
            .map(|request| request.map(drop).map_err(|status| Error::Internal(status.to_string())))
            .boxed();
        let answers = self.attendance.attend(place, version, renewals).await?;
        Ok(Response::new(answers.map(|answer| Ok(attending(answer?))).boxed()))
    }

    async fn list_hosts(
        &self,
        request: Request<ListHostsRequest>,
    ) -> Result<Response<ListHostsResponse>, Status> {
        require_deployment(&request)?;
        let hosts = self.attendance.list().await?.into_iter().map(seated).collect();
        Ok(Response::new(ListHostsResponse { hosts }))
    }
}

/// Which host takes a seat, and the version of its build.
fn introduced(host: wire::Host) -> Result<(Place, String), Error> {
    let Some(place) = host.place else {
        return Err(malformed("host.place", "the place that the host is"));
    };
    if place.kind != Place::HOST {
        return Err(malformed(
            "host.place.kind",
            format!("`{}`: only a host attends", Place::HOST),
        ));
    }
    let place =
        Place::try_from(place).map_err(|invalid| malformed("host.place", invalid.to_string()))?;
    if host.version.len() > MAX_VERSION_BYTES {
        return Err(malformed("host.version", format!("at most {MAX_VERSION_BYTES} bytes")));
    }
    Ok((place, host.version))
}

fn attending(Attending { hosts, lease }: Attending) -> AttendResponse {
    let hosts = hosts.into_iter().map(seated).collect();
    AttendResponse { hosts, lease: prost_types::Duration::try_from(lease).ok() }
}

fn seated(Host { place, version, since_unix_ms }: Host) -> wire::Host {
    wire::Host { place: Some(place.into()), version, since: Some(timestamp(since_unix_ms)) }
}
