//! Pointers that lead nowhere, or to something else.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::Host;

use crate::each_gets_an_error;

const ONE: (&str, &str) = ("one.sql", "SELECT 1;");

each_gets_an_error! {
    a_missing_file: [], ["run", "no-such.sql"] => 1, ["ARTIFACT_NOT_FOUND", "{dir}/no-such.sql", "help:"];
    a_missing_artifact: [ONE], ["run", "--artifact", "no-such.csv", "one.sql"]
        => 1, ["ARTIFACT_NOT_FOUND", "{dir}/no-such.csv", "help:"];
    a_directory: [], ["run", "{dir}"] => 2, ["SPEC_INVALID", "program.uri: {dir} is a directory", "help:"];
    a_directory_beside_the_program: [ONE], ["run", "--artifact", "{dir}", "one.sql"]
        => 2, ["SPEC_INVALID", "artifacts[0].uri: {dir} is a directory", "help:"];
    an_empty_script: [("no.sql", "")], ["run", "no.sql"] => 2, ["SPEC_INVALID", "{dir}/no.sql is empty", "help:"];
    a_device: [], ["run", "/dev/zero"] => 1, ["ARTIFACT_NOT_READABLE", "/dev/zero", "no regular file", "help:"];
    a_wrong_digest: [ONE],
        ["run", "one.sql#sha256=0000000000000000000000000000000000000000000000000000000000000000"]
        => 1, ["ARTIFACT_DIGEST_MISMATCH", "one.sql", "sha256:0000", "sha256:17db4fd369edb9244b9f91d9aeed145c3d04ad8ba6e95d06247f07a63527d11a", "help:"];
    a_host_that_is_not_there: [], ["run", "http://127.0.0.1:1/one.sql"]
        => 1, ["ARTIFACT_NOT_REACHABLE", "http://127.0.0.1:1/one.sql", "help:"];
    a_host_without_an_address: [], ["run", "http://no-such-host.invalid/one.sql"]
        => 1, ["ARTIFACT_NOT_REACHABLE", "no-such-host.invalid", "help:"];
}

#[test]
fn a_pipe_that_nobody_writes_into() {
    let host = Host::new();
    let pipe = host.scratch().join("pipe.sql");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    host.run(&["run", pipe.to_str().unwrap()])
        .exits(1)
        .says("ARTIFACT_NOT_READABLE")
        .says("no regular file");
    host.down();
}

#[test]
fn a_redirect_loop() {
    let host = Host::new();
    let server = Server::start(|path| match path {
        "/a.sql" => ("302 Found", "Location: /b.sql\r\n"),
        _ => ("302 Found", "Location: /a.sql\r\n"),
    });
    host.run(&["run", &server.uri("/a.sql")])
        .exits(1)
        .says("ARTIFACT_REDIRECTS")
        .says(&server.uri("/a.sql"))
        .says("help:");
    assert!(server.asked() <= 20, "asked {} times", server.asked());
    host.down();
}

#[test]
fn redirects_without_end() {
    let host = Host::new();
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_| {
        let next: &'static str =
            format!("Location: /{}.sql\r\n", count.fetch_add(1, Ordering::Relaxed)).leak();
        ("302 Found", next)
    });
    host.run(&["run", &server.uri("/first.sql")])
        .exits(1)
        .says("ARTIFACT_REDIRECTS")
        .says("first.sql");
    assert!(server.asked() <= 30, "asked {} times", server.asked());
    host.down();
}

#[test]
fn an_address_that_has_nothing() {
    let host = Host::new();
    let server = Server::start(|_| ("404 Not Found", ""));
    host.run(&["run", &server.uri("/gone.sql")])
        .exits(1)
        .says("ARTIFACT_NOT_FOUND")
        .says("gone.sql")
        .says("help:");
    host.down();
}

#[test]
fn an_address_that_one_may_not_read() {
    let host = Host::new();
    let server = Server::start(|_| ("403 Forbidden", ""));
    host.run(&["run", &server.uri("/mine.sql")])
        .exits(1)
        .says("ARTIFACT_NOT_READABLE")
        .says("403")
        .says("mine.sql");
    host.down();
}

/// An HTTP server that answers each path with a status and headers, and no body. Its thread ends
/// with the test.
struct Server {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start(answer: impl Fn(&str) -> (&'static str, &'static str) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::Relaxed);
                // A client that goes away before the answer gets none.
                let _ = serve(stream, &answer);
            }
        });
        Self { port, asked }
    }

    fn uri(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn serve(
    stream: TcpStream,
    answer: &impl Fn(&str) -> (&'static str, &'static str),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let (status, headers) = answer(request.split(' ').nth(1).unwrap_or_default());
    write!(
        reader.get_mut(),
        "HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n"
    )
}
