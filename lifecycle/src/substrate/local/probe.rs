//! Asking a process of this machine whether it is ready.

use std::time::Duration;

use chassis::channel::{GrpcChannel, connect};
use chassis::clock::{SharedClock, timeout};
use chassis::transport::{Endpoint, SharedTransport};
use client::health;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::model::{Probe, RoleSpec};

/// How long one question may take.
const ASK: Duration = Duration::from_secs(2);

/// Asks one process.
pub(super) struct Prober {
    probe: Ask,
    endpoint: Endpoint,
    channel: GrpcChannel,
    transport: SharedTransport,
    clock: SharedClock,
}

/// A [`Probe`] whose port is known.
enum Ask {
    Nothing,
    Health,
    Port(u16),
    Page(u16, String),
}

impl Ask {
    fn of(role: &RoleSpec) -> Self {
        // A port without a chosen number is 0, where nothing could answer.
        let number = |port| role.number_of(port).unwrap_or_default();
        match &role.probe {
            Probe::Started => Self::Nothing,
            Probe::GrpcHealth => Self::Health,
            Probe::TcpPort(port) => Self::Port(number(port)),
            Probe::Http { port, path } => Self::Page(number(port), path.clone()),
        }
    }
}

impl Prober {
    pub(super) fn new(
        role: &RoleSpec,
        endpoint: Endpoint,
        transport: SharedTransport,
        clock: SharedClock,
    ) -> Self {
        // Health is open to every caller, so a probe has no credential.
        let channel = connect(transport.clone(), clock.clone(), endpoint.clone(), None);
        Self { probe: Ask::of(role), endpoint, channel, transport, clock }
    }

    /// Whether the process answers as it should, within two seconds.
    pub(super) async fn ask(&self) -> bool {
        let asked = async {
            match &self.probe {
                Ask::Nothing => true,
                Ask::Health => self.ask_health().await,
                Ask::Port(port) => self.transport.connect(&here(*port)).await.is_ok(),
                Ask::Page(port, path) => self.ask_page(*port, path).await.unwrap_or(false),
            }
        };
        timeout(&self.clock, ASK, asked).await.unwrap_or(false)
    }

    async fn ask_health(&self) -> bool {
        // Asking an absent socket costs microseconds, and opening a channel to it much more.
        if self.transport.connect(&self.endpoint).await.is_err() {
            return false;
        }
        health::is_serving(self.channel.clone()).await
    }

    async fn ask_page(&self, port: u16, path: &str) -> std::io::Result<bool> {
        /// The length of `HTTP/1.1 200`.
        const STATUS_BYTES: usize = 12;
        let mut page = self.transport.connect(&here(port)).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
        page.write_all(request.as_bytes()).await?;
        page.flush().await?;
        let mut status = [0; STATUS_BYTES];
        page.read_exact(&mut status).await?;
        Ok(status.starts_with(b"HTTP/1.") && status[8] == b' ' && status[9] == b'2')
    }
}

fn here(port: u16) -> Endpoint {
    Endpoint::Tcp("127.0.0.1".to_owned(), port)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use std::sync::Arc;

    use chassis::clock::SystemClock;
    use chassis::transport::{OsTransport, Transport as _};
    use futures::StreamExt as _;

    use super::*;
    use crate::model::{self, Port};

    /// A role with one port, `rest`, at this number.
    fn role(probe: Probe, port: u16) -> RoleSpec {
        let mut role = model::tests::role("jobmanager");
        role.ports.push("rest".into());
        role.addresses.insert("jobmanager/rest".into(), format!("127.0.0.1:{port}"));
        role.probe = probe;
        role
    }

    /// Asks a server that answers every request with `answer`.
    async fn asked(answer: &'static [u8]) -> bool {
        let mut incoming = OsTransport.listen(&here(0)).await.unwrap();
        let Endpoint::Tcp(_, port) = incoming.endpoint().clone() else { unreachable!() };
        tokio::spawn(async move {
            let mut peer = incoming.next().await.unwrap().unwrap();
            let mut request = [0; 16];
            peer.read_exact(&mut request).await.unwrap();
            assert_eq!(&request, b"GET /up HTTP/1.1");
            peer.write_all(answer).await.unwrap();
        });
        let probe = Probe::Http { port: Port::Name("rest".into()), path: "/up".into() };
        Prober::new(&role(probe, port), here(port), Arc::new(OsTransport), Arc::new(SystemClock))
            .ask()
            .await
    }

    #[tokio::test]
    async fn a_page_is_ready_with_2xx_only() {
        assert!(asked(b"HTTP/1.1 204 No Content\r\n\r\n").await);
        assert!(!asked(b"HTTP/1.1 503 Busy\r\n\r\n").await);
        assert!(!asked(b"SSH-2.0-x 2 2 2 2").await);
        assert!(!asked(b"").await);
    }

    #[tokio::test]
    async fn a_port_is_ready_when_it_accepts() {
        let incoming = OsTransport.listen(&here(0)).await.unwrap();
        let Endpoint::Tcp(_, port) = incoming.endpoint().clone() else { unreachable!() };
        let prober = Prober::new(
            &role(Probe::TcpPort(Port::Number(port)), 1),
            here(port),
            Arc::new(OsTransport),
            Arc::new(SystemClock),
        );
        assert!(prober.ask().await);
        drop(incoming);
        assert!(!prober.ask().await);
    }
}
