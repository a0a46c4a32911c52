//! What a main() is given.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chassis::clock::{SharedClock, SystemClock};
use client::execution::{ENDPOINT_VARIABLE, ExecuteCall, Execution};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::prelude::SessionContext;
use mainspring_datafusion::script::Paths;
use mainspring_datafusion::{session, settings, table};
use proto::runner::GetAttemptResponse;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::arguments;
use crate::error::{BoxError, Error};
use crate::executor::{ByHand, Executor, Runner};
use crate::finished::Finished;
use crate::job::Job;
use crate::once::{self, Turns};

/// The variable that says where relative outputs go. The runner sets it, and a program that is
/// started by hand obeys it.
const OUTPUT_DIRECTORY_VARIABLE: &str = "MAINSPRING_OUTPUT_DIR";

/// The application as its main() sees it.
///
/// A program gets one environment and may clone it freely: all clones are the same application.
/// [`execute`](Self::execute) and [`once`](Self::once) go through the record, so that a later
/// execution of main() finds what this one has finished; everything else happens in this process,
/// each time.
#[derive(Clone)]
pub struct Environment {
    inner: Arc<Inner>,
}

struct Inner {
    session: SessionContext,
    executor: Arc<dyn Executor>,
    turns: Turns,
    arguments: Vec<String>,
    paths: Paths,
    append: bool,
    attempt: Option<GetAttemptResponse>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("attempt", &self.inner.attempt).finish_non_exhaustive()
    }
}

impl Environment {
    /// The environment of this process, as the runner set it up or, without a runner, as it is by
    /// hand.
    pub(crate) async fn of_process() -> Result<Self, Error> {
        let arguments = arguments::parse(std::env::args_os().skip(1))?;
        if std::env::var_os(ENDPOINT_VARIABLE).is_some() {
            let execution =
                Execution::from_environment().map_err(|e| Error::Environment(e.to_string()))?;
            return Self::under(execution, arguments).await;
        }
        let outputs = outputs_by_hand()?;
        eprintln!(
            "mainspring: started by hand: jobs run in this process, without a record; relative outputs go to {}",
            outputs.display()
        );
        Self::by_hand(arguments, outputs)
    }

    /// The environment under a runner. Waits until the runner answers.
    pub(crate) async fn under(execution: Execution, arguments: Vec<String>) -> Result<Self, Error> {
        let attempt = execution.get_attempt().await.map_err(|error| {
            Error::Environment(format!(
                "the runner does not take this process for its main(): {}",
                error.message()
            ))
        })?;
        let outputs = PathBuf::from(&attempt.output_directory);
        Self::new(Arc::new(Runner::new(execution)), arguments, outputs, Some(attempt))
    }

    /// The environment without a runner.
    pub(crate) fn by_hand(arguments: Vec<String>, outputs: PathBuf) -> Result<Self, Error> {
        let clock: SharedClock = Arc::new(SystemClock);
        let executor = ByHand::new(clock).map_err(|error| {
            Error::Environment(format!("no temporary directory to work in: {error}"))
        })?;
        Self::new(Arc::new(executor), arguments, outputs, None)
    }

    fn new(
        executor: Arc<dyn Executor>,
        arguments: Vec<String>,
        outputs: PathBuf,
        attempt: Option<GetAttemptResponse>,
    ) -> Result<Self, Error> {
        let inputs = std::env::current_dir().map_err(|error| {
            Error::Environment(format!("the working directory is gone: {error}"))
        })?;
        let (settings, append) = settings::of_main();
        let session = session::planning().map_err(|error| Error::Environment(error.to_string()))?;
        {
            let state = session.state_ref();
            let mut state = state.write();
            for (name, value) in &settings {
                let set = state.config_mut().options_mut().set(name, value);
                set.map_err(|error| {
                    Error::Environment(format!("the setting {name}={value}: {error}"))
                })?;
            }
        }
        let paths = Paths { inputs, outputs };
        let inner =
            Inner { session, executor, turns: Turns::default(), arguments, paths, append, attempt };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The session in which frames are planned, with the application's `-D datafusion.…` settings.
    /// What is *run* through the session, and not through [`execute`](Self::execute), happens in
    /// this process and is not journalled.
    pub fn session(&self) -> &SessionContext {
        &self.inner.session
    }

    /// The arguments of main(), without the program's own name.
    pub fn arguments(&self) -> &[String] {
        &self.inner.arguments
    }

    /// Whether main() was started before, in an earlier attempt. Jobs and `once` steps that it had
    /// finished are answered from the record.
    pub fn is_re_execution(&self) -> bool {
        self.inner.attempt.as_ref().is_some_and(|attempt| attempt.re_execution)
    }

    /// Whether the program was started by hand: then there is no record, and jobs run in this
    /// process.
    pub fn is_by_hand(&self) -> bool {
        self.inner.attempt.is_none()
    }

    /// The absolute directory where targets that are relative paths lead. It may not exist before
    /// the first job writes.
    pub fn output_directory(&self) -> &Path {
        &self.inner.paths.outputs
    }

    /// The absolute path of a file that came with the application (`--artifact`), or of any other
    /// file, as text for `session.read_csv` and its like. Relative names are looked up in the
    /// working directory.
    pub fn artifact(&self, name: &str) -> Result<String, Error> {
        // Links are followed, because the file itself may last longer than one attempt's working
        // directory.
        let path = std::fs::canonicalize(name).map_err(|error| {
            let directory = self.inner.paths.inputs.display();
            Error::Environment(format!(
                "no file '{name}' in {directory}: {error}; main() runs in a directory of its own: bring the file with --artifact, or \
                 give an absolute path"
            ))
        })?;
        let text = path
            .to_str()
            .ok_or_else(|| Error::Environment(format!("{} is not UTF-8", path.display())))?;
        Ok(text.to_owned())
    }

    /// Executes one job and waits until its end is recorded and its output published. The job is
    /// known by `name`, in this execution of main() and in any later one. An empty name means the
    /// ordinal of the call, and then no other call may be in flight.
    ///
    /// A program never notices that its runner is away: the call waits. Dropping the call does not
    /// end the job.
    pub async fn execute(&self, name: &str, job: impl Into<Job>) -> Result<Finished, Error> {
        let graph = job.into().graph(&self.inner.paths, self.inner.append).map_err(|error| {
            Error::Graph {
                job: name.to_owned(),
                reason: error.reason(),
                message: error.to_string(),
            }
        })?;
        // A picture that cannot be drawn is no reason not to run the job.
        let description = graph.describe(&self.inner.session.task_ctx()).unwrap_or_default();
        let call = ExecuteCall {
            name: name.to_owned(),
            graph: graph.encode().into(),
            description,
            staging_locations: graph.staging_locations(),
            ..ExecuteCall::default()
        };
        let ended = self.inner.executor.execute(call).await.map_err(|refusal| Error::Refused {
            job: name.to_owned(),
            reason: refusal.reason,
            message: refusal.message,
        })?;
        Finished::of(name, ended, self.inner.executor.clone())
    }

    /// Executes a query as a job and answers its rows, which were read back from the record.
    pub async fn collect(&self, name: &str, frame: DataFrame) -> Result<Vec<RecordBatch>, Error> {
        self.execute(name, frame).await?.collect().await
    }

    /// Executes a query as a job and prints its rows to stdout as a table.
    pub async fn show(&self, name: &str, frame: DataFrame) -> Result<(), Error> {
        let (schema, rows) = self.execute(name, frame).await?.read().await?;
        match table::print(&mut std::io::stdout().lock(), &schema, &rows) {
            // The reader of the output has seen enough and is gone.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            printed => printed.map_err(|error| Error::Environment(format!("stdout: {error}"))),
        }
    }

    /// Runs a step once: when the value is kept under `key` (256 bytes at most), the step is left
    /// out and the value answered. Values are kept as JSON, 32 KiB at most.
    ///
    /// A step that was cut off between its effect and the record of its value *is* run again: give
    /// the effect the key.
    pub async fn once<T, Step>(&self, key: &str, step: Step) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned,
        Step: Future<Output = Result<T, BoxError>>,
    {
        once::once(self.inner.executor.as_ref(), &self.inner.turns, key, step).await
    }

    /// Ends the program's jobs after main() has returned. A job that main() had left running and
    /// that failed is a failure of main(), too.
    pub(crate) async fn finish(&self, main_succeeded: bool) -> Result<(), Error> {
        match self.inner.executor.finish(main_succeeded).await {
            Some(failed) => Finished::of("", failed, self.inner.executor.clone()).map(drop),
            None => Ok(()),
        }
    }

    /// The attempt that a trace names.
    pub(crate) fn attempt(&self) -> Option<&GetAttemptResponse> {
        self.inner.attempt.as_ref()
    }
}

/// `outputs/<program>@<n>/` below the current directory, with the first free number, so that two
/// runs never share a target. Runs under mainspring have the same in the state directory.
fn outputs_by_hand() -> Result<PathBuf, Error> {
    let absolute = |path: PathBuf| {
        std::path::absolute(&path)
            .map_err(|error| Error::Environment(format!("{}: {error}", path.display())))
    };
    if let Some(chosen) =
        std::env::var_os(OUTPUT_DIRECTORY_VARIABLE).filter(|chosen| !chosen.is_empty())
    {
        return absolute(chosen.into());
    }
    let program = std::env::current_exe().ok();
    let program = program
        .as_deref()
        .and_then(Path::file_stem)
        .and_then(|name| name.to_str())
        .unwrap_or("main");
    let free = |n: u32| PathBuf::from("outputs").join(format!("{program}@{n}"));
    let found = (1..u32::MAX).map(free).find(|path| !path.exists());
    absolute(found.ok_or_else(|| Error::Environment("outputs/ is full".to_owned()))?)
}
