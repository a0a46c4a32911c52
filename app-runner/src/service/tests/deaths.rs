//! Processes of a cluster that die without ending the cluster.

use super::*;

/// A main() that fails with its one job, which runs until the test ends it.
async fn one_job() -> World {
    let world =
        world(|execution| async move { i32::from(!succeeded(&execute(&execution, "long").await)) })
            .await;
    world.behave("long", Behaviour::Run);
    world
}

async fn runs(world: &World) {
    soon("the job", world.until(|a| a.jobs.iter().any(|job| job.submissions > 0))).await;
}

async fn told(world: &World, line: &str) {
    let done = world.clone();
    soon(line, async move {
        while count(&done, line) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_process_that_keeps_dying_is_told_while_it_happens_and_with_the_end() {
    let world = one_job().await;
    let contender = contend(&world, "runner-0");
    runs(&world).await;
    for restart in 1..=2 {
        world.process_died("taskmanager-0", restart, "exit code 1 (no memory)");
        let line = format!(
            "told restart: taskmanager-0: restart {restart}; cause: exit code 1 (no memory)"
        );
        told(&world, &line).await;
    }
    world.end_job("long", JobOutcome::Failed).await;
    assert_eq!(code(contender).await, 1);
    let message = world.recorded().await.message;
    let first = message.lines().next().unwrap_or_default();
    assert!(
        first.ends_with("; taskmanager-0: restart 2; cause: exit code 1 (no memory)"),
        "{message}"
    );
}

#[tokio::test]
async fn a_successor_does_not_tell_it_again() {
    let world = one_job().await;
    let contenders = [contend(&world, "runner-0"), contend(&world, "runner-1")];
    runs(&world).await;
    let line = "told restart: taskmanager-0: restart 1; cause: signal 9";
    world.process_died("taskmanager-0", 1, "signal 9");
    told(&world, line).await;
    world.lose_lease();
    let done = world.clone();
    soon("main() again", async move {
        while count(&done, "main") < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.end_job("long", JobOutcome::Succeeded).await;
    for contender in contenders {
        assert_eq!(code(contender).await, 0);
    }
    assert_eq!(count(&world, line), 1);
}
