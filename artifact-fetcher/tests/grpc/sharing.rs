//! Many callers share one transfer, and a transfer without callers ends after a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chassis::clock::{Clock as _, ManualClock};
use client::artifacts::{Artifacts, Wanted};
use client::error::CallError;
use proto::{ApplicationRef, Digest, Generation, Reason};
use tokio::task::JoinHandle;

use crate::web::{Page, Web};
use crate::{fixture, fixture_at, wanted};

/// How long a transfer without callers goes on.
const LINGER: Duration = Duration::from_secs(10);

/// A caller that can be cut off.
fn asking(artifacts: &Artifacts, wanted: &Wanted) -> JoinHandle<Result<Digest, CallError>> {
    let (artifacts, wanted) = (artifacts.clone(), wanted.clone());
    tokio::spawn(async move {
        let fetched = artifacts.fetch(&wanted, |_| {}).await?;
        Ok(fetched.artifact.unwrap().digest.parse().unwrap())
    })
}

async fn cut_off(caller: JoinHandle<Result<Digest, CallError>>) {
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
}

/// Waits until the fetcher has seen that a transfer has no callers: that wait ends before all
/// others.
async fn lingers(clock: &ManualClock) {
    let until = clock.boot() + LINGER;
    for _ in 0..2000 {
        if clock.next_wakeup() == Some(until) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the next wait ends at {:?}, not at {until:?}", clock.next_wakeup());
}

#[tokio::test]
async fn one_digest_is_fetched_once_whatever_the_address() {
    let fixture = fixture().await;
    let bytes = vec![7; 300_000];
    let web = Web::serve(vec![
        ("/mirror-1", Page::slow(bytes.clone())),
        ("/mirror-2", Page::slow(bytes.clone())),
    ]);
    let expected = Some(Digest::of(&bytes));
    let requests = ["/mirror-1", "/mirror-2", "/mirror-1", "/mirror-2"]
        .map(|path| Wanted { expected, ..wanted(&web.address(path)) });
    for fetched in
        futures::future::join_all(requests.iter().map(|one| fixture.artifacts.fetch(one, |_| {})))
            .await
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
    let clock = Arc::new(ManualClock::new());
    let fixture = fixture_at(clock.clone(), 1 << 30).await;
    let web = Web::serve(vec![("/endless", Page::endless())]);
    let request = wanted(&web.address("/endless"));
    let first = asking(&fixture.artifacts, &request);
    let second = asking(&fixture.artifacts, &request);
    web.writes(1).await;
    // One caller is left, and so the transfer goes on.
    cut_off(first).await;
    web.writes(1).await;
    cut_off(second).await;
    lingers(&clock).await;
    web.writes(1).await;
    clock.advance(LINGER);
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

/// A contender that was warming up is elected, or dies and is followed by the next: either way the
/// next caller goes on with its transfer.
#[tokio::test]
async fn a_transfer_whose_caller_left_is_taken_over_and_the_source_is_read_once() {
    let clock = Arc::new(ManualClock::new());
    let fixture = fixture_at(clock.clone(), 1 << 30).await;
    let (bytes, gate) = (vec![7; 300_000], Arc::new(AtomicBool::new(false)));
    let web = Web::serve(vec![("/app", Page::gated(bytes.clone(), &gate))]);
    let request = wanted(&web.address("/app"));
    let warm = asking(&fixture.artifacts, &request);
    web.writes(1).await;
    cut_off(warm).await;
    lingers(&clock).await;
    let (told, mut joined) = tokio::sync::mpsc::unbounded_channel();
    let leads = fixture.artifacts.fetch(&request, |now| told.send(now).unwrap());
    let opens = async {
        joined.recv().await.unwrap();
        // The caller has joined, so the time that the transfer had without callers does not matter
        // any more.
        clock.advance(LINGER);
        gate.store(true, Ordering::SeqCst);
    };
    let (fetched, ()) = tokio::join!(leads, opens);
    assert_eq!(fetched.unwrap().artifact.unwrap().digest, Digest::of(&bytes).to_string());
    assert_eq!(web.requests(), 1);
    fixture.end().await;
}

#[tokio::test]
async fn an_application_that_asks_again_gets_the_same_bytes_and_the_source_is_read_once() {
    let fixture = fixture().await;
    let path = fixture.file("app.sql", b"SELECT 1");
    let of = |generation| Wanted {
        application: Some(ApplicationRef {
            id: "orders".parse().unwrap(),
            generation: Generation(generation),
        }),
        ..wanted(&path)
    };
    let digest = |wanted: Wanted| asking(&fixture.artifacts, &wanted);
    assert_eq!(digest(of(1)).await.unwrap().unwrap(), Digest::of(b"SELECT 1"));
    fixture.file("app.sql", b"SELECT 2");
    assert_eq!(digest(of(1)).await.unwrap().unwrap(), Digest::of(b"SELECT 1"), "another version");
    for newer in [of(2), wanted(&path)] {
        assert_eq!(
            digest(newer).await.unwrap().unwrap(),
            Digest::of(b"SELECT 2"),
            "not asked again"
        );
    }
    fixture.artifacts.release(&of(1).application.unwrap()).await.unwrap();
    assert_eq!(
        digest(of(1)).await.unwrap().unwrap(),
        Digest::of(b"SELECT 2"),
        "remembered for ever"
    );
    fixture.end().await;
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
