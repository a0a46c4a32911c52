//! One HTTP request at a time, as a person with curl would make it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// The longest that a server may be silent.
const SILENCE: Duration = Duration::from_secs(20);

/// An answer: its status, and its body as text.
#[derive(Debug)]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    /// The whole body; a chunked one also holds the sizes of its chunks.
    pub body: String,
}

impl Answer {
    /// The body as one JSON document; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        let (from, to) = (self.body.find(['{', '[']), self.body.rfind(['}', ']']));
        let text = from.zip(to).and_then(|(from, to)| self.body.get(from..=to)).unwrap_or_default();
        serde_json::from_str(text).unwrap_or_default()
    }
}

/// Asks a server at `host:port`; an error when no process listens there, or when the one that does
/// speaks no HTTP.
pub fn ask(address: &str, method: &str, path: &str) -> std::io::Result<Answer> {
    tell(address, method, path, "")
}

/// As [`ask`], with a body.
pub fn tell(address: &str, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no HTTP: {head:?}")))?;
    Ok(Answer { status, body: body.to_owned() })
}
