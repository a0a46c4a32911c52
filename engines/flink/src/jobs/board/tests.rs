//! Savepoints and counters against a JobManager that consists of a few routes and a list of what it
//! was asked.
#![allow(clippy::disallowed_methods)]

mod submitting;

use std::collections::VecDeque;

use axum::extract::State as Shared;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use chassis::clock::SystemClock;
use chassis::transport::{Endpoint, OsTransport, SharedTransport};
use client::record::RecordClient;
use jobs_service::Trigger;
use proto::{ApplicationRef, Epoch, Generation, Incarnation, TriggerId};
use serde_json::{Value, json};

use super::*;

/// What the JobManager answers next to each kind of question; the last answer stays.
#[derive(Default)]
struct Script {
    details: VecDeque<Value>,
    savepoint: VecDeque<Option<Value>>,
    metrics: VecDeque<Value>,
    /// The refusal that a trigger is answered with.
    refusal: Option<&'static str>,
    triggered: Vec<String>,
}

type Scripted = Arc<Mutex<Script>>;

fn next<T: Clone>(answers: &mut VecDeque<T>) -> T {
    let first = answers.front().cloned().expect("the script has an answer");
    if answers.len() > 1 {
        answers.pop_front();
    }
    first
}

async fn answer(Shared(script): Shared<Scripted>, method: Method, uri: Uri) -> Response {
    let mut script = script.lock().unwrap();
    let path = uri.path();
    let value = match (method, path.split('/').nth(3)) {
        (Method::GET, None) => Some(next(&mut script.details)),
        (Method::GET, Some("metrics")) => Some(next(&mut script.metrics)),
        (Method::GET, Some("exceptions")) => Some(json!({"exceptionHistory": {}})),
        (Method::GET, Some("savepoints")) => next(&mut script.savepoint),
        (Method::POST, Some(_)) => {
            if let Some(refusal) = script.refusal {
                return (StatusCode::BAD_REQUEST, json!({"errors": [refusal]}).to_string())
                    .into_response();
            }
            script.triggered.push(path.to_owned());
            script.savepoint = [under_way(), at("file:/s")].into();
            Some(json!({}))
        }
        other => panic!("no question is {other:?} {path}"),
    };
    match value {
        Some(value) => crate::json::Json(value).into_response(),
        None => (StatusCode::NOT_FOUND, r#"{"errors": ["not found"]}"#).into_response(),
    }
}

fn job() -> JobId {
    "00112233445566778899aabbccddeeff".parse().unwrap()
}

fn trigger(stop: bool) -> Trigger {
    Trigger {
        job: job(),
        id: TriggerId::derive("wish", job()),
        directory: String::new(),
        stop,
        drain: false,
        format: String::new(),
        epoch: Epoch(1),
    }
}

fn details(state: &str, task: &str) -> Value {
    json!({"state": state, "vertices": [{"id": "a", "status": task}]})
}

fn under_way() -> Option<Value> {
    Some(json!({"status": {"id": "IN_PROGRESS"}}))
}

fn at(place: &str) -> Option<Value> {
    Some(json!({"status": {"id": "COMPLETED"}, "operation": {"location": place}}))
}

/// A board over a JobManager with this script. Its record is away, because nothing here asks it.
async fn board(script: Script) -> (Board, Scripted) {
    let (transport, clock): (SharedTransport, SharedClock) =
        (Arc::new(OsTransport), Arc::new(SystemClock));
    let incoming = transport.listen(&Endpoint::Tcp("127.0.0.1".into(), 0)).await.unwrap();
    let peer = incoming.endpoint().clone();
    let script: Scripted = Arc::new(Mutex::new(script));
    let router = axum::Router::new().fallback(answer).with_state(script.clone());
    tokio::spawn(chassis::http::serve(
        incoming,
        crate::served::served(router),
        clock.clone(),
        Shutdown::new(),
    ));
    let nowhere = Endpoint::Unix("/nowhere/store.sock".into());
    let store = chassis::channel::connect(transport.clone(), clock.clone(), nowhere, None);
    let application = ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(1) };
    let fence = IncarnationFence { application, incarnation: Incarnation(1) };
    let jobmanager = JobManager::new(transport, clock.clone(), peer);
    let board = Board::new(
        fence,
        Tenancy::Own,
        Arc::new(RecordClient::new(store.clone())),
        Payloads::new(store),
        jobmanager,
        clock,
    );
    (board, script)
}

fn triggered(script: &Scripted) -> Vec<String> {
    script.lock().unwrap().triggered.clone()
}

#[tokio::test]
async fn a_savepoint_is_triggered_once_when_all_tasks_run_and_asked_for_as_often_as_one_likes() {
    let comes_up = [
        details("CREATED", "CREATED"),
        details("RUNNING", "INITIALIZING"),
        details("RUNNING", "RUNNING"),
    ];
    let script = Script { details: comes_up.into(), savepoint: [None].into(), ..Script::default() };
    let (board, script) = board(script).await;
    for _ in 0..3 {
        let taken = board.take(&trigger(false)).await.unwrap();
        assert_eq!(taken, Some(Taken::At("file:/s".into())));
    }
    assert_eq!(triggered(&script), [format!("/jobs/{}/savepoints", job())]);
}

#[tokio::test]
async fn what_an_earlier_process_triggered_is_not_triggered_again() {
    let script = Script {
        details: [details("FINISHED", "FINISHED")].into(),
        savepoint: [under_way(), at("file:/s")].into(),
        ..Script::default()
    };
    let (board, script) = board(script).await;
    assert_eq!(board.take(&trigger(true)).await.unwrap(), Some(Taken::At("file:/s".into())));
    assert_eq!(triggered(&script), [""; 0]);
}

#[tokio::test]
async fn a_job_that_has_ended_is_not_asked() {
    let script = Script {
        details: [details("CANCELED", "CANCELED")].into(),
        savepoint: [None].into(),
        ..Script::default()
    };
    let (board, script) = board(script).await;
    let taken = board.take(&trigger(true)).await.unwrap();
    assert!(matches!(taken, Some(Taken::Failed(why)) if why.contains("ended")));
    assert_eq!(triggered(&script), [""; 0]);
}

#[tokio::test]
async fn what_flink_says_of_a_savepoint_that_it_will_not_take_is_told() {
    let script = Script {
        details: [details("RUNNING", "RUNNING")].into(),
        savepoint: [None].into(),
        refusal: Some("no such directory"),
        ..Script::default()
    };
    let (board, _) = board(script).await;
    let taken = Cluster::savepoint(&board, trigger(false)).await.unwrap();
    assert!(matches!(taken, Savepoint::Failed(why) if why.contains("no such directory")));
}

#[tokio::test]
async fn nobody_triggers_a_savepoint_who_was_superseded_meanwhile() {
    let script = Script {
        details: [details("RUNNING", "RUNNING")].into(),
        savepoint: [None].into(),
        ..Script::default()
    };
    let (board, script) = board(script).await;
    board.orders().adopt(Epoch(2)).unwrap();
    assert!(matches!(board.take(&trigger(true)).await, Err(OrderRefusal::NotTaken(_))));
    assert_eq!(triggered(&script), [""; 0]);
}

/// Flink calls a job running that waits for slots.
#[tokio::test]
async fn a_job_waits_until_one_of_its_tasks_has_a_slot() {
    let (board, _) = board(Script::default()).await;
    let mut waits = Vec::new();
    for (state, scheduled) in [("CREATED", 0), ("RUNNING", 2), ("RUNNING", 1), ("RUNNING", 2)] {
        let tasks = json!({"total": 2, "created": 0, "scheduled": scheduled});
        let listed = json!({"jid": job().to_string(), "state": state, "tasks": tasks});
        let listed: Listed = serde_json::from_value(listed).unwrap();
        board.take_over(&[listed]).await.unwrap();
        waits.push(board.statuses()[0].progress.unwrap().waiting);
    }
    assert_eq!(waits, [true, true, false, false], "a restarted one has run");
}

/// For a tenth of a second the JobManager shows a job as it was before its end.
#[tokio::test]
async fn the_last_counters_are_those_of_the_end() {
    let at = |state: &str, rows: u64| json!({"state": state, "vertices": [{"id": "a", "status": state, "metrics": {"write-records": rows}}], "plan": {"nodes": [{"id": "a"}]}});
    let script = Script {
        details: [at("RUNNING", 3), at("FINISHED", 8)].into(),
        metrics: [json!([])].into(),
        ..Script::default()
    };
    let (board, _) = board(script).await;
    board.look_once_more(job()).await;
    assert_eq!(board.progress(job()).rows_in, 8);
}

/// Flink drops its metrics of a job that has ended, a moment before the board hears of the end.
#[tokio::test]
async fn restarts_that_were_counted_stay_counted() {
    let script = Script {
        details: [details("RUNNING", "RUNNING")].into(),
        metrics: [json!([{"id": "numRestarts", "value": "2"}]), json!([])].into(),
        ..Script::default()
    };
    let (board, _) = board(script).await;
    for _ in 0..2 {
        board.look_at(job()).await.unwrap();
        assert_eq!(board.progress(job()).restarts, 2);
    }
}

/// A job that is nearly done when it is restarted has ended before Flink's metrics tell of the
/// restart.
#[tokio::test]
async fn a_restart_that_flink_has_not_counted_yet_is_counted() {
    let restarted =
        |state: &str, at: i64| json!({"state": state, "timestamps": {"RESTARTING": at}});
    let script = Script {
        details: [
            details("RUNNING", "RUNNING"),
            restarted("RESTARTING", 5),
            restarted("RUNNING", 5),
            restarted("FINISHED", 9),
        ]
        .into(),
        metrics: [json!([{"id": "numRestarts", "value": "0"}]), json!([])].into(),
        ..Script::default()
    };
    let (board, _) = board(script).await;
    let mut counted = Vec::new();
    for _ in 0..4 {
        board.look_at(job()).await.unwrap();
        counted.push(board.progress(job()).restarts);
    }
    assert_eq!(counted, [0, 1, 1, 2]);
}
