//! The applications of cycles, each of which has one right outcome, whatever is done to it.

use std::path::{Path, PathBuf};

use crate::deployment::Deployment;
use crate::flink::{Tally, programs, tally};
use crate::gateway::number;
use crate::host::binary;

use super::table::{Table, Verdict, judge};

/// How many numbers Flink's program counts, which is about five seconds of work.
const NUMBERS: u64 = 8_000;

/// What runs in a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// A script of two jobs.
    Squares,
    /// A main() that takes its time, and executes one job after another.
    Long,
    /// A program of Flink's that counts.
    Flink,
}

/// An application that was submitted.
#[derive(Debug, Clone)]
pub struct Application {
    /// Its id.
    pub id: &'static str,
    /// Its generation.
    pub generation: u64,
    /// Where its output comes to.
    pub out: PathBuf,
    /// What runs.
    pub program: Program,
}

impl Program {
    fn id(self) -> &'static str {
        match self {
            Self::Squares => "squares",
            Self::Long => "long",
            Self::Flink => "counted",
        }
    }

    /// The tables that its jobs write.
    pub fn tables(self) -> &'static [Table] {
        match self {
            Self::Squares => {
                &[Table { name: "squares", power: 2 }, Table { name: "cubes", power: 3 }]
            }
            Self::Long => &[
                Table { name: "first", power: 1 },
                Table { name: "second", power: 2 },
                Table { name: "third", power: 3 },
            ],
            Self::Flink => &[],
        }
    }

    /// Writes what is run, where all hosts see it, and answers its path.
    fn made(self, bed: &Deployment) -> String {
        match self {
            Self::Squares => {
                let jobs: Vec<String> = self.tables().iter().map(Table::job).collect();
                bed.file("squares.sql", &jobs.concat())
            }
            Self::Long => {
                let engine = binary("mainspring-datafusion");
                let step = |table: &Table| {
                    let script = bed.file(&format!("{}.sql", table.name), &table.job());
                    format!("'{}' sql-main '{script}'\nsleep 0.7\n", engine.display())
                };
                let steps: Vec<String> = self.tables().iter().map(step).collect();
                bed.program("long", &format!("set -e\n{}", steps.concat()))
            }
            Self::Flink => {
                let jar = bed.shared().join("programs/programs.jar");
                if !jar.exists() {
                    std::fs::copy(programs(), &jar).expect("a test may write there");
                }
                bed.seen(&jar)
            }
        }
    }
}

impl Application {
    /// Submits a program through a host, whose output comes to a new directory.
    #[track_caller]
    pub fn submit(program: Program, bed: &Deployment, through: usize, out: &str) -> Self {
        let (id, path) = (program.id(), program.made(bed));
        let out = bed.shared().join(out);
        let to = &bed.seen(&out);
        let (host, count) = (bed.host(through), NUMBERS.to_string());
        let mut run = vec!["run", "-d", "--application-id", id];
        if program == Program::Flink {
            run.extend(["-c", "ExactlyOnce", path.as_str(), count.as_str(), to]);
        } else {
            run.extend(["--output", to, path.as_str()]);
        }
        host.run(&run).exits(0);
        let generation = number(&host.status(id)["generation"]);
        Self { id, generation, out, program }
    }

    /// The application as `id@generation`.
    pub fn name(&self) -> String {
        format!("{}@{}", self.id, self.generation)
    }

    /// Where a table is written.
    pub fn directory(&self, table: &Table) -> PathBuf {
        self.out.join(table.name)
    }

    /// What is wrong with the output of an application that has succeeded.
    pub fn objections(&self) -> Vec<String> {
        if self.program == Program::Flink {
            let tally = tally(&self.out, NUMBERS);
            return (tally != Tally::default()).then(|| format!("{tally:?}")).into_iter().collect();
        }
        let tables = self.program.tables().iter();
        let verdicts = tables.map(|table| (table, judge(&self.directory(table), table)));
        let wrong = verdicts.filter(|(_, verdict)| *verdict != Verdict::Whole);
        wrong.map(|(table, verdict)| format!("{}: {verdict:?}", table.name)).collect()
    }

    /// What is left below the output that a clean application has no use for.
    pub fn staging(&self) -> Option<PathBuf> {
        staging_below(&self.out)
    }
}

fn staging_below(directory: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let directories = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
    for below in directories {
        if below.file_name().is_some_and(|name| name == ".mainspring-staging") {
            return Some(below);
        }
        if let Some(found) = staging_below(&below) {
            return Some(found);
        }
    }
    None
}
