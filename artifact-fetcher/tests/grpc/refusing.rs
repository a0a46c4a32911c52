//! What a bad call gets.

use std::path::PathBuf;
use std::sync::Arc;

use chassis::channel;
use chassis::clock::SystemClock;
use chassis::credential::{DeploymentKey, Kind, Principal};
use chassis::transport::{Endpoint, OsTransport};
use client::artifacts::{Artifacts, Wanted};
use client::places::Places;
use futures::TryStreamExt as _;
use proto::artifact::FetchRequest;
use proto::artifact::artifact_service_client::ArtifactServiceClient;
use proto::{Digest, Reason};

use crate::{Fixture, fixture, wanted};

#[tokio::test]
async fn only_the_deployment_fetches() {
    let fixture = fixture().await;
    let key = DeploymentKey::load(&Places::new(fixture.directory.path()).deployment_key()).unwrap();
    let main = Principal::Attempt { application: "orders".into(), generation: 1, epoch: 1 };
    for (credential, reason) in [
        (None, Reason::CredentialMissing),
        (Some(DeploymentKey::generate().mint(&Principal::Deployment)), Reason::CredentialInvalid),
        (Some(key.mint(&main)), Reason::CredentialScope),
    ] {
        let artifacts = Artifacts::new(connected(&fixture, credential));
        let refused = artifacts.fetch(&wanted("/etc/hostname"), |_| {}).await.unwrap_err();
        assert_eq!(refused.reason(), Some(reason), "{refused}");
        let refused = artifacts.stat(Digest::of(b"")).await.unwrap_err();
        assert_eq!(refused.reason(), Some(reason), "{refused}");
        let refused = artifacts.evict_to(0).await.unwrap_err();
        assert_eq!(refused.reason(), Some(reason), "{refused}");
    }
    fixture.end().await;
}

#[tokio::test]
async fn every_method_opens_for_whom_the_table_says_and_for_their_own_application() {
    let fixture = fixture().await;
    let key = DeploymentKey::load(&Places::new(fixture.directory.path()).deployment_key()).unwrap();
    let channel = connected(&fixture, None);
    let clock: chassis::clock::SharedClock = Arc::new(SystemClock);
    let service = "mainspring.artifact.v1.ArtifactService";
    let tried =
        trespass::walk(&channel, &clock, service, |who| key.mint(who), Kind::Deployment).await;
    trespass::assert_lawful(&tried, &[]);

    // A fetch for no application is reserved for tooling.
    let contender = key.mint(&trespass::principal(Kind::Contender));
    let artifacts = Artifacts::new(connected(&fixture, Some(contender)));
    let unnamed = Wanted { application: None, ..wanted("/etc/hostname") };
    let refused = artifacts.fetch(&unnamed, |_| {}).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::CredentialScope), "{refused}");
    fixture.end().await;
}

fn connected(
    fixture: &Fixture,
    credential: Option<chassis::credential::Credential>,
) -> channel::GrpcChannel {
    let endpoint = Endpoint::Unix(fixture.directory.path().join("f.sock"));
    channel::connect(Arc::new(OsTransport), Arc::new(SystemClock), endpoint, credential)
}

#[tokio::test]
async fn a_bad_request_is_refused_by_name() {
    let fixture = fixture().await;
    let key = DeploymentKey::load(&Places::new(fixture.directory.path()).deployment_key()).unwrap();
    let channel = connected(&fixture, Some(key.mint(&Principal::Deployment)));
    let uri = fixture.file("a.sql", b"SELECT 1");
    let request = FetchRequest { uri, ..FetchRequest::default() };
    let table = [
        (
            FetchRequest { expected_digest: "sha256:12".into(), ..request.clone() },
            Reason::IdMalformed,
            "sha256:12",
        ),
        (
            FetchRequest { application: Some(Default::default()), ..request.clone() },
            Reason::IdMalformed,
            "generation",
        ),
        (
            FetchRequest { link_to: "a.sql".into(), ..request.clone() },
            Reason::RequestInvalid,
            "link_to",
        ),
        (
            FetchRequest { link_to: "/no/such/directory/a.sql".into(), ..request.clone() },
            Reason::RequestInvalid,
            "/no/such",
        ),
        (
            FetchRequest { uri: "a.sql".into(), ..request.clone() },
            Reason::ArtifactUriInvalid,
            "a.sql",
        ),
        (
            FetchRequest { uri: String::new(), ..request },
            Reason::ArtifactUriInvalid,
            "cannot be fetched",
        ),
    ];
    for (request, reason, says) in table {
        let mut client = ArtifactServiceClient::new(channel.clone());
        let status = match client.fetch(request.clone()).await {
            Err(status) => status,
            Ok(answers) => {
                answers.into_inner().try_collect::<Vec<_>>().await.expect_err("it was taken")
            }
        };
        let refused = client::error::CallError::from(status);
        assert_eq!(refused.reason(), Some(reason), "{request:?}: {refused}");
        assert!(refused.message().contains(says), "{request:?}: {refused}");
    }
    fixture.end().await;
}

#[tokio::test]
async fn secrets_of_an_address_are_in_no_error() {
    let fixture = fixture().await;
    for uri in
        ["http://geheim:geheim@127.0.0.1:1/app?token=geheim", "http://geheim@[::1/app?geheim"]
    {
        let error = fixture.refused(wanted(uri)).await;
        let whole = format!("{error} {:?} {:?}", error.status(), error);
        assert!(!whole.contains("geheim"), "{whole}");
    }
    fixture.end().await;
}

#[tokio::test]
async fn a_local_file_is_refused_for_what_it_is() {
    let fixture = fixture().await;
    let directory = fixture.directory.path().display().to_string();
    for (uri, expected, reason) in [
        ("local:///no/such/file".to_owned(), None, Reason::ArtifactNotFound),
        (format!("local://{directory}"), None, Reason::ArtifactNotReadable),
        (
            format!("local://{}", fixture.file("a", b"a")),
            Some(Digest::of(b"b")),
            Reason::ArtifactDigestMismatch,
        ),
    ] {
        let error = fixture.refused(Wanted { expected, ..wanted(&uri) }).await;
        assert_eq!(error.reason(), Some(reason), "{uri}: {error}");
    }
    let target: PathBuf = fixture.directory.path().join("placed");
    let request =
        Wanted { link_to: Some(target.clone()), ..wanted(&format!("local://{directory}/a")) };
    fixture.artifacts.fetch(&request, |_| {}).await.unwrap();
    assert_eq!(std::fs::read_link(target).unwrap(), fixture.directory.path().join("a"));
    fixture.end().await;
}
