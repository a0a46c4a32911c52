//! A whole record as a stream, and as a file.

mod file;

use chassis::MAX_MESSAGE_BYTES;
use chassis::channel::GrpcChannel;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use proto::jobgraph::backup_service_client::BackupServiceClient;
use proto::jobgraph::{BackupPart, ReadBackupRequest};

use crate::error::CallError;

pub use file::{BackupReader, BackupWriter};

/// Reads the record behind a channel that carries the deployment's credential. The stream is a
/// backup only if its last part is an end.
pub async fn read(
    channel: GrpcChannel,
) -> Result<BoxStream<'static, Result<BackupPart, CallError>>, CallError> {
    let mut client = BackupServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let parts = client.read_backup(ReadBackupRequest {}).await?.into_inner();
    Ok(parts.map_ok(|answer| answer.part.unwrap_or_default()).map_err(CallError::from).boxed())
}
