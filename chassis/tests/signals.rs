//! What signals do to a process: a child, this binary again, gets them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::future::pending;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::SystemClock;
use chassis::tasks::{Shutdown, TaskSet};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

const PATIENCE: Duration = Duration::from_secs(20);

/// A process with one part that ends when asked to and, if the environment says so, one part that
/// does not.
#[test]
#[ignore = "runs as a child of the other tests"]
fn child() {
    let deaf = std::env::var_os("DEAF").is_some();
    chassis::runtime().unwrap().block_on(async {
        let shutdown = Shutdown::on_signals().unwrap();
        let tasks = TaskSet::new(shutdown.clone(), Arc::new(SystemClock));
        tasks.spawn("polite", async move {
            println!("\nready");
            shutdown.begun().await;
            println!("\nbegun");
            Ok::<_, io::Error>(())
        });
        if deaf {
            tasks.spawn("deaf", pending::<io::Result<()>>());
        }
        tasks.run(Duration::from_secs(3600)).await.unwrap();
    });
}

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    async fn start(deaf: bool) -> Self {
        let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "child", "--nocapture"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        if deaf {
            command.env("DEAF", "1");
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Self { child, lines };
        process.says("ready").await;
        process
    }

    async fn says(&mut self, word: &str) {
        let found = async {
            while self.lines.next_line().await.unwrap().expect("it says so before it ends") != word
            {
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("it says so in time");
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    async fn code(mut self) -> Option<i32> {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap().code()
    }
}

#[tokio::test]
async fn one_signal_asks_the_tasks_to_end() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut process = Process::start(false).await;
        process.signal(signal);
        process.says("begun").await;
        assert_eq!(process.code().await, Some(0));
    }
}

#[tokio::test]
async fn a_second_signal_leaves_at_once_with_its_number() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut process = Process::start(true).await;
        process.signal(Signal::TERM);
        process.says("begun").await;
        process.signal(signal);
        assert_eq!(process.code().await, Some(code));
    }
}
