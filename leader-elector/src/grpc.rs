//! `mainspring.election.v1` over the service.

mod hosts;
mod status;

use std::time::Duration;

use chassis::clock::timeout;
use chassis::server::{check_own, principal, require_own};
use futures::stream::{BoxStream, StreamExt as _};
use proto::election::campaign_request::Message as Asked;
use proto::election::campaign_response::Message as Said;
use proto::election::election_service_server::{ElectionService, ElectionServiceServer};
use proto::election::hosts_service_server::HostsServiceServer;
use proto::election::{self as wire, CampaignRequest, CampaignResponse};
use proto::{ApplicationId, ApplicationRef, Epoch, EpochFence, Generation, election};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::error::Error;
use crate::model::{Enter, MAX_EPOCH, View};
use crate::service::hosts::Attendance;
use crate::service::{Answer, Elector};

/// How long a caller may take to say what its stream is about.
const ENTER_WITHIN: Duration = Duration::from_secs(5);

/// The longest name of a contender, in bytes.
const MAX_HOLDER_BYTES: usize = 256;

/// The services' methods.
pub fn routes(elector: Elector, attendance: Attendance) -> Routes {
    let election = ElectionServiceServer::new(Grpc { elector })
        .max_decoding_message_size(chassis::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(chassis::MAX_MESSAGE_BYTES);
    let hosts = HostsServiceServer::new(hosts::Grpc { attendance })
        .max_decoding_message_size(chassis::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(chassis::MAX_MESSAGE_BYTES);
    Routes::new(election).add_service(hosts)
}

struct Grpc {
    elector: Elector,
}

#[tonic::async_trait]
impl ElectionService for Grpc {
    type CampaignStream = BoxStream<'static, Result<CampaignResponse, Status>>;
    type ObserveStream = BoxStream<'static, Result<election::ObserveResponse, Status>>;

    async fn campaign(
        &self,
        request: Request<Streaming<CampaignRequest>>,
    ) -> Result<Response<Self::CampaignStream>, Status> {
        let caller = principal(&request)?.clone();
        let mut requests = request.into_inner();
        let first = timeout(self.elector.clock(), ENTER_WITHIN, requests.message()).await;
        let enter = match first {
            Ok(message) => match message?.and_then(|request| request.message) {
                Some(Asked::Enter(enter)) => {
                    // The caller's scope is checked first: a caller is told nothing about a request
                    // for an application that is not its own, not even what is wrong with the
                    // request.
                    let application =
                        ApplicationRef::try_from(enter.application.clone()).map_err(Error::Id)?;
                    check_own(&caller, &application)?;
                    entered(enter)?
                }
                Some(Asked::Renew(_)) | None => {
                    return Err(malformed("enter", "the first message has to enter").into());
                }
            },
            Err(elapsed) => return Err(malformed("enter", format!("{elapsed}")).into()),
        };
        let renewals = requests
            .map(|request| match request {
                Ok(CampaignRequest { message: Some(Asked::Renew(renew)) }) => Ok(renew.sequence),
                Ok(_) => Err(malformed("message", "after the first message only renewals come")),
                Err(status) => Err(Error::Internal(status.to_string())),
            })
            .boxed();
        let answers = self.elector.campaign(enter, renewals).await?;
        Ok(Response::new(answers.map(|answer| Ok(said(answer?))).boxed()))
    }

    async fn observe(
        &self,
        request: Request<election::ObserveRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let application: ApplicationId =
            request.get_ref().application_id.parse().map_err(Error::Id)?;
        let caller = principal(&request)?;
        // A leadership belongs to an id and covers all of its generations.
        let of =
            caller.application().map_or(Generation(0), |(_, generation)| Generation(generation));
        check_own(caller, &ApplicationRef { id: application.clone(), generation: of })?;
        let views = self.elector.observe(&application).await?;
        Ok(Response::new(views.map(|view| Ok(observed(view?))).boxed()))
    }

    async fn resign(
        &self,
        request: Request<election::ResignRequest>,
    ) -> Result<Response<election::ResignResponse>, Status> {
        let fence = EpochFence::try_from(request.get_ref().fence.clone()).map_err(Error::Id)?;
        require_own(&request, &fence.application)?;
        let request = request.into_inner();
        let was_leader = self.elector.resign(&fence, &request.holder).await?;
        Ok(Response::new(election::ResignResponse { was_leader }))
    }
}

fn malformed(field: &'static str, why: impl Into<String>) -> Error {
    Error::Request { field, why: why.into() }
}

fn entered(enter: wire::Enter) -> Result<Enter, Error> {
    let application = ApplicationRef::try_from(enter.application)?;
    if enter.holder.is_empty() || enter.holder.len() > MAX_HOLDER_BYTES {
        return Err(malformed(
            "enter.holder",
            format!("a name of 1 to {MAX_HOLDER_BYTES} bytes, such as runner-0"),
        ));
    }
    if enter.at_least > MAX_EPOCH.get() {
        return Err(malformed(
            "enter.at_least",
            format!("{} is above every epoch", enter.at_least),
        ));
    }
    let lock_file = (!enter.lock_file.is_empty()).then(|| enter.lock_file.into());
    if lock_file.as_ref().is_some_and(|path: &std::path::PathBuf| !path.is_absolute()) {
        return Err(malformed("enter.lock_file", "an absolute path, or nothing"));
    }
    Ok(Enter {
        application,
        holder: enter.holder,
        at_least: Epoch(enter.at_least),
        resume: (enter.resume_epoch != 0).then_some(Epoch(enter.resume_epoch)),
        lock_file,
    })
}

fn said(answer: Answer) -> CampaignResponse {
    let message = match answer {
        Answer::Standby(leader) => {
            let (leader, epoch) =
                leader.map_or_else(Default::default, |leader| (leader.holder, leader.epoch.get()));
            Said::Standby(wire::Standby { leader, epoch })
        }
        Answer::Elected(elected) => {
            let (previous_epoch, cause) = match elected.previous {
                Some((epoch, cause)) => (epoch.get(), cause.to_string()),
                None => (0, String::new()),
            };
            let lease = prost_types::Duration::try_from(elected.lease)
                .expect("a lease is seconds, not centuries");
            Said::Elected(wire::Elected {
                epoch: elected.epoch.get(),
                lease: Some(lease),
                previous_epoch,
                cause,
            })
        }
        Answer::Renewed(sequence) => Said::Renewed(wire::Renewed { sequence }),
        Answer::Lost(cause) => Said::Lost(wire::Lost { cause }),
    };
    CampaignResponse { message: Some(message) }
}

fn observed(view: View) -> election::ObserveResponse {
    let since = view.leader.as_ref().map(|leader| timestamp(leader.since_unix_ms));
    let (leader, epoch) =
        view.leader.map_or_else(Default::default, |leader| (leader.holder, leader.epoch.get()));
    election::ObserveResponse { leader, epoch, since, standbys: view.standbys }
}

fn timestamp(unix_ms: u64) -> prost_types::Timestamp {
    let since = Duration::from_millis(unix_ms);
    prost_types::Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
    }
}
