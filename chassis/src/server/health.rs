//! `grpc.health.v1` for the whole server.

use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Says whether the service can do its work; all clones speak for the same server.
#[derive(Clone)]
pub struct Health(HealthReporter);

impl Health {
    /// Sets SERVING or NOT_SERVING for the whole server (the empty service name). Watchers hear of
    /// it at once.
    pub async fn set_serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.0.set_service_status("", status).await;
    }
}

/// Adds the health service, which starts as SERVING.
pub(super) fn add(routes: Routes) -> (Health, Routes) {
    let (reporter, service) = tonic_health::server::health_reporter();
    (Health(reporter), routes.add_service(service))
}
