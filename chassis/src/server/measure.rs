//! How long calls take, by method and code. A stream is measured until its answer begins.

use tonic::{Code, Status};

use super::Call;
use super::around::{Answering, Around, Below};
use super::authorize::is_listed;
use crate::clock::{Clock as _, SharedClock};
use crate::telemetry::fields;
use crate::telemetry::metrics::Took;

static CALLS: Took = Took::new(
    "mainspring.rpc.duration",
    "How long calls took, by method and code; of a stream, until its answer began",
);

#[derive(Clone)]
pub(super) struct Measure {
    clock: SharedClock,
}

impl Measure {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { clock }
    }
}

impl Around for Measure {
    fn around<S: Below>(&self, below: &mut S, call: Call) -> Answering {
        let method = call.uri().path().to_owned();
        let (clock, began) = (self.clock.clone(), self.clock.boot());
        let answer = below.call(call);
        // What is no method of the contract (health, reflection, what strangers make up) has no
        // series of its own.
        if !is_listed(&method) {
            return Box::pin(answer);
        }
        Box::pin(async move {
            let answer = answer.await?;
            let code =
                Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code());
            let took = clock.boot().saturating_duration_since(began);
            let code = format!("{code:?}");
            CALLS.record(took, &[(fields::RPC_METHOD, &method), (fields::RPC_CODE, &code)]);
            Ok(answer)
        })
    }
}
