//! The page of numbers of a host: those of its services, and its own.

use std::fmt::Write as _;
use std::time::Duration;

use chassis::BoxError;
use chassis::channel::GrpcChannel;
use chassis::clock::{SharedClock, timeout};
use chassis::tasks::Shutdown;
use chassis::telemetry::metrics::page;
use chassis::transport::{self, Endpoint, Incoming};
use client::metrics;
use futures::future::join_all;

use super::SERVICES;
use super::service::Reach;
use crate::failure::{Failure, OrFailure};

/// How long one service is waited for. Connecting to one that is away would take longer.
const ASK: Duration = Duration::from_secs(3);

/// Binds the page's address, before anything else of the host is there to be ended again.
pub(crate) async fn listen(endpoint: &Endpoint) -> OrFailure<Incoming> {
    transport::listen_in_public(endpoint).await.map_err(|error| {
        Failure::usage(format!("--metrics-listen: {error}"))
            .help("choose another HOST:PORT, or leave it out")
    })
}

/// Serves the page until the shutdown begins.
pub(crate) async fn serve(
    reach: Reach,
    incoming: Incoming,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    let clock = reach.clock.clone();
    let services = SERVICES.map(|name| (name, reach.channel(name)));
    let gather = move || gather(services.clone(), reach.clock.clone());
    page::serve(incoming, gather, clock, shutdown).await
}

async fn gather(services: [(&str, GrpcChannel); SERVICES.len()], clock: SharedClock) -> String {
    let asked = services.into_iter().map(async |(name, channel)| {
        let text = timeout(&clock, ASK, metrics::read(channel)).await;
        (name, text.ok().and_then(Result::ok))
    });
    let mut texts = vec![chassis::telemetry::metrics::text().unwrap_or_default()];
    let mut answers = String::from(
        "# HELP mainspring_service_answers Whether the service answers its host\n\
         # TYPE mainspring_service_answers gauge\n",
    );
    for (name, text) in join_all(asked).await {
        let answered = u8::from(text.is_some());
        // Writing into a text cannot fail.
        let _ =
            writeln!(answers, "mainspring_service_answers{{service_name=\"{name}\"}} {answered}");
        texts.extend(text);
    }
    texts.push(answers);
    page::merge(&texts)
}
