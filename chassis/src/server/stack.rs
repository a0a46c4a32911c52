//! The layers, top to bottom.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;

use prost::Message as _;
use tonic::service::Routes;
use tower::ServiceBuilder;
use tower::limit::ConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::util::BoxCloneSyncService;

use super::authenticate::{AuthenticateLayer, Authenticator};
use super::catch_panic::CatchPanicLayer;
use super::deadline::DeadlineLayer;
use super::end_streams::EndStreamsLayer;
use super::overload::AnswerOverloadLayer;
use super::reflection;
use super::trace::TraceLayer;
use super::withhold::WithholdLayer;
use super::{Call, Limits, Reply};
use crate::BoxError;
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
) -> Result<Stack, BoxError> {
    let routes = reflection::add(routes).prepare();
    let unary = Arc::new(unary_methods()?);
    let stack = ServiceBuilder::new()
        // The topmost layer, so that a panic anywhere below is the failure of one call and not of
        // the connection.
        .layer(CatchPanicLayer)
        // Above every layer that can refuse, so that refusals too are on the caller's trace.
        .layer(TraceLayer)
        // Below the trace: this layer turns what the next two refuse into an answer.
        .layer(AnswerOverloadLayer)
        // Directly above the limit: this layer refuses instead of queueing, because a queue only
        // makes every caller late.
        .layer(LoadShedLayer::new())
        // Above all work that is done for a call, credentials included, so that a flood costs next
        // to nothing.
        .layer(ConcurrencyLimitLayer::new(limits.calls))
        // Below the limit, so that the time counts from where work begins; above every layer that
        // may wait.
        .layer(DeadlineLayer::new(clock, unary, limits.unary_deadline))
        // Nothing below this layer runs for a stranger.
        .layer(AuthenticateLayer::new(authenticator))
        // Outside `Withhold`, so that the ending of a stream is not taken for the method's.
        .layer(EndStreamsLayer::new(ending))
        // Next to the methods: this layer sees exactly what they answered, also in the trailers of
        // a stream.
        .layer(WithholdLayer)
        .service(routes);
    Ok(BoxCloneSyncService::new(stack))
}

/// The methods of mainspring that are no streams, as `/package.Service/Method`.
fn unary_methods() -> Result<HashSet<String>, BoxError> {
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
