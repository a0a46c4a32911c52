//! The calls whose jobs have an id and no plan yet. They outlive this process, because a plan whose
//! id the front does not know would be refused, and main() with it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::JobId;
use proto::api::GraphDescription;
use serde::{Deserialize, Serialize};

use crate::plan;

const FILE: &str = "front.calls";

/// One `execute()` of the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) job: String,
    pub(super) call_id: String,
    pub(super) name: String,
    /// Flink's JSON of the plan, for people.
    pub(super) plan: String,
    /// Whether some of the job's sinks print.
    #[serde(default)]
    pub(super) prints: bool,
}

impl Call {
    /// The description of the job, for people.
    pub(super) fn description(&self) -> GraphDescription {
        plan::describe(&self.plan, self.prints)
    }
}

/// All calls of this attempt, in memory and as lines of a file.
pub(super) struct Assigned(Mutex<(HashMap<String, Call>, File)>);

impl Assigned {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        // A line that was cut off belongs to a call that was not answered and is therefore made
        // again.
        let calls = text.lines().filter_map(|line| serde_json::from_str::<Call>(line).ok());
        let calls = calls.map(|call| (call.job.clone(), call)).collect();
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n")?;
        }
        Ok(Self(Mutex::new((calls, file))))
    }

    /// Keeps a call; the front answers the call only afterwards.
    pub(super) fn keep(&self, call: Call) -> io::Result<()> {
        let mut kept = self.kept();
        if kept.0.get(&call.job) == Some(&call) {
            return Ok(());
        }
        let mut line = serde_json::to_vec(&call)?;
        line.push(b'\n');
        kept.1.write_all(&line)?;
        kept.0.insert(call.job.clone(), call);
        Ok(())
    }

    pub(super) fn of(&self, job: JobId) -> Option<Call> {
        self.kept().0.get(&job.to_string()).cloned()
    }

    fn kept(&self) -> MutexGuard<'_, (HashMap<String, Call>, File)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_outlive_the_process_and_half_a_line_costs_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let job: JobId = "00112233445566778899aabbccddeeff".parse().unwrap();
        let call = |id: &str| Call {
            job: job.to_string(),
            call_id: id.into(),
            name: "count\nwords".into(),
            plan: "{}".into(),
            prints: true,
        };
        Assigned::open(dir.path()).unwrap().keep(call("a")).unwrap();
        OpenOptions::new()
            .append(true)
            .open(dir.path().join(FILE))
            .unwrap()
            .write_all(b"{\"job\"")
            .unwrap();
        let again = Assigned::open(dir.path()).unwrap();
        assert_eq!(again.of(job), Some(call("a")));
        again.keep(call("b")).unwrap();
        assert_eq!(Assigned::open(dir.path()).unwrap().of(job), Some(call("b")));
    }
}
