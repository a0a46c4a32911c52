//! `mainspring.jobgraph.v1.LogService`: the deployment only.

use chassis::server::require_deployment;
use proto::jobgraph::log_service_server::LogService;
use proto::jobgraph::{AppendLogsRequest, AppendLogsResponse};
use proto::{ApplicationRef, InvalidId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Answers, Wire};
use crate::error::Error;
use crate::logs::Appender;
use crate::model::Refusal;

/// Acknowledgements on their way.
const ROOM: usize = 4;

type Sender = mpsc::Sender<Result<AppendLogsResponse, Status>>;

#[tonic::async_trait]
impl LogService for Wire {
    type AppendLogsStream = Answers<AppendLogsResponse>;

    async fn append_logs(
        &self,
        request: Request<Streaming<AppendLogsRequest>>,
    ) -> Result<Response<Self::AppendLogsStream>, Status> {
        require_deployment(&request)?;
        let service = self.0.clone();
        let (sender, receiver) = mpsc::channel(ROOM);
        tokio::spawn(async move {
            let mut requests = request.into_inner();
            let taken = async {
                let Some(first) = requests.message().await? else { return Ok(()) };
                let Some(source) = &first.source else {
                    return Err(
                        Refusal::RequestInvalid("the first message has to name its source".into()).into()
                    );
                };
                let application: Result<ApplicationRef, InvalidId> = source.application.clone().try_into();
                let application = application.map_err(|invalid| Status::from(Refusal::from(invalid)))?;
                let (mut appender, offset) = service.append_logs(&application, source).await?;
                let taken = take(&mut appender, first, offset, &mut requests, &sender).await;
                let finished = appender.finish().await.map_err(Status::from);
                taken.and(finished)
            };
            if let Err(status) = taken.await {
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

async fn take(
    appender: &mut Appender,
    first: AppendLogsRequest,
    offset: u64,
    requests: &mut Streaming<AppendLogsRequest>,
    sender: &Sender,
) -> Result<(), Status> {
    let mut told = offset;
    if sender.send(Ok(AppendLogsResponse { acknowledged_offset: offset })).await.is_err() {
        return Ok(());
    }
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
        let acknowledged = appender.acknowledged();
        if acknowledged > told || complete {
            told = acknowledged;
            if sender.send(Ok(AppendLogsResponse { acknowledged_offset: told })).await.is_err() {
                return Ok(());
            }
        }
        tokio::select! {
            // A stream that breaks has brought what it brought.
            request = requests.message() => match request {
                Ok(Some(request)) => next = Some(request),
                Ok(None) | Err(_) => return Ok(()),
            },
            durable = appender.durable() => durable.map_err(|error: Error| Status::from(error))?,
        }
    }
}
