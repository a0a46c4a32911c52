//! `mainspring.jobgraph.v1.LogService`: for the deployment; a contender brings the output of its
//! own main().

use chassis::credential::Principal;
use chassis::server::{check_own, principal};
use chassis::tasks::{Feed, detached, fed};
use proto::jobgraph::log_service_server::LogService;
use proto::jobgraph::{AppendLogsRequest, AppendLogsResponse};
use proto::{ApplicationRef, InvalidId, Problem, Reason};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use super::{Answer, Answers, Wire};
use crate::error::Error;
use crate::logs::Appender;
use crate::model::Refusal;

/// The role that main()'s output is kept under.
const MAIN: &str = "main";

/// How many acknowledgements are on their way to a caller.
const ROOM: usize = 4;

#[tonic::async_trait]
impl LogService for Wire {
    type AppendLogsStream = Answers<AppendLogsResponse>;

    async fn append_logs(
        &self,
        request: Request<Streaming<AppendLogsRequest>>,
    ) -> Answer<Self::AppendLogsStream> {
        let (service, caller) = (self.0.clone(), principal(&request)?.clone());
        let mut requests = request.into_inner();
        let answers = fed("output", ROOM, |feed| async move {
            let Some(first) = requests.message().await? else { return Ok(()) };
            let Some(source) = &first.source else {
                return Err(Refusal::RequestInvalid(
                    "the first message has to name its source".into(),
                )
                .into());
            };
            let application: Result<ApplicationRef, InvalidId> =
                source.application.clone().try_into();
            let application =
                application.map_err(|invalid| Status::from(Refusal::from(invalid)))?;
            may_bring(&caller, &application, &source.role)?;
            let (appender, offset) = service.append_logs(&application, source).await?;
            let mut taking = Taking(Some(appender));
            let taken = taking.all(first, offset, &mut requests, &feed).await;
            taken.and(taking.finished().await)
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// A contender may bring what its main() said; lifecycle brings what roles say.
fn may_bring(caller: &Principal, application: &ApplicationRef, role: &str) -> Result<(), Status> {
    check_own(caller, application)?;
    if *caller == Principal::Deployment || role == MAIN {
        return Ok(());
    }
    let text = format!("output of {role} is lifecycle's to bring; the credential is for {caller}");
    Err(Problem::new(Reason::CredentialScope, text).into_status())
}

/// An appender that is finished however the call ends, also when the caller has left.
struct Taking(Option<Appender>);

impl Drop for Taking {
    fn drop(&mut self) {
        drop(self.finish());
    }
}

impl Taking {
    /// Begins to make everything that the appender took durable.
    fn finish(&mut self) -> Option<oneshot::Receiver<Result<(), Error>>> {
        let appender = self.0.take()?;
        let (sender, finished) = oneshot::channel();
        let why = "what a caller brought becomes durable also when it has left";
        detached("finish output", why, async move {
            if let Err(Err(error)) = sender.send(appender.finish().await) {
                tracing::warn!("output that its caller left behind is not durable yet: {error}");
            }
        });
        Some(finished)
    }

    async fn finished(&mut self) -> Result<(), Status> {
        let Some(finished) = self.finish() else { return Ok(()) };
        let finished = finished.await.map_err(|_| Status::internal("output was not finished"))?;
        finished.map_err(Status::from)
    }

    async fn all(
        &mut self,
        first: AppendLogsRequest,
        offset: u64,
        requests: &mut Streaming<AppendLogsRequest>,
        feed: &Feed<AppendLogsResponse>,
    ) -> Result<(), Status> {
        match &mut self.0 {
            Some(appender) => take(appender, first, offset, requests, feed).await,
            None => Ok(()),
        }
    }
}

async fn take(
    appender: &mut Appender,
    first: AppendLogsRequest,
    offset: u64,
    requests: &mut Streaming<AppendLogsRequest>,
    feed: &Feed<AppendLogsResponse>,
) -> Result<(), Status> {
    let mut told = offset;
    feed.send(AppendLogsResponse { acknowledged_offset: offset }).await;
    let mut next = Some(first);
    loop {
        let mut complete = false;
        if let Some(request) = next.take() {
            complete = request.complete;
            if !appender.take(&request.chunks, complete).await? {
                // Another stream brings this source's output now.
                return Ok(());
            }
        }
        // A later stream of the source may have ended, and then this store knows of no offset.
        let acknowledged = appender.acknowledged().max(told);
        if acknowledged > told || complete {
            told = acknowledged;
            feed.send(AppendLogsResponse { acknowledged_offset: told }).await;
        }
        tokio::select! {
            // The lines that a broken stream has brought count all the same.
            request = requests.message() => match request {
                Ok(Some(request)) => next = Some(request),
                Ok(None) | Err(_) => return Ok(()),
            },
            durable = appender.durable() => durable.map_err(|error: Error| Status::from(error))?,
        }
    }
}
