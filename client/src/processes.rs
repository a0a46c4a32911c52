//! The client of the intents and tombstones of processes that lifecycle keeps in the record. Every
//! call may be repeated.

use std::time::Duration;

use chassis::MAX_MESSAGE_BYTES;
use chassis::channel::GrpcChannel;
use proto::jobgraph::process_service_client::ProcessServiceClient;
use proto::jobgraph::{
    DeleteProcessesRequest, GiveUpPlaceRequest, GiveUpPlaceResponse, ListProcessesRequest, Process,
    PutProcessRequest,
};
use proto::{Epoch, PlaceUid};

use crate::error::CallError;

/// How long a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Client of the record's processes; cheap to clone.
#[derive(Debug, Clone)]
pub struct Processes {
    inner: ProcessServiceClient<GrpcChannel>,
}

fn call<T>(request: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(request);
    request.set_timeout(CALL_TIMEOUT);
    request
}

impl Processes {
    /// A client over a channel that carries the deployment's credential.
    pub fn new(channel: GrpcChannel) -> Self {
        let inner = ProcessServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner }
    }

    /// Keeps or replaces one process by its key. With an epoch the write is fenced as a leader's
    /// write is.
    pub async fn put(&self, process: Process, epoch: Option<Epoch>) -> Result<(), CallError> {
        let request =
            PutProcessRequest { process: Some(process), epoch: epoch.map_or(0, Epoch::get) };
        self.inner.clone().put_process(call(request)).await?;
        Ok(())
    }

    /// The processes whose key begins with this prefix, oldest first.
    pub async fn list(&self, key_prefix: &str) -> Result<Vec<Process>, CallError> {
        self.listed(key_prefix, String::new()).await
    }

    /// The processes at this place whose key begins with this prefix, oldest first. Those of a
    /// build that named no place are at the place of the store.
    pub async fn list_at(
        &self,
        key_prefix: &str,
        place: PlaceUid,
    ) -> Result<Vec<Process>, CallError> {
        self.listed(key_prefix, place.to_string()).await
    }

    async fn listed(&self, key_prefix: &str, place_uid: String) -> Result<Vec<Process>, CallError> {
        let request = ListProcessesRequest { key_prefix: key_prefix.to_owned(), place_uid };
        Ok(self.inner.clone().list_processes(call(request)).await?.into_inner().processes)
    }

    /// Forgets the processes whose key begins with this prefix. An empty prefix is refused.
    pub async fn delete(&self, key_prefix: &str) -> Result<(), CallError> {
        let request = DeleteProcessesRequest { key_prefix: key_prefix.to_owned() };
        self.inner.clone().delete_processes(call(request)).await?;
        Ok(())
    }

    /// Forgets every process of a place that will never come back, and tells the applications that
    /// had some there. `requested_by` is user@host; the caller vouches for it that nothing lives at
    /// the place. The answer says how many processes were forgotten, and which applications had a
    /// cluster's among them.
    pub async fn give_up_place(
        &self,
        place: PlaceUid,
        requested_by: &str,
        reason: &str,
    ) -> Result<GiveUpPlaceResponse, CallError> {
        let request = GiveUpPlaceRequest {
            place_uid: place.to_string(),
            requested_by: requested_by.to_owned(),
            reason: reason.to_owned(),
        };
        Ok(self.inner.clone().give_up_place(call(request)).await?.into_inner())
    }
}
