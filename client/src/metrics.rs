//! The numbers of a service, as text for Prometheus.

use std::time::Duration;

use chassis::channel::GrpcChannel;
use proto::telemetry::ReadMetricsRequest;
use proto::telemetry::metrics_service_client::MetricsServiceClient;

use crate::error::CallError;

/// How long a call may take: less than Prometheus waits for a page.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads all numbers of the service behind a channel that carries the deployment's credential.
pub async fn read(channel: GrpcChannel) -> Result<String, CallError> {
    let mut request = tonic::Request::new(ReadMetricsRequest {});
    request.set_timeout(CALL_TIMEOUT);
    Ok(MetricsServiceClient::new(channel).read_metrics(request).await?.into_inner().text)
}
