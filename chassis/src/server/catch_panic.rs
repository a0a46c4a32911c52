//! A panic of a method is `Internal` for its caller and leaves every other call alone.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

use super::Call;
use super::around::{Answering, Around, Below};
use super::withhold::{TraceId, internal};
use crate::tasks::panic_message;
use crate::telemetry::trace;

#[derive(Clone, Copy)]
pub(super) struct CatchPanic;

impl Around for CatchPanic {
    fn around<S: Below>(&self, below: &mut S, mut call: Call) -> Answering {
        // The topmost layer names the call, so that a panic of the layers below is found in the
        // logs as well.
        let trace_id = TraceId(trace::id_of_call(call.headers()));
        call.extensions_mut().insert(trace_id.clone());
        let method = call.uri().path().to_owned();
        let answer = below.call(call);
        Box::pin(async move {
            match AssertUnwindSafe(answer).catch_unwind().await {
                Ok(answer) => answer,
                Err(panic) => {
                    let text = format!("{method} panicked: {}", panic_message(&*panic));
                    Ok(internal(&trace_id, &text).into_http())
                }
            }
        })
    }
}
