//! What is refused, in the words of `JobsService`.

use jobs_service::Refusal;
use proto::Reason;

use crate::graph::GraphError;
use crate::jobmanager::JobManagerError;

impl From<GraphError> for Refusal {
    fn from(error: GraphError) -> Self {
        Self::Never { reason: Reason::GraphUnreadable, message: error.to_string() }
    }
}

impl From<JobManagerError> for Refusal {
    fn from(error: JobManagerError) -> Self {
        match error {
            JobManagerError::Refused { status, message }
                if status != http::StatusCode::SERVICE_UNAVAILABLE
                    && status != http::StatusCode::NOT_FOUND =>
            {
                Self::Never { reason: Reason::GraphUnreadable, message }
            }
            error => Self::NotNow(error.to_string()),
        }
    }
}
