//! `mainspring.jobgraph.v1.LiveService`: the deployment only.

use chassis::server::require_deployment;
use futures::stream;
use proto::jobgraph::live_service_server::LiveService;
use proto::jobgraph::{HeardLeader, ReadLiveRequest, ReadLiveResponse};
use tonic::{Request, Response};

use super::{Answer, Answers, Wire};

/// How many leaders one message tells of, so that it stays far below the limit of a message.
const AT_ONCE: usize = 200;

#[tonic::async_trait]
impl LiveService for Wire {
    type ReadLiveStream = Answers<ReadLiveResponse>;

    async fn read_live(&self, request: Request<ReadLiveRequest>) -> Answer<Self::ReadLiveStream> {
        require_deployment(&request)?;
        let (leaders, queue) = self.0.read_live();
        let parts: Vec<Vec<HeardLeader>> = leaders.chunks(AT_ONCE).map(<[_]>::to_vec).collect();
        let leaders = parts.into_iter().map(|leaders| ReadLiveResponse { leaders, queue: None });
        let last = ReadLiveResponse { leaders: Vec::new(), queue };
        let answers: Vec<_> = leaders.chain([last]).map(Ok).collect();
        Ok(Response::new(Box::pin(stream::iter(answers))))
    }
}
