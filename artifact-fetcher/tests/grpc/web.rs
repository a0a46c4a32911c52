//! A web server that misbehaves as the test tells it to.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What one path answers.
#[derive(Clone)]
pub(crate) struct Page {
    status: u16,
    location: Option<String>,
    bytes: Vec<u8>,
    pause: Duration,
    /// The first answer ends after so many bytes.
    cut_after: Option<usize>,
    /// The bytes come over and over again, and their number is not said.
    endless: bool,
    /// So many requests are answered 503 first.
    busy: usize,
    /// The second half comes when this is set.
    gate: Option<Arc<AtomicBool>>,
}

impl Page {
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self {
            status: 200,
            location: None,
            bytes,
            pause: Duration::ZERO,
            cut_after: None,
            endless: false,
            busy: 0,
            gate: None,
        }
    }

    /// Half of the bytes, and the rest once the gate is open.
    pub(crate) fn gated(bytes: Vec<u8>, gate: &Arc<AtomicBool>) -> Self {
        Self { gate: Some(gate.clone()), ..Self::bytes(bytes) }
    }

    pub(crate) fn slow(bytes: Vec<u8>) -> Self {
        Self { pause: Duration::from_millis(300), ..Self::bytes(bytes) }
    }

    pub(crate) fn endless() -> Self {
        Self { endless: true, ..Self::bytes(vec![7; 4096]) }
    }

    pub(crate) fn busy(bytes: Vec<u8>, times: usize) -> Self {
        Self { busy: times, ..Self::bytes(bytes) }
    }

    pub(crate) fn cut_once(bytes: Vec<u8>, after: usize) -> Self {
        Self { cut_after: Some(after), ..Self::bytes(bytes) }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::bytes(Vec::new()) }
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self { status: 302, location: Some(to.to_owned()), ..Self::bytes(Vec::new()) }
    }
}

/// A web server that runs until the test's process ends.
pub(crate) struct Web {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Option<String>>>>,
    /// How many answers are being written.
    writing: Arc<AtomicUsize>,
}

impl Web {
    pub(crate) fn serve(pages: Vec<(&'static str, Page)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let web = Self { address, seen: Arc::default(), writing: Arc::default() };
        let (pages, seen): (HashMap<_, _>, _) = (pages.into_iter().collect(), web.seen.clone());
        let writing = web.writing.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (pages, seen, writing) = (pages.clone(), seen.clone(), writing.clone());
                std::thread::spawn(move || {
                    writing.fetch_add(1, Ordering::SeqCst);
                    drop(answer(stream, &pages, &seen));
                    writing.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        web
    }

    pub(crate) fn address(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits until so many answers are being written.
    pub(crate) async fn writes(&self, answers: usize) {
        for _ in 0..2000 {
            if self.writing.load(Ordering::SeqCst) == answers {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{} answers are being written", self.writing.load(Ordering::SeqCst));
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The `Range` header of each request.
    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer(
    mut stream: TcpStream,
    pages: &HashMap<&str, Page>,
    seen: &Mutex<Vec<Option<String>>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("range")
        {
            range = Some(value.to_owned());
        }
    }
    let nth = {
        let mut seen = seen.lock().unwrap();
        seen.push(range.clone());
        seen.len()
    };
    let first = nth == 1;
    let missing = Page::status(404);
    let busy = Page::status(503);
    let page = pages.get(path.as_str()).unwrap_or(&missing);
    let page = if nth <= page.busy { &busy } else { page };
    if page.endless {
        write!(stream, "HTTP/1.1 200 x\r\nConnection: close\r\n\r\n")?;
        loop {
            stream.write_all(&page.bytes)?;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    std::thread::sleep(page.pause);
    let from = range
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
        .unwrap_or(0);
    let total = page.bytes.len();
    let status = if from > 0 { 206 } else { page.status };
    write!(
        stream,
        "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\nETag: \"1\"\r\n",
        total - from
    )?;
    if from > 0 {
        write!(stream, "Content-Range: bytes {from}-{}/{total}\r\n", total - 1)?;
    }
    if let Some(location) = &page.location {
        write!(stream, "Location: {location}\r\n")?;
    }
    write!(stream, "Connection: close\r\n\r\n")?;
    let end = page.cut_after.filter(|_| first).unwrap_or(total);
    let middle = if page.gate.is_some() { end / 2 } else { end };
    stream.write_all(&page.bytes[from..middle.max(from)])?;
    while page.gate.as_ref().is_some_and(|gate| !gate.load(Ordering::SeqCst)) {
        std::thread::sleep(Duration::from_millis(1));
    }
    stream.write_all(&page.bytes[middle.max(from)..end])
}
