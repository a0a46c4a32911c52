//! One HTTP request at a time, as a person with curl would make it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// The longest that a server may be silent.
const SILENCE: Duration = Duration::from_secs(20);

/// What is between the head of an answer and its body.
const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// An answer: its status, and its body as text.
#[derive(Debug)]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    /// The whole body.
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
    tell_within(SILENCE, address, method, path, body)
}

/// As [`tell`], with a server that may be silent for so long at most.
pub fn tell_within(
    silence: Duration,
    address: &str,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(silence))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    read(&bytes)
}

/// Reads an answer.
fn read(bytes: &[u8]) -> std::io::Result<Answer> {
    let blank = bytes.windows(BLANK_LINE.len()).position(|bytes| bytes == BLANK_LINE);
    let (head, body) = match blank {
        Some(at) => (&bytes[..at], &bytes[at + BLANK_LINE.len()..]),
        None => (bytes, &[][..]),
    };
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no HTTP: {head:?}")))?;
    let is_chunked = head.contains("transfer-encoding: chunked");
    let body = if is_chunked { joined(body) } else { body.to_vec() };
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}

/// A body that comes in chunks, without their sizes. What was cut off is left out.
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = chunks.windows(2).position(|bytes| bytes == b"\r\n") {
        let line = String::from_utf8_lossy(&chunks[..end]);
        let size = line.split(';').next().unwrap_or_default().trim();
        let Ok(size @ 1..) = usize::from_str_radix(size, 16) else { break };
        let Some(chunk) = chunks.get(end + 2..end + 2 + size) else { break };
        whole.extend_from_slice(chunk);
        // Behind each chunk there is the end of a line.
        chunks = chunks.get(end + 4 + size..).unwrap_or_default();
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_body_that_comes_in_chunks_is_joined() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let whole = format!("{head}5\r\n{{\"a\":\r\n3;x\r\n 1}}\r\n0\r\n\r\n");
        let answer = read(whole.as_bytes()).expect("it is HTTP");
        assert_eq!((answer.status, answer.body.as_str()), (200, "{\"a\": 1}"));
        assert_eq!(answer.json()["a"], 1);
    }

    #[test]
    fn a_body_of_a_length_stays_as_it_is() {
        let answer = read(b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\n1\r\n");
        assert_eq!(answer.expect("it is HTTP").body, "1\r\n");
        assert!(read(b"ssh\r\n\r\n").is_err());
    }
}
