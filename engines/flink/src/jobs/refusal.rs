//! Errors of this engine as refusals of `JobsService`.

use jobs_service::OrderRefusal;
use proto::Reason;

use crate::graph::GraphError;
use crate::jobmanager::JobManagerError;

impl From<GraphError> for OrderRefusal {
    fn from(error: GraphError) -> Self {
        Self::Never { reason: Reason::GraphUnreadable, message: error.to_string() }
    }
}

/// A refusal for now. A caller that knows what the JobManager refuses for good says so itself,
/// because only there it is known whose fault that is.
impl From<JobManagerError> for OrderRefusal {
    fn from(error: JobManagerError) -> Self {
        Self::NotNow(error.to_string())
    }
}
