//! `mainspring.jobgraph.v1.ProcessService`: the deployment only.

use chassis::server::require_deployment;
use proto::jobgraph::process_service_server::ProcessService;
use proto::{ApplicationRef, Epoch, EpochFence, InvalidId, PlaceUid, jobgraph};
use tonic::{Request, Response, Status};

use super::{Answer, Wire};
use crate::model::Refusal;
use crate::service::GivenUp;

#[tonic::async_trait]
impl ProcessService for Wire {
    async fn put_process(
        &self,
        request: Request<jobgraph::PutProcessRequest>,
    ) -> Answer<jobgraph::PutProcessResponse> {
        require_deployment(&request)?;
        let jobgraph::PutProcessRequest { process, epoch } = request.into_inner();
        let process = process
            .ok_or_else(|| Status::from(Refusal::RequestInvalid("process is not set".into())))?;
        let application: Result<ApplicationRef, InvalidId> = process.application.clone().try_into();
        let application = application.map_err(|invalid| Status::from(Refusal::from(invalid)))?;
        let fence = (epoch > 0).then_some(EpochFence { application, epoch: Epoch(epoch) });
        self.0.put_process(process, fence.as_ref()).await?;
        Ok(Response::new(jobgraph::PutProcessResponse {}))
    }

    async fn list_processes(
        &self,
        request: Request<jobgraph::ListProcessesRequest>,
    ) -> Answer<jobgraph::ListProcessesResponse> {
        require_deployment(&request)?;
        let jobgraph::ListProcessesRequest { key_prefix, place_uid } = request.into_inner();
        let processes = if place_uid.is_empty() {
            self.0.list_processes(&key_prefix).await?
        } else {
            let place: Result<PlaceUid, InvalidId> = place_uid.parse();
            let place = place.map_err(|invalid| Status::from(Refusal::from(invalid)))?;
            self.0.list_processes_at(&key_prefix, place).await?
        };
        Ok(Response::new(jobgraph::ListProcessesResponse { processes }))
    }

    async fn delete_processes(
        &self,
        request: Request<jobgraph::DeleteProcessesRequest>,
    ) -> Answer<jobgraph::DeleteProcessesResponse> {
        require_deployment(&request)?;
        let prefix = request.into_inner().key_prefix;
        if prefix.is_empty() {
            return Err(Refusal::RequestInvalid(
                "key_prefix is empty: that would forget every process".into(),
            )
            .into());
        }
        self.0.delete_processes(&prefix).await?;
        Ok(Response::new(jobgraph::DeleteProcessesResponse {}))
    }

    async fn give_up_place(
        &self,
        request: Request<jobgraph::GiveUpPlaceRequest>,
    ) -> Answer<jobgraph::GiveUpPlaceResponse> {
        require_deployment(&request)?;
        let jobgraph::GiveUpPlaceRequest { place_uid, requested_by, reason } = request.into_inner();
        let place: Result<PlaceUid, InvalidId> = place_uid.parse();
        let place = place.map_err(|invalid| Status::from(Refusal::from(invalid)))?;
        let GivenUp { processes, applications } =
            self.0.give_up_place(place, &requested_by, &reason).await?;
        Ok(Response::new(jobgraph::GiveUpPlaceResponse {
            processes: u32::try_from(processes).unwrap_or(u32::MAX),
            applications: applications.into_iter().map(Into::into).collect(),
        }))
    }
}
