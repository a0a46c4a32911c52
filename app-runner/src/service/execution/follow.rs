//! What a program is told of a job that it has executed: the job's progress, then its end.

use chassis::failpoint;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use proto::{JobId, api, engine, job, jobgraph, runner};
use tokio::sync::mpsc;

use super::MainService;
use super::entry::Entered;
use super::execute::Answer;
use crate::error::PortError;
use crate::model::Fact;
use crate::ports::PortResult;

/// The next thing to tell about a job.
enum News {
    Progress(job::Progress),
    Ended(job::JobEnd),
}

impl MainService {
    /// Answers until the end is recorded and published, or until the program does not listen any
    /// more.
    pub(super) async fn follow(
        &self,
        job: JobId,
        accepted: runner::Accepted,
        entered: Entered,
        answers: &mpsc::Sender<Answer>,
    ) -> PortResult<()> {
        use runner::execute_response::Item;
        if answers.send(Ok(Item::Accepted(accepted))).await.is_err() {
            return Ok(());
        }
        let mut last = None;
        loop {
            match self.next_news(job, &mut last, Some(answers)).await? {
                Some(News::Progress(progress)) => {
                    if answers.send(Ok(Item::Progress(progress))).await.is_err() {
                        return Ok(());
                    }
                }
                Some(News::Ended(end)) => {
                    // The call leaves before the program hears of the end, so that the program's
                    // next call does not overlap with it.
                    drop(entered);
                    let told = answers.send(Ok(Item::Ended(end)));
                    if failpoint::around("runner.answer", told).await.is_ok() {
                        self.shared.tell(Fact::JobAnswered(job)).await;
                    }
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
    }

    /// Waits for the next news of a job; `None` when the program does not listen any more.
    async fn next_news(
        &self,
        job: JobId,
        last: &mut Option<job::Progress>,
        answers: Option<&mpsc::Sender<Answer>>,
    ) -> PortResult<Option<News>> {
        let (mut record, mut progress) =
            (self.shared.record.subscribe(), self.shared.progress.subscribe());
        let over = || PortError::away("this attempt is over; the next leader answers");
        loop {
            if let Some(end) = settled(&record.borrow_and_update(), job) {
                return Ok(Some(News::Ended(end)));
            }
            let now = progress.borrow_and_update().get(&job).copied();
            if now.is_some() && now != *last {
                *last = now;
                return Ok(now.map(News::Progress));
            }
            tokio::select! {
                changed = record.changed() => changed.map_err(|_| over())?,
                changed = progress.changed() => changed.map_err(|_| over())?,
                () = gone(answers) => return Ok(None),
            }
        }
    }

    /// A job's state and progress until the job has ended.
    pub async fn watch_job(
        &self,
        job: JobId,
    ) -> PortResult<BoxStream<'static, PortResult<runner::WatchJobResponse>>> {
        self.known(job).await?;
        let this = self.clone();
        let states =
            stream::unfold((this, None, false), move |(this, mut last, ended)| async move {
                if ended {
                    return None;
                }
                let answer = match this.next_news(job, &mut last, None).await {
                    Ok(Some(News::Progress(progress))) => Ok(runner::WatchJobResponse {
                        status: Some(this.status(job, Some(progress))),
                        end: None,
                    }),
                    Ok(Some(News::Ended(end))) => {
                        let status = Some(this.status(job, end.progress));
                        Ok(runner::WatchJobResponse { status, end: Some(end) })
                    }
                    Ok(None) => return None,
                    Err(error) => Err(error),
                };
                let ended = answer.as_ref().map_or(true, |answer| answer.end.is_some());
                Some((answer, (this, last, ended)))
            });
        Ok(states.boxed())
    }

    fn status(&self, job: JobId, progress: Option<job::Progress>) -> engine::JobStatus {
        let state = match self.shared.job(job).map(|known| known.state()) {
            Some(api::JobState::Ended) => engine::EngineJobState::Ended,
            Some(api::JobState::Publishing) => engine::EngineJobState::Ending,
            Some(api::JobState::Running) => engine::EngineJobState::Running,
            _ => engine::EngineJobState::Starting,
        };
        engine::JobStatus {
            job_id: job.to_string(),
            state: state.into(),
            progress,
            ..Default::default()
        }
    }
}

/// The end of a job whose outputs, if it has any, stand at their final names.
fn settled(record: &jobgraph::Record, job: JobId) -> Option<job::JobEnd> {
    let id = job.to_string();
    let known = record.application.as_ref()?.jobs.iter().find(|known| known.job_id == id)?;
    let end = known.end.as_ref()?;
    let outputs = end.manifest.as_ref().is_some_and(|manifest| !manifest.outputs.is_empty());
    let waits = end.outcome() == job::JobOutcome::Succeeded && outputs && !known.published;
    (!waits).then(|| end.clone())
}

async fn gone(answers: Option<&mpsc::Sender<Answer>>) {
    match answers {
        Some(answers) => answers.closed().await,
        None => std::future::pending().await,
    }
}
