//! Ids that are told before the graph exists.

use std::sync::atomic::{AtomicU32, Ordering};

use proto::runner::Accepted;
use proto::{JobId, Reason};

use super::*;

/// One `execute()` with this call id: what the call was accepted as, and the job's end.
async fn run(
    execution: &MainService,
    call_id: &str,
    name: &str,
    files: &[Digest],
) -> Result<Accepted, PortError> {
    let entered = execution.enter(call_id, name)?;
    let call = Call {
        call_id: call_id.to_owned(),
        name: name.to_owned(),
        graph_digest: Digest::of(call_id.as_bytes()).to_string(),
        graph: Bytes::copy_from_slice(call_id.as_bytes()),
        payload_digests: files.iter().map(Digest::to_string).collect(),
        description: described(),
        ..Call::default()
    };
    let mut answers = execution.execute(call, entered).await?;
    let mut accepted = None;
    while let Some(answer) = answers.recv().await {
        match answer? {
            Item::Accepted(answer) => accepted = Some(answer),
            Item::Ended(_) => return Ok(accepted.expect("accepted before it ended")),
            Item::Progress(_) => {}
        }
    }
    Err(PortError::away("the stream ended early"))
}

/// Every job has the same one operator.
fn described() -> api::GraphDescription {
    let scan = api::Vertex { id: 1, name: "scan".into(), ..api::Vertex::default() };
    api::GraphDescription { vertices: vec![scan], ..api::GraphDescription::default() }
}

async fn id(execution: &MainService, call_id: &str, name: &str) -> JobId {
    run(execution, call_id, name, &[]).await.unwrap().job_id.parse().unwrap()
}

#[tokio::test]
async fn a_job_gets_the_id_that_was_told_in_whatever_order_its_calls_come_and_in_every_attempt() {
    static EXECUTIONS: AtomicU32 = AtomicU32::new(0);
    let world = world(|execution| async move {
        let first_time = EXECUTIONS.fetch_add(1, Ordering::SeqCst) == 0;
        let told = async |call: &str| execution.assign_job(call, "twin", None).await.unwrap();
        // Another process uses other call ids, and the ids of the jobs have to be the same.
        let call = |n: u32| format!("{n}-{}", if first_time { "monday" } else { "tuesday" });
        let (first, second) = (told(&call(1)).await, told(&call(2)).await);
        assert_eq!((first.1, second.1), (0, 1));
        assert_eq!(told(&call(1)).await, first, "asked again");
        assert_eq!(id(&execution, &call(2), "twin").await, second.0, "the second one comes first");
        assert_eq!(id(&execution, &call(3), "twin").await, told(&call(3)).await.0);
        assert_eq!(id(&execution, &call(1), "twin").await, first.0);
        assert_eq!(id(&execution, &call(2), "twin").await, second.0, "a retry");
        assert_eq!([first.0, second.0], [execution.job_id("twin", 0), execution.job_id("twin", 1)]);
        let other = execution.assign_job(&call(1), "other", None).await.unwrap_err();
        assert_eq!(other.reason, Some(Reason::RequestInvalid));
        if first_time {
            execute(&execution, "last").await.ok();
        }
        0
    })
    .await;
    world.allow_equal_names();
    world.behave("last", Behaviour::Run);
    let contender = contend(&world, "runner-0");
    let last = world.until(|a| a.jobs.iter().any(|job| job.name == "last" && job.submissions > 0));
    soon("the last job", last).await;
    world.lose_lease();
    assert_eq!(code(contender).await, 0);
    assert_eq!(count(&world, "submit twin"), 3, "each of them ran once");
}

#[tokio::test]
async fn a_file_that_nobody_put_is_asked_for_and_not_waited_for() {
    let world = world(|execution| async move {
        let jar = Digest::of(b"a jar");
        let refused = run(&execution, "1", "with a jar", &[jar]).await.unwrap_err();
        assert_eq!(refused.reason, Some(Reason::PayloadMissing));
        assert!(refused.message.contains(&jar.to_string()), "{refused}");
        let chunks = futures::stream::iter([Bytes::from_static(b"a jar")]);
        execution.put_payload(jar, 5, Box::pin(chunks)).await.unwrap();
        i32::from(run(&execution, "1", "with a jar", &[jar]).await.is_err())
    })
    .await;
    assert_eq!(code(contend(&world, "runner-0")).await, 0);
}

#[tokio::test]
async fn where_a_name_is_one_job_every_call_of_it_is_told_the_same_id() {
    let world = world(|execution| async move {
        let told = execution.assign_job("1", "a", None).await.unwrap();
        assert_eq!(execution.assign_job("2", "a", None).await.unwrap().0, told.0);
        assert_eq!(id(&execution, "1", "a").await, told.0);
        let refused = run(&execution, "2", "a", &[]).await.unwrap_err();
        assert_eq!(refused.reason, Some(Reason::JobNameTaken));
        let unnamed = execution.assign_job("3", "", None).await.unwrap_err();
        assert_eq!(unnamed.reason, Some(Reason::UnnamedJobOverlaps), "calls have overlapped");
        0
    })
    .await;
    assert_eq!(code(contend(&world, "runner-0")).await, 0);
}

/// A job whose name says when it was executed has another name in the next attempt.
#[tokio::test]
async fn a_job_that_is_found_by_its_position_has_the_id_that_was_told_and_runs_once() {
    static EXECUTIONS: AtomicU32 = AtomicU32::new(0);
    let world = world(|execution| async move {
        let minute = EXECUTIONS.fetch_add(1, Ordering::SeqCst);
        let (call, name) = (format!("call-{minute}"), format!("nightly at 10:0{minute}"));
        let told = execution.assign_job(&call, &name, Some(described())).await.unwrap();
        assert_eq!(told, (execution.job_id("nightly at 10:00", 0), 0));
        let accepted = run(&execution, &call, &name, &[]).await.unwrap();
        assert_eq!(accepted.job_id, told.0.to_string());
        assert_eq!(
            accepted.warning.contains("is taken for \"nightly at 10:00\""),
            minute > 0,
            "{accepted:?}"
        );
        if minute == 0 {
            execute(&execution, "last").await.ok();
        }
        0
    })
    .await;
    world.behave("last", Behaviour::Run);
    let contender = contend(&world, "runner-0");
    let last = world.until(|a| a.jobs.iter().any(|job| job.name == "last" && job.submissions > 0));
    soon("the last job", last).await;
    world.lose_lease();
    assert_eq!(code(contender).await, 0);
    assert_eq!(count(&world, "submit nightly at 10:00"), 1);
}
