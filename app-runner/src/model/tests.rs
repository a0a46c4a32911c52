#![allow(clippy::unwrap_used)]
mod arrows;
mod crash;
mod ends;
mod hosts;
mod places;
mod savepoints;
mod world;

use ::record::MainExit;
use proto::{ApplicationRef, Digest, Epoch, Generation, Incarnation, JobId, Reason, TriggerId};

use super::*;

/// The id of a job of the tests' application.
fn job_id(name: &str) -> JobId {
    let application = ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(1) };
    JobId::derive(&application, "", name, 0)
}

/// A stored job that was never submitted.
fn stored(name: &str) -> RecordedJob {
    RecordedJob {
        name: name.to_owned(),
        graph: Digest::of(name.as_bytes()),
        graph_bytes: name.len() as u64,
        incarnation: Incarnation(0),
        submissions: 0,
        end: None,
        published: false,
        ended_before_main: false,
        staged: String::new(),
        settled: Default::default(),
    }
}

fn ended(name: &str, outcome: JobOutcome) -> RecordedJob {
    let end = Some(RecordedJobEnd {
        outcome,
        message: format!("{name} broke"),
        leaves_checkpoints: false,
    });
    RecordedJob { end, incarnation: Incarnation(1), submissions: 1, ..stored(name) }
}

fn exit(code: i32) -> MainExit {
    exit::exited(code)
}

/// What a leader of epoch 5 knows over a record.
fn leader(record: Recorded) -> Facts {
    Facts::new(Epoch(5), record)
}

/// What a leader knows whose main() and cluster are up; `jobs` are in the record.
fn running(jobs: Vec<RecordedJob>) -> Facts {
    let mut facts = leader(Recorded::default());
    let jobs = jobs.into_iter().map(|job| (job_id(&job.name), job)).collect();
    for fact in [
        Fact::Fetched,
        Fact::Pinned,
        Fact::Describing,
        Fact::Described,
        Fact::PreviousEnded { finished: false },
        Fact::ClusterBegun(Incarnation(1)),
        Fact::ClusterReady { incarnation: Incarnation(1), endpoint: "unix:/jobs".into() },
        Fact::Adopted {
            incarnation: Incarnation(1),
            endpoint: "unix:/jobs".into(),
            jobs: Default::default(),
        },
        Fact::ReadyRecorded(Incarnation(1)),
        Fact::MainStarted,
    ] {
        facts.apply(fact);
    }
    facts.record.jobs = jobs;
    facts.record.main.epoch = facts.epoch;
    facts.record.main.state = MainState::Begun;
    facts
}

fn main_exits(facts: &mut Facts, code: i32) {
    facts.apply(Fact::MainExited { exit: exit(code), seen: true, stderr_tail: String::new() });
}

/// The names of the decisions' variants, for tables.
fn names(decisions: &[Decision]) -> Vec<String> {
    let mut names: Vec<String> = decisions
        .iter()
        .map(|decision| {
            let text = format!("{decision:?}");
            text.split([' ', '(', '{']).next().unwrap().to_owned()
        })
        .collect();
    names.sort();
    names
}

fn wants(facts: &Facts) -> Vec<String> {
    names(&decide(facts))
}
