//! Numbers of one process: counted always, and shown where they are asked for. In a process
//! that has not called [`init`] nothing is counted, at no cost.
//!
//! No label holds an application's id, so the number of series is bounded. What is about one
//! application stands in its record.

mod instruments;
pub mod page;

use std::collections::HashSet;
use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::metrics::Meter;
use opentelemetry::{Key, global};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use prometheus::{Registry, TextEncoder};

use super::{FLUSH, has_collector};
use crate::BoxError;
use crate::clock::{SystemClock, timeout};

pub use instruments::{Count, Labels, Level, Took, look_up};

/// How often the numbers are sent to a collector, if there is one.
const EVERY: Duration = Duration::from_secs(15);

/// The label that says whose number it is, on every number.
const SERVICE: &str = "service.name";

/// The numbers of this process.
static REGISTRY: OnceLock<Registry> = OnceLock::new();

/// Where instruments are made: by the first number of each, which comes after [`init`].
fn meter() -> Meter {
    global::meter("mainspring")
}

/// Keeps the numbers alive; [`shutdown`](Self::shutdown) sends the last ones.
#[must_use = "the last numbers are lost unless the guard is shut down at the end"]
#[derive(Debug)]
pub struct MetricsGuard {
    provider: Option<SdkMeterProvider>,
}

/// Begins to count. The numbers are there for [`text`], and go to a collector if
/// `OTEL_EXPORTER_OTLP_ENDPOINT` names one; the call then has to come inside the runtime. A second
/// call in a process changes nothing.
pub fn init(service: &str) -> MetricsGuard {
    let registry = Registry::new();
    let provider = match provider(service, &registry) {
        Ok(provider) => provider,
        Err(error) => {
            tracing::warn!("nothing is counted: {error}");
            return MetricsGuard { provider: None };
        }
    };
    if REGISTRY.set(registry).is_err() {
        return MetricsGuard { provider: None };
    }
    global::set_meter_provider(provider.clone());
    MetricsGuard { provider: Some(provider) }
}

/// All numbers of this process in Prometheus' text format.
pub fn text() -> Result<String, BoxError> {
    let families = REGISTRY.get().map(Registry::gather).unwrap_or_default();
    Ok(TextEncoder::new().encode_to_string(&families)?)
}

impl MetricsGuard {
    /// Sends what was not sent yet, for at most 2 s.
    pub async fn shutdown(self) {
        let Some(provider) = self.provider else { return };
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH));
        if !matches!(timeout(&SystemClock, FLUSH, flush).await, Ok(Ok(Ok(())))) {
            tracing::debug!("the last numbers were not sent");
        }
    }
}

fn provider(service: &str, registry: &Registry) -> Result<SdkMeterProvider, BoxError> {
    let labels = HashSet::from([Key::from_static_str(SERVICE)]);
    let shown = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .with_resource_selector(labels)
        .scope_info_enabled(false)
        .without_target_info()
        .build()?;
    let resource = Resource::builder().with_service_name(service.to_owned()).build();
    let mut provider = SdkMeterProvider::builder().with_resource(resource).with_reader(shown);
    if has_collector() {
        let exporter = opentelemetry_otlp::MetricExporter::builder()
            .with_tonic()
            .with_timeout(FLUSH)
            .build()?;
        provider =
            provider.with_reader(PeriodicReader::builder(exporter).with_interval(EVERY).build());
    }
    Ok(provider.build())
}
