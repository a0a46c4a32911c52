//! `run-application` submits an application and watches it to its end.

use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::Clock as _;
use chassis::telemetry::trace;
use proto::Reason;
use proto::api::{
    Application, ApplicationSpec, IfExists as Existing, SubmitRequest, SubmitResponse,
};

use crate::api::{Api, requester};
use crate::application::Named;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::host::Started;
use crate::live::{OnInterrupt, Watched, watch};
use crate::output::Format;
use crate::session::Session;
use crate::spec::{self, SpecOptions, pair};
use crate::verb::wait::{self, For};
use crate::{ask, json};

/// How often a submit is repeated while the host is away; the request id makes repeats harmless.
const TRIES: u32 = 10;

/// Submit an application and watch it until it has ended.
///
/// PROGRAM is a path or URI; what follows it goes to main(). The exit code is the application's: 0
/// succeeded, 1 failed, 3 cancelled, 4 deadline exceeded. Options may be written as flink run has
/// them (-py, -cm, -sae, --fromSavepoint, …).
#[derive(Debug, clap::Args)]
#[command(
    before_help = "  mainspring run examples/flights/carriers.sql\n  \
    mainspring run --contenders 2 --output out ./delays --year 2013\n  \
    mainspring run -f app.yaml --dry-run -o yaml",
    after_help = "--help also shows what is rarely needed, and the options of flink run.",
    after_long_help = ""
)]
pub(crate) struct RunArgs {
    /// The program: a path or URI, with #sha256=HEX if it has to be that one
    ///
    /// URIs are file://, local://, http:// and https://.
    #[arg(value_name = "PROGRAM")]
    program: Option<String>,

    /// For main()
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,

    #[command(flatten)]
    spec: SpecOptions,

    /// Submit it and return
    #[arg(short, long, help_heading = "How it is run")]
    detached: bool,

    /// Check and print the spec, submit nothing
    #[arg(long, help_heading = "How it is run")]
    dry_run: bool,

    /// Makes a repeat of this command harmless: one id, one application
    #[arg(long, value_name = "ID", hide_short_help = true, help_heading = "How it is run")]
    request_id: Option<String>,

    /// A label to find it by; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = pair, help_heading = "How it is run")]
    labels: Vec<(String, String)>,

    /// A note for people and tools; may be repeated
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = pair, hide_short_help = true, help_heading = "How it is run")]
    annotations: Vec<(String, String)>,

    /// If its id is in use: fail, attach, skip or replace
    ///
    /// attach watches that one; replace cancels it, waits until it is clean, and submits.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "fail",
        hide_possible_values = true,
        help_heading = "How it is run"
    )]
    if_exists: IfExists,

    /// Ctrl-C: cancel, or detach
    ///
    /// After a cancel, a second one stops waiting.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "cancel",
        hide_possible_values = true,
        help_heading = "How it is run"
    )]
    on_interrupt: OnInterrupt,

    /// Whose exit code to pass on: application, or main
    #[arg(
        long,
        value_name = "WHOSE",
        default_value = "application",
        hide_possible_values = true,
        hide_short_help = true,
        help_heading = "How it is run"
    )]
    exit_code_from: CodeFrom,

    /// Do not ask before --if-exists replace cancels
    #[arg(short, long, hide_short_help = true, help_heading = "How it is run")]
    yes: bool,

    /// SIGTERM and SIGHUP act as Ctrl-C (-sae)
    #[arg(long, hide_short_help = true, help_heading = "As flink run has them")]
    shutdown_on_attached_exit: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum IfExists {
    Fail,
    Attach,
    Skip,
    Replace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CodeFrom {
    Application,
    Main,
}

pub(crate) async fn run(
    args: RunArgs,
    session: &Session,
    left_to_main: &[String],
) -> OrFailure<Exit> {
    let base = args.spec.file.as_deref().map(spec::read).transpose()?.unwrap_or_default();
    let directory = std::env::current_dir()?;
    let context = session.context();
    if let Some(context) = context {
        args.spec.refuse_paths_of_here(context)?;
    }
    let inherited = |name: &str| std::env::var(name).ok();
    let added = |name: &str| if context.is_some() { None } else { inherited(name) };
    let (spec, secrets, from) = args.spec.build(
        base,
        args.program.as_deref(),
        args.arguments,
        &directory,
        inherited,
        added,
    )?;
    for option in left_to_main {
        let program = args.program.as_deref().unwrap_or("the program");
        session.out.talk(format!(
            "note: {option} goes to main(); put it before {program} to mean mainspring's"
        ));
    }
    spec::check(&spec, context)?;
    if args.dry_run {
        let mut masked = spec.clone();
        proto::uri::mask_spec(&mut masked);
        if masked != spec {
            session
                .out
                .talk("note: *** stands for what is secret in a URI: write it in before this spec is used");
        }
        session.out.answer(shown(&masked, session.out.format));
        return Ok(Exit::SUCCEEDED);
    }
    let request = SubmitRequest {
        request_id: args.request_id.unwrap_or_else(|| hex::encode(rand::random::<[u8; 16]>())),
        spec: Some(spec),
        labels: args.labels.into_iter().collect(),
        annotations: args.annotations.into_iter().collect(),
        if_exists: match args.if_exists {
            IfExists::Fail | IfExists::Replace => Existing::Fail.into(),
            IfExists::Attach => Existing::Attach.into(),
            IfExists::Skip => Existing::Skip.into(),
        },
        validate_only: false,
        secret_values: secrets,
        requested_by: requester(),
        traceparent: trace::current_traceparent().unwrap_or_default(),
    };
    let (api, started) = session.started_api().await?;
    if args.if_exists == IfExists::Replace {
        replace(&api, request.spec.as_ref(), args.yes, session).await?;
    }
    let manner = Manner {
        detached: args.detached,
        skip: args.if_exists == IfExists::Skip,
        on_interrupt: args.on_interrupt,
        gone_is_interrupt: args.shutdown_on_attached_exit,
        exit_from_main: args.exit_code_from == CodeFrom::Main,
    };
    submitted(request, from, manner, (api, started), session).await
}

/// What the command does once the application is submitted.
pub(crate) struct Manner {
    /// The command returns without watching.
    pub(crate) detached: bool,
    /// An application that was there already is not watched.
    pub(crate) skip: bool,
    pub(crate) on_interrupt: OnInterrupt,
    /// See [`Watched::gone_is_interrupt`].
    pub(crate) gone_is_interrupt: bool,
    /// See [`Watched::exit_from_main`].
    pub(crate) exit_from_main: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            detached: false,
            skip: false,
            on_interrupt: OnInterrupt::Cancel,
            gone_is_interrupt: false,
            exit_from_main: false,
        }
    }
}

/// Submits, says what came of it, and watches.
pub(crate) async fn submitted(
    request: SubmitRequest,
    from: &str,
    manner: Manner,
    (api, started): (Api, Started),
    session: &Session,
) -> OrFailure<Exit> {
    let answer = submit(&api, request, session).await?;
    // A host that was about to leave may have looked for work just before this application came.
    session.keep_host().await;
    let application =
        answer.application.ok_or_else(|| Failure::internal("an answer without an application"))?;
    let named = format!("{}@{}", application.application_id, application.generation);
    session.out.tell(header(&application, from, started));
    if answer.existing {
        session.out.talk(format!("{named} was there already"));
    } else if answer.accepted_earlier {
        session.out.talk(format!("{named} was submitted earlier with this request id"));
    }
    if manner.detached || (answer.existing && manner.skip) {
        match session.out.format {
            Format::Json | Format::Jsonl => session.out.answer(json::line(&application)),
            Format::Yaml => session.out.answer(json::yaml(&application, true)),
            _ => session.out.answer(format!("{named}\n")),
        }
        return Ok(Exit::SUCCEEDED);
    }
    let watched = Watched {
        application,
        on_interrupt: manner.on_interrupt,
        gone_is_interrupt: manner.gone_is_interrupt,
        exit_from_main: manner.exit_from_main,
        tail: 0,
    };
    watch(watched, session, api).await
}

/// The first line: which application, which engine and why that one, which target, and whether the
/// host had to be started.
pub(crate) fn header(application: &Application, from: &str, started: Started) -> String {
    let spec = application.spec.clone().unwrap_or_default();
    let from = match from {
        "" => String::new(),
        suffix if suffix.starts_with('.') => format!(" (from {suffix})"),
        kind => format!(" ({kind})"),
    };
    let host = match started.0 {
        Some(took) => format!(" (host started, {:.1} s)", took.as_secs_f64()),
        None => String::new(),
    };
    format!(
        "{}@{}   engine {}{from}   target {}{host}",
        application.application_id, application.generation, spec.engine, spec.target
    )
}

fn shown(spec: &ApplicationSpec, format: Format) -> String {
    match format {
        Format::Json => json::document(spec),
        Format::Jsonl => json::line(spec),
        Format::Name => format!("{}\n", spec.application_id),
        Format::Table | Format::Wide | Format::Yaml => json::yaml(spec, false),
    }
}

async fn submit(api: &Api, request: SubmitRequest, session: &Session) -> OrFailure<SubmitResponse> {
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
    let mut tries = 0;
    loop {
        match api.submit(request.clone()).await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.is_retryable() && tries < TRIES => {
                tries += 1;
                session.clock.sleep(backoff.next_delay()).await;
                session.keep_host().await;
            }
            Err(error) => {
                let repeat =
                    format!("mainspring list; or repeat with --request-id {}", request.request_id);
                return Err(Failure::from(error.clone()).unknown_unless_refused(&error, &repeat));
            }
        }
    }
}

/// `--if-exists replace`: cancels the application that has the id, and waits until it is clean.
async fn replace(
    api: &Api,
    spec: Option<&ApplicationSpec>,
    yes: bool,
    session: &Session,
) -> OrFailure<()> {
    let id = spec.map(|spec| spec.application_id.clone()).unwrap_or_default();
    let Ok(id) = id.parse() else {
        return Err(Failure::usage(
            "--if-exists replace needs --application-id: which one is to be replaced?",
        ));
    };
    let latest = Named { id, generation: None };
    let application = match api.get(&latest).await {
        Ok(application) => application,
        Err(error) if error.reason() == Some(Reason::ApplicationNotFound) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if application.clean {
        return Ok(());
    }
    let named = Named::exactly(latest.id, application.generation);
    ask::sure(&format!("replacing cancels {named}"), yes)?;
    match api.cancel(&named, "replaced").await {
        Ok(_) => {}
        Err(error) if error.reason() == Some(Reason::AlreadyEnded) => {}
        Err(error) => return Err(error.into()),
    }
    wait::met(&named, &For::Clean, None, session).await.map(drop)
}
