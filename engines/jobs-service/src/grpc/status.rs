//! What goes over the wire of a refusal.

use proto::{Problem, Reason};
use tonic::Status;

use crate::orders::NotTaken;
use crate::refusal::Refusal;

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        let problem = |reason| Problem::new(reason, text);
        match refusal {
            Refusal::NotTaken(NotTaken::NotHere { .. }) => problem(Reason::IncarnationSuperseded),
            Refusal::NotTaken(NotTaken::NotAdopted(_)) => problem(Reason::NotAdopted),
            Refusal::NotTaken(NotTaken::Superseded { .. } | NotTaken::NotLeader(_)) => {
                problem(Reason::EpochSuperseded)
            }
            Refusal::Malformed(_) => problem(Reason::IdMalformed),
            Refusal::UnknownJob(_) => problem(Reason::JobNotFound),
            Refusal::Never { reason, .. } => problem(reason),
            Refusal::NotNow(_) => problem(Reason::ClusterUnavailable),
            Refusal::Record(error) if error.is_retryable() || error.reason().is_none() => {
                problem(Reason::StoreUnavailable)
            }
            // A refusal of the store's own, such as an epoch that it does not know, is passed on as it is.
            Refusal::Record(error) => return error.status().clone(),
        }
        .into_status()
    }
}
