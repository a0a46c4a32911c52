//! The queue of applications that wait for room on a host, as the host's `mainspring up` reports it
//! to the record.

use std::time::Duration;

use chassis::MAX_MESSAGE_BYTES;
use chassis::channel::GrpcChannel;
use proto::jobgraph::ReportQueueRequest;
use proto::jobgraph::admission_service_client::AdmissionServiceClient;

use crate::error::CallError;

/// How long a call may take. A report that is lost does no harm, because the next one says
/// everything again.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Client of the record's queue; cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission {
    inner: AdmissionServiceClient<GrpcChannel>,
}

impl Admission {
    /// A client over a channel that carries the deployment's credential.
    pub fn new(channel: GrpcChannel) -> Self {
        let inner =
            AdmissionServiceClient::new(channel).max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner }
    }

    /// Replaces what was reported before by the whole queue as it is now.
    pub async fn report(&self, queue: ReportQueueRequest) -> Result<(), CallError> {
        let mut request = tonic::Request::new(queue);
        request.set_timeout(CALL_TIMEOUT);
        self.inner.clone().report_queue(request).await?;
        Ok(())
    }
}
