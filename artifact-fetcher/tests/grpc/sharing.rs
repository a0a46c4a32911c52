//! Many callers, one transfer; none left, no transfer.

use client::artifacts::Wanted;
use client::error::CallError;
use proto::{Digest, Reason};

use crate::web::{Page, Web};
use crate::{fixture, wanted};

#[tokio::test]
async fn one_digest_is_fetched_once_whatever_the_address() {
    let fixture = fixture().await;
    let bytes = vec![7; 300_000];
    let web =
        Web::serve(vec![("/mirror-1", Page::slow(bytes.clone())), ("/mirror-2", Page::slow(bytes.clone()))]);
    let expected = Some(Digest::of(&bytes));
    let requests = ["/mirror-1", "/mirror-2", "/mirror-1", "/mirror-2"]
        .map(|path| Wanted { expected, ..wanted(&web.address(path)) });
    for fetched in
        futures::future::join_all(requests.iter().map(|one| fixture.artifacts.fetch(one, |_| {}))).await
    {
        fetched.unwrap();
    }
    assert_eq!(web.requests(), 1);
    fixture.end().await;
}

#[tokio::test]
async fn a_caller_with_a_wrong_digest_spoils_nothing_for_the_others() {
    let fixture = fixture().await;
    let bytes = vec![7; 300_000];
    let web = Web::serve(vec![("/app", Page::slow(bytes.clone()))]);
    let ask = |expected| {
        let wanted = Wanted { expected, ..wanted(&web.address("/app")) };
        let artifacts = fixture.artifacts.clone();
        async move { artifacts.fetch(&wanted, |_| {}).await }
    };
    let (wrong, any, right) =
        tokio::join!(ask(Some(Digest::of(b"other"))), ask(None), ask(Some(Digest::of(&bytes))));
    assert_eq!(wrong.unwrap_err().reason(), Some(Reason::ArtifactDigestMismatch));
    any.unwrap();
    right.unwrap();
    fixture.end().await;
}

#[tokio::test]
async fn a_transfer_that_nobody_waits_for_ends_and_leaves_nothing() {
    let fixture = fixture().await;
    let web = Web::serve(vec![("/endless", Page::endless())]);
    let request = wanted(&web.address("/endless"));
    let asking = |artifacts: client::artifacts::Artifacts, wanted: Wanted| {
        tokio::spawn(async move { artifacts.fetch(&wanted, |_| {}).await.map(drop) })
    };
    let first = asking(fixture.artifacts.clone(), request.clone());
    let second = asking(fixture.artifacts.clone(), request);
    web.writes(1).await;
    first.abort();
    // One is left, and so is the transfer.
    assert!(first.await.unwrap_err().is_cancelled());
    web.writes(1).await;
    second.abort();
    web.writes(0).await;
    let incoming = fixture.directory.path().join("artifact-fetcher/incoming");
    for _ in 0..1000 {
        if std::fs::read_dir(&incoming).unwrap().count() == 0 {
            return fixture.end().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("something half-written is left");
}

#[tokio::test]
async fn a_shutdown_ends_transfers_in_order() {
    let fixture = fixture().await;
    let web = Web::serve(vec![("/endless", Page::endless())]);
    let request = wanted(&web.address("/endless"));
    let artifacts = fixture.artifacts.clone();
    let asking = tokio::spawn(async move { artifacts.fetch(&request, |_| {}).await });
    web.writes(1).await;
    fixture.end().await;
    let told: CallError = asking.await.unwrap().unwrap_err();
    assert!(told.is_retryable(), "{told}");
}

#[tokio::test]
async fn progress_is_told_a_few_times_a_second_and_only_grows() {
    let fixture = fixture().await;
    let web = Web::serve(vec![("/app", Page::cut_once(vec![7; 3_000_000], 1_000_000))]);
    let mut told = Vec::new();
    fixture.artifacts.fetch(&wanted(&web.address("/app")), |now| told.push(now)).await.unwrap();
    assert!(told.iter().any(|now| now.attempt == 2 && now.bytes_done >= 1_000_000), "{told:?}");
    assert!(told.windows(2).all(|pair| pair[0].attempt <= pair[1].attempt), "{told:?}");
    assert!(told.len() <= 10, "{} times", told.len());
    fixture.end().await;
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let fixture = fixture().await;
    let web = Web::serve(vec![("/app", Page::busy(b"at last".to_vec(), 2))]);
    let fetched = fixture.artifacts.fetch(&wanted(&web.address("/app")), |_| {}).await.unwrap();
    assert_eq!(fetched.artifact.unwrap().digest, Digest::of(b"at last").to_string());
    assert_eq!(web.requests(), 3);
    fixture.end().await;
}
