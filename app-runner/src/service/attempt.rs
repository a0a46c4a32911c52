//! The driver of one attempt: it asks the model what should be under way, begins it, and tells the
//! model what came of it.

use std::sync::Arc;

use chassis::tasks::{Shutdown, TaskSet};
use chassis::telemetry::{fields, trace};
use futures::StreamExt as _;
use proto::EpochFence;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tracing::Instrument as _;

use super::execution::MainService;
use super::leading::Begun;
use super::shared::{INBOX, Shared, Tenure};
use super::watchers::{self, Watcher};
use super::{Front, Identity, verbs};
use crate::error::PortError;
use crate::model::{Cluster, Decision, Fact, Facts, Leave, Recorded, accepts_jobs, decide};
use crate::ports::election::Turns;
use crate::ports::{PortResult, Ports};

pub(super) struct Attempt {
    shared: Arc<Shared>,
    facts: Facts,
    inbox: mpsc::Receiver<Fact>,
    under_way: JoinSet<(Decision, Vec<Fact>)>,
    begun: Vec<(Decision, AbortHandle)>,
    tasks: TaskSet,
    turns: Turns,
    span: tracing::Span,
}

impl Attempt {
    pub(super) fn new(
        identity: &Identity,
        ports: &Ports,
        fence: EpochFence,
        begun: Begun,
        record: Recorded,
        tenure: Tenure,
    ) -> Self {
        let (sender, inbox) = mpsc::channel(INBOX);
        let facts = Facts::new(fence.epoch, record);
        let holder = identity.holder.clone();
        // The tasks end with this attempt, not with the process.
        let tasks = TaskSet::new(Shutdown::new(), ports.clock.clone());
        let shared =
            Shared::new(ports.clone(), holder, fence, begun, &tenure, sender, tasks.handle());
        Self {
            shared: Arc::new(shared),
            facts,
            inbox,
            under_way: JoinSet::new(),
            begun: Vec::new(),
            tasks,
            turns: tenure.turns,
            span: tracing::Span::none(),
        }
    }

    /// Runs until the attempt is over, or until one of its tasks failed, whose name is in the
    /// error. Everything of the attempt that is under way is cut off then.
    pub(super) async fn run(
        mut self,
        front: Arc<dyn Front>,
        shutdown: Shutdown,
    ) -> PortResult<Leave> {
        self.span = tracing::Span::current();
        turning(&mut self.turns, open(&self.shared, front)).await?;
        self.watch(watchers::all(&self.shared, shutdown));
        loop {
            let wanted = decide(&self.facts);
            if let Some(Decision::Leave(leave)) = wanted.first() {
                let leave = leave.clone();
                // The steps and tasks are gone before the attempt is over, because they hold its
                // span open.
                let cut_off = async {
                    self.under_way.shutdown().await;
                    self.tasks.cut().await;
                };
                turning(&mut self.turns, cut_off).await;
                return Ok(leave);
            }
            self.see_to(wanted);
            self.shared.accepting.send_if_modified(|now| {
                let accepts = accepts_jobs(&self.facts);
                std::mem::replace(now, accepts) != accepts
            });
            tokio::select! {
                Some(fact) = self.inbox.recv() => self.take(fact),
                // Turns of this loop renew the lease. Nothing here waits for a port, so only a loop
                // that hangs misses one.
                Some(()) = self.turns.next() => {}
                Some(done) = self.under_way.join_next() => self.finish(done)?,
                failed = self.tasks.failed() => return Err(PortError::away(failed.to_string())),
            }
        }
    }

    /// Begins what is wanted and not under way, and cuts off what is under way and not wanted any
    /// more.
    fn see_to(&mut self, wanted: Vec<Decision>) {
        self.begun.retain(|(decision, task)| {
            let keep = wanted.contains(decision) || !decision.may_be_dropped();
            if !keep {
                tracing::debug!(?decision, "not wanted any more");
                task.abort();
            }
            keep
        });
        for decision in wanted {
            if self.begun.iter().any(|(begun, _)| *begun == decision) {
                continue;
            }
            tracing::debug!(?decision, "begun");
            let (shared, of_task) = (self.shared.clone(), decision.clone());
            let task = async move {
                let facts = verbs::perform(&shared, &of_task).await;
                (of_task, facts)
            };
            self.facts.begin(&decision);
            let handle = self.under_way.spawn(task.instrument(self.span_of(&decision)));
            self.begun.push((decision, handle));
        }
    }

    /// The span of a step. What is done for a job is part of the execute() that asked for the job,
    /// if one did so in this attempt.
    fn span_of(&self, decision: &Decision) -> tracing::Span {
        let (step, job) = match decision {
            Decision::Submit { job, .. } => ("submit", job),
            Decision::Publish { job } => ("publish", job),
            _ => return self.span.clone(),
        };
        let Some(asked_by) = self.shared.asked_by(*job) else { return self.span.clone() };
        let fence = &self.shared.fence;
        let span = tracing::info_span!(
            parent: None,
            "step",
            otel.name = step,
            { fields::APP_ID } = %fence.application.id,
            { fields::EPOCH } = fence.epoch.get(),
            { fields::JOB_ID } = %job,
        );
        trace::continue_from(&span, &asked_by);
        span
    }

    fn finish(&mut self, done: Result<(Decision, Vec<Fact>), JoinError>) -> Result<(), PortError> {
        let (decision, facts) = match done {
            Ok(done) => done,
            Err(error) if error.is_cancelled() => return Ok(()),
            Err(error) => {
                return Err(PortError::away(format!("a step of the attempt failed: {error}")));
            }
        };
        tracing::debug!(?decision, facts = facts.len(), "done");
        // What a step told on its way came before its end. Without these facts the step might seem
        // to be wanted again.
        while let Ok(earlier) = self.inbox.try_recv() {
            self.take(earlier);
        }
        for fact in facts {
            self.take(fact);
        }
        self.facts.finish(&decision);
        self.begun.retain(|(begun, _)| *begun != decision);
        Ok(())
    }

    fn take(&mut self, fact: Fact) {
        let was_live = live(&self.facts);
        self.facts.apply(fact);
        let is_live = live(&self.facts);
        self.shared.live.send_if_modified(|now| std::mem::replace(now, is_live) != is_live);
        if is_live != was_live
            && let Some(incarnation) = is_live
        {
            self.watch(watchers::of_cluster(&self.shared, incarnation));
        }
    }

    fn watch(&self, watchers: Vec<Watcher>) {
        for (name, watcher) in watchers {
            self.shared.spawn(name, watcher.instrument(self.span.clone()));
        }
    }
}

/// Makes the working directory and opens the endpoint that main() will call.
async fn open(shared: &Arc<Shared>, front: Arc<dyn Front>) -> PortResult<()> {
    let directory = shared.ports.workspace.prepare(&shared.fence).await?;
    let endpoint =
        front.open(&shared.fence, MainService::new(shared.clone()), &shared.tasks).await?;
    // Both cells are set once, here.
    let _ = shared.directory.set(directory);
    let _ = shared.execution_endpoint.set(endpoint);
    Ok(())
}

/// Takes the driver's turns while the driver waits for something else than facts.
async fn turning<T>(turns: &mut Turns, what: impl Future<Output = T>) -> T {
    let mut what = std::pin::pin!(what);
    loop {
        tokio::select! {
            done = &mut what => return done,
            Some(()) = turns.next() => {}
        }
    }
}

/// The cluster that is worth listening to: one that is being torn down is not.
fn live(facts: &Facts) -> Option<proto::Incarnation> {
    match &facts.cluster {
        Cluster::Live { incarnation, .. } if !facts.record.terminal => Some(*incarnation),
        _ => None,
    }
}
