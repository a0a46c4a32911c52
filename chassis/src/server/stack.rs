//! The layers, top to bottom.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;

use prost::{DecodeError, Message as _};
use tonic::service::Routes;
use tower::ServiceBuilder;
use tower::util::BoxCloneSyncService;

use super::around::around;
use super::authenticate::{Authenticate, Authenticator};
use super::catch_panic::CatchPanic;
use super::deadline::Deadline;
use super::end_streams::EndStreams;
use super::limit::Limit;
use super::measure::Measure;
use super::reflection;
use super::trace::Trace;
use super::withhold::Withhold;
use super::{Call, Limits, Reply};
use crate::clock::SharedClock;
use crate::tasks::Shutdown;

/// The whole stack as one service; clones share the concurrency limit.
pub(super) type Stack = BoxCloneSyncService<Call, Reply, Infallible>;

/// Puts a server together. A call passes the layers from top to bottom, its answer from bottom to
/// top.
pub(super) fn stack(
    routes: Routes,
    authenticator: Authenticator,
    clock: SharedClock,
    ending: Shutdown,
    limits: Limits,
) -> Result<Stack, DecodeError> {
    let routes = reflection::add(routes).prepare();
    let unary = Arc::new(unary_methods()?);
    let stack = ServiceBuilder::new()
        // The topmost layer, so that a panic anywhere below is the failure of one call and not of
        // the connection.
        .layer(around(CatchPanic))
        // Above every layer that can refuse, so that refusals too are on the caller's trace.
        .layer(around(Trace))
        // Above every layer that can refuse, so that refusals too are counted.
        .layer(around(Measure::new(clock.clone())))
        // Above all work that is done for a call, credentials included, so that a flood costs next
        // to nothing.
        .layer(around(Limit::new(limits.calls)))
        // Below the limit, so that the time counts from where work begins; above every layer that
        // may wait.
        .layer(around(Deadline::new(clock, unary, limits.unary_deadline)))
        // Nothing below this layer runs for a stranger.
        .layer(around(Authenticate::new(authenticator)))
        // Outside `Withhold`, so that the ending of a stream is not taken for the method's.
        .layer(around(EndStreams::new(ending)))
        // Next to the methods: this layer sees exactly what they answered, also in the trailers of
        // a stream.
        .layer(around(Withhold))
        .service(routes);
    Ok(BoxCloneSyncService::new(stack))
}

/// The methods of mainspring that are no streams, as `/package.Service/Method`.
fn unary_methods() -> Result<HashSet<String>, DecodeError> {
    let files = prost_types::FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET)?;
    let mut unary = HashSet::new();
    for file in &files.file {
        for service in &file.service {
            for method in &service.method {
                if !method.client_streaming() && !method.server_streaming() {
                    unary.insert(format!(
                        "/{}.{}/{}",
                        file.package(),
                        service.name(),
                        method.name()
                    ));
                }
            }
        }
    }
    Ok(unary)
}
