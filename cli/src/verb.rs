//! The verbs, one file each.

pub(crate) mod abandon;
pub(crate) mod attach;
pub(crate) mod backup;
pub(crate) mod cancel;
pub(crate) mod certs;
pub(crate) mod completions;
pub(crate) mod context;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod events;
pub(crate) mod forget;
pub(crate) mod graph;
pub(crate) mod host;
pub(crate) mod jobs;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod rerun;
pub(crate) mod restore;
pub(crate) mod result;
pub(crate) mod run;
pub(crate) mod savepoint;
pub(crate) mod setup;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod ui;
pub(crate) mod up;
pub(crate) mod version;
pub(crate) mod wait;

use crate::exit::Exit;
use crate::failure::OrFailure;
use crate::session::Session;

/// The verb of a command line, with its arguments.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Submit an application and watch it until it has ended
    #[command(name = "run-application", visible_alias = "run")]
    Run(Box<run::RunArgs>),
    /// Submit a recorded application anew
    Rerun(rerun::RerunArgs),
    /// Watch an application that runs
    Attach(attach::AttachArgs),
    /// Wait until an application runs, has ended, or is clean
    Wait(wait::WaitArgs),
    /// Applications, newest first
    List(list::ListArgs),
    /// One application: state, leader, cluster, jobs, and how old the answer is
    Status(status::StatusArgs),
    /// The jobs of an application
    Jobs(jobs::JobsArgs),
    /// What main() and the cluster's processes wrote
    Logs(logs::LogsArgs),
    /// The rows that a SELECT brought back
    Result(result::ResultArgs),
    /// What happened, in order
    Events(events::EventsArgs),
    /// The graph of a job
    Graph(graph::GraphArgs),
    /// The web page of an application's engine
    Ui(ui::UiArgs),
    /// Have a savepoint taken of the jobs that run
    Savepoint(savepoint::SavepointArgs),
    /// Stop the jobs of an application, each with a savepoint
    Stop(stop::StopArgs),
    /// Ask an application to end as CANCELLED
    Cancel(cancel::CancelArgs),
    /// Give up a teardown or a publish that cannot finish
    Abandon(abandon::AbandonArgs),
    /// Forget applications that are over
    Forget(forget::ForgetArgs),
    /// Run the host in the foreground
    Up(up::UpArgs),
    /// End the host and its services
    Down(down::DownArgs),
    /// Write the whole record into a file
    Backup(backup::BackupArgs),
    /// Make a record from a backup
    Restore(restore::RestoreArgs),
    /// Install an engine's own software
    Setup(setup::SetupArgs),
    /// What is where, and what is wrong with it
    Doctor(doctor::DoctorArgs),
    /// Certificates that guard TCP between machines
    Certs(certs::CertsArgs),
    /// The ways to other hosts
    Context(context::ContextArgs),
    /// The hosts of a deployment that has several
    Host(host::HostArgs),
    /// Completions of verbs and options for a shell
    Completions(completions::CompletionsArgs),
    /// The manual's pages
    Man(man::ManArgs),
    /// Versions and builds
    Version(version::VersionArgs),
}

impl Verb {
    /// Whether the verb asks a host, or is about one. The others do their work with any file of
    /// contexts, also with a damaged one.
    pub(crate) fn is_about_a_host(&self) -> bool {
        !matches!(self, Self::Certs(_) | Self::Completions(_) | Self::Context(_) | Self::Man(_))
    }
}

/// Performs the verb. `command` is the whole command, for the verbs that describe it.
pub(crate) async fn perform(
    verb: Verb,
    session: &Session,
    left_to_main: &[String],
    command: clap::Command,
) -> OrFailure<Exit> {
    match verb {
        Verb::Run(args) => run::run(*args, session, left_to_main).await,
        Verb::Rerun(args) => rerun::run(args, session).await,
        Verb::Completions(args) => completions::run(&args, session, command),
        Verb::Man(args) => man::run(&args, session, command),
        Verb::Attach(args) => attach::run(args, session).await,
        Verb::Wait(args) => wait::run(args, session).await,
        Verb::List(args) => list::run(args, session).await,
        Verb::Status(args) => status::run(args, session).await,
        Verb::Jobs(args) => jobs::run(args, session).await,
        Verb::Logs(args) => logs::run(args, session).await,
        Verb::Result(args) => result::run(args, session).await,
        Verb::Events(args) => events::run(args, session).await,
        Verb::Graph(args) => graph::run(args, session).await,
        Verb::Ui(args) => ui::run(args, session).await,
        Verb::Savepoint(args) => savepoint::run(args, session).await,
        Verb::Stop(args) => stop::run(args, session).await,
        Verb::Cancel(args) => cancel::run(args, session).await,
        Verb::Abandon(args) => abandon::run(args, session).await,
        Verb::Forget(args) => forget::run(args, session).await,
        Verb::Up(args) => up::run(args, session).await,
        Verb::Down(args) => down::run(args, session).await,
        Verb::Backup(args) => backup::run(args, session).await,
        Verb::Restore(args) => restore::run(args, session).await,
        Verb::Setup(args) => setup::run(args, session).await,
        Verb::Doctor(args) => doctor::run(args, session).await,
        Verb::Certs(args) => certs::run(args, session).await,
        Verb::Context(args) => context::run(args, session).await,
        Verb::Host(args) => host::run(args, session).await,
        Verb::Version(args) => version::run(args, session).await,
    }
}
