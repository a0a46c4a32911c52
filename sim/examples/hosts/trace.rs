//! What happened, and what must not have happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::job::JobOutcome;
use proto::{ApplicationId, Digest, Epoch, Incarnation, JobId};
use tokio::time::Instant;

/// All that happened in one simulation, in order.
#[derive(Debug)]
pub(crate) struct Trace {
    began: Instant,
    held: Mutex<Held>,
}

/// The lines, and what the invariants are judged by.
#[derive(Debug, Default)]
struct Held {
    lines: Vec<String>,
    wrong: Vec<String>,
    /// The highest epoch of each application whose BeginAttempt was answered.
    begun: BTreeMap<ApplicationId, Epoch>,
    /// The highest epoch of each application whose main() has acted.
    acted: BTreeMap<ApplicationId, Epoch>,
    /// The epochs beside which notes are written.
    noting: BTreeSet<(ApplicationId, Epoch)>,
    /// The notes of each application that the record has confirmed.
    noted: BTreeMap<ApplicationId, BTreeSet<String>>,
    /// The host that each incarnation was provisioned on.
    provisioned: BTreeMap<(ApplicationId, Incarnation), String>,
    /// The hosts where a cluster of each application runs.
    running: BTreeSet<(String, ApplicationId)>,
    /// The applications that are clean.
    clean: BTreeSet<ApplicationId>,
    /// The hosts whose contender of each application has left.
    left: BTreeSet<(String, ApplicationId)>,
    /// The staging that each job was published from.
    published: BTreeMap<JobId, String>,
    /// How each job ended, as the cluster that reported it was answered.
    ended: BTreeMap<JobId, (Incarnation, JobOutcome)>,
}

impl Trace {
    /// A trace that begins now.
    pub(crate) fn new(began: Instant) -> Self {
        Self { began, held: Mutex::default() }
    }

    /// Notes what happened somewhere.
    pub(crate) fn note(&self, at: &str, what: impl AsRef<str>) {
        let line = format!("{:>6} {at:<4} {}", self.millis(), what.as_ref());
        self.held().lines.push(line);
    }

    /// Notes what must not happen.
    pub(crate) fn wrong(&self, what: impl Into<String>) {
        let what = format!("at {} ms: {}", self.millis(), what.into());
        let mut held = self.held();
        held.lines.push(format!("WRONG {what}"));
        held.wrong.push(what);
    }

    /// An attempt has begun. Answers the highest epoch that had begun before, if it is a lower one.
    pub(crate) fn begun(&self, application: &ApplicationId, epoch: Epoch) -> Option<Epoch> {
        let mut held = self.held();
        let highest = held.begun.entry(application.clone()).or_default();
        let before = *highest;
        *highest = epoch.max(before);
        (before != Epoch(0) && before < epoch).then_some(before)
    }

    /// The highest epoch that has begun.
    pub(crate) fn latest(&self, application: &ApplicationId) -> Epoch {
        self.held().begun.get(application).copied().unwrap_or_default()
    }

    /// Whether notes are to be written beside this epoch from now on: the first time that it is
    /// asked.
    pub(crate) fn begins_notes(&self, application: &ApplicationId, epoch: Epoch) -> bool {
        self.held().noting.insert((application.clone(), epoch))
    }

    /// The record has confirmed a note.
    pub(crate) fn noted(&self, application: &ApplicationId, at: &str, text: String) {
        self.note(at, format!("{application}: {text}"));
        self.held().noted.entry(application.clone()).or_default().insert(text);
    }

    /// The notes of an application that the record has confirmed.
    pub(crate) fn confirmed_notes(&self, application: &ApplicationId) -> BTreeSet<String> {
        self.held().noted.get(application).cloned().unwrap_or_default()
    }

    /// The main() of an attempt acts. Once a later attempt has begun, or its main() has acted, no
    /// earlier one may.
    pub(crate) fn acts(&self, application: &ApplicationId, epoch: Epoch, at: &str) {
        let (known, begun) = {
            let mut held = self.held();
            let begun = held.begun.get(application).copied().unwrap_or_default();
            let highest = held.acted.entry(application.clone()).or_default();
            let known = *highest;
            *highest = epoch.max(known);
            (known, begun)
        };
        if epoch < begun {
            self.wrong(format!(
                "{application}: main() of epoch {epoch} acts on {at} after epoch {begun} has begun"
            ));
        }
        if epoch < known {
            self.wrong(format!(
                "{application}: main() of epoch {epoch} acts on {at} beside that of epoch {known}"
            ));
        }
        if epoch > known {
            self.note(at, format!("{application}: main() of epoch {epoch} acts"));
        }
    }

    /// The processes of an incarnation were started on a host. No other host may start them.
    pub(crate) fn provisioned(
        &self,
        application: &ApplicationId,
        incarnation: Incarnation,
        at: &str,
    ) {
        self.note(at, format!("{application}: incarnation {incarnation} is started"));
        if self.is_clean(application) {
            self.wrong(format!("{application}: incarnation {incarnation} was started after clean"));
        }
        let of = (application.clone(), incarnation);
        self.held().running.insert((at.to_owned(), application.clone()));
        let before = self.held().provisioned.insert(of, at.to_owned());
        if let Some(before) = before.filter(|before| before != at) {
            self.wrong(format!(
                "{application}: incarnation {incarnation} was started on {before} and on {at}"
            ));
        }
    }

    /// The processes of an application's cluster have ended on a host.
    pub(crate) fn torn_down(&self, application: &ApplicationId, at: &str) {
        self.held().running.remove(&(at.to_owned(), application.clone()));
    }

    /// A host is gone with all its processes.
    pub(crate) fn crashed(&self, at: &str) {
        let mut held = self.held();
        held.running.retain(|(host, _)| host != at);
        held.left.retain(|(host, _)| host != at);
    }

    /// The contender of an application on a host has left with the application's code.
    pub(crate) fn left(&self, application: &ApplicationId, at: &str) {
        self.held().left.insert((at.to_owned(), application.clone()));
    }

    /// Whether the contender of an application on a host has left.
    pub(crate) fn has_left(&self, application: &ApplicationId, at: &str) -> bool {
        self.held().left.contains(&(at.to_owned(), application.clone()))
    }

    /// Whether it is recorded that nothing is left of an application.
    pub(crate) fn is_clean(&self, application: &ApplicationId) -> bool {
        self.held().clean.contains(application)
    }

    /// It is recorded that nothing is left of an application. A leader seldom hears so by the
    /// answer to its own write, because the watch of the record overtakes the answer.
    pub(crate) fn clean(&self, application: &ApplicationId) {
        let hosts: Vec<String> = {
            let mut held = self.held();
            held.clean.insert(application.clone());
            let left = held.running.iter().filter(|(_, of)| of == application);
            left.map(|(host, _)| host.clone()).collect()
        };
        if !hosts.is_empty() {
            self.wrong(format!("{application}: clean, and its cluster runs on {hosts:?}"));
        }
    }

    /// A cluster was answered that a job has ended as it says. It may be told so again, and no
    /// other cluster may, nor of another outcome.
    pub(crate) fn ended(
        &self,
        (job, name): (JobId, &str),
        incarnation: Incarnation,
        outcome: JobOutcome,
        at: &str,
    ) {
        self.note(at, format!("{name} ended {outcome:?} in incarnation {incarnation}"));
        let before = self.held().ended.insert(job, (incarnation, outcome));
        if let Some(before) = before.filter(|before| *before != (incarnation, outcome)) {
            self.wrong(format!("{name} ({job}) has ended more than once, before as {before:?}"));
        }
    }

    /// The staged output of a job gets its final names. It may get them again, and no output of
    /// another incarnation may.
    pub(crate) fn published(&self, job: JobId, staging: &str, at: &str) {
        self.note(at, format!("{job} is published from {staging}"));
        let before = self.held().published.insert(job, staging.to_owned());
        if let Some(before) = before.filter(|before| before != staging) {
            self.wrong(format!("{job} was published from {before} and from {staging}"));
        }
    }

    /// Whether the output of a job has its final names.
    pub(crate) fn is_published(&self, job: JobId) -> bool {
        self.held().published.contains_key(&job)
    }

    /// The lines, what is wrong in them, and a digest over all of them.
    pub(crate) fn take(&self) -> (Vec<String>, Vec<String>, Digest) {
        let mut held = self.held();
        let (lines, wrong) = (std::mem::take(&mut held.lines), std::mem::take(&mut held.wrong));
        let digest = Digest::of(lines.join("\n").as_bytes());
        (lines, wrong, digest)
    }

    fn millis(&self) -> u128 {
        self.began.elapsed().as_millis()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
