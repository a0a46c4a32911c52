//! What a refusal is on the wire.

use tonic::{Code, Status};

use crate::etcd::model::Refusal;

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::EmptyKey
            | Refusal::KeyNotFound
            | Refusal::ValueProvided
            | Refusal::LeaseProvided
            | Refusal::TooManyOperations
            | Refusal::DuplicateKey
            | Refusal::InvalidSort
            | Refusal::TooLarge => Code::InvalidArgument,
            Refusal::Compacted | Refusal::Future | Refusal::TtlTooLarge => Code::OutOfRange,
            Refusal::NoSpace => Code::ResourceExhausted,
            Refusal::LeaseNotFound => Code::NotFound,
            Refusal::LeaseExists => Code::FailedPrecondition,
            Refusal::NoLeader | Refusal::TimedOut => Code::Unavailable,
        };
        Self::new(code, refusal.to_string())
    }
}
