//! A world that carries decisions out and checks, at every one of them, what must never happen. A
//! step that may not be dropped once it has begun is under way for a while, so that other steps
//! come before its end. Leaders come and go; the record, the cluster and the counts of what was
//! really done stay.

use std::collections::{BTreeMap, BTreeSet};

use proto::Incarnation;

use super::hosts::Hosts;
use super::*;

/// What main() executes, one after the other, each time from the beginning.
const SCRIPT: [&str; 2] = ["clean", "report"];

#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) record: Recorded,
    pub(super) hosts: Hosts,
    main: Option<MainRun>,
    /// The exit file of the last main(), if that main() ended by itself.
    exited: Option<i32>,
    /// The exit code that main() ends with.
    pub(super) exit_code: i32,
    describing: bool,
    /// The leader's `describe` was ended for good.
    describe_ended: bool,
    /// The steps that the leader has begun and that are not at their end.
    under_way: Vec<Decision>,
    /// The application is cancelled before this step of the next leader.
    pub(super) cancel_at: Option<usize>,
    /// main() is killed at this step of a leader whose main() runs.
    pub(super) kill_at: Option<usize>,
    /// How often each job was begun in the engine.
    pub(super) begun: BTreeMap<JobId, u32>,
    /// How often each job ended in the engine.
    pub(super) ends: BTreeMap<JobId, u32>,
    pub(super) executions: u32,
    pub(super) application_ends: Vec<Outcome>,
    /// The incarnation that took each savepoint last.
    taken: BTreeMap<TriggerId, Incarnation>,
    /// How many savepoints the engine took.
    pub(super) savepoints: u32,
}

#[derive(Debug, Clone, Default)]
struct MainRun {
    /// The index of the next `execute()`.
    next: usize,
    waits_for: Option<JobId>,
}

/// How a leader's time ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Led {
    Left(Leave),
    Crashed,
}

impl World {
    /// A world whose main() is killed at this step.
    pub(super) fn killed_at(step: usize) -> Self {
        Self { kill_at: Some(step), ..Self::default() }
    }

    /// Runs one leader until it leaves or has taken `steps` steps. `pick` chooses among what is
    /// wanted at once.
    pub(super) fn lead(&mut self, epoch: u64, steps: usize, pick: impl Fn(usize) -> usize) -> Led {
        let mut facts = Facts::new(Epoch(epoch), self.seen());
        (self.describe_ended, self.under_way) = (false, Vec::new());
        for step in 0..10_000 {
            if self.cancel_at.is_some_and(|at| at == step) {
                self.cancel();
                facts.apply(Fact::Record(Box::new(self.seen())));
            }
            if self.kill_at.is_some_and(|at| at == step) {
                self.kill_main(&mut facts);
            }
            let decisions = decide(&facts);
            if let [Decision::Leave(leave)] = &decisions[..] {
                return Led::Left(leave.clone());
            }
            if step >= steps {
                return Led::Crashed;
            }
            // A bound that runs is no step of the leader's, and no wait for other hosts is: they
            // are over when nothing else happens.
            let waits =
                |d: &Decision| matches!(d, Decision::CancelBound { .. } | Decision::AwaitPlaces);
            let begins = decisions.iter().filter(|d| !waits(d) && !self.under_way.contains(d));
            let steps: Vec<_> = begins.chain(&self.under_way).cloned().collect();
            if steps.is_empty() {
                for fact in self.something_happens(&facts) {
                    facts.apply(fact);
                }
            } else {
                let decision = steps[pick(step) % steps.len()].clone();
                let is_end = self.under_way.contains(&decision);
                if !is_end {
                    self.check_begin(&facts, &decision);
                    facts.begin(&decision);
                }
                if is_end || decision.may_be_dropped() {
                    self.under_way.retain(|begun| *begun != decision);
                    for fact in self.carry_out(&facts, decision.clone()) {
                        facts.apply(fact);
                    }
                    facts.finish(&decision);
                } else {
                    self.under_way.push(decision);
                }
            }
            facts.apply(Fact::Record(Box::new(self.seen())));
        }
        panic!("it never ends: {:?}", decide(&facts));
    }

    /// The record as the leader sees it.
    fn seen(&self) -> Recorded {
        self.hosts.seen(&self.record)
    }

    fn check_begin(&self, facts: &Facts, decision: &Decision) {
        match decision {
            Decision::StartMain => {
                assert!(self.main.is_none(), "two main()s");
                assert!(
                    self.record.pinned && facts.previous_ended.is_done(),
                    "main() started too early"
                );
                assert!(
                    !self.record.terminal && !self.record.desired.cancel,
                    "main() of an ending application"
                );
            }
            Decision::RemoveWork | Decision::MarkClean { .. } => {
                let may_start = |step: &Decision| match step {
                    Decision::StartMain => true,
                    Decision::StartDescribe => !self.describe_ended,
                    _ => false,
                };
                let alive = self.main.is_some() || self.describing || self.hosts.a_cluster_runs();
                assert!(
                    !alive && !self.under_way.iter().any(may_start),
                    "{decision:?} before all is gone"
                );
                assert!(!self.hosts.is_held_elsewhere(), "{decision:?} while another host holds");
            }
            Decision::Adopt { incarnation, .. }
            | Decision::RecordGone { incarnation, .. }
            | Decision::Teardown { incarnation } => {
                let is_here = self.hosts.is_here(*incarnation) || self.hosts.bug.is_some();
                assert!(is_here, "{decision:?} of another host's cluster");
            }
            _ => {}
        }
    }

    /// The leader's process is gone: main()'s tether ends main() with it, and the cluster stays.
    pub(super) fn crash(&mut self, with_cluster: bool) {
        self.main = None;
        self.describing = false;
        if with_cluster {
            *self.hosts.cluster() = None;
        }
    }

    /// Kills main() from outside, if it runs.
    fn kill_main(&mut self, facts: &mut Facts) {
        if facts.main == Main::Running && self.main.take().is_some() {
            let exit = MainExit {
                signal: Some(9),
                signal_sender: "the kernel's OOM killer".to_owned(),
                code: None,
            };
            let stderr_tail = String::new();
            facts.apply(Fact::MainExited { exit, seen: true, stderr_tail });
        }
    }

    pub(super) fn cancel(&mut self) {
        if !self.record.terminal {
            self.record.desired.cancel = true;
            self.record.desired.revision += 1;
        }
    }

    /// Asks for a savepoint of every job that has no end.
    pub(super) fn ask_for_savepoints(&mut self, stop: bool) {
        let open: Vec<JobId> = self.record.open_jobs().map(|(id, _)| id).collect();
        for job in open {
            let trigger = TriggerId::derive("wish", job);
            let wish = Wish {
                job,
                trigger,
                directory: String::new(),
                stop,
                drain: false,
                format: String::new(),
            };
            if !self.record.terminal && !self.record.desired.savepoints.contains(&wish) {
                self.record.desired.savepoints.push(wish);
                self.record.desired.revision += 1;
            }
        }
    }

    fn settle(&mut self, wish: &Wish) -> Vec<Fact> {
        self.job(wish.job).settled.insert(wish.trigger);
        vec![Fact::SavepointSettled { job: wish.job, trigger: wish.trigger }]
    }

    fn job(&mut self, job: JobId) -> &mut RecordedJob {
        self.record.jobs.get_mut(&job).expect("the job is in the record")
    }

    fn end_job(&mut self, job: JobId, outcome: JobOutcome) -> RecordedJobEnd {
        let end = RecordedJobEnd { outcome, message: String::new(), leaves_checkpoints: false };
        self.job(job).end.get_or_insert(end).clone()
    }

    /// What the leader waits for: main() goes on, or a job ends.
    fn something_happens(&mut self, facts: &Facts) -> Vec<Fact> {
        if let Some(run) = &mut self.main {
            let settled = |job: &RecordedJob| job.end.is_some() && !job.is_to_be_published();
            match run.waits_for {
                Some(job) if settled(&self.record.jobs[&job]) => {
                    run.waits_for = None;
                    return vec![Fact::JobAnswered(job)];
                }
                Some(_) => {}
                None if run.next < SCRIPT.len() => {
                    let name = SCRIPT[run.next];
                    let id = job_id(name);
                    (run.next, run.waits_for) = (run.next + 1, Some(id));
                    let job = self.record.jobs.entry(id).or_insert_with(|| stored(name)).clone();
                    return vec![Fact::JobStored { job: id, stored: Box::new(job) }];
                }
                None => {
                    self.main = None;
                    self.exited = Some(self.exit_code);
                    let exit = exit(self.exit_code);
                    let ended = Fact::MainExited { exit, seen: true, stderr_tail: String::new() };
                    return vec![ended, Fact::OutputShipped];
                }
            }
        }
        if let Some((incarnation, job)) = self.hosts.finish_a_job() {
            // The record refuses what a superseded cluster says.
            let counts = incarnation == self.record.cluster.incarnation;
            if counts && self.job(job).end.is_none() {
                *self.ends.entry(job).or_default() += 1;
                self.end_job(job, JobOutcome::Succeeded);
            }
            return Vec::new();
        }
        if self.main.is_none() && facts.output_shipped == Step::Pending {
            return vec![Fact::OutputShipped];
        }
        if self.hosts.end_what_is_over(&self.record) {
            return Vec::new();
        }
        vec![Fact::CancelBoundPassed]
    }

    fn carry_out(&mut self, facts: &Facts, decision: Decision) -> Vec<Fact> {
        match decision {
            Decision::Fetch => vec![Fact::Fetched],
            Decision::Pin => {
                self.record.pinned = true;
                vec![Fact::Pinned]
            }
            Decision::StartDescribe if self.describe_ended => Vec::new(),
            Decision::StartDescribe => {
                self.describing = true;
                vec![Fact::Describing]
            }
            Decision::Describe => vec![Fact::Described],
            Decision::BeginCluster { .. } => {
                assert!(!self.record.terminal, "a cluster for an application that has ended");
                self.record.cluster.incarnation = self.record.cluster.incarnation.next();
                self.record.cluster.state = ClusterState::Starting;
                self.hosts.begin(self.record.cluster.incarnation);
                vec![Fact::ClusterBegun(self.record.cluster.incarnation)]
            }
            Decision::Provision { incarnation } => {
                assert_eq!(
                    incarnation, self.record.cluster.incarnation,
                    "processes of another incarnation"
                );
                self.hosts.intend(incarnation);
                let cluster = self.hosts.cluster();
                if cluster.as_ref().is_none_or(|(of, _)| *of != incarnation) {
                    if facts.record.cluster.state == ClusterState::Ready {
                        return vec![Fact::ClusterDied {
                            incarnation,
                            message: "its processes are gone".into(),
                        }];
                    }
                    *cluster = Some((incarnation, BTreeSet::new()));
                }
                vec![Fact::ClusterReady { incarnation, endpoint: "unix:/jobs".into() }]
            }
            Decision::Adopt { incarnation, endpoint, .. } => match self.hosts.cluster() {
                Some((of, jobs)) if *of == incarnation => {
                    // The cluster that ran an ended job knows the job.
                    let ended = self
                        .record
                        .jobs
                        .iter()
                        .filter(|(_, job)| job.end.is_some())
                        .map(|(id, _)| *id);
                    vec![Fact::Adopted {
                        incarnation,
                        endpoint,
                        jobs: jobs.iter().copied().chain(ended).collect(),
                    }]
                }
                _ => vec![Fact::NotAdopted(incarnation)],
            },
            Decision::RecordReady { incarnation, endpoint } => {
                self.record.cluster.state = ClusterState::Ready;
                self.record.cluster.jobs_endpoint = endpoint;
                vec![Fact::ReadyRecorded(incarnation)]
            }
            Decision::RecordGone { incarnation, .. } => {
                self.record.cluster.state = ClusterState::Gone;
                vec![Fact::GoneRecorded(incarnation)]
            }
            Decision::Submit { job, incarnation } => {
                assert!(self.job(job).end.is_none(), "a job that has ended runs again");
                assert!(facts.record.jobs.contains_key(&job), "a job that is not stored runs");
                let (of, jobs) = self.hosts.cluster().as_mut().expect("a live cluster");
                assert_eq!(*of, incarnation);
                jobs.insert(job);
                *self.begun.entry(job).or_default() += 1;
                let recorded = self.job(job);
                (recorded.incarnation, recorded.submissions) =
                    (incarnation, recorded.submissions + 1);
                vec![Fact::Submitted { job, incarnation }]
            }
            Decision::CancelJob { job, .. } => {
                if let Some((_, jobs)) = self.hosts.cluster() {
                    jobs.remove(&job);
                }
                self.end_job(job, JobOutcome::Cancelled);
                vec![Fact::CancelSent(job)]
            }
            Decision::EndJob { job, outcome, .. } => {
                let end = self.end_job(job, outcome);
                vec![Fact::JobEnded { job, end }]
            }
            Decision::Publish { job } => {
                assert!(self.describing, "nobody to publish");
                self.job(job).published = true;
                vec![Fact::Published(job)]
            }
            Decision::EndPrevious => {
                let finished = self.exited == Some(0) && self.hosts.had_main();
                vec![Fact::PreviousEnded { finished }]
            }
            Decision::StartMain => {
                assert!(!self.record.terminal, "main() of an application that has ended");
                self.executions += 1;
                self.hosts.start_main();
                (self.main, self.exited) = (Some(MainRun::default()), None);
                let kills = self.record.main.kills;
                let (state, epoch) = (MainState::Begun, facts.epoch);
                self.record.main = RecordedMain { state, epoch, kills, ..RecordedMain::default() };
                vec![Fact::MainStarted]
            }
            Decision::StopMain => {
                self.main = None;
                let exit = MainExit { signal: Some(15), ..MainExit::default() };
                vec![
                    Fact::MainExited { exit, seen: true, stderr_tail: String::new() },
                    Fact::OutputShipped,
                ]
            }
            Decision::RecordMainEnd => {
                self.record.main.state = MainState::Ended;
                self.record.main.exit = facts.main_exit().cloned();
                vec![Fact::MainEndRecorded]
            }
            Decision::RecordMainKill { kills } => {
                self.record.main.kills = kills;
                vec![Fact::MainKillRecorded]
            }
            Decision::ExecuteAgain { .. } => vec![Fact::Leave(Leave::MainKilled)],
            Decision::RecordEnd { outcome, desired_revision, .. } => {
                self.end(outcome, desired_revision)
            }
            Decision::Teardown { .. } => {
                self.hosts.tear_down();
                vec![Fact::TornDown { leftovers: Vec::new() }]
            }
            Decision::Sweep => {
                assert!(
                    self.describing && !self.hosts.a_cluster_runs(),
                    "swept while somebody may stage"
                );
                vec![Fact::Swept { leftovers: Vec::new() }]
            }
            Decision::EndDescribe => {
                (self.describing, self.describe_ended) = (false, true);
                vec![Fact::DescribeEnded]
            }
            Decision::Release => vec![Fact::Released],
            Decision::RemoveWork => vec![Fact::WorkRemoved { leftovers: Vec::new() }],
            Decision::MarkClean { leftovers } => {
                assert!(leftovers.is_empty(), "clean, with something left: {leftovers:?}");
                self.record.clean = true;
                vec![Fact::Clean]
            }
            Decision::Savepoint { wish, incarnation } => {
                let (of, _) = self.hosts.cluster().as_ref().expect("a live cluster");
                assert_eq!(*of, incarnation);
                if self.taken.insert(wish.trigger, incarnation).is_some_and(|by| by == incarnation)
                {
                    // The same savepoint is asked for again, by this leader or the next one, and is
                    // not taken again.
                } else {
                    self.savepoints += 1;
                }
                if wish.stop && self.job(wish.job).end.is_none() {
                    if let Some((_, jobs)) = self.hosts.cluster() {
                        jobs.remove(&wish.job);
                    }
                    *self.ends.entry(wish.job).or_default() += 1;
                    self.end_job(wish.job, JobOutcome::Succeeded);
                }
                self.settle(&wish)
            }
            Decision::RefuseSavepoint { wish, .. } => self.settle(&wish),
            Decision::CancelBound { .. } | Decision::AwaitPlaces | Decision::Leave(_) => {
                unreachable!("not carried out")
            }
        }
    }

    fn end(&mut self, outcome: Outcome, desired_revision: u64) -> Vec<Fact> {
        assert!(self.main.is_none(), "ended while main() lives");
        assert_eq!(self.record.open_jobs().count(), 0, "ended with open jobs");
        assert_eq!(
            self.record.pending_savepoints().count(),
            0,
            "ended without a word on a savepoint"
        );
        assert_eq!(self.record.unpublished_jobs().count(), 0, "ended with unpublished output");
        if desired_revision != self.record.desired.revision {
            return Vec::new();
        }
        (self.record.terminal, self.record.outcome) = (true, Some(outcome));
        self.application_ends.push(outcome);
        vec![Fact::EndRecorded(outcome)]
    }
}
