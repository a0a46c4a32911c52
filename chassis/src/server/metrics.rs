//! The numbers of the process, for those who hold the deployment's key.

use proto::telemetry::metrics_service_server::{MetricsService, MetricsServiceServer};
use proto::telemetry::{ReadMetricsRequest, ReadMetricsResponse};
use proto::{Problem, Reason};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::require_deployment;
use crate::telemetry::metrics;

struct Numbers;

#[tonic::async_trait]
impl MetricsService for Numbers {
    async fn read_metrics(
        &self,
        request: Request<ReadMetricsRequest>,
    ) -> Result<Response<ReadMetricsResponse>, Status> {
        require_deployment(&request)?;
        let text = metrics::text().map_err(|error| {
            Problem::new(Reason::Internal, format!("the numbers cannot be written: {error}"))
                .into_status()
        })?;
        Ok(Response::new(ReadMetricsResponse { text }))
    }
}

/// Adds the service.
pub(super) fn add(routes: Routes) -> Routes {
    routes.add_service(MetricsServiceServer::new(Numbers))
}
