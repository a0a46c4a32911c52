//! Settings, parsed into types at the door.

use std::path::{Path, PathBuf};

use chassis::cluster_grace::GraceArgs;
use chassis::run_as::RunAsArgs;
use chassis::shared_dir::SharedArgs;
use chassis::transport::Endpoint;
use client::places::Places;
use proto::{ApplicationId, ApplicationRef, Generation};

use crate::ports::engine::EnginePath;
use crate::ports::workspace::MAIN_LOCK;

/// Settings of `mainspring serve app-runner`: one contender of one generation of an application.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The application that this contender may lead
    #[arg(long, env = "MAINSPRING_APPLICATION", value_name = "ID")]
    pub application: ApplicationId,

    /// Its generation
    #[arg(long, env = "MAINSPRING_GENERATION", value_name = "N", value_parser = generation)]
    pub generation: Generation,

    /// Unique name of this contender among those of the application, on all hosts
    #[arg(long, env = "MAINSPRING_CONTENDER", value_name = "NAME", default_value = "runner-0")]
    pub contender: String,

    /// File that holds this contender's token; what else the runner needs, the record answers
    #[arg(long, env = "MAINSPRING_TOKEN_FILE", value_name = "FILE")]
    pub token_file: PathBuf,

    /// Whom main() runs as
    #[command(flatten)]
    pub run_as: RunAsArgs,

    /// What this host shares with the others
    #[command(flatten)]
    pub shared: SharedArgs,

    /// How long clusters of other hosts may go on
    #[command(flatten)]
    pub grace: GraceArgs,

    /// Where to answer health probes: unix:/path or tcp://host:port. Default: nowhere
    #[arg(long, env = "MAINSPRING_ENDPOINT", value_name = "ENDPOINT")]
    pub listen: Option<Endpoint>,

    /// The host's state directory, absolute
    #[arg(long, env = "MAINSPRING_STATE_DIR", value_name = "DIR", value_parser = absolute)]
    pub state_dir: PathBuf,

    /// Endpoint of jobgraph-store. Default: its socket on this host
    #[arg(long, env = "MAINSPRING_STORE", value_name = "ENDPOINT")]
    pub store: Option<Endpoint>,

    /// Endpoint of leader-elector. Default: its socket on this host
    #[arg(long, env = "MAINSPRING_ELECTOR", value_name = "ENDPOINT")]
    pub elector: Option<Endpoint>,

    /// Endpoint of artifact-fetcher. Default: its socket on this host
    #[arg(long, env = "MAINSPRING_FETCHER", value_name = "ENDPOINT")]
    pub fetcher: Option<Endpoint>,

    /// Endpoint of lifecycle. Default: its socket on this host
    #[arg(long, env = "MAINSPRING_LIFECYCLE", value_name = "ENDPOINT")]
    pub lifecycle: Option<Endpoint>,

    /// Directories where engines (`mainspring-<engine>`) are looked for first, separated by colons
    #[arg(long, env = "MAINSPRING_ENGINE_PATH", value_name = "DIRS", value_delimiter = ':')]
    pub engine_path: Vec<PathBuf>,
}

impl Args {
    /// The service's name, in logs.
    pub const SERVICE: &'static str = "app-runner";

    /// The places of this host.
    pub fn places(&self) -> Places {
        Places::new(self.state_dir.clone())
            .for_run_as(self.run_as.given().as_ref())
            .sharing(self.shared.shared_dir.clone())
    }

    /// The application and generation that this contender contends for.
    pub fn application(&self) -> ApplicationRef {
        ApplicationRef { id: self.application.clone(), generation: self.generation }
    }

    /// The file that main() and its descendants hold locked.
    pub fn lock_file(&self) -> PathBuf {
        self.places().application_work(&self.application()).join(MAIN_LOCK)
    }

    /// The endpoint that was given, or the socket of that service on this host.
    pub fn peer(&self, given: Option<&Endpoint>, service: &str) -> Endpoint {
        given.cloned().unwrap_or_else(|| Endpoint::Unix(self.places().service_socket(service)))
    }

    /// Where engines are looked for.
    pub fn engines(&self) -> EnginePath {
        let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
        let path = std::env::var_os("PATH")
            .map(|path| std::env::split_paths(&path).collect())
            .unwrap_or_default();
        EnginePath { configured: self.engine_path.clone(), beside, path }
    }
}

fn generation(text: &str) -> Result<Generation, String> {
    match text.parse() {
        Ok(0) => Err("generations count from 1".to_owned()),
        Ok(number) => Ok(Generation(number)),
        Err(_) => Err("a number from 1 is expected".to_owned()),
    }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("an absolute path is expected".to_owned()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn an_impossible_setting_is_refused_at_the_door() {
        let parse = |extra: &[&str]| {
            let base = [
                "serve",
                "--application",
                "orders",
                "--generation",
                "4",
                "--state-dir",
                "/state",
                "--token-file",
                "/t",
            ];
            Command::try_parse_from(base.iter().chain(extra)).map(|command| command.args)
        };
        let args = parse(&[]).unwrap();
        assert_eq!(args.application().to_string(), "orders@4");
        assert!(!args.places().are_shared());
        for wrong in
            [["--listen", "nowhere"], ["--store", "tcp://host"], ["--shared-dir", "shared"]]
        {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
        for (application, generation, state) in
            [("Orders", "4", "/state"), ("orders", "0", "/state"), ("orders", "4", "state")]
        {
            let of = ["--application", application, "--generation", generation];
            let wrong = ["serve", "--state-dir", state, "--token-file", "/t"].into_iter().chain(of);
            let wrong: Vec<_> = wrong.collect();
            assert!(Command::try_parse_from(&wrong).is_err(), "{wrong:?}");
        }
    }

    /// A leader on another host needs the outputs and checkpoints under the same paths.
    #[test]
    fn what_a_successor_needs_is_in_the_directory_that_the_hosts_share() {
        let arguments = [
            "serve",
            "--application",
            "orders",
            "--generation",
            "4",
            "--state-dir",
            "/state",
            "--token-file",
            "/t",
            "--shared-dir",
            "/mnt/shared",
        ];
        let args = Command::try_parse_from(arguments).unwrap().args;
        let (places, of) = (args.places(), args.application());
        assert_eq!(places.outputs(&of), Path::new("/mnt/shared/outputs/orders@4"));
        assert_eq!(places.checkpoints(&of), Path::new("/mnt/shared/checkpoints/orders@4"));
        assert_eq!(places.application_work(&of), Path::new("/state/work/orders@4"));
    }
}
