//! `grpc.reflection`, in both versions, because older tools ask for v1alpha only. Indexing the
//! descriptors takes longer than all the rest of a server's start, and most processes are never
//! asked, so each version is built by its first call.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_reflection::server::Builder;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tonic_reflection::server::v1alpha;
use tower::Service;

use super::{Call, Reply};

/// Adds both versions of the service.
pub(super) fn add(routes: Routes) -> Routes {
    routes.add_service(Lazy::new(v1)).add_service(Lazy::new(v1alpha))
}

fn v1() -> ServerReflectionServer<impl ServerReflection> {
    descriptors().build_v1().expect("the descriptors are of this build")
}

fn v1alpha() -> v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection> {
    descriptors().build_v1alpha().expect("the descriptors are of this build")
}

fn descriptors() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// A service that is made when it is first called.
struct Lazy<S> {
    make: fn() -> S,
    made: Arc<OnceLock<S>>,
}

impl<S> Lazy<S> {
    fn new(make: fn() -> S) -> Self {
        Self { make, made: Arc::default() }
    }
}

impl<S> Clone for Lazy<S> {
    fn clone(&self) -> Self {
        Self { make: self.make, made: self.made.clone() }
    }
}

impl<S: NamedService> NamedService for Lazy<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Call> for Lazy<S>
where
    S: Service<Call, Response = Reply, Error = Infallible> + Clone,
{
    type Response = Reply;
    type Error = Infallible;
    type Future = S::Future;

    /// Generated services are always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> S::Future {
        self.made.get_or_init(self.make).clone().call(call)
    }
}
