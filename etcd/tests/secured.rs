//! An etcd that speaks TLS and asks for certificates, and what its callers are told.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Error as IoError, ErrorKind, Result as IoResult};
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::{SharedClock, SystemClock};
use chassis::transport::{BoxedIo, Endpoint, Incoming, OsTransport, SharedTransport, Transport};
use e2e::certificates::{Authority, Signed};
use etcd::{Error, Etcd, EtcdArgs};
use etcd_client::{Txn, TxnOp};

/// Where the member serves.
const HOST: &str = "127.0.0.1";

/// How long a call that has to work may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a call is tried that must not work.
const BRIEF: Duration = Duration::from_secs(2);

/// The settings for a member that trusts this authority.
fn settings(server: &e2e::etcd::Etcd, authority: &Authority, own: Option<&Signed>) -> EtcdArgs {
    EtcdArgs {
        members: vec![format!("https://{}", server.address()).parse().unwrap()],
        ca: Some(authority.file()),
        cert: own.map(|own| own.certificate.clone()),
        key: own.map(|own| own.key.clone()),
        ..EtcdArgs::default()
    }
}

async fn reached(settings: &EtcdArgs, transport: impl Transport) -> Etcd {
    let transport: SharedTransport = Arc::new(transport);
    let clock: SharedClock = Arc::new(SystemClock);
    Etcd::of(settings, &transport, &clock).await.unwrap()
}

async fn put(etcd: &Etcd, patience: Duration) -> Result<(), Error> {
    let put = TxnOp::put("/mainspring/x", "y", None);
    etcd.transact(patience, &Txn::new().and_then(vec![put])).await.map(drop)
}

#[tokio::test]
async fn a_client_that_shows_a_certificate_of_the_authority_is_served_and_no_other() {
    let [authority, stranger] = ["the CA", "another CA"].map(Authority::new);
    let server = e2e::etcd::Etcd::start_secured(&authority, &authority.sign("etcd", HOST));
    let own = authority.sign("deployment", "deployment.test");
    let etcd = reached(&settings(&server, &authority, Some(&own)), OsTransport).await;
    put(&etcd, PATIENCE).await.unwrap();
    let anothers = stranger.sign("deployment", "deployment.test");
    for own in [None, Some(&anothers)] {
        let etcd = reached(&settings(&server, &authority, own), OsTransport).await;
        let refused = put(&etcd, BRIEF).await.unwrap_err();
        assert!(refused.is_away(), "{own:?}: {refused}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_who_it_should_be_is_told_nothing() {
    let [authority, stranger] = ["the CA", "another CA"].map(Authority::new);
    let own = authority.sign("deployment", "deployment.test");
    let elsewhere = authority.sign("elsewhere", "elsewhere.test");
    let here = authority.sign("etcd", HOST);
    for (shown, trusted) in [(elsewhere, &authority), (here, &stranger)] {
        let server = e2e::etcd::Etcd::start_secured(&authority, &shown);
        let etcd = reached(&settings(&server, trusted, Some(&own)), OsTransport).await;
        let refused = put(&etcd, BRIEF).await.unwrap_err();
        assert!(matches!(refused, Error::Untrusted(_)), "{refused:?}");
        let refused = refused.to_string();
        let named = format!("tcp://{}", server.address());
        assert!(refused.contains(&named), "{refused:?} does not say {named:?}");
    }
}

#[tokio::test]
async fn certificates_that_are_renewed_need_no_restart() {
    let [authority, stranger] = ["the CA", "another CA"].map(Authority::new);
    let server = e2e::etcd::Etcd::start_secured(&authority, &authority.sign("etcd", HOST));
    let own = stranger.sign("deployment", "deployment.test");
    let etcd = reached(&settings(&server, &authority, Some(&own)), OsTransport).await;
    put(&etcd, BRIEF).await.unwrap_err();
    let renewed = authority.sign("deployment", "deployment.test");
    fs::copy(&renewed.certificate, &own.certificate).unwrap();
    fs::copy(&renewed.key, &own.key).unwrap();
    put(&etcd, PATIENCE).await.unwrap();
}

/// A network on which every address is another machine's: plain text carries no credential there.
struct Elsewhere;

#[async_trait::async_trait]
impl Transport for Elsewhere {
    async fn listen(&self, endpoint: &Endpoint) -> IoResult<Incoming> {
        OsTransport.listen(endpoint).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> IoResult<BoxedIo> {
        OsTransport.connect(endpoint).await
    }

    async fn connect_trusted(&self, endpoint: &Endpoint) -> IoResult<BoxedIo> {
        Err(IoError::new(ErrorKind::PermissionDenied, format!("{endpoint} is another machine's")))
    }
}

#[tokio::test]
async fn only_what_speaks_tls_leaves_the_machine() {
    let authority = Authority::new("the CA");
    let server = e2e::etcd::Etcd::start_secured(&authority, &authority.sign("etcd", HOST));
    let own = authority.sign("deployment", "deployment.test");
    let etcd = reached(&settings(&server, &authority, Some(&own)), Elsewhere).await;
    put(&etcd, PATIENCE).await.unwrap();
    let server = e2e::etcd::Etcd::start();
    let members = vec![server.address().parse().unwrap()];
    let etcd = reached(&EtcdArgs { members, ..EtcdArgs::default() }, Elsewhere).await;
    let refused = put(&etcd, BRIEF).await.unwrap_err().to_string();
    assert!(refused.contains("is another machine's"), "{refused}");
}
