//! Who comes in, who is told why not, and how certificates are renewed.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod renewal;

use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use e2e::certificates::{Authority, BOTH, Issued, Purpose, write};
use futures::StreamExt as _;
use proto::Reason;
use proto::election::ResignRequest;
use proto::election::election_service_client::ElectionServiceClient;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use super::super::{BoxedIo, Endpoint, Foreign, Incoming, OsTransport, SharedTransport, Transport};
use super::accept::HANDSHAKE;
use super::{Tls, TlsFiles, Untrusted};
use crate::clock::{Clock as _, ManualClock, SharedClock};

/// A time longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// A deployment with one CA, whose services share the directory of one certificate.
struct Place {
    directory: TempDir,
    authority: Authority,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("this deployment's CA");
        authority.equip(directory.path());
        Self { directory, authority, clock: Arc::new(ManualClock::new()) }
    }

    fn clock(&self) -> SharedClock {
        self.clock.clone()
    }

    fn tls(&self) -> Tls {
        tls(self.directory.path(), self.clock()).unwrap()
    }

    async fn server(&self) -> Incoming {
        self.tls().listen_trusted(&here()).await.unwrap()
    }

    /// A directory beside that of the services, for a process of its own.
    fn beside(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }
}

fn tls(directory: &Path, clock: SharedClock) -> io::Result<Tls> {
    let sockets: SharedTransport = Arc::new(OsTransport);
    Tls::new(sockets.clone(), sockets, TlsFiles::of_directory(directory), clock)
}

fn here() -> Endpoint {
    Endpoint::Tcp("127.0.0.1".into(), 0)
}

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LONG, future).await.expect("bounded wait")
}

/// A connection, from both of its sides.
async fn connected(server: &mut Incoming, client: &dyn Transport) -> (BoxedIo, BoxedIo) {
    let endpoint = server.endpoint().clone();
    let both = async { tokio::join!(server.next(), client.connect_trusted(&endpoint)) };
    let (accepted, connected) = soon(both).await;
    (accepted.unwrap().unwrap(), connected.unwrap())
}

/// Says a word in each direction.
async fn converse((mut one, mut other): (BoxedIo, BoxedIo)) {
    let mut bytes = [0; 5];
    other.write_all(b"hello").await.unwrap();
    other.flush().await.unwrap();
    soon(one.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(&bytes, b"hello");
    one.write_all(b"world").await.unwrap();
    one.flush().await.unwrap();
    soon(other.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(&bytes, b"world");
}

/// What a client is told that does not get a connection; the server lets no client in meanwhile.
async fn refused(server: &mut Incoming, client: &dyn Transport) -> String {
    let endpoint = server.endpoint().clone();
    let error = soon(async {
        tokio::select! {
            accepted = server.next() => panic!("a client was let in: {accepted:?}"),
            connected = client.connect_trusted(&endpoint) => connected.unwrap_err(),
        }
    })
    .await;
    assert!(Untrusted::is_cause_of(&error), "{error}");
    assert!(error.to_string().contains(&endpoint.to_string()), "{error}");
    error.to_string()
}

/// A client of this certificate, which trusts these CAs.
fn client(place: &Place, name: &str, cas: &[&Authority], own: &Issued) -> Tls {
    let directory = place.beside(name);
    let cas: String = cas.iter().map(|ca| ca.pem.as_str()).collect();
    write(&directory, &cas, own);
    tls(&directory, place.clock()).unwrap()
}

#[tokio::test]
async fn what_listens_can_be_connected_to() {
    let place = Place::new();
    let tls = place.tls();
    let mut tcp = tls.listen_trusted(&here()).await.unwrap();
    assert!(matches!(tcp.endpoint(), Endpoint::Tcp(_, port) if *port != 0));
    converse(connected(&mut tcp, &tls).await).await;
    let socket = Endpoint::Unix(place.beside("a.sock"));
    let mut unix = tls.listen_trusted(&socket).await.unwrap();
    converse(connected(&mut unix, &tls).await).await;
    converse(connected(&mut unix, &OsTransport).await).await;
}

#[tokio::test]
async fn a_living_endpoint_is_not_bound_twice_and_an_absent_one_fails_at_once() {
    let place = Place::new();
    let tls = place.tls();
    let living = tls.listen_trusted(&here()).await.unwrap();
    let endpoint = living.endpoint().clone();
    let taken = tls.listen_trusted(&endpoint).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    drop(living);
    let absent = soon(tls.connect_trusted(&endpoint)).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::ConnectionRefused);
    assert!(absent.to_string().contains(&endpoint.to_string()), "{absent}");
    assert!(!Untrusted::is_cause_of(&absent), "{absent}");
}

#[tokio::test]
async fn other_protocols_and_other_servers_get_their_bytes_as_they_are() {
    let place = Place::new();
    let tls: SharedTransport = Arc::new(place.tls());
    let mut plain = tls.listen(&here()).await.unwrap();
    let endpoint = plain.endpoint().clone();
    let both = async { tokio::join!(plain.next(), tls.connect(&endpoint)) };
    let (accepted, connected_plainly) = soon(both).await;
    converse((accepted.unwrap().unwrap(), connected_plainly.unwrap())).await;
    converse(connected(&mut plain, &Foreign(tls)).await).await;
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_when_it_connects() {
    let place = Place::new();
    let mut server = place.server().await;
    let files = TlsFiles { own: None, ..TlsFiles::of_directory(place.directory.path()) };
    let [plain, below]: [SharedTransport; 2] = [Arc::new(OsTransport), Arc::new(OsTransport)];
    let stranger = Tls::new(plain, below, files, place.clock()).unwrap();
    let told = refused(&mut server, &stranger).await;
    assert!(told.contains("without a certificate") && told.contains("--tls"), "{told}");
    converse(connected(&mut server, &place.tls()).await).await;
}

#[tokio::test]
async fn a_client_of_another_ca_is_refused_by_both_sides() {
    let place = Place::new();
    let mut server = place.server().await;
    let other = Authority::new("another deployment's CA");
    let own = other.issue(&["127.0.0.1"], &BOTH, None);

    let told = refused(&mut server, &client(&place, "suspicious", &[&other], &own)).await;
    assert!(told.contains("another CA") && told.contains("suspicious/ca.crt"), "{told}");

    let credulous = client(&place, "credulous", &[&place.authority, &other], &own);
    let told = refused(&mut server, &credulous).await;
    assert!(told.contains("another CA") && told.contains("credulous/tls.crt"), "{told}");
}

#[tokio::test]
async fn a_certificate_for_a_server_alone_lets_no_client_in() {
    let place = Place::new();
    let directory = place.beside("server-only");
    let own = place.authority.issue(&["127.0.0.1"], &[Purpose::ServerAuth], None);
    write(&directory, &place.authority.pem, &own);
    let error = tls(&directory, place.clock()).err().unwrap();
    assert!(error.to_string().contains("another purpose"), "{error}");
}

#[tokio::test]
async fn a_clients_certificate_does_not_make_a_server() {
    let place = Place::new();
    let own = place.authority.issue(&[], &[Purpose::ClientAuth], None);
    let laptop = client(&place, "laptop", &[&place.authority], &own);
    let error = laptop.listen_trusted(&here()).await.unwrap_err();
    assert!(error.to_string().contains("cannot be a server's"), "{error}");
    converse(connected(&mut place.server().await, &laptop).await).await;
}

#[tokio::test]
async fn an_expired_certificate_is_told_with_its_end() {
    let place = Place::new();
    let day = Duration::from_secs(86_400);
    let directory = place.beside("old");
    let until = Some(place.clock.wall() - 3 * day);
    write(&directory, &place.authority.pem, &place.authority.issue(&["127.0.0.1"], &BOTH, until));
    let error = tls(&directory, place.clock()).err().unwrap();
    let told = error.to_string();
    assert!(told.contains("expired 3 days ago, at 2025-12-29T00:00:00Z"), "{told}");
    assert!(told.contains("tls.crt") && told.contains("mainspring certs issue"), "{told}");

    // The clock of a client says that the certificate of the server is over.
    let until = Some(place.clock.wall() + day);
    write(&directory, &place.authority.pem, &place.authority.issue(&["127.0.0.1"], &BOTH, until));
    let mut server = tls(&directory, place.clock()).unwrap().listen_trusted(&here()).await.unwrap();
    let later = Arc::new(ManualClock::new());
    later.advance(3 * day);
    let told = refused(&mut server, &tls(place.directory.path(), later).unwrap()).await;
    assert!(told.contains("expired 2 days ago"), "{told}");
}

#[tokio::test]
async fn a_server_of_another_name_gets_nothing() {
    let place = Place::new();
    let other = place.authority.issue(&["store.example", "10.0.0.7"], &BOTH, None);
    let mut server =
        client(&place, "store", &[&place.authority], &other).listen_trusted(&here()).await.unwrap();
    let told = refused(&mut server, &place.tls()).await;
    assert!(told.contains("store.example") && told.contains("127.0.0.1"), "{told}");
    assert!(told.contains("--san"), "{told}");
}

#[tokio::test]
async fn a_client_that_speaks_plain_text_is_sent_away_and_the_next_one_served() {
    let place = Place::new();
    let mut server = place.server().await;
    let mut plain = OsTransport.connect(server.endpoint()).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let ended = async {
        let mut answer = Vec::new();
        // The end may be a reset, because what the client sent was not read to its end.
        let _ = plain.read_to_end(&mut answer).await;
        answer
    };
    let answer = soon(async {
        tokio::select! {
            accepted = server.next() => panic!("a client was let in: {accepted:?}"),
            answer = ended => answer,
        }
    })
    .await;
    assert!(answer.len() < 20, "no more than an alert: {answer:?}");
    converse(connected(&mut server, &place.tls()).await).await;
}

#[tokio::test]
async fn a_server_that_speaks_plain_text_is_told_as_such() {
    let place = Place::new();
    let mut plain = OsTransport.listen(&here()).await.unwrap();
    let endpoint = plain.endpoint().clone();
    let answering = async {
        let mut peer = plain.next().await.unwrap().unwrap();
        // The first frame of a server of HTTP/2.
        peer.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        peer
    };
    let tls = place.tls();
    let (_peer, connected) =
        soon(async { tokio::join!(answering, tls.connect_trusted(&endpoint)) }).await;
    let told = connected.unwrap_err();
    assert!(Untrusted::is_cause_of(&told), "{told}");
    assert!(told.to_string().contains("plain text"), "{told}");
}

#[tokio::test]
async fn slow_clients_keep_no_other_out_and_are_sent_away_in_the_end() {
    let place = Place::new();
    let mut server = place.server().await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        slow.push(OsTransport.connect(server.endpoint()).await.unwrap());
    }
    converse(connected(&mut server, &place.tls()).await).await;

    place.clock.advance(HANDSHAKE);
    let mut byte = [0];
    let first = slow.remove(0);
    let ended = async move {
        let mut first = first;
        first.read(&mut byte).await
    };
    let ended = soon(async {
        tokio::select! {
            accepted = server.next() => panic!("a client was let in: {accepted:?}"),
            ended = ended => ended,
        }
    })
    .await;
    assert_eq!(ended.unwrap(), 0, "the server has closed the connection");
}

#[tokio::test]
async fn a_private_key_that_others_may_read_is_refused_with_the_way_out() {
    let place = Place::new();
    let key = place.directory.path().join("tls.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = tls(place.directory.path(), place.clock()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let told = error.to_string();
    assert!(told.contains("tls.key") && told.contains("chmod 600"), "{told}");
}

#[tokio::test]
async fn what_does_not_fit_together_is_told_by_its_file() {
    let place = Place::new();
    let directory = place.directory.path();
    let other = place.authority.issue(&["127.0.0.1"], &BOTH, None);
    std::fs::write(directory.join("tls.key"), &other.key).unwrap();
    for (file, text) in [("tls.key", None), ("tls.crt", Some("x")), ("ca.crt", Some("x"))] {
        if let Some(text) = text {
            std::fs::write(directory.join(file), text).unwrap();
        }
        let error = tls(directory, place.clock()).err().unwrap();
        assert!(error.to_string().contains(file), "{error}");
    }
    std::fs::remove_file(directory.join("ca.crt")).unwrap();
    let error = tls(directory, place.clock()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("ca.crt"), "{error}");
}

#[tokio::test]
async fn a_call_over_a_refused_connection_has_a_reason_and_did_not_happen() {
    let place = Place::new();
    let other = place.authority.issue(&["store.example"], &BOTH, None);
    let mut server =
        client(&place, "store", &[&place.authority], &other).listen_trusted(&here()).await.unwrap();
    let channel = crate::channel::connect(
        Arc::new(place.tls()),
        place.clock(),
        server.endpoint().clone(),
        None,
    );
    let mut calling = ElectionServiceClient::new(channel);
    let status = soon(async {
        tokio::select! {
            accepted = server.next() => panic!("a client was let in: {accepted:?}"),
            answer = calling.resign(ResignRequest::default()) => answer.unwrap_err(),
        }
    })
    .await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(proto::problem::reason(&status), Some(Reason::CertificateInvalid), "{status}");
    assert!(status.message().contains("store.example"), "{status}");
}
