//! One contender: it looks at the record, campaigns, leads attempts, and exits with the
//! application's code once the application is clean.

mod attempt;
pub mod execution;
mod leading;
mod retry;
mod shared;
mod verbs;
mod warm;
mod watchers;

use std::sync::Arc;

use async_trait::async_trait;
use chassis::failpoint;
use chassis::tasks::{Shutdown, Tasks, owned};
use chassis::telemetry::{fields, trace};
use futures::StreamExt as _;
use proto::{ApplicationRef, Epoch, EpochFence};
use tracing::Instrument as _;

use crate::error::{PortError, PortErrorKind};
use crate::model::Leave;
use crate::ports::election::Leadership;
use crate::ports::{PortResult, Ports};
use crate::service::execution::MainService;
use crate::service::retry::patiently;
use crate::service::shared::Tenure;

/// Exit code of a contender that failed itself, and of one that was asked to end before the
/// application was clean: its supervisor starts it again.
pub const EXIT_RESTART: u8 = 70;

/// Exit code of a contender that has met an error which another start would not cure (`EX_CONFIG`):
/// its supervisor does not start it again.
pub const EXIT_GAVE_UP: u8 = 78;

/// The server of `ExecutionService` for one attempt. Each attempt opens its own, so that a call of
/// an earlier attempt's main() does not reach a later attempt.
#[async_trait]
pub trait Front: Send + Sync {
    /// Serves as one of the attempt's tasks, so that the attempt ends if serving does. Answers the
    /// endpoint, which main() can reach when this returns.
    async fn open(
        &self,
        fence: &EpochFence,
        execution: MainService,
        tasks: &Tasks,
    ) -> PortResult<String>;
}

/// The application and the name that this contender contends with.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The one application that this contender may lead.
    pub application: ApplicationRef,
    /// The contender's unique name, such as `runner-0`, or `node-7/runner-0` on one of several
    /// hosts. Nothing but messages and comparisons is made of the name.
    pub holder: String,
}

/// One contender of one (application, generation). Several may run at once: the elector lets one
/// lead, and the others stand by with the artifacts in the caches of their hosts.
#[derive(Clone)]
pub struct Contender {
    identity: Identity,
    ports: Ports,
    front: Arc<dyn Front>,
    shutdown: Shutdown,
}

/// What a contender does next, once a leadership is over.
enum Next {
    Exit(u8),
    CampaignAgain { at_least: Epoch },
}

impl Contender {
    /// A contender that ends when `shutdown` begins.
    pub fn new(
        identity: Identity,
        ports: Ports,
        front: Arc<dyn Front>,
        shutdown: Shutdown,
    ) -> Self {
        Self { identity, ports, front, shutdown }
    }

    /// Runs until the application is clean and answers the exit code.
    /// [`GaveUp::over`](crate::error::GaveUp::over) says whether another start may cure an error.
    pub async fn run(self) -> Result<u8, PortError> {
        let ApplicationRef { id, generation } = &self.identity.application;
        let span = tracing::info_span!(
            "contender",
            { fields::APP_ID } = %id,
            { fields::APP_GENERATION } = generation.get(),
            holder = self.identity.holder,
        );
        trace::continue_from_environment(&span);
        let code = self.contend().instrument(span).await?;
        if code != EXIT_RESTART {
            self.ports.workspace.forget(&self.identity.application).await;
        }
        Ok(code)
    }

    async fn contend(&self) -> Result<u8, PortError> {
        let mut at_least = Epoch(0);
        loop {
            let record = self.read().await?;
            let Some(record) = record else { return Ok(EXIT_RESTART) };
            let now = self.ports.recorded(&record)?;
            if now.clean {
                return Ok(exit_code(&now));
            }
            let traceparent = record.traceparent.clone();
            // The bytes are fetched while another contender leads, or while the campaign is under
            // way.
            let warm = warm::fetch(self.ports.clone(), self.identity.application.clone(), record);
            let warm = owned("warm up", trace::carry(warm));
            let campaign = tokio::select! {
                () = self.shutdown.begun() => None,
                code = self.until_clean() => return Ok(code),
                elected = self.campaign(at_least) => Some(elected?),
            };
            // The fetcher goes on with a transfer that is under way for long enough that the
            // leader's own fetch takes it over.
            drop(warm);
            let Some(leadership) = campaign else { return Ok(EXIT_RESTART) };
            let epoch = leadership.epoch();
            let span = self.span_of_attempt(epoch, &traceparent);
            match self.lead(leadership).instrument(span).await? {
                Next::Exit(code) => return Ok(code),
                Next::CampaignAgain { at_least: known } => {
                    at_least = at_least.max(known).max(epoch)
                }
            }
        }
    }

    /// The span of an attempt: below the application's Submit, whichever contender leads; below
    /// this contender's span where the Submit was not traced.
    fn span_of_attempt(&self, epoch: Epoch, traceparent: &str) -> tracing::Span {
        let ApplicationRef { id, generation } = &self.identity.application;
        let span = tracing::info_span!(
            parent: None,
            "attempt",
            { fields::APP_ID } = %id,
            { fields::APP_GENERATION } = generation.get(),
            { fields::EPOCH } = epoch.get(),
        );
        match traceparent {
            "" => trace::continue_from_current(&span),
            submitted => trace::continue_from(&span, submitted),
        }
        span
    }

    /// The record now; `None` when the process is to end first.
    async fn read(&self) -> PortResult<Option<Arc<proto::jobgraph::Record>>> {
        let read = patiently(&self.ports.clock, "read the record", || {
            self.ports.record.read(&self.identity.application)
        });
        tokio::select! {
            record = read => Ok(Some(Arc::new(record?))),
            () = self.shutdown.begun() => Ok(None),
        }
    }

    async fn campaign(&self, at_least: Epoch) -> PortResult<Box<dyn Leadership>> {
        patiently(&self.ports.clock, "campaign", || {
            self.ports.election.campaign(&self.identity.application, at_least)
        })
        .await
    }

    /// Waits until another contender has brought the application to its clean end, so that a
    /// standby leaves, and answers the exit code.
    async fn until_clean(&self) -> u8 {
        let mut backoff = retry::backoff();
        loop {
            if let Ok(mut changes) = self.ports.record.watch(&self.identity.application).await {
                while let Some(Ok(record)) = changes.next().await {
                    // A test plants the bug to see that it would be noticed.
                    if let Ok(record) = self.ports.recorded(&record)
                        && (record.clean
                            || record.terminal
                                && failpoint::is_planted("runner.standby-leaves-at-dirty"))
                    {
                        return exit_code(&record);
                    }
                }
            }
            self.ports.clock.sleep(backoff.next_delay()).await;
        }
    }

    async fn lead(&self, leadership: Box<dyn Leadership>) -> PortResult<Next> {
        let fence = EpochFence {
            application: self.identity.application.clone(),
            epoch: leadership.epoch(),
        };
        let cause = leadership.cause();
        let begin = patiently(&self.ports.clock, "begin the attempt", || {
            leading::begin(&self.ports, &fence, &self.identity.holder, &cause)
        });
        let begun = tokio::select! {
            begun = begin => begun,
            () = self.shutdown.begun() => {
                leadership.resign().await;
                return Ok(Next::Exit(EXIT_RESTART));
            }
        };
        let begun = match begun {
            Ok(begun) => begun,
            Err(PortError { kind: PortErrorKind::Superseded(known), .. }) => {
                leadership.resign().await;
                return Ok(Next::CampaignAgain { at_least: known });
            }
            Err(error) => {
                leadership.resign().await;
                return Err(error);
            }
        };
        let record = self.ports.recorded(&begun.record)?;
        if begun.is_clean {
            leadership.resign().await;
            return Ok(Next::Exit(exit_code(&record)));
        }
        let tenure = Tenure {
            lease: leadership.lease(),
            standbys: leadership.standbys(),
            turns: leadership.turns(),
        };
        let attempt = attempt::Attempt::new(
            &self.identity,
            &self.ports,
            fence.clone(),
            begun,
            record,
            tenure,
        );
        let leave = match attempt.run(self.front.clone(), self.shutdown.clone()).await {
            Ok(leave) => leave,
            // The next leader need not wait for the end of a lease, and finds no main() whose calls
            // no runner answers.
            Err(error) => {
                self.end_processes(&fence).await;
                leadership.resign().await;
                return Err(error);
            }
        };
        tracing::info!(epoch = fence.epoch.get(), "the attempt is over: {leave:?}");
        let again = Next::CampaignAgain { at_least: fence.epoch };
        match leave {
            Leave::Clean(outcome) => {
                leadership.resign().await;
                Ok(Next::Exit(outcome.exit_code()))
            }
            Leave::Superseded | Leave::LeaseLost(_) => {
                self.end_processes(&fence).await;
                Ok(again)
            }
            Leave::MainLost(_) | Leave::MainKilled => {
                self.end_processes(&fence).await;
                leadership.resign().await;
                Ok(again)
            }
            Leave::Refused(why) => {
                self.end_processes(&fence).await;
                leadership.resign().await;
                let reason = why.reason.unwrap_or(proto::Reason::CredentialInvalid);
                Err(PortError::refused(reason, why.message))
            }
            Leave::Shutdown => {
                self.end_processes(&fence).await;
                leadership.resign().await;
                Ok(Next::Exit(EXIT_RESTART))
            }
        }
    }

    /// Ends main() and the engine's `describe` of an attempt that is over, so that they do not live
    /// on beside its successor's.
    async fn end_processes(&self, fence: &EpochFence) {
        let Ports { main, engine, .. } = &self.ports;
        futures::future::join(main.kill(fence), engine.end(fence)).await;
    }
}

fn exit_code(record: &crate::model::Recorded) -> u8 {
    record.outcome.map_or(EXIT_RESTART, crate::model::Outcome::exit_code)
}

#[cfg(test)]
mod tests;
