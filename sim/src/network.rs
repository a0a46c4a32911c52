//! A network without sockets: connections are pairs of buffers in this process.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chassis::transport::{BoxedIo, Endpoint, Incoming, Transport};
use futures::stream;
use tokio::sync::mpsc;

/// How many bytes are on their way in one direction of a connection.
const BUFFER_BYTES: usize = 256 * 1024;

/// How many connections wait to be accepted.
const BACKLOG: usize = 128;

/// A transport inside one process. Any endpoint can be listened on; none is a file or a port.
#[derive(Debug, Default)]
pub struct Network {
    listeners: Mutex<BTreeMap<Endpoint, mpsc::Sender<BoxedIo>>>,
}

#[async_trait]
impl Transport for Network {
    async fn listen(&self, endpoint: &Endpoint) -> io::Result<Incoming> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if listeners.get(endpoint).is_some_and(|listener| !listener.is_closed()) {
            return Err(io::Error::new(ErrorKind::AddrInUse, format!("{endpoint} is taken")));
        }
        let (sender, accepted) = mpsc::channel(BACKLOG);
        listeners.insert(endpoint.clone(), sender);
        let connections = stream::unfold(accepted, |mut accepted| async move {
            accepted.recv().await.map(|connection| (Ok(connection), accepted))
        });
        Ok(Incoming::new(endpoint.clone(), connections))
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        let refused =
            || io::Error::new(ErrorKind::ConnectionRefused, format!("{endpoint}: no listener"));
        let listener = {
            let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
            listeners.get(endpoint).cloned()
        };
        let (near, far) = tokio::io::duplex(BUFFER_BYTES);
        let listener = listener.ok_or_else(refused)?;
        listener.send(BoxedIo::new(far)).await.map_err(|_| refused())?;
        Ok(BoxedIo::new(near))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures::StreamExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn an_endpoint_connects_for_as_long_as_it_is_listened_on() {
        let network = Network::default();
        let endpoint = Endpoint::Tcp("etcd-0".to_owned(), 2379);
        assert!(network.connect(&endpoint).await.is_err());
        let mut listening = network.listen(&endpoint).await.unwrap();
        assert!(network.listen(&endpoint).await.is_err());
        let mut near = network.connect(&endpoint).await.unwrap();
        let mut far = listening.next().await.unwrap().unwrap();
        near.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        drop(listening);
        assert!(network.connect(&endpoint).await.is_err());
        assert!(network.listen(&endpoint).await.is_ok());
    }
}
