//! `mainspring.jobgraph.v1.AdmissionService`: the deployment only.

use chassis::server::require_deployment;
use proto::jobgraph::admission_service_server::AdmissionService;
use proto::jobgraph::{ReportQueueRequest, ReportQueueResponse};
use tonic::{Request, Response};

use super::{Answer, Wire};

#[tonic::async_trait]
impl AdmissionService for Wire {
    async fn report_queue(
        &self,
        request: Request<ReportQueueRequest>,
    ) -> Answer<ReportQueueResponse> {
        require_deployment(&request)?;
        self.0.queue.report(request.into_inner());
        Ok(Response::new(ReportQueueResponse {}))
    }
}
