//! The wire: proto to model and back, which caller may call what, and errors to statuses. Nothing
//! is decided here.

mod admission;
mod applications;
mod backup;
mod live;
mod logs;
mod mint;
mod payloads;
mod processes;
mod record;
mod status;

use std::pin::Pin;

use chassis::MAX_MESSAGE_BYTES;
use chassis::credential::DeploymentKey;
use futures::{Stream, StreamExt as _};
use proto::api::applications_service_server::ApplicationsServiceServer;
use proto::jobgraph::admission_service_server::AdmissionServiceServer;
use proto::jobgraph::backup_service_server::BackupServiceServer;
use proto::jobgraph::live_service_server::LiveServiceServer;
use proto::jobgraph::log_service_server::LogServiceServer;
use proto::jobgraph::payload_service_server::PayloadServiceServer;
use proto::jobgraph::process_service_server::ProcessServiceServer;
use proto::jobgraph::record_service_server::RecordServiceServer;
use tonic::service::Routes;
use tonic::{Response, Status};

use self::mint::Mint;
use crate::error::Error;
use crate::service::Service;

/// The answer to a call, or the status of its refusal.
type Answer<T> = Result<Response<T>, Status>;

/// The stream of a call that is answered in parts.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// All services of the record. Tokens for leaders are minted with the key.
pub fn routes(service: &Service, key: &DeploymentKey) -> Routes {
    let wire = Wire(service.clone(), Mint::new(key.clone()));
    macro_rules! sized {
        ($server:expr) => {
            $server
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES)
        };
    }
    Routes::new(sized!(ApplicationsServiceServer::new(wire.clone())))
        .add_service(sized!(RecordServiceServer::new(wire.clone())))
        .add_service(sized!(PayloadServiceServer::new(wire.clone())))
        .add_service(sized!(LogServiceServer::new(wire.clone())))
        .add_service(sized!(ProcessServiceServer::new(wire.clone())))
        .add_service(sized!(AdmissionServiceServer::new(wire.clone())))
        .add_service(sized!(LiveServiceServer::new(wire.clone())))
        .add_service(sized!(BackupServiceServer::new(wire)))
}

/// The service as the generated servers call it.
#[derive(Clone)]
struct Wire(Service, Mint);

/// Turns items of the service into the answers of an rpc.
fn answers<T, U: 'static>(
    items: impl Stream<Item = Result<T, Error>> + Send + 'static,
    convert: impl Fn(T) -> U + Send + 'static,
) -> Answers<U> {
    Box::pin(items.map(move |item| item.map(&convert).map_err(Status::from)))
}
