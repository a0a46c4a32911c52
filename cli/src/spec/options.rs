//! The options of `run` that say what runs, in Flink's words where Flink has them.

mod elsewhere;

use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::api::{ApplicationSpec, ArtifactReference, OnFailover, Program};
use proto::{ApplicationId, target};

use super::{Secrets, additions, pair, pointer, variables};
use crate::failure::{Failure, OrFailure};
use crate::{duration, engine};

/// The options that describe the application.
#[derive(Debug, clap::Args)]
pub(crate) struct SpecOptions {
    /// A spec in YAML or JSON; options given beside it win
    #[arg(short, long, value_name = "FILE", help_heading = "What runs")]
    pub(crate) file: Option<PathBuf>,

    /// The engine; by default the one for the program's suffix
    ///
    /// .sql and native programs: datafusion, .jar: flink.
    #[arg(long, value_name = "NAME", help_heading = "What runs")]
    engine: Option<String>,

    /// Where processes run: local, or static: jobs in a Flink session cluster
    ///
    /// local: processes on this machine, started for this application alone. static: main() here,
    /// its jobs in a session cluster that runs already (-m HOST:PORT) and stays; remote and session
    /// are other words for it.
    #[arg(short, long, value_name = "TARGET", value_parser = target, help_heading = "What runs")]
    target: Option<String>,

    /// Its id; generated from the program's name if left out
    #[arg(long, value_name = "ID", help_heading = "What runs")]
    application_id: Option<ApplicationId>,

    /// Processes that may lead it; all but one stand by, warm
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16), help_heading = "What runs")]
    contenders: Option<u32>,

    /// A further file for main()'s working directory; may be repeated
    #[arg(long = "artifact", value_name = "URI[#sha256=HEX]", help_heading = "What runs")]
    artifacts: Vec<String>,

    /// A jar for the class path of every Flink process, beside Flink's own; may be repeated
    #[arg(
        long = "lib",
        value_name = "JAR[#sha256=HEX]",
        hide_short_help = true,
        help_heading = "What runs"
    )]
    libraries: Vec<String>,

    /// Where relative outputs go: a directory of this host
    #[arg(long, value_name = "DIR", value_parser = output_directory, help_heading = "What runs")]
    output: Option<PathBuf>,

    /// Add to targets that hold another generation's output
    #[arg(long, hide_short_help = true, help_heading = "What runs")]
    append: bool,

    /// A variable for main(), or one to inherit; may be repeated
    #[arg(long = "env", value_name = "K=V|K", help_heading = "What runs")]
    env: Vec<String>,

    /// Variables for main() from a file, one K=V a line; may be repeated
    #[arg(
        long = "env-file",
        value_name = "FILE",
        hide_short_help = true,
        help_heading = "What runs"
    )]
    env_files: Vec<PathBuf>,

    /// A masked variable for main(); may be repeated
    #[arg(long = "secret", value_name = "K=@FILE", help_heading = "What runs")]
    secrets: Vec<String>,

    /// From the submit until it must have ended (90s, 5m, 2h)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, help_heading = "What runs")]
    deadline: Option<Duration>,

    /// When main() is cut off or killed: re-execute, or fail
    #[arg(long, value_name = "WHAT", value_parser = on_failover, help_heading = "What runs")]
    on_failover: Option<OnFailover>,

    /// A setting for the engine; may be repeated
    #[arg(short = 'D', long = "define", value_name = "KEY=VALUE", value_parser = pair, help_heading = "What runs")]
    settings: Vec<(String, String)>,

    /// Class with the program's main()
    #[arg(
        short,
        long,
        value_name = "CLASS",
        hide_short_help = true,
        help_heading = "As flink run has them"
    )]
    class: Option<String>,

    /// A URL for the class path; may be repeated
    #[arg(
        short = 'C',
        long = "classpath",
        value_name = "URL",
        hide_short_help = true,
        help_heading = "As flink run has them"
    )]
    classpaths: Vec<String>,

    /// Parallelism of the program
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), hide_short_help = true, help_heading = "As flink run has them")]
    parallelism: Option<u32>,

    /// Savepoint or checkpoint to begin from: a path on this machine, or a URI that the engine
    /// knows
    #[arg(
        short = 's',
        long,
        value_name = "PATH",
        hide_short_help = true,
        help_heading = "As flink run has them"
    )]
    from_savepoint: Option<String>,

    /// Leave out savepoint state that the program no longer has
    #[arg(short = 'n', long, hide_short_help = true, help_heading = "As flink run has them")]
    allow_non_restored_state: bool,

    /// Who owns the savepoint afterwards: CLAIM or NO_CLAIM (-cm)
    #[arg(long, value_name = "MODE", ignore_case = true, value_parser = ["CLAIM", "NO_CLAIM"], hide_short_help = true, help_heading = "As flink run has them")]
    claim_mode: Option<String>,

    /// REST address of the session cluster (-m); means -t static
    #[arg(long, value_name = "HOST:PORT", value_parser = address, hide_short_help = true, help_heading = "As flink run has them")]
    jobmanager: Option<(String, u16)>,

    /// Run a job again from its beginning when its session cluster has lost it
    ///
    /// Only with -t static. Otherwise such a job ends LOST, unless the program begins from a
    /// savepoint (-s), which it then does again.
    #[arg(long, hide_short_help = true, help_heading = "What runs")]
    resubmit_lost: bool,

    #[command(flatten)]
    python: PythonOptions,

    #[arg(long, value_name = "NAMESPACE", hide = true)]
    zookeeper_namespace: Option<String>,
}

/// Flink's options that begin with `-py`.
#[derive(Debug, clap::Args)]
struct PythonOptions {
    /// Python program (-py)
    #[arg(
        long,
        value_name = "FILE",
        hide_short_help = true,
        help_heading = "As flink run has them"
    )]
    python: Option<String>,
    #[arg(long, value_name = "FILES", hide = true)]
    py_archives: Option<String>,
    #[arg(long, value_name = "PATH", hide = true)]
    py_client_executable: Option<String>,
    #[arg(long, value_name = "PATH", hide = true)]
    py_executable: Option<String>,
    /// Further Python options: -pyarch -pyclientexec -pyexec -pyfs -pym -pypath -pyreq
    #[arg(
        long,
        value_name = "FILES",
        hide_short_help = true,
        help_heading = "As flink run has them"
    )]
    py_files: Option<String>,
    #[arg(long, value_name = "MODULE", hide = true)]
    py_module: Option<String>,
    #[arg(long, value_name = "PATHS", hide = true)]
    py_python_path: Option<String>,
    #[arg(long, value_name = "FILE", hide = true)]
    py_requirements: Option<String>,
}

/// The target in mainspring's words, which is `static` for Flink's `remote` and `session`.
fn target(text: &str) -> Result<String, String> {
    let ours = if ["remote", "session"].contains(&text) { target::STATIC } else { text };
    Ok(ours.to_owned())
}

fn address(text: &str) -> Result<(String, u16), String> {
    let wrong = || "expected HOST:PORT of its REST API, such as localhost:8081".to_owned();
    let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let (host, port) =
        bare.rsplit_once(':').filter(|(host, _)| !host.is_empty()).ok_or_else(wrong)?;
    Ok((host.to_owned(), port.parse().map_err(|_| wrong())?))
}

fn on_failover(text: &str) -> Result<OnFailover, String> {
    match text {
        "re-execute" => Ok(OnFailover::ReExecute),
        "fail" => Ok(OnFailover::Fail),
        _ => Err("expected re-execute or fail".to_owned()),
    }
}

/// Reads a path. A text that looks like an address is refused, because it would become a directory
/// below the current one, and the user would look for the output elsewhere.
fn output_directory(text: &str) -> Result<PathBuf, String> {
    match text.split_once(':') {
        Some((scheme, rest))
            if rest.starts_with('/') && !scheme.is_empty() && !scheme.contains('/') =>
        {
            Err(format!(
                "outputs go to directories of this host, not to {scheme}: addresses: name one by its path"
            ))
        }
        _ => Ok(text.into()),
    }
}

impl SpecOptions {
    /// Builds the spec: `base` (from a file, or empty) with what the options say. Relative paths
    /// begin at `directory`. `inherited` are the variables that `--env` may name, `added` those by
    /// which the processes' own machine adds to Flink. The last part of the answer is the suffix or
    /// kind from which the engine was concluded, empty if the user named the engine.
    pub(crate) fn build(
        self,
        base: ApplicationSpec,
        program: Option<&str>,
        arguments: Vec<String>,
        directory: &Path,
        inherited: impl Fn(&str) -> Option<String>,
        added: impl Fn(&str) -> Option<String>,
    ) -> OrFailure<(ApplicationSpec, Secrets, &'static str)> {
        self.refuse_what_has_no_meaning()?;
        let environment = variables::environment(&self.env_files, &self.env, &inherited)
            .map_err(Failure::usage)?;
        let secrets = variables::secrets(&self.secrets).map_err(Failure::usage)?;
        let mut spec = base;
        spec.program = Some(self.program(
            spec.program.take().unwrap_or_default(),
            program,
            arguments,
            directory,
        )?);
        for text in &self.artifacts {
            let file = pointer::parse(text, directory)
                .map_err(|error| Failure::usage(format!("--artifact {error}")))?;
            spec.artifacts.push(ArtifactReference {
                uri: file.uri,
                digest: file.digest,
                name: String::new(),
            });
        }
        spec.settings.extend(self.settings);
        spec.environment.extend(environment);
        for name in
            secrets.keys().filter(|name| !spec.secrets.contains(name)).cloned().collect::<Vec<_>>()
        {
            spec.secrets.push(name);
        }
        spec.secrets.sort();
        set(&mut spec.application_id, self.application_id.map(String::from));
        set(&mut spec.engine, self.engine);
        set(&mut spec.target, self.target);
        spec.resubmit_lost |= self.resubmit_lost;
        if let Some((host, port)) = self.jobmanager {
            if !["", target::STATIC].contains(&spec.target.as_str()) {
                let text = format!(
                    "-m names a cluster to use, and with -t {} an application has its own",
                    spec.target
                );
                let failure =
                    Failure::new(crate::exit::Exit::USAGE, proto::Reason::OptionMeaningless, text);
                return Err(failure.help("leave -m out, or say -t static"));
            }
            spec.target = target::STATIC.to_owned();
            spec.settings.insert("rest.address".to_owned(), host);
            spec.settings.insert("rest.port".to_owned(), port.to_string());
        }
        set(&mut spec.contenders, self.contenders);
        set(&mut spec.on_failover, self.on_failover.map(i32::from));
        let output = self.output.map(|path| directory.join(path).components().collect::<PathBuf>());
        set(&mut spec.output, output.map(|path| path.to_string_lossy().into_owned()));
        spec.append_output |= self.append;
        if let Some(deadline) = self.deadline {
            let deadline = prost_types::Duration::try_from(deadline);
            spec.deadline = Some(deadline.map_err(|_| Failure::usage("--deadline is too long"))?);
        }
        let mut from = "";
        if spec.engine.is_empty() {
            let uri = spec.program.as_ref().map_or("", |program| program.uri.as_str());
            let (engine, concluded) = engine::for_program(uri);
            spec.engine = engine.to_owned();
            from = concluded;
        }
        additions::add(&mut spec, &self.libraries, directory, added)?;
        if spec.target.is_empty() {
            spec.target = target::LOCAL.to_owned();
        }
        spec.contenders = spec.contenders.max(1);
        Ok((spec, secrets, from))
    }

    fn program(
        &self,
        base: Program,
        given: Option<&str>,
        arguments: Vec<String>,
        directory: &Path,
    ) -> OrFailure<Program> {
        let mut program = base;
        // `-py FILE` names the program, so that no other pointer is needed.
        if let Some(text) = given.or(self.python.python.as_deref()) {
            let file = pointer::parse(text, directory).map_err(Failure::usage)?;
            (program.uri, program.digest) = (file.uri, file.digest);
        } else if !program.uri.is_empty() && !pointer::has_scheme(&program.uri) {
            // A path in a spec's file is relative to the current directory, as on the command line,
            // and not to the file's own.
            program.uri = pointer::parse(&program.uri, directory).map_err(Failure::usage)?.uri;
        }
        if program.uri.is_empty() && self.python.py_module.is_none() {
            return Err(Failure::usage("which program? Name a file or URI")
                .help("mainspring run [OPTIONS] PROGRAM [ARGUMENTS of main()]"));
        }
        if !arguments.is_empty() {
            program.arguments = arguments;
        }
        set(&mut program.entry_class, self.class.clone());
        program.classpaths.extend(self.classpaths.iter().cloned());
        set(&mut program.parallelism, self.parallelism);
        set(
            &mut program.savepoint,
            self.from_savepoint.as_deref().map(|text| pointer::place(text, directory)),
        );
        program.allow_non_restored_state |= self.allow_non_restored_state;
        set(&mut program.claim_mode, self.claim_mode.as_ref().map(|mode| mode.to_uppercase()));
        let python = &self.python;
        for (name, value) in [
            ("python", &python.python),
            ("pyArchives", &python.py_archives),
            ("pyClientExecutable", &python.py_client_executable),
            ("pyExecutable", &python.py_executable),
            ("pyFiles", &python.py_files),
            ("pyModule", &python.py_module),
            ("pyPythonPath", &python.py_python_path),
            ("pyRequirements", &python.py_requirements),
        ] {
            program.python.extend(value.as_ref().map(|value| (name.to_owned(), value.clone())));
        }
        Ok(program)
    }

    fn refuse_what_has_no_meaning(&self) -> OrFailure<()> {
        if self.zookeeper_namespace.is_none() {
            return Ok(());
        }
        let text = "-z/--zookeeperNamespace finds a session cluster through its ZooKeeper, which has no meaning here";
        let failure =
            Failure::new(crate::exit::Exit::USAGE, proto::Reason::OptionMeaningless, text);
        Err(failure.help("leave -z out, and name the cluster's REST address with -m"))
    }
}

/// Replaces the value by the option's, if the option was given.
fn set<T>(place: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *place = said;
    }
}

#[cfg(test)]
mod tests;
