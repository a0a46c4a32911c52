//! The operating system's sockets.
#![allow(clippy::disallowed_methods, reason = "the one file that binds and connects sockets")]

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use futures::stream;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, lookup_host};

use super::{BoxedIo, Endpoint, Incoming, Transport};

/// The longest path of a unix socket, in bytes: `sun_path` has 108, the last one is NUL.
pub const MAX_SOCKET_PATH_BYTES: usize = 107;

/// Unix sockets that only their owner can reach, and TCP without Nagle's delay. TCP is plain text,
/// so this transport does not listen where another machine could reach it, and sends no credential
/// to another machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsTransport;

/// The same sockets without that restriction: what is sent can be read and changed on the way,
/// because the operator has decided so.
#[derive(Debug, Clone, Copy, Default)]
pub struct InsecureNetwork;

#[async_trait]
impl Transport for OsTransport {
    async fn listen(&self, endpoint: &Endpoint) -> io::Result<Incoming> {
        listen(endpoint, Reach::ThisMachine).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        connect(endpoint, Reach::Anywhere).await
    }

    async fn connect_trusted(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        connect(endpoint, Reach::ThisMachine).await
    }
}

#[async_trait]
impl Transport for InsecureNetwork {
    async fn listen(&self, endpoint: &Endpoint) -> io::Result<Incoming> {
        listen(endpoint, Reach::Anywhere).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        connect(endpoint, Reach::Anywhere).await
    }
}

/// The same sockets below a layer that guards what it sends, so that they may reach everywhere and
/// nothing has to be said about plain text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GuardedNetwork;

#[async_trait]
impl Transport for GuardedNetwork {
    async fn listen(&self, endpoint: &Endpoint) -> io::Result<Incoming> {
        listen(endpoint, Reach::Guarded).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        connect(endpoint, Reach::Guarded).await
    }
}

/// How far TCP may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Plain text, where no other machine can read it.
    ThisMachine,
    /// Plain text, because the operator has said so.
    Anywhere,
    /// What a layer above has made unreadable.
    Guarded,
}

impl Reach {
    fn admits(self, address: SocketAddr) -> io::Result<()> {
        if self != Self::ThisMachine || is_loopback(address) {
            return Ok(());
        }
        Err(io::Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "{address} is beyond this machine, and what is sent there in plain text can be read and changed on the \
                 way, credentials included: use 127.0.0.1 or a unix socket, guard it with --tls DIR, or say \
                 --insecure-network"
            ),
        ))
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

async fn listen(endpoint: &Endpoint, reach: Reach) -> io::Result<Incoming> {
    let named = |error| about("listen on", endpoint, error);
    match endpoint {
        Endpoint::Unix(path) => listen_unix(path).await.map_err(named),
        Endpoint::Tcp(host, port) => listen_tcp(host, *port, reach).await.map_err(named),
    }
}

async fn connect(endpoint: &Endpoint, reach: Reach) -> io::Result<BoxedIo> {
    let named = |error| about("connect to", endpoint, error);
    match endpoint {
        Endpoint::Unix(path) => {
            check_length(path).map_err(named)?;
            UnixStream::connect(path).await.map(BoxedIo::new).map_err(named)
        }
        Endpoint::Tcp(host, port) => {
            // What a name stands for is known once it is connected; nothing has been sent by then.
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(named)?;
            reach.admits(stream.peer_addr().map_err(named)?).map_err(named)?;
            stream.set_nodelay(true).map_err(named)?;
            Ok(BoxedIo::new(stream))
        }
    }
}

/// An error of the same kind, with the endpoint in its text.
fn about(verb: &str, endpoint: &Endpoint, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {verb} {endpoint}: {error}"))
}

fn check_length(path: &Path) -> io::Result<()> {
    let bytes = path.as_os_str().len();
    if bytes <= MAX_SOCKET_PATH_BYTES {
        return Ok(());
    }
    Err(io::Error::new(
        ErrorKind::InvalidInput,
        format!(
            "the path has {bytes} bytes and a socket's path at most {MAX_SOCKET_PATH_BYTES}: \
             choose a shorter runtime directory"
        ),
    ))
}

async fn listen_unix(path: &Path) -> io::Result<Incoming> {
    check_length(path)?;
    if let Some(parent) = path.parent() {
        // Existing directories keep their mode: they may be the user's own.
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    remove_stale(path).await?;
    let listener = UnixListener::bind(path)?;
    // The directory is closed to others while the socket has the mode of the umask. The new mode
    // covers a directory that was there before.
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    let socket = SocketFile { path: path.to_owned(), inode: fs::symlink_metadata(path)?.ino() };
    let connections = stream::unfold((listener, socket), |(listener, socket)| async move {
        let connection = listener.accept().await.map(|(stream, _)| BoxedIo::new(stream));
        Some((connection, (listener, socket)))
    });
    Ok(Incoming::new(Endpoint::Unix(path.to_owned()), connections))
}

/// Removes a socket that no process listens on any more: only a *refused* connection proves that.
/// Anything else in that place, a living socket included, is left alone and fails the bind.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "something that is no socket is in its place",
        ));
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// Removes the socket's file when the listener goes, unless a successor has put its own in the same
/// place.
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            // The file is gone already, or is another process's by now: the next listener copes
            // with a stale socket.
            let _ = fs::remove_file(&self.path);
        }
    }
}

async fn listen_tcp(host: &str, port: u16, reach: Reach) -> io::Result<Incoming> {
    // The addresses are checked before anything is bound, so that no other machine finds the port
    // open for a moment.
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
    addresses.iter().try_for_each(|address| reach.admits(*address))?;
    let listener = TcpListener::bind(addresses.as_slice()).await?;
    let address = listener.local_addr()?;
    if reach == Reach::Anywhere && !is_loopback(address) {
        tracing::warn!(
            "{address} is served in plain text: credentials and data can be read on the way"
        );
    }
    let bound = Endpoint::Tcp(host.to_owned(), address.port());
    let connections = stream::unfold(listener, |listener| async move {
        let connection = match listener.accept().await {
            Ok((stream, _)) => stream.set_nodelay(true).map(|()| BoxedIo::new(stream)),
            Err(error) => Err(error),
        };
        Some((connection, listener))
    });
    Ok(Incoming::new(bound, connections))
}
