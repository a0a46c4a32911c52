//! Connections: accepting them, HTTP/2 on each, and their end.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use hyper::body::Incoming as HyperBody;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tower::ServiceExt as _;

use super::stack::Stack;
use super::{Reply, Server};
use crate::BoxError;
use crate::channel::{CONNECTION_WINDOW_BYTES, MAX_HEADERS_BYTES, STREAM_WINDOW_BYTES};
use crate::clock::{SharedClock, timeout};
use crate::tasks::Shutdown;
use crate::transport::{BoxedIo, Incoming};

/// How long to wait before accepting again after accepting failed (out of descriptors, for
/// example).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A peer that is silent is asked after this time, and dropped after as much again: a machine that
/// vanished sends no end.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

pub(super) async fn run(server: Server) -> Result<(), BoxError> {
    let Server { name, incoming, stack, health, clock, shutdown, ending, limits } = server;
    let connections = Connections {
        stack,
        clock: clock.clone(),
        ending: ending.clone(),
        permits: Arc::new(Semaphore::new(limits.connections)),
        tasks: TaskTracker::new(),
        cut: CancellationToken::new(),
    };
    // When this future is dropped, nothing that it started outlives it.
    let _cut = connections.cut.clone().drop_guard();
    let accepting =
        futures::future::try_join_all(incoming.into_iter().map(|one| connections.accept(one)));
    tokio::select! {
        ended = accepting => { ended?; }
        () = shutdown.begun() => {}
    }
    // Not ready → no new connections (the listeners are dropped) → streams end → calls finish.
    health.set_serving(false).await;
    ending.begin();
    connections.tasks.close();
    if timeout(&clock, limits.grace, connections.tasks.wait()).await.is_err() {
        let left = connections.tasks.len();
        tracing::warn!(
            "{name}: {left} connection(s) and call(s) were cut after {:?}",
            limits.grace
        );
    }
    Ok(())
}

#[derive(Clone)]
struct Connections {
    stack: Stack,
    clock: SharedClock,
    ending: Shutdown,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl Connections {
    async fn accept(&self, mut incoming: Incoming) -> Result<(), BoxError> {
        loop {
            let permit =
                self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
            match incoming.next().await {
                Some(Ok(io)) => {
                    let connection = self.clone().serve(io);
                    self.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Some(Err(error)) => {
                    tracing::warn!("cannot accept on {}: {error}", incoming.endpoint());
                    self.clock.sleep(ACCEPT_AGAIN).await;
                }
                None => return Err(format!("{} stopped listening", incoming.endpoint()).into()),
            }
        }
    }

    async fn serve(self, io: BoxedIo) {
        let stack = self.stack.clone();
        let service = service_fn(move |call: http::Request<HyperBody>| answer(stack.clone(), call));
        let connection = http2::Builder::new(self.clone())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(MAX_HEADERS_BYTES)
            .serve_connection(TokioIo::new(io), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.ending.begun() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            // Peers come and go, and a caller knows by itself what its call lost.
            tracing::debug!("a connection ended: {error}");
        }
    }

    /// Spawns a task that ends with the server at the latest.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            cut.run_until_cancelled(task).await;
        });
    }
}

/// hyper runs each call as a task of its own; these tasks are counted and cut like the connections.
impl<F> hyper::rt::Executor<F> for Connections
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, call: F) {
        self.spawn(call);
    }
}

async fn answer(stack: Stack, call: http::Request<HyperBody>) -> Result<Reply, Infallible> {
    stack.oneshot(call.map(Body::new)).await
}
