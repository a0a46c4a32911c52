//! The client's half of a handshake.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ProtocolVersion};
use tokio::io::AsyncBufRead as _;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::{BoxedIo, Endpoint};
use super::accept::HANDSHAKE;
use super::explain::of_server;
use super::files::TlsFiles;
use super::material::Material;
use crate::clock::{SharedClock, timeout};

/// Guards a connection to `endpoint`, whose server has to be `host` by its certificate.
pub(super) async fn guarded(
    io: BoxedIo,
    endpoint: &Endpoint,
    host: &str,
    material: &Material,
    clock: &SharedClock,
) -> io::Result<BoxedIo> {
    let name = name(endpoint, host)?;
    let connector = TlsConnector::from(material.client.clone());
    let understanding = async {
        let mut stream = connector.connect(name, io).await?;
        accepted(&mut stream).await?;
        Ok::<_, io::Error>(BoxedIo::new(stream))
    };
    bounded(understanding, endpoint, &material.files, clock).await
}

/// Guards a connection to a server that is not of this deployment. Such a server need not say that
/// it has accepted the client's certificate, so its word is not waited for.
pub(super) async fn to_stranger(
    io: BoxedIo,
    endpoint: &Endpoint,
    host: &str,
    client: Arc<ClientConfig>,
    files: &TlsFiles,
    clock: &SharedClock,
) -> io::Result<BoxedIo> {
    let name = name(endpoint, host)?;
    let connected = TlsConnector::from(client).connect(name, io);
    bounded(async { connected.await.map(BoxedIo::new) }, endpoint, files, clock).await
}

fn name(endpoint: &Endpoint, host: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).map_err(|error| {
        let text = format!("cannot connect to {endpoint} by TLS: {host:?} is no name: {error}");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

async fn bounded(
    handshake: impl Future<Output = io::Result<BoxedIo>> + Send,
    endpoint: &Endpoint,
    files: &TlsFiles,
    clock: &SharedClock,
) -> io::Result<BoxedIo> {
    match timeout(clock, HANDSHAKE, handshake).await {
        Ok(done) => done.map_err(|error| of_server(endpoint, files, &error)),
        Err(elapsed) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("cannot connect to {endpoint} by TLS: {elapsed}"),
        )),
    }
}

/// Waits until the server has accepted the client's certificate, or has refused it. The server of
/// TLS 1.3 looks at the certificate when the client counts the handshake as done; its word after
/// that is a ticket, or what it has to say itself. Nothing is sent before, so a refusal cannot be
/// overtaken by the reset of a connection with unread bytes.
async fn accepted(stream: &mut TlsStream<BoxedIo>) -> io::Result<()> {
    poll_fn(|cx| {
        let read = match Pin::new(&mut *stream).poll_fill_buf(cx) {
            Poll::Ready(Ok(bytes)) => Some(Ok(bytes.is_empty())),
            Poll::Ready(Err(error)) => Some(Err(error)),
            Poll::Pending => None,
        };
        match read {
            Some(Ok(false)) => Poll::Ready(Ok(())),
            Some(Ok(true)) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Some(Err(error)) => Poll::Ready(Err(error)),
            None if has_word(stream) => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    })
    .await
}

fn has_word(stream: &TlsStream<BoxedIo>) -> bool {
    let (_, session) = stream.get_ref();
    session.protocol_version() != Some(ProtocolVersion::TLSv1_3)
        || session.tls13_tickets_received() > 0
}
