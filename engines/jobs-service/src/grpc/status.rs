//! What goes over the wire of a refusal.

use proto::{Problem, Reason};
use tonic::Status;

use crate::orders::NotTaken;
use crate::refusal::OrderRefusal;

impl From<OrderRefusal> for Status {
    fn from(refusal: OrderRefusal) -> Self {
        let text = refusal.to_string();
        let problem = |reason| Problem::new(reason, text);
        match refusal {
            OrderRefusal::NotTaken(NotTaken::NotHere { .. }) => {
                problem(Reason::IncarnationSuperseded)
            }
            OrderRefusal::NotTaken(NotTaken::NotAdopted(_)) => problem(Reason::NotAdopted),
            OrderRefusal::NotTaken(NotTaken::Superseded { .. } | NotTaken::NotLeader(_)) => {
                problem(Reason::EpochSuperseded)
            }
            OrderRefusal::Malformed(_) => problem(Reason::IdMalformed),
            OrderRefusal::UnknownJob(_) => problem(Reason::JobNotFound),
            OrderRefusal::Never { reason, .. } => problem(reason),
            OrderRefusal::NotNow(_) => problem(Reason::ClusterUnavailable),
            OrderRefusal::Record(error) if error.is_retryable() || error.reason().is_none() => {
                problem(Reason::StoreUnavailable)
            }
            // A refusal of the store's own, such as an epoch that it does not know, is passed on as it is.
            OrderRefusal::Record(error) => return error.status().clone(),
        }
        .into_status()
    }
}
