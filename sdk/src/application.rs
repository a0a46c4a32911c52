//! The entry of a program in library mode.

use std::process::ExitCode;
use std::time::Duration;

use chassis::tasks::{HowItEnded, TaskFailed, owned};
use chassis::telemetry::{self, OTLP_ENDPOINT_VARIABLE, TelemetryArgs, fields, trace};
use tracing::Instrument as _;

use crate::environment::Environment;
use crate::error::{BoxError, Error, explain};

/// What a main() returns. `?` takes any error.
pub type MainResult = Result<(), BoxError>;

/// The exit code of a main() that returned an error.
const FAILED: u8 = 1;
/// The exit code of a main() that panicked, as Rust has it.
const PANICKED: u8 = 101;
/// How long blocking work that main() left behind may hold up the exit.
const LINGER: Duration = Duration::from_secs(1);

/// Runs a program as an application's main(): the one entry of library mode.
#[derive(Debug)]
pub struct ApplicationRunner;

impl ApplicationRunner {
    /// Runs `main` to its end on a runtime of its own and answers the exit code for the process: 0,
    /// or 1 with the error on stderr as `error[REASON]: …`, or 101 after a panic. Not to be called
    /// inside another runtime.
    ///
    /// Jobs that `main` did not wait for are awaited when it returned `Ok`, and cancelled
    /// otherwise.
    pub fn run<F, Fut>(main: F) -> ExitCode
    where
        F: FnOnce(Environment) -> Fut + Send + 'static,
        Fut: Future<Output = MainResult> + Send + 'static,
    {
        chassis::install_crypto_provider();
        let runtime = match mainspring_datafusion::execute::runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("error: no threads: {error}");
                return FAILED.into();
            }
        };
        let code = runtime.block_on(async {
            // main() runs on a thread of the runtime, because planning and decoding recurse and the
            // first thread has a small stack.
            match owned("main", run(main)).await {
                Ok(code) => code,
                Err(TaskFailed { how: HowItEnded::Panicked(_), .. }) => PANICKED,
                Err(_) => FAILED,
            }
        });
        runtime.shutdown_timeout(LINGER);
        code.into()
    }
}

async fn run<F, Fut>(main: F) -> u8
where
    F: FnOnce(Environment) -> Fut + Send + 'static,
    Fut: Future<Output = MainResult> + Send + 'static,
{
    // Telemetry is set up only where traces are wanted: the program's own logging is its own
    // affair.
    let traced =
        std::env::var_os(OTLP_ENDPOINT_VARIABLE).is_some_and(|endpoint| !endpoint.is_empty());
    let telemetry = traced.then(|| telemetry::init("main", &TelemetryArgs::default().quiet()));
    let span = tracing::info_span!(
        "process",
        otel.name = "main",
        { fields::APP_ID } = tracing::field::Empty,
        { fields::APP_GENERATION } = tracing::field::Empty,
        { fields::EPOCH } = tracing::field::Empty,
    );
    trace::continue_from_environment(&span);
    let done = in_environment(main, &span).instrument(span.clone()).await;
    drop(span);
    if let Some(telemetry) = telemetry {
        telemetry.shutdown().await;
    }
    match done {
        Ok(()) => 0,
        Err(error) => {
            match explain(error.as_ref()) {
                (Some(reason), text) => eprintln!("error[{reason}]: {text}"),
                (None, text) => eprintln!("error: {text}"),
            }
            FAILED
        }
    }
}

async fn in_environment<F, Fut>(main: F, span: &tracing::Span) -> MainResult
where
    F: FnOnce(Environment) -> Fut,
    Fut: Future<Output = MainResult>,
{
    let environment = Environment::of_process().await?;
    if let Some(attempt) = environment.attempt() {
        span.record(fields::APP_ID, attempt.application_id.as_str());
        span.record(fields::APP_GENERATION, attempt.generation);
        span.record(fields::EPOCH, attempt.epoch);
    }
    let returned = main(environment.clone()).await;
    let finished: Result<(), Error> = environment.finish(returned.is_ok()).await;
    returned.and(finished.map_err(Into::into))
}
