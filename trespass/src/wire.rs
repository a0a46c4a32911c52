//! Calls whose messages are bytes, for any method and any kind of stream.

use bytes::{Buf as _, BufMut as _, Bytes};
use chassis::channel::GrpcChannel;
use futures::StreamExt as _;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

#[derive(Debug, Clone, Copy, Default)]
struct AsBytes;

impl Codec for AsBytes {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Sends one message, and returns with the first answer or with the refusal.
pub(crate) async fn call(channel: &GrpcChannel, path: &str, request: Bytes) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await?;
    let path = path.parse().map_err(|_| Status::internal("a path of the contract is a path"))?;
    // A stream does not end with its first message, so a call that goes on has been let in or not.
    let requests = futures::stream::once(async { request });
    let mut answers = grpc.streaming(Request::new(requests), path, AsBytes).await?.into_inner();
    match answers.next().await {
        Some(Err(status)) => Err(status),
        Some(Ok(_)) | None => Ok(()),
    }
}
