//! `DescribeService`: translates between proto and what the engine knows.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chassis::MAX_MESSAGE_BYTES;
use chassis::clock::{SharedClock, timeout};
use chassis::transport::SharedTransport;
use proto::engine::describe_service_server::{DescribeService, DescribeServiceServer};
use proto::engine::{
    Commit, DescribeClusterRequest, DescribeClusterResponse, DescribeMainRequest,
    DescribeMainResponse, InfoRequest, InfoResponse, LocalArtifact, Plan, PublishRequest,
    PublishResponse, Readiness, Resources, RestartPolicy, Role, RoleFile, SweepRequest,
    SweepResponse, readiness,
};
use proto::{JobId, Problem, Reason, api, target};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::program::{self, ProgramError};
use super::sweep;
use crate::additions::Additions;
use crate::cluster::{self, ClusterSpec};
use crate::home::{FLINK_VERSION, Home};
use crate::jobmanager::JobManager;
use crate::jvm::{self, JvmLimits};
use crate::role::{self, Loading};
use crate::session::{self, Session};
use crate::settings::{BadSetting, KnownSettings, Settings};

/// The engine's name.
pub const ENGINE: &str = "flink";

/// How long a cluster may take to be ready, with JVMs on busy cores and without archives.
const READY_SECONDS: i64 = 120;

/// How long a session cluster may take to say what it is.
const GREET_WITHIN: Duration = Duration::from_secs(5);

/// The service's methods.
pub(super) fn routes(describe: Describe) -> Routes {
    let service = DescribeServiceServer::new(describe)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Routes::new(service)
}

/// The engine's answers to a runner: which processes an application's cluster has, how its main()
/// is started, and what its ended jobs have left.
#[derive(Clone)]
pub struct Describe {
    executable: String,
    /// The port at which main()'s JVM finds the front.
    front_port: u16,
    /// The `Name:value` lines that Flink's REST client sends with every request.
    front_headers: String,
    transport: SharedTransport,
    clock: SharedClock,
}

impl Describe {
    /// A service whose plans start this very executable, and whose main()s call a front at this
    /// port with this token.
    pub fn new(
        front_port: u16,
        token: &str,
        transport: SharedTransport,
        clock: SharedClock,
    ) -> std::io::Result<Self> {
        let executable = std::env::current_exe()?;
        let executable = executable.to_str().ok_or(std::io::ErrorKind::InvalidFilename)?.to_owned();
        let front_headers = format!("Authorization:Bearer {token}");
        Ok(Self { executable, front_port, front_headers, transport, clock })
    }

    fn role(&self, name: &str, arguments: &[String]) -> Role {
        Role {
            name: name.to_owned(),
            command: std::iter::once(self.executable.clone())
                .chain(std::iter::once(name.to_owned()))
                .chain(arguments.iter().cloned())
                .collect(),
            replicas: 1,
            ..Role::default()
        }
    }

    /// The plan for a session cluster: one process of mainspring's beside a cluster that runs
    /// already.
    fn guest_plan(&self, session: &Session) -> Plan {
        let jobs = Role {
            readiness: Some(ready(Some(readiness::Probe::GrpcHealth(true)))),
            restart: RestartPolicy::Always.into(),
            serves_jobs: true,
            ..self.role("jobs", &[format!("--session={session}")])
        };
        Plan {
            roles: vec![jobs],
            commit: Commit::None.into(),
            engine: ENGINE.to_owned(),
            engine_version: FLINK_VERSION.to_owned(),
            addresses: [(session::ADDRESS.to_owned(), session.to_string())].into(),
        }
    }

    /// Refuses a wrong address and a cluster of another version before anything is begun. A cluster
    /// that the application has used before may be away for a while.
    async fn greet(&self, session: &Session, first: bool) -> Result<(), Status> {
        let cluster =
            JobManager::new(self.transport.clone(), self.clock.clone(), session.endpoint());
        let away = |why: String| {
            Problem::new(Reason::ClusterNotReady, format!("no Flink at {session}: {why}"))
                .help("start the session cluster, or name the REST address of another with -m HOST:PORT")
                .into_status()
        };
        let version = match timeout(&self.clock, GREET_WITHIN, cluster.version()).await {
            Ok(Ok(version)) => version,
            Ok(Err(_)) | Err(_) if !first => return Ok(()),
            Ok(Err(error)) => return Err(away(error.to_string())),
            Err(elapsed) => return Err(away(elapsed.to_string())),
        };
        if version == FLINK_VERSION {
            return Ok(());
        }
        let text = format!(
            "the session cluster at {session} is Flink {version}, and plans are made by {FLINK_VERSION} here"
        );
        Err(Problem::new(Reason::ProgramUnsupported, text)
            .help(format!(
                "use a session cluster of Flink {FLINK_VERSION}, or -t local, which brings its own"
            ))
            .into_status())
    }
}

#[tonic::async_trait]
impl DescribeService for Describe {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        Ok(Response::new(InfoResponse {
            engine: ENGINE.to_owned(),
            version: FLINK_VERSION.to_owned(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            program_suffixes: vec![".jar".to_owned()],
            equal_job_names: true,
            graph_bytes_vary: true,
        }))
    }

    async fn describe_cluster(
        &self,
        request: Request<DescribeClusterRequest>,
    ) -> Result<Response<DescribeClusterResponse>, Status> {
        let request = request.into_inner();
        let spec = request.spec.unwrap_or_default();
        let (settings, session) = settings(&spec)?;
        if let Some(session) = session {
            self.greet(&session, request.incarnation == 0).await?;
            return Ok(Response::new(DescribeClusterResponse {
                plan: Some(self.guest_plan(&session)),
            }));
        }
        let additions = additions(&spec, &request.artifacts, &home()?)?;
        let (taskmanagers, whole_within) = (settings.taskmanagers, settings.taskmanagers_within);
        let mut whole = vec![
            format!("--taskmanagers={taskmanagers}"),
            format!("--whole-within={whole_within}"),
        ];
        whole.extend(settings.takes_jobs_early().then(|| "--early".to_owned()));
        let memory = (settings.jobmanager.process, settings.taskmanager.process);
        let cluster = ClusterSpec {
            settings,
            additions,
            state_directory: request.state_directory,
            output_directory: request.output_directory,
        };
        let content =
            serde_json::to_vec(&cluster).expect("strings and numbers always have a JSON form");
        let file = || RoleFile {
            path: cluster::FILE.to_owned(),
            content: content.clone().into(),
            executable: false,
        };
        let resources = |memory_bytes| Some(Resources { memory_bytes, cpu_millis: 0 });
        let roles = vec![
            Role {
                ports: vec!["ha".to_owned()],
                readiness: Some(Readiness {
                    timeout: Some(seconds(READY_SECONDS + i64::from(whole_within))),
                    probe: Some(readiness::Probe::GrpcHealth(true)),
                }),
                restart: RestartPolicy::Always.into(),
                // `jobs` is the only process that sees the TaskManagers register.
                fatal_exit_codes: vec![i32::from(cluster::INCOMPLETE_EXIT)],
                serves_jobs: true,
                ..self.role("jobs", &whole)
            },
            Role {
                ports: vec!["rest".to_owned(), "rpc".to_owned()],
                files: vec![file()],
                readiness: Some(ready(Some(readiness::Probe::TcpPortName("rest".to_owned())))),
                // The JobManager executes the jobs, so that its death begins a new incarnation.
                restart: RestartPolicy::Never.into(),
                resources: resources(memory.0),
                ..self.role("jobmanager", &[])
            },
            Role {
                files: vec![file()],
                replicas: taskmanagers,
                readiness: Some(ready(None)),
                // The JobManager runs the tasks of a lost TaskManager elsewhere, or here again.
                restart: RestartPolicy::Always.into(),
                // What the tasks of a TaskManager wrote is committed by checkpoints, or not at all.
                ends_at_once: true,
                resources: resources(memory.1),
                ..self.role("taskmanager", &[])
            },
        ];
        let plan = Plan {
            roles,
            commit: Commit::Gated.into(),
            engine: ENGINE.to_owned(),
            engine_version: FLINK_VERSION.to_owned(),
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
        let (settings, session) = settings(&spec)?;
        let home = home()?;
        let program = spec.program.clone().unwrap_or_default();
        if let Some(option) = program.python.keys().min() {
            let why = format!("{option} is for Python programs, and this is a jar");
            return Err(Problem::new(Reason::OptionMeaningless, why.clone())
                .field("spec.program.python", why)
                .help("leave it out")
                .into_status());
        }
        let jar = request.artifacts.first().ok_or_else(|| {
            let text = "the program is missing from the artifacts";
            Problem::new(Reason::RequestInvalid, text)
                .field("artifacts", "the first one is the program")
                .into_status()
        })?;
        program::check(&jar.name, Path::new(&jar.path)).map_err(program_status)?;
        let additions = additions(&spec, &request.artifacts, &home)?;
        let home = home.with(additions.class_path());
        let plugins =
            std::env::current_dir().and_then(|directory| additions.plugins_in(&directory, &home));
        let plugins = plugins.map_err(|error| {
            let text = format!("cannot link Flink's plugins: {error}");
            Problem::new(Reason::OutputNotWritable, text).into_status()
        })?;
        let limits = JvmLimits { heap: settings.main_heap, direct: None, metaspace: None };
        let warnings = KnownSettings::read(&home.known_settings()).warnings(&settings.flink);
        // A session cluster may get more TaskManagers at any time, so that no width is told.
        let width = if session.is_none() { settings.width() } else { Vec::new() };
        let mut flink: BTreeMap<String, String> = settings.flink;
        flink.insert("rest.address".to_owned(), "127.0.0.1".to_owned());
        flink.insert("rest.port".to_owned(), self.front_port.to_string());
        let main = role::Role::Main;
        let jvm = jvm::arguments(
            main,
            &home,
            &limits,
            Loading::ProgramFirst,
            settings.java_options.of(main),
        );
        // The plan and nested jars are written to the temporary directory, which is the attempt's
        // own.
        let command = std::iter::once(home.java().to_string_lossy().into_owned())
            .chain(std::iter::once("-Djava.io.tmpdir=.".to_owned()))
            .chain(width)
            .chain(jvm.into_iter().map(|argument| argument.to_string_lossy().into_owned()))
            .chain(program::arguments(&program, &jar.path, flink));
        let environment = [
            ("FLINK_REST_CLIENT_HEADERS".to_owned(), self.front_headers.clone()),
            ("FLINK_PLUGINS_DIR".to_owned(), plugins.to_string_lossy().into_owned()),
        ];
        Ok(Response::new(DescribeMainResponse {
            command: command.collect(),
            environment: environment.into(),
            warnings,
            exits_with_signals: true,
        }))
    }

    /// Publishes nothing, because Flink's sinks commit their output themselves, under the
    /// checkpoints that the record fences.
    async fn publish(
        &self,
        _: Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        Ok(Response::new(PublishResponse::default()))
    }

    /// Sweeps checkpoints only, because Flink's sinks have no staging of mainspring's.
    async fn sweep(
        &self,
        request: Request<SweepRequest>,
    ) -> Result<Response<SweepResponse>, Status> {
        let SweepRequest { state_directory, ended_job_ids, .. } = request.into_inner();
        let jobs =
            ended_job_ids.iter().map(|id| id.parse::<JobId>()).collect::<Result<Vec<_>, _>>();
        let jobs = jobs.map_err(|error| {
            let text = format!("ended_job_ids: {error}");
            Problem::new(Reason::RequestInvalid, &text).field("ended_job_ids", text).into_status()
        })?;
        let directory = state_directory.clone();
        let swept =
            tokio::task::spawn_blocking(move || sweep::sweep(Path::new(&directory), &jobs)).await;
        let swept = swept
            .map_err(|error| Problem::new(Reason::Internal, error.to_string()).into_status())?;
        let directories_removed = swept.map_err(|error| {
            let text = format!("cannot remove checkpoints below {state_directory}: {error}");
            Problem::new(Reason::OutputNotWritable, text).into_status()
        })?;
        Ok(Response::new(SweepResponse { directories_removed }))
    }
}

fn home() -> Result<Home, Status> {
    Home::find().map_err(|error| {
        Problem::new(Reason::EngineNotSetUp, error.to_string())
            .help("mainspring setup flink")
            .into_status()
    })
}

fn ready(probe: Option<readiness::Probe>) -> Readiness {
    Readiness { timeout: Some(seconds(READY_SECONDS)), probe }
}

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

/// The application's settings, and the session cluster that it wants to use, if it does.
fn settings(spec: &api::ApplicationSpec) -> Result<(Settings, Option<Session>), Status> {
    let mut given = spec.settings.clone().into_iter().collect();
    let parallelism = spec.program.as_ref().map_or(0, |program| program.parallelism);
    let session = (spec.target == target::STATIC).then(|| Session::take(&mut given)).transpose();
    let session = session.map_err(|bad| settings_status(&bad))?;
    let settings = Settings::read(&given, parallelism).map_err(|bad| settings_status(&bad))?;
    Ok((settings, session))
}

fn additions(
    spec: &api::ApplicationSpec,
    artifacts: &[LocalArtifact],
    home: &Home,
) -> Result<Additions, Status> {
    Additions::read(&spec.settings, artifacts, home).map_err(|bad| settings_status(&bad))
}

fn settings_status(bad: &[BadSetting]) -> Status {
    let first = bad.first().map(ToString::to_string).unwrap_or_default();
    let reason = match bad.first() {
        Some(BadSetting::Unknown(_)) => Reason::SettingUnknown,
        _ => Reason::SpecInvalid,
    };
    let problem = Problem::new(reason, first);
    let field = |setting: &BadSetting| format!("spec.settings[{}]", setting.name());
    bad.iter()
        .fold(problem, |problem, bad| problem.field(field(bad), bad.to_string()))
        .into_status()
}

fn program_status(error: ProgramError) -> Status {
    let reason = match &error {
        ProgramError::Unsupported(_) => Reason::ProgramUnsupported,
        ProgramError::NotAJar(_) | ProgramError::Unreadable { .. } => Reason::ProgramNotExecutable,
    };
    let problem = Problem::new(reason, error.to_string());
    let problem = match error {
        ProgramError::Unsupported(_) => problem,
        // The usual remedy is about native programs.
        ProgramError::NotAJar(_) => problem.help("name the jar that the program's build makes"),
        ProgramError::Unreadable { .. } => problem.help("name a jar that can be read"),
    };
    problem.into_status()
}
