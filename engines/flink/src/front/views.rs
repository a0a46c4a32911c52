//! What is known of each job that main() asks for, by one watch of the record for all questions.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chassis::tasks::{OwnedTask, owned};
use client::error::CallError;
use client::execution::Execution;
use futures::StreamExt as _;
use proto::JobId;
use proto::engine::EngineJobState;
use proto::job::JobEnd;
use tokio::sync::watch;

/// A job as the record has it.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// Whether nothing has been heard yet.
    pub(super) unknown: bool,
    /// The job's state in the engine.
    pub(super) state: EngineJobState,
    /// The job's end, once it has one.
    pub(super) end: Option<JobEnd>,
    /// Why the job cannot be watched.
    pub(super) refused: Option<CallError>,
}

pub(super) struct Views {
    execution: Execution,
    open: Mutex<HashMap<JobId, Open>>,
}

struct Open {
    view: watch::Receiver<View>,
    _follower: OwnedTask<()>,
}

impl Views {
    pub(super) fn new(execution: Execution) -> Self {
        Self { execution, open: Mutex::default() }
    }

    /// The job now and from now on. A job whose watch was refused is watched anew for the next
    /// caller.
    pub(super) fn of(&self, job: JobId) -> watch::Receiver<View> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = open.get(&job).filter(|known| known.view.borrow().refused.is_none()) {
            return known.view.clone();
        }
        let (sender, view) = watch::channel(View { unknown: true, ..View::default() });
        let follower = owned("follow a job", follow(self.execution.clone(), job, sender));
        open.insert(job, Open { view: view.clone(), _follower: follower });
        view
    }
}

/// Follows the job until it has ended, through any number of runners.
async fn follow(execution: Execution, job: JobId, view: watch::Sender<View>) {
    let mut answers = std::pin::pin!(execution.watch_job(job));
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(answer) => {
                let state = answer.status.map(|status| status.state()).unwrap_or_default();
                view.send_replace(View { state, end: answer.end, ..View::default() });
            }
            Err(error) => {
                view.send_modify(|view| view.refused = Some(error));
                return;
            }
        }
    }
}
