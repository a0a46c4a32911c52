//! `context add` adds a context, after its hosts were asked whether they take its credential.

use std::path::{Path, PathBuf};

use chassis::transport::Endpoint;
use proto::Reason;

use super::{change, path, show};
use crate::context::file::{Context, CredentialSource, TlsFiles};
use crate::context::update::update;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::session::Session;

/// Add a context, after its hosts were asked
///
/// One of the hosts has to answer, and none may refuse the credential. The file is written anew,
/// without its comments, and is yours alone; it names the credential and does not hold it. Paths
/// are relative to the current directory, and are written down as absolute ones.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "  mainspring context add prod tcp://h1:7070 tcp://h2:7070 --ca ca.pem --cert me.pem --key me.key --credential-file deployment.key\n  \
    mainspring context add lab tcp://lab:7070 --insecure --credential-command vault --credential-argument read"
)]
pub(super) struct AddArgs {
    /// Its name: letters, digits, -, _ and .
    #[arg(value_name = "NAME")]
    name: String,

    /// Where stores of the deployment serve, in the order in which they are asked
    #[arg(value_name = "ENDPOINT", required = true)]
    endpoints: Vec<Endpoint>,

    /// The certificates that the hosts' own ones are made by, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    ca: Option<PathBuf>,

    /// This client's certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// This client's key, in PEM
    #[arg(long, value_name = "FILE", requires = "ca")]
    key: Option<PathBuf>,

    /// Plain text: the credential and all data can be read and changed on the way
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,

    /// A file with the deployment's key (deployment.key of a host), or with a token
    #[arg(long, value_name = "FILE", required_unless_present = "credential_command")]
    credential_file: Option<PathBuf>,

    /// A program that prints a token
    ///
    /// It is asked once by each command that needs the credential, and has 30 s. Its stderr is
    /// shown.
    #[arg(long, value_name = "PROGRAM", conflicts_with = "credential_file")]
    credential_command: Option<String>,

    /// An argument for that program; may be repeated
    #[arg(
        long = "credential-argument",
        value_name = "WORD",
        requires = "credential_command",
        allow_hyphen_values = true
    )]
    credential_arguments: Vec<String>,

    /// Replace the context of this name
    #[arg(long)]
    replace: bool,

    /// Also make it the current one
    #[arg(long = "use")]
    make_current: bool,

    /// Ask no host
    #[arg(long)]
    no_check: bool,
}

impl AddArgs {
    /// The context, with absolute paths.
    fn context(&self) -> OrFailure<Context> {
        let absolute = |path: &Path| -> OrFailure<PathBuf> { Ok(std::path::absolute(path)?) };
        let tls = match (&self.ca, &self.cert, &self.key) {
            (Some(ca), Some(cert), Some(key)) => {
                let (ca, cert, key) = (absolute(ca)?, absolute(cert)?, absolute(key)?);
                Some(TlsFiles { ca, cert, key })
            }
            _ => None,
        };
        let command = match &self.credential_command {
            Some(program) if program.contains('/') => {
                Some(absolute(Path::new(program))?.to_string_lossy().into_owned())
            }
            program => program.clone(),
        };
        let arguments = self.credential_arguments.iter().cloned();
        let context = Context {
            name: self.name.clone(),
            endpoints: self.endpoints.clone(),
            tls,
            insecure: self.insecure,
            credential: CredentialSource {
                file: self.credential_file.as_deref().map(absolute).transpose()?,
                command: command.map(|program| std::iter::once(program).chain(arguments).collect()),
            },
        };
        context.check().map_err(Failure::usage)?;
        Ok(context)
    }
}

pub(super) async fn run(args: AddArgs, session: &Session) -> OrFailure<Exit> {
    let (path, context) = (path()?, args.context()?);
    if !args.no_check {
        check(&context, session).await?;
    }
    let (name, replace, make_current) = (context.name.clone(), args.replace, args.make_current);
    update(&path, |contexts| {
        if contexts.find(&name).is_some() && !replace {
            let text = format!("there is a context {name} already");
            return Err(Failure::new(Exit::REFUSED, Reason::RequestInvalid, text)
                .help("--replace replaces it; or choose another name"));
        }
        match contexts.contexts.iter_mut().find(|there| there.name == name) {
            Some(there) => *there = context,
            None => contexts.contexts.push(context),
        }
        if make_current {
            contexts.current = Some(name.clone());
        }
        Ok(())
    })?;
    session.out.talk(format!("{name} is in {}", path.display()));
    if args.insecure {
        session.out.talk(format!(
            "{name} is in plain text: the credential and all data can be read and changed on the way"
        ));
    }
    if args.make_current {
        change::say_what_stands_above(session);
    } else {
        session
            .out
            .talk(format!("mainspring --context {name} list; mainspring context use {name}"));
    }
    Ok(Exit::SUCCEEDED)
}

/// Whether a host knows nothing of the credential, or takes it for less than is needed.
fn is_about_the_credential(failure: &Failure) -> bool {
    let reasons = [Reason::CredentialMissing, Reason::CredentialInvalid, Reason::CredentialScope];
    reasons.iter().any(|reason| failure.reason == reason.as_str())
}

/// Asks the hosts. A host that is away is told; a credential that one of them refuses, and hosts
/// that are all away, are errors.
async fn check(context: &Context, session: &Session) -> OrFailure<()> {
    let mut answered = false;
    for (endpoint, answer) in show::ask(context, session).await? {
        match answer {
            Ok(version) => {
                answered = true;
                session.out.talk(format!("{endpoint} answers: {version}"));
            }
            Err(refused) if is_about_the_credential(&refused) => {
                return Err(refused.detail(format!("| {endpoint} refused the credential")).help(
                    "take the key of that deployment: deployment.key in the state directory of one of its hosts; \
                     --no-check adds the context all the same",
                ));
            }
            Err(away) => {
                session.out.talk(format!("{endpoint} does not answer: {}", show::problem(&away)));
            }
        }
    }
    if answered {
        return Ok(());
    }
    let text = format!("no host of {} answers", context.name);
    Err(Failure::new(Exit::UNREACHABLE, Reason::HostNotReachable, text).help(
        "correct the endpoints, or start the hosts; --no-check adds the context all the same",
    ))
}
