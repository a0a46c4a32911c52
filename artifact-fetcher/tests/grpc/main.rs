//! The fetcher through the wire, against a web server of the test's own.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod keeping;
mod refusing;
mod sharing;
mod web;

use std::path::PathBuf;
use std::sync::Arc;

use artifact_fetcher::config::Args;
use chassis::channel::{self, GrpcChannel};
use chassis::clock::{SharedClock, SystemClock};
use chassis::credential::{DeploymentKey, Principal};
use chassis::server::Footing;
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport};
use client::artifacts::{Artifacts, Wanted};
use client::error::CallError;
use client::places::Places;
use proto::{Digest, Reason};
use tempfile::TempDir;

use crate::web::{Page, Web};

struct Fixture {
    directory: TempDir,
    artifacts: Artifacts,
    shutdown: Shutdown,
    serving: tokio::task::JoinHandle<anyhow::Result<()>>,
}

async fn fixture() -> Fixture {
    fixture_with(1 << 30).await
}

async fn fixture_with(cache_limit: u64) -> Fixture {
    fixture_at(Arc::new(SystemClock), cache_limit).await
}

/// A fetcher that takes its time from this clock.
async fn fixture_at(clock: SharedClock, cache_limit: u64) -> Fixture {
    chassis::install_crypto_provider();
    let directory = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::Unix(directory.path().join("f.sock"));
    let args = Args {
        state_dir: directory.path().to_owned(),
        listen: Some(endpoint.clone()),
        cache_limit,
        shared: Default::default(),
    };
    let shutdown = Shutdown::new();
    let transport = Arc::new(OsTransport);
    let footing =
        Footing { transport: transport.clone(), clock: clock.clone(), shutdown: shutdown.clone() };
    let serving = tokio::spawn(artifact_fetcher::serve(args, footing));
    let key =
        DeploymentKey::load_or_create(&Places::new(directory.path()).deployment_key()).unwrap();
    let channel =
        channel::connect(transport, clock, endpoint, Some(key.mint(&Principal::Deployment)));
    answering(&channel).await;
    Fixture { directory, artifacts: Artifacts::new(channel), shutdown, serving }
}

async fn answering(channel: &GrpcChannel) {
    for _ in 0..1000 {
        let probe = Artifacts::new(channel.clone());
        let asked = probe.fetch(&wanted("/dev/null/none"), |_| {}).await.unwrap_err();
        if asked.reason() == Some(Reason::ArtifactNotFound) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the fetcher does not answer");
}

impl Fixture {
    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    async fn refused(&self, wanted: Wanted) -> CallError {
        self.artifacts.fetch(&wanted, |_| {}).await.unwrap_err()
    }

    async fn end(self) {
        self.shutdown.begin();
        self.serving.await.unwrap().unwrap();
    }
}

fn wanted(uri: &str) -> Wanted {
    Wanted {
        application: None,
        uri: uri.to_owned().into(),
        expected: None,
        link_to: None,
        executable: false,
    }
}

#[tokio::test]
async fn a_file_is_verified_kept_and_placed() {
    let fixture = fixture().await;
    let uri = fixture.file("a.sql", b"SELECT 1");
    let target = fixture.directory.path().join("placed.sql");
    let request = Wanted { link_to: Some(target.clone()), ..wanted(&format!("file://{uri}")) };
    let fetched = fixture.artifacts.fetch(&request, |_| {}).await.unwrap();
    assert_eq!(fetched.artifact.unwrap().digest, Digest::of(b"SELECT 1").to_string());
    assert_eq!(std::fs::read(target).unwrap(), b"SELECT 1");

    let known = Wanted { expected: Some(Digest::of(b"SELECT 1")), ..wanted("file:///gone/by/now") };
    assert!(fixture.artifacts.fetch(&known, |_| {}).await.unwrap().from_cache);
    fixture.end().await;
}

#[tokio::test]
async fn a_local_file_is_digested_and_not_moved() {
    let fixture = fixture().await;
    let path = fixture.file("baked.jar", b"jar");
    let fetched =
        fixture.artifacts.fetch(&wanted(&format!("local://{path}")), |_| {}).await.unwrap();
    assert_eq!(fetched.path, path);
    assert_eq!(fetched.artifact.unwrap().digest, Digest::of(b"jar").to_string());
    fixture.end().await;
}

#[tokio::test]
async fn callers_of_one_address_share_one_transfer() {
    let fixture = fixture().await;
    let web = Web::serve(vec![("/app", Page::slow(vec![7; 300_000]))]);
    let request = wanted(&web.address("/app"));
    let fetches = (0..8).map(|_| fixture.artifacts.fetch(&request, |_| {}));
    for fetched in futures::future::join_all(fetches).await {
        assert_eq!(fetched.unwrap().artifact.unwrap().size_bytes, 300_000);
    }
    assert_eq!(web.requests(), 1);
    fixture.end().await;
}

#[tokio::test]
async fn a_cut_connection_goes_on_where_it_was() {
    let fixture = fixture().await;
    let bytes: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
    let web = Web::serve(vec![("/app", Page::cut_once(bytes.clone(), 700_000))]);
    let fetched = fixture.artifacts.fetch(&wanted(&web.address("/app")), |_| {}).await.unwrap();
    assert_eq!(fetched.artifact.unwrap().digest, Digest::of(&bytes).to_string());
    assert_eq!(web.ranges(), vec![None, Some("bytes=700000-".to_owned())]);
    fixture.end().await;
}

#[tokio::test]
async fn bad_sources_are_told_apart() {
    let fixture = fixture().await;
    let directory = fixture.directory.path().display().to_string();
    let web = Web::serve(vec![
        ("/loop", Page::redirect("/loop2")),
        ("/loop2", Page::redirect("/loop")),
        ("/forbidden", Page::status(403)),
        ("/ok", Page::bytes(b"ok".to_vec())),
    ]);
    let refused_port = "http://127.0.0.1:1/app".to_owned();
    let table = [
        ("/no/such/file".to_owned(), Reason::ArtifactNotFound, "/no/such/file"),
        (directory, Reason::ArtifactNotReadable, "directory"),
        ("gopher://host/x".to_owned(), Reason::ArtifactUriInvalid, "gopher"),
        (web.address("/nothing"), Reason::ArtifactNotFound, "404"),
        (web.address("/loop"), Reason::ArtifactRedirects, "loop"),
        (web.address("/forbidden"), Reason::ArtifactNotReadable, "403"),
        (refused_port, Reason::ArtifactNotReachable, "127.0.0.1:1"),
    ];
    for (uri, reason, says) in table {
        let error = fixture.refused(wanted(&uri)).await;
        assert_eq!(error.reason(), Some(reason), "{uri}: {error}");
        assert!(error.message().contains(says), "{uri}: {error}");
    }
    let other = Digest::of(b"other");
    let error =
        fixture.refused(Wanted { expected: Some(other), ..wanted(&web.address("/ok")) }).await;
    assert_eq!(error.reason(), Some(Reason::ArtifactDigestMismatch));
    assert!(
        error.message().contains(&other.to_string())
            && error.message().contains(&Digest::of(b"ok").to_string())
    );

    let left: Vec<PathBuf> =
        std::fs::read_dir(fixture.directory.path().join("artifact-fetcher/incoming"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
    assert!(left.is_empty(), "{left:?}");
    fixture.end().await;
}
