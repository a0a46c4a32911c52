//! `certs` makes and shows the certificates that guard TCP between the services of a deployment.
//! Only files are read and written: no host is needed, and none is started.

mod authority;
pub(crate) mod facts;
mod files;
mod init;
mod issue;
mod show;

use std::path::PathBuf;

use crate::exit::Exit;
use crate::failure::OrFailure;
use crate::session::Session;

/// Certificates that guard TCP between machines
///
/// `init` makes a CA for development, `issue` a directory for each service or client, and `show`
/// says of certificates what they are for and until when. A process takes such a directory by --tls
/// DIR or MAINSPRING_TLS, and takes up renewed files without a restart. Certificates of another CA
/// work as well: all that is needed is ca.crt, tls.crt and tls.key in one directory, and the
/// purposes serverAuth and clientAuth. Who calls is said by tokens; certificates guard the wire.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "  mainspring certs init\n  mainspring certs issue host-a.example --san 10.0.0.7\n  MAINSPRING_TLS=$PWD/certs/host-a.example mainspring up\n  mainspring certs show",
    disable_help_subcommand = true
)]
pub(crate) struct CertsArgs {
    /// Where the CA is, and all that it issues
    #[arg(
        long,
        value_name = "DIR",
        env = "MAINSPRING_CERTS_DIR",
        default_value = "certs",
        global = true
    )]
    dir: PathBuf,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a CA for development
    Init(init::InitArgs),
    /// Issue certificates, or renew them
    Issue(issue::IssueArgs),
    /// Say what certificates are for, and until when
    Show(show::ShowArgs),
}

pub(crate) async fn run(args: CertsArgs, session: &Session) -> OrFailure<Exit> {
    // What is said of a directory can then be taken for --tls, which has to be absolute.
    let directory = std::path::absolute(&args.dir)?;
    match args.action {
        Action::Init(init) => init::run(&init, &directory, session),
        Action::Issue(issue) => issue::run(issue, &directory, session),
        Action::Show(show) => show::run(&show, &directory, session),
    }
}
