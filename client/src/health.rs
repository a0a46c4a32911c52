//! The question that every service answers without a credential: whether it serves.

use chassis::channel::GrpcChannel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Whether the process behind `channel` says that it serves. A process that does not answer does
/// not.
///
/// The call has no deadline of its own: the caller knows how long it can wait.
pub async fn is_serving(channel: GrpcChannel) -> bool {
    match HealthClient::new(channel).check(HealthCheckRequest::default()).await {
        Ok(answer) => answer.into_inner().status() == ServingStatus::Serving,
        Err(_) => false,
    }
}
