//! Logs, traces and numbers of one process: set up once, flushed last.
//!
//! Logs go to stderr, so that stdout stays for answers. Traces cost nothing unless
//! `OTEL_EXPORTER_OTLP_ENDPOINT` is set.

pub mod fields;
pub mod metrics;
pub mod trace;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::clock::{SystemClock, timeout};

/// Where traces and numbers go, by OpenTelemetry's own convention; none are sent without it.
pub const OTLP_ENDPOINT_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// What the environment says about traces (`OTEL_*`): a child that is part of a run needs all of
/// it.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    let ours = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    ours.filter(|(name, _)| name.starts_with("OTEL_"))
}

/// How long flushing may hold up an exit.
const FLUSH: Duration = Duration::from_secs(2);

/// Libraries whose spans are not traced: what they say is not about mainspring, and the exporter's
/// own calls must not be traced into itself.
const LIBRARIES: [&str; 8] = [
    "h2",
    "hyper",
    "hyper_util",
    "tonic",
    "tower",
    "opentelemetry",
    "opentelemetry_sdk",
    "opentelemetry_otlp",
];

/// How a process logs.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct TelemetryArgs {
    /// What to log: a level, or one per module
    ///
    /// Levels are `error`, `warn`, `info`, `debug` and `trace`; with modules it looks like
    /// `info,app_runner=debug`.
    #[arg(
        long = "log",
        env = "MAINSPRING_LOG",
        value_name = "LEVELS",
        default_value = "info",
        global = true,
        help_heading = "Logging"
    )]
    pub log: String,

    /// How to log: for people, or as JSON
    ///
    /// `auto` writes lines for people on a terminal and JSON otherwise.
    #[arg(
        long,
        env = "MAINSPRING_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "auto",
        global = true,
        help_heading = "Logging"
    )]
    pub log_format: LogFormat,
}

impl Default for TelemetryArgs {
    fn default() -> Self {
        Self { log: "info".to_owned(), log_format: LogFormat::Auto }
    }
}

impl TelemetryArgs {
    /// The same settings, but quieter: warnings only, unless the levels were chosen.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        if self.log == Self::default().log {
            self.log = "warn".to_owned();
        }
        self
    }
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// `human` on a terminal, `json` otherwise.
    Auto,
    /// A line for people.
    Human,
    /// One JSON object per line.
    Json,
}

/// Keeps telemetry alive; [`shutdown`](Self::shutdown) is the last thing a process does.
#[must_use = "traces are lost unless the guard is shut down at the end"]
#[derive(Debug)]
pub struct TelemetryGuard {
    traces: Option<SdkTracerProvider>,
}

/// Sets up logs, and traces if the standard variable is set (the call then has to come inside the
/// runtime). Levels that cannot be read are reported on the log and become `info`. A second call in
/// a process keeps what the first has set up.
pub fn init(service: &str, args: &TelemetryArgs) -> TelemetryGuard {
    let (levels, unreadable) = match args.log.parse::<Targets>() {
        Ok(levels) => (levels, None),
        Err(error) => (Targets::new().with_default(LevelFilter::INFO), Some(error)),
    };
    let (traces, no_traces) = match tracer_provider(service) {
        Ok(traces) => (traces, None),
        Err(error) => (None, Some(error)),
    };
    let spans = traces.as_ref().map(|provider| {
        let only_ours = Targets::new().with_default(LevelFilter::INFO);
        let only_ours =
            only_ours.with_targets(LIBRARIES.map(|library| (library, LevelFilter::OFF)));
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(service.to_owned()))
            .with_filter(only_ours)
    });
    // An error means that a subscriber is there already, a test's for example; that subscriber
    // stays.
    let _ = tracing_subscriber::registry()
        .with(lines(args.log_format).with_filter(levels))
        .with(spans)
        .try_init();
    if let Some(error) = unreadable {
        tracing::warn!("MAINSPRING_LOG={:?} cannot be read ({error}); logging at info", args.log);
    }
    if let Some(error) = no_traces {
        tracing::warn!(
            "no traces: {OTLP_ENDPOINT_VARIABLE} is set and its exporter cannot be made: {error}"
        );
    }
    TelemetryGuard { traces }
}

impl TelemetryGuard {
    /// Sends what was not sent yet, for at most 2 s.
    pub async fn shutdown(self) {
        let Some(traces) = self.traces else { return };
        let flush = tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(FLUSH));
        match timeout(&SystemClock, FLUSH, flush).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::debug!("the last spans were not sent: {error}"),
            Ok(Err(_)) | Err(_) => tracing::debug!("the last spans were not sent within {FLUSH:?}"),
        }
    }

    /// Whether traces are sent.
    pub fn traces(&self) -> bool {
        self.traces.is_some()
    }
}

/// The layer that writes log lines to stderr.
fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let terminal = io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match format {
        LogFormat::Auto if terminal => layer.with_target(false).boxed(),
        LogFormat::Human => layer.with_target(false).with_ansi(terminal).boxed(),
        LogFormat::Auto | LogFormat::Json => {
            layer.json().flatten_event(true).with_span_list(false).boxed()
        }
    }
}

/// Whether a collector takes what this process tells.
fn has_collector() -> bool {
    std::env::var_os(OTLP_ENDPOINT_VARIABLE).is_some_and(|endpoint| !endpoint.is_empty())
}

fn tracer_provider(service: &str) -> Result<Option<SdkTracerProvider>, crate::BoxError> {
    if !has_collector() {
        return Ok(None);
    }
    let exporter =
        opentelemetry_otlp::SpanExporter::builder().with_tonic().with_timeout(FLUSH).build()?;
    let resource = Resource::builder()
        .with_service_name(service.to_owned())
        .with_attribute(KeyValue::new(fields::PID, i64::from(std::process::id())))
        .build();
    Ok(Some(
        SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build(),
    ))
}
