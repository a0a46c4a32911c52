//! One cycle: an application, the faults under it, and what came of both.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chronicle::Of;

use super::application::Application;
use super::bed::Bed;
use super::fault::Kind;
use super::laws::{self, Witnessed};
use super::plan::{Plan, Step, When};
use super::reader::Reader;
use super::strike::Striker;

/// How long a runner may take to come to the point at which it is to be held.
const POINT: Duration = Duration::from_secs(60);

/// How long an application may take to be clean once all faults are undone.
const CLEAN: Duration = Duration::from_secs(180);

/// How long what is left of a clean application may still be there, and a host may be without an
/// answer.
const LEFT: Duration = Duration::from_secs(60);

/// The longest sleep until it is looked whether the cycle is to end.
const NAP: Duration = Duration::from_millis(50);

/// The pause between two questions of the command line.
const PAUSE: Duration = Duration::from_millis(300);

/// What came of a cycle.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was done.
    pub plan: Plan,
    /// How long it took.
    pub took: Duration,
    /// The kinds of the faults that had nothing to strike.
    pub missed: Vec<Kind>,
    /// From the first strike until another leader was in the record, if there was one.
    pub take_over: Option<Duration>,
    /// What is wrong; nothing, if the cycle has passed.
    pub objections: Vec<String>,
    /// The cycle was ended before its time, and says nothing.
    pub is_cut_off: bool,
}

impl Report {
    /// The report of a cycle whose deployment did not come up.
    pub(super) fn of_no_bed(plan: Plan, is_cut_off: bool) -> Self {
        let objections = vec!["the deployment did not come up; see above".to_owned()];
        let (took, missed, take_over) = (Duration::ZERO, Vec::new(), None);
        Self { plan, took, missed, take_over, objections, is_cut_off }
    }
}

/// What a cycle has found out so far, also if one of its steps panics.
#[derive(Default)]
struct Found {
    missed: Vec<Kind>,
    take_over: Option<Duration>,
    objections: Vec<String>,
}

/// Runs a cycle. Once `stop` is true the cycle ends at the next opportunity.
pub fn run(bed: &mut Bed, plan: &Plan, stop: &AtomicBool) -> Report {
    let (began, mut found) = (Instant::now(), Found::default());
    let done = catch_unwind(AssertUnwindSafe(|| go(bed, plan, stop, &mut found)));
    if let Err(panic) = done {
        found.objections.push(words(panic.as_ref()));
    }
    let Found { missed, take_over, objections } = found;
    let is_cut_off = stop.load(Ordering::Relaxed);
    Report { plan: plan.clone(), took: began.elapsed(), missed, take_over, objections, is_cut_off }
}

fn go(bed: &mut Bed, plan: &Plan, stop: &AtomicBool, found: &mut Found) {
    let marker = match plan.when {
        When::At(point) => Some(bed.hold_at(point)),
        When::After(_) => None,
    };
    let out = format!("out-{}", plan.seed);
    let application = Application::submit(plan.program, &bed.deployment, plan.through, &out);
    let reader = Reader::start(&application);
    match plan.when {
        When::After(delay) => nap(delay, stop),
        When::At(_) => {
            let is_there = || marker.as_deref().is_some_and(Path::exists);
            _ = until(POINT, NAP, stop, is_there);
        }
    }
    let (struck, excused) = strike(bed, plan, &application, marker.as_deref(), stop, found);
    let name = application.name();
    let nowhere = BTreeSet::new();
    let mut status = Value::Null;
    let is_clean = until(CLEAN, PAUSE, stop, || {
        status = bed.status(&nowhere, &name).unwrap_or_default();
        status["clean"] == true
    });
    found.take_over = take_over(bed, &application, struck);
    if stop.load(Ordering::Relaxed) {
        return;
    }
    if !is_clean {
        found.objections.push(format!("{name} is not clean after {CLEAN:?}: {status:#}"));
        return;
    }
    let mut left = Vec::new();
    let nothing = until(LEFT, PAUSE, stop, || {
        left = laws::left(bed, &application);
        left.is_empty()
    });
    if !nothing {
        found.objections.push(format!("left of what is clean after {LEFT:?}: {}", left.join(", ")));
    }
    if !until(LEFT, PAUSE, stop, || bed.all_answer()) {
        found.objections.push(format!("a host does not answer {LEFT:?} after the last fault"));
    }
    // The application's end was read before, but not necessarily as late as now.
    let status = bed.status(&nowhere, &name).unwrap_or_default();
    let asked = bed.ask(&nowhere, &["events", &name, "-o", "jsonl"]);
    let events = asked.map(|said| said.json_lines()).unwrap_or_default();
    let witnessed = Witnessed { bed, plan, application: &application, status, events, excused };
    found.objections.extend(witnessed.objections());
    found.objections.extend(reader.objections());
}

/// Does all that the plan says, one step after the other. Answers when the first fault struck, and
/// when two main()s may have run at one instant.
fn strike(
    bed: &mut Bed,
    plan: &Plan,
    application: &Application,
    marker: Option<&Path>,
    stop: &AtomicBool,
    found: &mut Found,
) -> (Instant, Vec<[Instant; 2]>) {
    let began = Instant::now();
    let mut has_struck = vec![false; plan.faults.len()];
    let mut striker = Striker::new(bed, application);
    let mut held = marker;
    for (at, number, step) in plan.steps() {
        nap(at.saturating_sub(began.elapsed()), stop);
        let (_, fault) = &plan.faults[number];
        let done = striker.step(number, fault, step);
        has_struck[number] |= done && step == Step::Strike;
        // What the runner does next, it does under the first fault.
        if let Some(marker) = held.take() {
            striker.release(marker);
        }
    }
    let missed = has_struck.iter().zip(&plan.faults).filter(|(struck, _)| !**struck);
    found.missed = missed.map(|(_, (_, fault))| fault.kind).collect();
    (began, striker.excused())
}

/// How long after an instant the record had another leader, if it had one before.
fn take_over(bed: &Bed, application: &Application, since: Instant) -> Option<Duration> {
    let writes = bed.chronicle.writes(application.id);
    let mut led = writes
        .iter()
        .filter(|write| write.of == Of::Attempt && write.generation == application.generation);
    let first = led.next().filter(|first| first.seen <= since)?;
    let next = led.find(|write| write.seen > since && write.number > first.number)?;
    Some(next.seen.duration_since(since))
}

/// Waits until the condition holds, but no longer than so, nor once the cycle is to end; answers
/// whether it holds.
fn until(
    patience: Duration,
    pause: Duration,
    stop: &AtomicBool,
    mut condition: impl FnMut() -> bool,
) -> bool {
    let end = Instant::now() + patience;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > end || stop.load(Ordering::Relaxed) {
            return false;
        }
        std::thread::sleep(pause);
    }
}

/// Sleeps, but no longer than until the cycle is to end.
fn nap(duration: Duration, stop: &AtomicBool) {
    let end = Instant::now() + duration;
    while !stop.load(Ordering::Relaxed) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        std::thread::sleep(left.min(NAP));
    }
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
    text.unwrap_or_else(|| "a step panicked".to_owned())
}
