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

/// What it will never do is said where it was asked: only there it is known whose fault that is.
impl From<JobManagerError> for Refusal {
    fn from(error: JobManagerError) -> Self {
        Self::NotNow(error.to_string())
    }
}
