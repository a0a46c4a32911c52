//! Gives a router the type that the HTTP server takes.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use tower::{Service, ServiceExt as _};

/// The same routes, for bodies as they come from a connection.
pub(crate) fn served(
    router: Router,
) -> impl Service<
    Request<hyper::body::Incoming>,
    Response = Response<Body>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    router.map_request(|request: Request<hyper::body::Incoming>| request.map(Body::new))
}
