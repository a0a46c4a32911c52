//! What only the memory of a store knows, for the stores of other hosts.

use chassis::MAX_MESSAGE_BYTES;
use chassis::channel::GrpcChannel;
use proto::jobgraph::live_service_client::LiveServiceClient;
use proto::jobgraph::{ReadLiveRequest, ReadLiveResponse};

use crate::error::CallError;

/// Client of a store's memory; cheap to clone.
#[derive(Debug, Clone)]
pub struct Live {
    inner: LiveServiceClient<GrpcChannel>,
}

impl Live {
    /// A client over a channel that carries the deployment's credential.
    pub fn new(channel: GrpcChannel) -> Self {
        let inner = LiveServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner }
    }

    /// Reads what the store has heard itself. The call has no deadline of its own: the caller knows
    /// how long it can wait.
    pub async fn read(&self) -> Result<Vec<ReadLiveResponse>, CallError> {
        let mut answers = self.inner.clone().read_live(ReadLiveRequest {}).await?.into_inner();
        let mut heard = Vec::new();
        while let Some(part) = answers.message().await? {
            heard.push(part);
        }
        Ok(heard)
    }
}
