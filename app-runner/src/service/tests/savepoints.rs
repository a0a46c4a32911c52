//! Savepoints that a user asks for, through the driver, the verbs and the ports.

use super::*;

/// A main() that executes one job, which runs until it is ended, and exits 0 if the job SUCCEEDED.
async fn with_a_long_job() -> World {
    let world = world(|execution| async move {
        let end = execute(&execution, "long").await.unwrap();
        i32::from(end.outcome() != JobOutcome::Succeeded)
    })
    .await;
    world.behave("long", Behaviour::Run);
    world
}

async fn running(world: &World) {
    soon("the job runs", world.until(|a| a.jobs.iter().any(|job| job.submissions > 0))).await;
}

fn results(application: &api::Application) -> Vec<(String, String)> {
    let all = application.jobs.iter().flat_map(|job| &job.savepoints);
    all.map(|result| (result.pointer.clone(), result.reason.clone())).collect()
}

fn count(world: &World, what: &str) -> usize {
    world.done().iter().filter(|done| *done == what).count()
}

#[tokio::test]
async fn a_job_is_stopped_with_a_savepoint_and_main_goes_on_to_its_end() {
    let world = with_a_long_job().await;
    let contender = contend(&world, "runner-0");
    running(&world).await;
    world.ask_for_savepoints("one", false).await;
    let seen = soon("the savepoint", world.until(|a| !results(a).is_empty())).await;
    assert!(results(&seen)[0].0.starts_with("memory:long/"), "{:?}", results(&seen));
    assert!(seen.jobs[0].end.is_none(), "the job goes on");
    world.ask_for_savepoints("two", true).await;
    assert_eq!(code(contender).await, 0);
    let ended = world.recorded().await;
    assert_eq!(ended.outcome(), api::Outcome::Succeeded);
    assert_eq!(results(&ended).len(), 2);
    assert_eq!(count(&world, "savepoint long"), 2);
}

#[tokio::test]
async fn the_next_leader_goes_on_with_the_same_savepoint() {
    let world = with_a_long_job().await;
    let first = contend(&world, "runner-0");
    running(&world).await;
    world.ask_for_savepoints("one", true).await;
    first.abort();
    world.lose_lease();
    let second = contend(&world, "runner-1");
    assert_eq!(code(second).await, 0);
    let ended = world.recorded().await;
    assert_eq!((results(&ended).len(), ended.jobs[0].savepoints[0].reason.as_str()), (1, ""));
    assert_eq!(count(&world, "savepoint long"), 1, "{:?}", world.done());
    let trigger = proto::TriggerId::derive("one", world.job_id("long", 0)).to_string();
    assert_eq!(ended.jobs[0].savepoints[0].trigger_id, trigger);
}

#[tokio::test]
async fn an_engine_without_savepoints_is_named_as_such_and_its_job_goes_on() {
    let world = with_a_long_job().await;
    world.refuse_savepoints();
    let contender = contend(&world, "runner-0");
    running(&world).await;
    world.ask_for_savepoints("one", true).await;
    let seen = soon("the refusal", world.until(|a| !results(a).is_empty())).await;
    assert_eq!(results(&seen), [(String::new(), "SAVEPOINT_UNSUPPORTED".to_owned())]);
    assert!(seen.jobs[0].end.is_none());
    world.end_job("long", JobOutcome::Succeeded).await;
    assert_eq!(code(contender).await, 0);
}
