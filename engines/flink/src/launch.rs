//! Becomes a JVM of the cluster: the configuration is written where the process runs, with the
//! addresses that the substrate chose, and then this process is replaced, so that lifecycle, which
//! watches it, watches Flink itself.
#![allow(clippy::disallowed_methods, reason = "the one file that replaces this process by a JVM")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use crate::cluster::{self, ClusterSpec};
use crate::home::Home;
use crate::jvm::{self, JvmLimits};
use crate::role::{Loading, Role};
use crate::settings::SLOT_PATIENCE;

/// The directory of temporary files, below the working directory.
const TMP: &str = "tmp";

/// The directory of checkpoints by job, below the application's state directory, where no setting
/// says otherwise.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// The directory of savepoints, in the same place.
pub(crate) const SAVEPOINTS: &str = "savepoints";

/// Where a JVM of the cluster runs, as the substrate says.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Directory of this process
    #[arg(long, env = "MAINSPRING_WORK_DIR")]
    pub work_dir: PathBuf,
    /// The application whose cluster this is
    #[arg(long, env = "MAINSPRING_APPLICATION")]
    pub application: String,
    /// The incarnation of the cluster
    #[arg(long, env = "MAINSPRING_INCARNATION")]
    pub incarnation: u64,
    /// Where TaskManagers call the JobManager, `host:port`
    #[arg(long, env = "MAINSPRING_ADDRESS_JOBMANAGER_RPC")]
    pub rpc: String,
    /// Where the JobManager serves REST, `host:port`
    #[arg(long, env = "MAINSPRING_ADDRESS_JOBMANAGER_REST")]
    pub rest: String,
}

/// Writes the configuration and becomes the JVM; returns only if that fails.
pub fn launch(role: Role, args: &Args) -> Result<std::convert::Infallible> {
    let home = Home::find()?;
    let file = args.work_dir.join(cluster::FILE);
    let text = fs::read(&file).with_context(|| file.display().to_string())?;
    let cluster: ClusterSpec =
        serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
    let home = home.with(cluster.additions.class_path());
    let plugins =
        cluster.additions.plugins_in(&args.work_dir, &home).context("link Flink's plugins")?;
    let configuration = configuration(args, &cluster)?;
    let directory = args.work_dir.join("conf");
    // main() would look here for what the program's operators write to a relative path, and here it
    // outlives the cluster.
    let outputs = Path::new(&cluster.output_directory);
    for made in [&directory, &args.work_dir.join(TMP), outputs] {
        fs::create_dir_all(made).with_context(|| made.display().to_string())?;
    }
    let file = directory.join("config.yaml");
    fs::write(&file, yaml(&configuration)?).with_context(|| file.display().to_string())?;
    let mut command = Command::new(home.java());
    command
        .args(files_of_its_own(&args.work_dir))
        .args(jvm::arguments(
            role,
            &home,
            &limits(role, &cluster),
            loading(&cluster),
            cluster.settings.java_options.of(role),
        ))
        .arg("--configDir")
        .arg(&directory)
        .env("FLINK_PLUGINS_DIR", plugins)
        .current_dir(outputs);
    let error = command.exec();
    Err(anyhow!("cannot start {}: {error}", home.java().display()))
}

/// The shape of printed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// Aligned columns.
    Table,
    /// A header and a line for each value.
    Csv,
    /// One object.
    Json,
}

/// Becomes the JVM that reads a job's answer from stdin and prints its values, which are Java
/// objects; returns only if that fails.
pub fn print_values(shape: Shape) -> Result<std::convert::Infallible> {
    let home = Home::find()?;
    let word = match shape {
        Shape::Table => "table",
        Shape::Csv => "csv",
        Shape::Json => "json",
    };
    let error = Command::new(home.java())
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-cp"])
        .arg(home.class_path(Role::Main, Loading::ProgramFirst))
        .args(["io.mainspring.flink.Accumulators", word])
        .exec();
    Err(anyhow!("cannot start {}: {error}", home.java().display()))
}

/// Arguments that put the files of a JVM which is killed (a crash report, the web page's files,
/// unpacked libraries) below its working directory, with which they are removed.
fn files_of_its_own(work: &Path) -> [String; 2] {
    [
        format!("-XX:ErrorFile={}", work.join("hs_err_pid%p.log").display()),
        format!("-Djava.io.tmpdir={}", work.join(TMP).display()),
    ]
}

/// How classes are found. A program that says so in its settings gets exactly Flink's way.
fn loading(cluster: &ClusterSpec) -> Loading {
    let is_said = cluster.settings.flink.keys().any(|key| key.starts_with("classloader."));
    if is_said { Loading::AsFlinkDoes } else { Loading::ProgramFirst }
}

fn limits(role: Role, cluster: &ClusterSpec) -> JvmLimits {
    let (jobmanager, taskmanager) = (&cluster.settings.jobmanager, &cluster.settings.taskmanager);
    match role {
        Role::JobManager => {
            JvmLimits { heap: jobmanager.heap, direct: None, metaspace: Some(jobmanager.metaspace) }
        }
        _ => JvmLimits {
            heap: taskmanager.heap(),
            direct: Some(taskmanager.direct()),
            metaspace: Some(taskmanager.metaspace),
        },
    }
}

/// Flink's configuration: the user's settings, under those that make this process a part of the
/// cluster.
fn configuration(args: &Args, cluster: &ClusterSpec) -> Result<BTreeMap<String, String>> {
    let of = |address: &str| {
        let (host, port) =
            address.rsplit_once(':').ok_or_else(|| anyhow!("{address:?} is no host:port"))?;
        Ok::<_, anyhow::Error>((host.to_owned(), port.to_owned()))
    };
    let ((rpc_host, rpc_port), (rest_host, rest_port)) = (of(&args.rpc)?, of(&args.rest)?);
    let work = |name: &str| args.work_dir.join(name).to_string_lossy().into_owned();
    let state = |name: &str| url(&Path::new(&cluster.state_directory).join(name));
    let defaults = [
        ("execution.checkpointing.dir", state(CHECKPOINTS)),
        ("execution.checkpointing.savepoint-dir", state(SAVEPOINTS)),
        // By default a TaskManager that asks before the JobManager is there waits ten seconds.
        ("cluster.registration.error-delay", "100".to_owned()),
        ("cluster.registration.initial-timeout", "100".to_owned()),
        ("cluster.registration.max-timeout", "1000".to_owned()),
        ("web.refresh-interval", "100".to_owned()),
        (SLOT_PATIENCE, format!("{} s", cluster.settings.slot_patience())),
        // How long a job's need for slots waits for the needs of other jobs: by default 50 ms,
        // although this cluster is there for one application.
        ("slotmanager.requirement-check.delay", "5".to_owned()),
        // Two beats that reach no TaskManager make it a lost one; by default that takes twenty
        // seconds.
        ("heartbeat.interval", "1000".to_owned()),
        // Counters and the number of restarts are as old as this, by default ten seconds.
        ("metrics.fetcher.update-interval", "1000".to_owned()),
    ];
    let ours = [
        // A jar that is uploaded to the web page would run without the record's knowledge.
        ("web.submit.enable", "false".to_owned()),
        ("jobmanager.rpc.address", rpc_host.clone()),
        ("jobmanager.rpc.port", rpc_port.clone()),
        // With high availability Flink listens on this port, not on the one above.
        ("high-availability.jobmanager.port", rpc_port),
        ("high-availability.type", "io.mainspring.flink.MainspringHaServicesFactory".to_owned()),
        ("high-availability.storageDir", url(Path::new(&work("ha")))),
        ("high-availability.cluster-id", format!("{}-{}", args.application, args.incarnation)),
        ("rest.address", rest_host.clone()),
        ("rest.port", rest_port.clone()),
        ("rest.bind-address", rest_host),
        ("rest.bind-port", rest_port),
        ("jobmanager.bind-host", rpc_host.clone()),
        ("taskmanager.bind-host", rpc_host.clone()),
        ("taskmanager.host", rpc_host),
        ("io.tmp.dirs", work(TMP)),
        ("blob.storage.directory", work("tmp/blob")),
        ("taskmanager.numberOfTaskSlots", cluster.settings.slots.to_string()),
        ("taskmanager.cpu.cores", format!("{}.0", cluster.settings.slots)),
    ];
    let named = |(key, value): (&str, String)| (key.to_owned(), value);
    let mut all: BTreeMap<String, String> = defaults.map(named).into();
    all.extend(cluster.settings.flink.clone());
    // Flink starts a session cluster, which is what this cluster is to it, in no scheduler mode;
    // but Flink has the scheduler of its reactive mode.
    if all.remove("scheduler-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("reactive")) {
        all.entry("jobmanager.scheduler".to_owned()).or_insert_with(|| "adaptive".to_owned());
    }
    // The sizes that these settings stand for are spelled out below; both together contradict each
    // other.
    all.retain(|key, _| !key.starts_with("taskmanager.memory."));
    all.extend(cluster.settings.taskmanager.settings().map(named));
    all.extend(ours.map(named));
    Ok(all)
}

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// The settings as YAML, in which JSON strings are strings too.
fn yaml(configuration: &BTreeMap<String, String>) -> Result<String> {
    let mut text = String::new();
    for (key, value) in configuration {
        writeln!(text, "{key}: {}", serde_json::to_string(value)?)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::additions::Additions;
    use crate::settings::Settings;

    fn configured(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let given =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let settings = Settings::read(&given, 2).unwrap();
        let cluster = ClusterSpec {
            settings,
            additions: Additions::default(),
            state_directory: "/state".into(),
            output_directory: "/outputs".into(),
        };
        let args = Args {
            work_dir: "/work".into(),
            application: "orders".into(),
            incarnation: 3,
            rpc: "127.0.0.1:6123".into(),
            rest: "127.0.0.1:8081".into(),
        };
        configuration(&args, &cluster).unwrap()
    }

    #[test]
    fn a_users_setting_stands_above_a_default_and_below_what_is_ours() {
        let plain = configured(&[]);
        assert_eq!(plain["execution.checkpointing.dir"], "file:///state/checkpoints");
        assert_eq!(plain["parallelism.default"], "2");
        assert_eq!(
            (plain["rest.port"].as_str(), plain["high-availability.cluster-id"].as_str()),
            ("8081", "orders-3")
        );
        let set = configured(&[
            ("execution.checkpointing.dir", "s3://bucket/x"),
            ("web.refresh-interval", "3000"),
        ]);
        assert_eq!(
            (set["execution.checkpointing.dir"].as_str(), set["web.refresh-interval"].as_str()),
            ("s3://bucket/x", "3000")
        );
    }

    /// People wait for a cluster for as long as these settings say, in milliseconds; by default
    /// Flink takes them in tens of seconds.
    #[test]
    fn what_is_gone_is_noticed_and_what_comes_is_taken_in_within_seconds() {
        let of = |all: &BTreeMap<String, String>, key: &str| -> u64 { all[key].parse().unwrap() };
        let plain = configured(&[]);
        // A TaskManager that is killed is unreachable at once; the second beat that does not reach
        // it makes it lost.
        assert!(2 * of(&plain, "heartbeat.interval") <= 2000);
        assert!(
            !plain.contains_key("heartbeat.rpc-failure-threshold"),
            "two, unless a setting says otherwise"
        );
        for (key, bound) in [
            ("cluster.registration.error-delay", 100),
            ("cluster.registration.initial-timeout", 100),
            ("cluster.registration.max-timeout", 1000),
            ("metrics.fetcher.update-interval", 1000),
            ("slotmanager.requirement-check.delay", 10),
            ("web.refresh-interval", 100),
        ] {
            assert!(of(&plain, key) <= bound, "{key}");
        }
        assert_eq!(of(&configured(&[("heartbeat.interval", "5000")]), "heartbeat.interval"), 5000);
    }

    #[test]
    fn a_job_waits_longer_for_its_slots_than_its_taskmanagers_may_take() {
        assert_eq!(configured(&[])[SLOT_PATIENCE], "300 s");
        assert_eq!(configured(&[("flink.taskmanagers.within", "900")])[SLOT_PATIENCE], "960 s");
        assert_eq!(configured(&[(SLOT_PATIENCE, "5 s")])[SLOT_PATIENCE], "5 s");
    }

    #[test]
    fn a_mode_that_flink_would_refuse_becomes_its_scheduler() {
        let all = configured(&[("scheduler-mode", "REACTIVE")]);
        assert!(!all.contains_key("scheduler-mode"));
        assert_eq!(all["jobmanager.scheduler"], "adaptive");
    }

    #[test]
    fn memory_is_spelled_out_and_never_said_twice() {
        let all = configured(&[("taskmanager.memory.process.size", "2g")]);
        assert!(!all.contains_key("taskmanager.memory.process.size"));
        assert!(all.contains_key("taskmanager.memory.task.heap.size"));
    }

    #[test]
    fn values_survive_as_yaml() {
        let text = yaml(&[("a.b".to_owned(), "x: \"y\" # z".to_owned())].into()).unwrap();
        assert_eq!(text, "a.b: \"x: \\\"y\\\" # z\"\n");
    }
}
