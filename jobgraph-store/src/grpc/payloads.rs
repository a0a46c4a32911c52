//! `mainspring.jobgraph.v1.PayloadService`: contenders and clusters put payloads, and read those
//! that their own application points to.

use std::path::Path;

use chassis::server::principal;
use futures::StreamExt as _;
use proto::jobgraph::payload_service_server::PayloadService;
use proto::jobgraph::{self, put_payload_request::Part};
use proto::{Digest, InvalidId};
use tonic::{Request, Response, Status, Streaming};

use super::{Answer, Answers, Wire, answers};
use crate::error::Error;
use crate::model::Refusal;

fn digest(text: &str) -> Result<Digest, Status> {
    text.parse().map_err(|invalid: InvalidId| Refusal::from(invalid).into())
}

#[tonic::async_trait]
impl PayloadService for Wire {
    async fn put_payload(
        &self,
        request: Request<Streaming<jobgraph::PutPayloadRequest>>,
    ) -> Answer<jobgraph::PutPayloadResponse> {
        let mut parts = request.into_inner();
        let first = parts.message().await?.and_then(|first| first.part);
        let Some(Part::Header(header)) = first else {
            return Err(
                Refusal::RequestInvalid("the first message has to be the header".into()).into()
            );
        };
        let chunks = parts.map(|part| match part?.part {
            Some(Part::Chunk(chunk)) => Ok(chunk),
            _ => {
                Err(Refusal::RequestInvalid("after the header only chunks may come".into()).into())
            }
        });
        let found = self
            .0
            .put_payload(digest(&header.digest)?, header.size_bytes, chunks)
            .await
            .map_err(|error: Status| error)?;
        Ok(Response::new(jobgraph::PutPayloadResponse { found }))
    }

    async fn take_payload(
        &self,
        request: Request<jobgraph::TakePayloadRequest>,
    ) -> Answer<jobgraph::TakePayloadResponse> {
        let jobgraph::TakePayloadRequest { digest: text, path } = request.into_inner();
        let found = self.0.take_payload(digest(&text)?, Path::new(&path)).await?;
        Ok(Response::new(jobgraph::TakePayloadResponse { found }))
    }

    type GetPayloadStream = Answers<jobgraph::GetPayloadResponse>;

    async fn get_payload(
        &self,
        request: Request<jobgraph::GetPayloadRequest>,
    ) -> Answer<Self::GetPayloadStream> {
        let caller = principal(&request)?.clone();
        let jobgraph::GetPayloadRequest { digest: text, offset } = request.into_inner();
        let digest = digest(&text)?;
        if let Some((id, generation)) = caller.application() {
            let own = self.0.points_to(id, generation, digest).await?;
            // A payload of another application is answered with the same words as a payload that is
            // nowhere, so that a caller cannot guess what others keep.
            if !own {
                return Err(Refusal::PayloadMissing(vec![digest.to_string()]).into());
            }
        }
        let bytes = self.0.get_payload(digest, offset).await?;
        let bytes = futures::TryStreamExt::map_err(bytes, Error::from);
        Ok(Response::new(answers(bytes, |chunk| jobgraph::GetPayloadResponse { chunk })))
    }

    async fn stat_payloads(
        &self,
        request: Request<jobgraph::StatPayloadsRequest>,
    ) -> Answer<jobgraph::StatPayloadsResponse> {
        let digests = request
            .into_inner()
            .digests
            .iter()
            .map(|text| digest(text))
            .collect::<Result<Vec<_>, _>>()?;
        let present = self.0.stat_payloads(&digests).await?.iter().map(Digest::to_string).collect();
        Ok(Response::new(jobgraph::StatPayloadsResponse { present }))
    }
}
