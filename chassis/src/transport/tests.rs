#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    Endpoint, Incoming, InsecureNetwork, MAX_SOCKET_PATH_BYTES, NetworkArgs, OsTransport,
    Transport, Untrusted,
};
use crate::clock::{ManualClock, SharedClock};

fn unix(path: impl Into<PathBuf>) -> Endpoint {
    Endpoint::Unix(path.into())
}

#[test]
fn endpoints_read_back_as_they_are_written() {
    for (text, endpoint) in [
        ("unix:/run/m/store.sock", unix("/run/m/store.sock")),
        ("tcp://127.0.0.1:7070", Endpoint::Tcp("127.0.0.1".into(), 7070)),
        ("tcp://store.local:0", Endpoint::Tcp("store.local".into(), 0)),
        ("tcp://[::1]:7070", Endpoint::Tcp("::1".into(), 7070)),
    ] {
        assert_eq!(text.parse::<Endpoint>().unwrap(), endpoint);
        assert_eq!(endpoint.to_string(), text);
        let json = serde_json::to_string(&endpoint).unwrap();
        assert_eq!(json, format!("{text:?}"));
        assert_eq!(serde_json::from_str::<Endpoint>(&json).unwrap(), endpoint);
    }
    assert_eq!("unix:///run/x".parse::<Endpoint>().unwrap(), unix("/run/x"));
}

#[test]
fn what_is_no_endpoint_is_refused_with_its_text() {
    for text in [
        "",
        "/run/x",
        "unix:",
        "unix:x",
        "tcp://",
        "tcp://h",
        "tcp://:1",
        "tcp://h:70000",
        "http://h:1",
    ] {
        assert!(
            text.parse::<Endpoint>().unwrap_err().to_string().contains(&format!("{text:?}")),
            "{text}"
        );
    }
}

async fn exchange(incoming: &mut Incoming) {
    let endpoint = incoming.endpoint().clone();
    let (accepted, connected) = tokio::join!(incoming.next(), OsTransport.connect(&endpoint));
    let (mut accepted, mut connected) = (accepted.unwrap().unwrap(), connected.unwrap());
    connected.write_all(b"hello").await.unwrap();
    let mut bytes = [0; 5];
    accepted.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");
}

#[tokio::test]
async fn what_listens_can_be_connected_to() {
    let dir = tempfile::tempdir().unwrap();
    exchange(&mut OsTransport.listen(&unix(dir.path().join("a.sock"))).await.unwrap()).await;
    let mut tcp = OsTransport.listen(&Endpoint::Tcp("127.0.0.1".into(), 0)).await.unwrap();
    assert!(matches!(tcp.endpoint(), Endpoint::Tcp(_, port) if *port != 0));
    exchange(&mut tcp).await;
}

#[tokio::test]
async fn a_socket_and_the_directory_made_for_it_are_their_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/a.sock");
    let listening = OsTransport.listen(&unix(&path)).await.unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    drop(listening);
    assert!(!path.exists(), "the socket goes with its listener");
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves the file of a closed listener behind");
    let mut living = OsTransport.listen(&unix(&path)).await.unwrap();
    let refused = OsTransport.listen(&unix(&path)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AddrInUse);
    assert!(living.next().await.unwrap().is_ok(), "the attempt to find out was a connection");
    exchange(&mut living).await;
}

#[tokio::test]
async fn a_file_in_the_sockets_place_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    fs::write(&path, "precious").unwrap();
    assert_eq!(
        OsTransport.listen(&unix(&path)).await.unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_path_that_no_socket_can_have_is_refused_by_its_length() {
    let path = format!("/tmp/{}", "x".repeat(MAX_SOCKET_PATH_BYTES - 4));
    for error in [
        OsTransport.listen(&unix(&path)).await.unwrap_err(),
        OsTransport.connect(&unix(&path)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(
            error.to_string().contains("108 bytes") && error.to_string().contains("107"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn connecting_where_nobody_listens_fails_at_once_and_names_the_endpoint() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = unix(dir.path().join("nobody.sock"));
    let error = OsTransport.connect(&endpoint).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&endpoint.to_string()), "{error}");
}

#[tokio::test]
async fn plain_text_stays_on_this_machine_unless_it_is_said() {
    for host in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
        let everywhere = Endpoint::Tcp(host.into(), 0);
        let refused = OsTransport.listen(&everywhere).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{host}");
        assert!(refused.to_string().contains("--insecure-network"), "{refused}");
    }
    let said = InsecureNetwork.listen(&Endpoint::Tcp("0.0.0.0".into(), 0)).await.unwrap();
    assert_eq!(said.endpoint().to_string().rsplit_once(':').unwrap().0, "tcp://0.0.0.0");
    for host in ["127.0.0.1", "localhost", "::ffff:127.0.0.1"] {
        OsTransport.listen(&Endpoint::Tcp(host.into(), 0)).await.unwrap();
    }
}

#[tokio::test]
async fn a_credential_is_not_sent_to_another_machine_in_plain_text() {
    // An address of this machine that is no loopback; where there is none, nothing can be shown.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    if probe.connect("192.0.2.1:9").is_err() {
        return;
    }
    let own = probe.local_addr().unwrap().ip();
    let incoming = InsecureNetwork.listen(&Endpoint::Tcp(own.to_string(), 0)).await.unwrap();
    let there = incoming.endpoint().clone();
    let refused = OsTransport.connect_trusted(&there).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert!(refused.to_string().contains(&there.to_string()), "{refused}");
    OsTransport.connect(&there).await.expect("what carries no credential goes anywhere");
    InsecureNetwork.connect_trusted(&there).await.unwrap();
}

#[tokio::test]
async fn certificates_of_no_use_stop_a_service_and_only_the_tcp_of_a_command() {
    let dir = tempfile::tempdir().unwrap();
    let clock: SharedClock = Arc::new(ManualClock::new());
    let args = |tls: PathBuf| NetworkArgs { tls: Some(tls), insecure_network: false };
    let relative = args("certs".into()).transport(&clock).err().unwrap();
    assert!(relative.to_string().contains("absolute directory"), "{relative}");
    let absent = args(dir.path().join("certs"));
    let error = absent.clone().transport(&clock).err().unwrap();
    assert!(error.to_string().contains("certs/ca.crt"), "{error}");
    assert!(absent.examine(&clock).unwrap().is_err());

    let lenient = absent.lenient_transport(&clock);
    let mut unix = lenient.listen_trusted(&unix(dir.path().join("a.sock"))).await.unwrap();
    exchange(&mut unix).await;
    let there = Endpoint::Tcp("127.0.0.1".into(), 7);
    let error = lenient.connect_trusted(&there).await.unwrap_err();
    assert!(Untrusted::is_cause_of(&error), "{error}");
    assert!(error.to_string().contains("certs/ca.crt"), "{error}");
}
