//! `setup` has an engine install its own software, because only the engine knows what it needs.

use crate::engine;
use crate::exit::Exit;
use crate::failure::OrFailure;
use crate::session::Session;

/// Install an engine's own software
///
/// For flink: Apache Flink's libraries, pinned and verified, into a cache outside of any project,
/// and a JDK where there is none and this is root. Done once; done again it takes no time.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "  mainspring setup flink\n  mainspring setup flink --check\n  mainspring setup flink --plugin s3-fs-hadoop"
)]
pub(crate) struct SetupArgs {
    /// The engine, such as flink
    engine: String,

    /// Say what is missing and install nothing
    #[arg(long)]
    check: bool,

    /// Also install this plugin of the engine's, such as s3-fs-hadoop for flink; may be repeated
    #[arg(long = "plugin", value_name = "NAME", conflicts_with = "check")]
    plugins: Vec<String>,
}

pub(crate) async fn run(args: SetupArgs, session: &Session) -> OrFailure<Exit> {
    session.only_here("setup", "installs software on this machine")?;
    if engine::needs_no_setup(&args.engine) {
        session.out.talk(format!("{} is complete as it is", args.engine));
        return Ok(Exit::SUCCEEDED);
    }
    let done = engine::setup(&args.engine, args.check, &args.plugins).await?;
    Ok(if done { Exit::SUCCEEDED } else { Exit::FAILED })
}
