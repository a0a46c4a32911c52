//! Tests against a JobManager that is one page: how many TaskManagers it has, one number further
//! with each answer.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::routing::get;
use chassis::clock::SystemClock;
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport, SharedTransport};
use serde_json::json;

use super::*;

/// After how many answers jobs might come in a cluster that wants so many TaskManagers, and how its
/// start ended.
async fn reached(
    early: bool,
    wanted: u32,
    registered: &'static [u32],
) -> (Option<usize>, Result<(), Incomplete>) {
    let (transport, clock): (SharedTransport, SharedClock) =
        (Arc::new(OsTransport), Arc::new(SystemClock));
    let incoming = transport.listen(&Endpoint::Tcp("127.0.0.1".into(), 0)).await.unwrap();
    let peer = incoming.endpoint().clone();
    let answers = Arc::new(AtomicUsize::new(0));
    let counted = answers.clone();
    let overview = move || async move {
        let answer = counted.fetch_add(1, Ordering::SeqCst);
        crate::json::Json(json!({"taskmanagers": registered[answer.min(registered.len() - 1)]}))
    };
    let router = axum::Router::new().route("/overview", get(overview));
    tokio::spawn(chassis::http::serve(
        incoming,
        crate::served::served(router),
        clock.clone(),
        Shutdown::new(),
    ));
    let readiness = Readiness {
        jobmanager: JobManager::new(transport, clock.clone(), peer),
        clock,
        early,
        wanted,
        within: Duration::from_millis(600),
    };
    let (told, told_after) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ended = readiness
        .reached(async || {
            told.store(true, Ordering::SeqCst);
            told_after.store(answers.load(Ordering::SeqCst), Ordering::SeqCst);
        })
        .await;
    (told.into_inner().then(|| told_after.into_inner()), ended)
}

#[tokio::test]
async fn a_job_may_come_early_or_after_the_last_taskmanager() {
    assert_eq!(reached(true, 1, &[0, 0, 1]).await, (Some(1), Ok(())));
    assert_eq!(reached(false, 2, &[0, 1, 1, 2]).await, (Some(4), Ok(())));
}

#[tokio::test]
async fn what_does_not_get_whole_is_given_up_and_says_what_is_missing() {
    let (told, ended) = reached(false, 2, &[1]).await;
    assert_eq!(told, None);
    assert_eq!(ended.unwrap_err().to_string(), "1 of 2 TaskManagers have registered within 600ms");
    let (told, ended) = reached(true, 1, &[0]).await;
    assert!(told.is_some() && ended.is_err(), "a job waits there, and would for minutes");
}
