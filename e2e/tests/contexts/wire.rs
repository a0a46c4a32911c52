//! What lies between a caller and a host: a way that can be cut, and a server of files.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use e2e::Host;

/// An endpoint where no process listens.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("tcp://{}", listener.local_addr().unwrap())
}

/// A way from a TCP port to a socket of this machine, as `ssh -L` makes one.
pub(crate) struct Relay {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
    is_cut: Arc<AtomicBool>,
}

impl Relay {
    /// A way to the store of a host that runs.
    pub(crate) fn to_store_of(host: &Host) -> Self {
        let text = std::fs::read_to_string(host.state().join("host.json")).unwrap();
        let file: serde_json::Value = serde_json::from_str(&text).unwrap();
        let endpoint = file["services"]["jobgraph-store"]["endpoint"].as_str().unwrap();
        Self::to(Path::new(endpoint.strip_prefix("unix:").unwrap()))
    }

    fn to(socket: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Self {
            address: listener.local_addr().unwrap(),
            open: Arc::default(),
            is_cut: Arc::default(),
        };
        let (open, is_cut) = (relay.open.clone(), relay.is_cut.clone());
        let socket = socket.to_owned();
        std::thread::spawn(move || relay_all(&listener, &socket, &open, &is_cut));
        relay
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// How many connections have come this way.
    pub(crate) fn connections(&self) -> usize {
        self.open.lock().unwrap().len()
    }

    /// Breaks every connection, and refuses new ones from now on.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        // The listener is woken, and goes.
        let _ = TcpStream::connect(self.address);
        for stream in self.open.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut();
    }
}

fn relay_all(
    listener: &TcpListener,
    socket: &Path,
    open: &Mutex<Vec<TcpStream>>,
    is_cut: &AtomicBool,
) {
    for stream in listener.incoming() {
        if is_cut.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(caller), Ok(store)) = (stream, UnixStream::connect(socket)) else { continue };
        open.lock().unwrap().push(caller.try_clone().unwrap());
        let (mut to_store, mut from_store) = (store.try_clone().unwrap(), store);
        let (mut from_caller, mut to_caller) = (caller.try_clone().unwrap(), caller);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_caller, &mut to_store);
            let _ = to_store.shutdown(Shutdown::Both);
        });
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_store, &mut to_caller);
            let _ = to_caller.shutdown(Shutdown::Both);
        });
    }
}

/// A web server that answers every request with one text, until the test ends.
pub(crate) struct Files {
    address: SocketAddr,
}

impl Files {
    pub(crate) fn serve(text: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                let (mut head, mut line) = (BufReader::new(&stream), String::new());
                // The head of a request ends with an empty line.
                while head.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                    line.clear();
                }
                let length = text.len();
                let _ = write!(
                    &stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
                );
            }
        });
        Self { address }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }
}
