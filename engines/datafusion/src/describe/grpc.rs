//! `DescribeService`: translates between proto and what the engine knows.

use std::path::{Path, PathBuf};

use chassis::MAX_MESSAGE_BYTES;
use proto::engine::describe_service_server::{DescribeService, DescribeServiceServer};
use proto::engine::{
    Commit, DescribeClusterRequest, DescribeClusterResponse, DescribeMainRequest,
    DescribeMainResponse, InfoRequest, InfoResponse, LocalArtifact, Plan, PublishRequest,
    PublishResponse, Readiness, Resources, RestartPolicy, Role, SweepRequest, SweepResponse,
    readiness,
};
use proto::{Problem, Reason, api, target};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::program::{Program, ProgramError};
use crate::error::PublishError;
use crate::graph::ENGINE;
use crate::settings::Settings;
use crate::{publish, wire};

/// What a worker needs beside the memory of its jobs: the process itself, and the buffers of
/// readers and writers.
const WORKER_OVERHEAD_BYTES: u64 = 256 << 20;
/// How long a worker may take to be ready. That is generous, because it takes a fraction of a
/// second.
const READY_SECONDS: i64 = 30;

/// The service's methods.
pub(super) fn routes(describe: Describe) -> Routes {
    let service = DescribeServiceServer::new(describe)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Routes::new(service)
}

/// The engine's answers to a runner: which processes an application's cluster has, how its main()
/// is started, and how its output is published and swept.
#[derive(Clone, Debug)]
pub struct Describe {
    executable: String,
}

impl Describe {
    /// A service whose plans start this very executable.
    pub fn new() -> std::io::Result<Self> {
        let executable = std::env::current_exe()?;
        let executable = executable.to_str().ok_or(std::io::ErrorKind::InvalidFilename)?.to_owned();
        Ok(Self { executable })
    }

    fn command(&self, arguments: impl IntoIterator<Item = String>) -> Vec<String> {
        std::iter::once(self.executable.clone()).chain(arguments).collect()
    }
}

#[tonic::async_trait]
impl DescribeService for Describe {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        Ok(Response::new(InfoResponse {
            engine: ENGINE.to_owned(),
            version: datafusion::DATAFUSION_VERSION.to_owned(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            program_suffixes: vec![".sql".to_owned(), String::new()],
            equal_job_names: false,
            graph_bytes_vary: false,
        }))
    }

    async fn describe_cluster(
        &self,
        request: Request<DescribeClusterRequest>,
    ) -> Result<Response<DescribeClusterResponse>, Status> {
        let spec = request.into_inner().spec.unwrap_or_default();
        if spec.target == target::STATIC {
            let why = "the datafusion engine starts its own worker, there is no cluster to go to";
            return Err(Problem::new(Reason::TargetUnknown, why)
                .field("spec.target", why)
                .help("-t local")
                .into_status());
        }
        let settings = settings(&spec)?;
        let worker = Role {
            name: "worker".to_owned(),
            command: self.command([
                "worker".to_owned(),
                format!("--memory-limit-bytes={}", settings.memory_limit_bytes),
                format!("--result-limit-bytes={}", settings.result_limit_bytes),
                format!("--jobs-at-once={}", settings.jobs_at_once),
            ]),
            replicas: 1,
            resources: Some(Resources {
                memory_bytes: settings.memory_limit_bytes as u64 * settings.jobs_at_once as u64
                    + WORKER_OVERHEAD_BYTES,
                cpu_millis: 0,
            }),
            readiness: Some(Readiness {
                timeout: Some(prost_types::Duration { seconds: READY_SECONDS, nanos: 0 }),
                probe: Some(readiness::Probe::GrpcHealth(true)),
            }),
            // The worker executes the jobs, so that its death begins a new incarnation.
            restart: RestartPolicy::Never.into(),
            serves_jobs: true,
            ..Role::default()
        };
        let plan = Plan {
            roles: vec![worker],
            commit: Commit::Gated.into(),
            engine: ENGINE.to_owned(),
            engine_version: datafusion::DATAFUSION_VERSION.to_owned(),
            ..Plan::default()
        };
        Ok(Response::new(DescribeClusterResponse { plan: Some(plan) }))
    }

    async fn describe_main(
        &self,
        request: Request<DescribeMainRequest>,
    ) -> Result<Response<DescribeMainResponse>, Status> {
        let request = request.into_inner();
        let spec = request.spec.unwrap_or_default();
        let mut settings = settings(&spec)?;
        let program = spec.program.clone().unwrap_or_default();
        refuse_meaningless(&program)?;
        if program.parallelism > 0 {
            let partitions = program.parallelism.to_string();
            settings
                .session
                .entry("datafusion.execution.target_partitions".to_owned())
                .or_insert(partitions);
        }
        let file = request.artifacts.first().ok_or_else(|| {
            Problem::new(Reason::RequestInvalid, "the program is missing from the artifacts")
                .field("artifacts", "the first one is the program")
                .into_status()
        })?;
        let command = match Program::of(&file.name, Path::new(&file.path))
            .map_err(program_status)?
        {
            Program::Script if !program.arguments.is_empty() => {
                return Err(meaningless("program.arguments", "a .sql script takes no arguments"));
            }
            Program::Script => self.command([
                "sql-main".to_owned(),
                format!("--name={}", file.name),
                format!("--inputs={}", input_directory(file).display()),
                format!("--outputs={}", request.output_directory),
                file.path.clone(),
            ]),
            Program::Native => {
                std::iter::once(file.path.clone()).chain(program.arguments).collect()
            }
        };
        let environment = settings.environment(spec.append_output).into_iter().collect();
        Ok(Response::new(DescribeMainResponse { command, environment, ..Default::default() }))
    }

    async fn publish(
        &self,
        request: Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        let request = request.into_inner();
        let outputs = request
            .manifest
            .unwrap_or_default()
            .outputs
            .into_iter()
            .map(wire::output_of)
            .collect::<Vec<_>>();
        let mut own: std::collections::HashSet<String> = request.own_job_ids.into_iter().collect();
        own.insert(request.job_id);
        let done = blocking(move || publish::publish(&outputs, &own)).await?;
        Ok(Response::new(PublishResponse {
            files_published: done.published,
            files_found: done.found,
        }))
    }

    async fn sweep(
        &self,
        request: Request<SweepRequest>,
    ) -> Result<Response<SweepResponse>, Status> {
        let request = request.into_inner();
        let locations: Vec<PathBuf> = request.locations.into_iter().map(PathBuf::from).collect();
        let owners: Vec<_> =
            request.owners.into_iter().map(|o| (o.job_id, o.up_to_incarnation)).collect();
        let directories_removed = blocking(move || publish::sweep(&locations, &owners)).await?;
        Ok(Response::new(SweepResponse { directories_removed }))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PublishError> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|e| Problem::new(Reason::Internal, e.to_string()).into_status())?;
    done.map_err(|error| Problem::new(error.reason(), error.to_string()).into_status())
}

fn settings(spec: &api::ApplicationSpec) -> Result<Settings, Status> {
    Settings::parse(&spec.settings).map_err(|bad| {
        let text = bad.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let problem = Problem::new(Reason::SettingUnknown, text);
        bad.iter()
            .fold(problem, |p, b| p.field(format!("spec.settings[{}]", b.name()), b.to_string()))
            .into_status()
    })
}

/// Refuses launch options of Flink, which mean nothing here, instead of ignoring them.
fn refuse_meaningless(program: &api::Program) -> Result<(), Status> {
    let given = [
        (!program.entry_class.is_empty(), "program.entry_class", "-c names a Java class"),
        (!program.classpaths.is_empty(), "program.classpaths", "-C adds to a Java class path"),
        (!program.savepoint.is_empty(), "program.savepoint", "-s names a Flink savepoint"),
        (
            program.allow_non_restored_state,
            "program.allow_non_restored_state",
            "-n is about Flink savepoints",
        ),
        (!program.claim_mode.is_empty(), "program.claim_mode", "-cm is about Flink savepoints"),
        (!program.python.is_empty(), "program.python", "-py* options start PyFlink programs"),
    ];
    match given.into_iter().find(|(given, ..)| *given) {
        Some((_, field, why)) => Err(meaningless(field, why)),
        None => Ok(()),
    }
}

fn meaningless(field: &str, why: &str) -> Status {
    Problem::new(
        Reason::OptionMeaningless,
        format!("{why}: it means nothing to the datafusion engine"),
    )
    .field(format!("spec.{field}"), why)
    .help("leave it out, or run the program with --engine flink")
    .into_status()
}

fn program_status(error: ProgramError) -> Status {
    let problem = Problem::new(error.reason(), error.to_string());
    match &error {
        ProgramError::Invalid(sql) => {
            problem.metadata("line", sql.line).metadata("column", sql.column).into_status()
        }
        _ => problem.into_status(),
    }
}

/// The directory of relative inputs: that of the script where the user has it, or that of the
/// fetched copy if the script came from elsewhere.
fn input_directory(file: &LocalArtifact) -> PathBuf {
    let local = match file.uri.split_once("://") {
        Some(("file" | "local", path)) => {
            Some(crate::file_url::decode(path).unwrap_or_else(|| path.to_owned()))
        }
        Some(_) => None,
        None => Some(file.uri.clone()),
    };
    let beside = local.filter(|path| path.starts_with('/')).map(PathBuf::from);
    let path = beside.unwrap_or_else(|| PathBuf::from(&file.path));
    path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_beside_a_local_script_and_in_the_working_directory_otherwise() {
        let directory = |uri: &str| {
            let file = LocalArtifact {
                path: "/app/x.sql".to_owned(),
                uri: uri.to_owned(),
                ..Default::default()
            };
            input_directory(&file).display().to_string()
        };
        assert_eq!(directory("file:///home/u/a%20b/x.sql"), "/home/u/a b");
        assert_eq!(directory("local:///opt/app/x.sql"), "/opt/app");
        assert_eq!(directory("/home/u/x.sql"), "/home/u");
        assert_eq!(directory("https://host/a/x.sql"), "/app");
    }
}
