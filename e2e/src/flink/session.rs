//! A session cluster: a JobManager and a TaskManager that no process of mainspring has started, on
//! ports of their own.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::programs::{home, java};
use crate::process::eventually_within;

const START: Duration = Duration::from_secs(60);

/// A session cluster that ends with the test.
pub struct SessionCluster {
    directory: TempDir,
    rest: u16,
    jobmanager: Child,
    taskmanager: Child,
}

impl SessionCluster {
    /// A cluster of eight slots that answers, with its TaskManager.
    #[track_caller]
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let (rpc, rest) = (free_port(), free_port());
        let work = directory.path().display();
        let configuration = format!(
            "jobmanager.rpc.address: 127.0.0.1\njobmanager.rpc.port: {rpc}\njobmanager.bind-host: 127.0.0.1\n\
             rest.address: 127.0.0.1\nrest.port: {rest}\nrest.bind-address: 127.0.0.1\nrest.bind-port: {rest}\n\
             taskmanager.host: 127.0.0.1\ntaskmanager.bind-host: 127.0.0.1\ntaskmanager.numberOfTaskSlots: 8\n\
             taskmanager.cpu.cores: 8.0\ntaskmanager.memory.task.heap.size: 128m\ntaskmanager.memory.managed.size: 64m\n\
             taskmanager.memory.framework.heap.size: 128m\ntaskmanager.memory.framework.off-heap.size: 128m\n\
             taskmanager.memory.task.off-heap.size: 0b\ntaskmanager.memory.network.min: 160m\n\
             taskmanager.memory.network.max: 160m\ntaskmanager.memory.jvm-metaspace.size: 256m\n\
             taskmanager.memory.jvm-overhead.min: 192m\ntaskmanager.memory.jvm-overhead.max: 192m\n\
             cluster.registration.error-delay: 100\ncluster.registration.initial-timeout: 100\n\
             heartbeat.interval: 500\nheartbeat.timeout: 5000\nweb.refresh-interval: 100\nio.tmp.dirs: {work}/tmp\n"
        );
        fs::create_dir(directory.path().join("tmp")).expect("it is ours");
        fs::write(directory.path().join("config.yaml"), configuration).expect("it is ours");
        let jobmanager = jvm(&directory, "StandaloneSessionClusterEntrypoint", "entrypoint");
        let taskmanager = jvm(&directory, "TaskManagerRunner", "taskexecutor");
        let cluster = Self { directory, rest, jobmanager, taskmanager };
        cluster.until_complete();
        cluster
    }

    /// The address of Flink's REST API, as `-m` takes it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.rest)
    }

    /// The state and id of each job that the cluster lists.
    #[track_caller]
    pub fn jobs(&self) -> Vec<(String, String)> {
        let list: serde_json::Value =
            serde_json::from_str(&self.get("/jobs").expect("it answers")).expect("JSON");
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        list["jobs"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|job| (text(&job["status"]), text(&job["id"])))
            .collect()
    }

    /// Kills the JobManager, and starts another one in its place, which knows nothing.
    #[track_caller]
    pub fn replace_jobmanager(&mut self) {
        self.lose_jobmanager();
        self.jobmanager = jvm(&self.directory, "StandaloneSessionClusterEntrypoint", "entrypoint");
        self.until_complete();
    }

    /// Kills the JobManager.
    pub fn lose_jobmanager(&mut self) {
        let _ = self.jobmanager.kill();
        let _ = self.jobmanager.wait();
    }

    #[track_caller]
    fn until_complete(&self) {
        eventually_within(START, "the session cluster is complete", || {
            self.get("/overview").is_some_and(|overview| overview.contains("\"taskmanagers\":1"))
        });
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.rest)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }
}

impl Drop for SessionCluster {
    fn drop(&mut self) {
        for child in [&mut self.taskmanager, &mut self.jobmanager] {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for name in ["entrypoint", "taskexecutor"] {
                let log = fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(20).collect();
                eprintln!("--- {name}, last lines first\n{}", last.join("\n"));
            }
        }
    }
}

fn jvm(directory: &TempDir, class: &str, package: &str) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.path().join(package))
        .expect("it is ours");
    let libraries = PathBuf::from(home()).join("lib/*");
    let opens = [
        "java.lang",
        "java.net",
        "java.io",
        "java.nio",
        "sun.nio.ch",
        "java.lang.reflect",
        "java.text",
        "java.time",
        "java.util",
    ];
    let opens = opens.map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
    Command::new(java("java"))
        .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(opens)
        .arg("-cp")
        .arg(libraries)
        .arg(format!("org.apache.flink.runtime.{package}.{class}"))
        .arg("--configDir")
        .arg(directory.path())
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file"))
        .stderr(log)
        .spawn()
        .expect("set-up has found a JDK")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}
