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

/// All of it as one service; clones share the concurrency limit.
pub(super) type Stack = BoxCloneSyncService<Call, Reply, Infallible>;

/// Puts a server together. A call passes the layers from top to bottom, its answer from bottom to top.
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
        // First of all: a panic anywhere below is one call's failure, not the connection's.
        .layer(CatchPanicLayer)
        // Before anything can refuse, so that refusals too are on the caller's trace.
        .layer(TraceLayer)
        // Below the trace: what the next two refuse becomes an answer here.
        .layer(AnswerOverloadLayer)
        // Directly above the limit: refuses instead of queueing, because a queue only makes every caller late.
        .layer(LoadShedLayer::new())
        // Before any work is done for the call, credentials included: a flood costs next to nothing.
        .layer(ConcurrencyLimitLayer::new(limits.calls))
        // Below the limit: the time counts from where work begins. Above all that may wait.
        .layer(DeadlineLayer::new(clock, unary, limits.unary_deadline))
        // Nothing below runs for a stranger.
        .layer(AuthenticateLayer::new(authenticator))
        // Outside `Withhold`, so that its own ending is not taken for the method's.
        .layer(EndStreamsLayer::new(ending))
        // Next to the methods: sees exactly what they answered, also in the trailers of a stream.
        .layer(WithholdLayer)
        .service(routes);
    Ok(BoxCloneSyncService::new(stack))
}

/// The methods of ours that are no streams, as `/package.Service/Method`.
fn unary_methods() -> Result<HashSet<String>, BoxError> {
    let files = prost_types::FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET)?;
    let mut unary = HashSet::new();
    for file in &files.file {
        for service in &file.service {
            for method in &service.method {
                if !method.client_streaming() && !method.server_streaming() {
                    unary.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
    }
    Ok(unary)
}
