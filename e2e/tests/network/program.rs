//! The program of these tests: an application of two jobs whose main() says when it runs, and
//! takes each of its steps when it is told to.

use std::path::{Path, PathBuf};

use e2e::Deployment;
use e2e::host::binary;
use e2e::process::eventually;

use crate::beats::{self, Span};
use crate::{hosts, squares};

/// Where a worker is held: a job's work is done, and the record does not know yet.
pub(crate) const BEFORE_THE_END: &str = "worker.before-record-job-end";

/// An application that was submitted.
pub(crate) struct Program {
    directory: PathBuf,
    /// Where its output comes to.
    pub(crate) out: PathBuf,
}

impl Program {
    /// Submits the program through a host. What the program is told and says is called after
    /// `name`.
    #[track_caller]
    pub(crate) fn submit(bed: &Deployment, through: usize, name: &str) -> Self {
        let directory = bed.shared().join("programs").join(name);
        std::fs::create_dir(&directory).unwrap();
        let at = bed.seen(&directory);
        let engine = binary("mainspring-datafusion");
        let (first, second) = squares::SCRIPT.split_once("-- job: report").unwrap();
        let scripts =
            [("squares", first.to_owned()), ("report", format!("-- job: report{second}"))];
        let steps = scripts.map(|(step, sql)| {
            let script = bed.file(&format!("{name}/{step}.sql"), &sql);
            format!(
                "while [ ! -e '{at}/{step}.go' ]; do sleep 0.05; done\n\
                 '{}' sql-main '{script}'\n",
                engine.display()
            )
        });
        let beats = beats::script(&format!("{at}/beats"));
        let script = format!("set -e\n{beats}{}kill $!\n", steps.concat());
        let program = bed.program(&format!("{name}/main"), &script);
        let out = hosts::submit(bed, through, &program, &format!("out-{name}"));
        Self { directory, out }
    }

    /// Lets main() take a step: `squares` or `report`.
    pub(crate) fn go(&self, step: &str) {
        std::fs::write(self.directory.join(format!("{step}.go")), "").unwrap();
    }

    /// The executions of main() so far, in the order in which they began.
    #[track_caller]
    pub(crate) fn spans(&self) -> Vec<Span> {
        beats::spans(&self.beats())
    }

    /// Waits until main() runs.
    #[track_caller]
    pub(crate) fn runs(&self) {
        eventually("main() says that it runs", || self.beats().exists());
    }

    /// Checks that no two executions of main() said at one instant that they run, and answers how
    /// many there were.
    #[track_caller]
    pub(crate) fn ran_alone(&self) -> usize {
        let spans = self.spans();
        let overlaps = beats::overlaps(&spans);
        assert!(overlaps.is_empty(), "two main()s wrote at one instant: {overlaps:#?}");
        spans.len()
    }

    fn beats(&self) -> PathBuf {
        self.directory.join("beats")
    }
}

/// Whether a host shows that the job of this name has succeeded.
pub(crate) fn has_ended(bed: &Deployment, through: usize, job: &str) -> bool {
    let status = bed.host(through).status("squares");
    let jobs = status["jobs"].as_array().cloned().unwrap_or_default();
    jobs.iter()
        .any(|known| known["name"] == job && known["end"]["outcome"] == "JOB_OUTCOME_SUCCEEDED")
}

/// Lets a process go on that a failpoint holds.
pub(crate) fn release(marker: &Path) {
    std::fs::write(marker.with_added_extension("go"), "").unwrap();
}
