//! Leaders, clusters and main()s that are lost on the way.

use std::sync::atomic::{AtomicU32, Ordering};

use proto::{Problem, Reason};

use super::*;

/// A main() with two jobs, of which the second runs until the test ends it.
async fn two_jobs() -> World {
    let world = world(|execution| async move {
        let both = succeeded(&execute(&execution, "first").await)
            && succeeded(&execute(&execution, "second").await);
        if both { 0 } else { 9 }
    })
    .await;
    world.behave("second", Behaviour::Run);
    world
}

async fn second_runs(world: &World, times: usize) {
    let submitted =
        world.until(|a| a.jobs.iter().any(|job| job.name == "second" && job.submissions > 0));
    soon("the second job", submitted).await;
    let done = world.clone();
    soon("main()", async move {
        while count(&done, "main") < times || done.live_mains() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_standby_takes_over_and_no_ended_job_runs_again() {
    let world = two_jobs().await;
    let contenders = [contend(&world, "runner-0"), contend(&world, "runner-1")];
    second_runs(&world, 1).await;
    world.lose_lease();
    second_runs(&world, 2).await;
    world.end_job("second", JobOutcome::Succeeded).await;
    for contender in contenders {
        assert_eq!(code(contender).await, 0, "leader and standby leave with the same code");
    }
    assert_eq!((count(&world, "submit first"), count(&world, "submit second")), (1, 1));
    assert_eq!(
        (count(&world, "main"), count(&world, "cluster 1"), count(&world, "cluster 2")),
        (2, 1, 0)
    );
    assert_eq!((count(&world, "end Succeeded"), count(&world, "clean")), (1, 1));
    let describes = (count(&world, "describe of 1 ended"), count(&world, "describe of 2 ended"));
    assert_eq!(
        describes,
        (1, 1),
        "the engine's process of a leader that was deposed goes too: {:?}",
        world.done()
    );
}

#[tokio::test]
async fn a_lost_tether_means_execute_again() {
    let world = two_jobs().await;
    let contender = contend(&world, "runner-0");
    second_runs(&world, 1).await;
    world.lose_main();
    second_runs(&world, 2).await;
    world.end_job("second", JobOutcome::Succeeded).await;
    assert_eq!(code(contender).await, 0);
    assert_eq!((count(&world, "main"), count(&world, "submit second")), (2, 1));
}

#[tokio::test]
async fn a_main_that_is_killed_is_executed_again_and_finds_its_jobs() {
    let world = two_jobs().await;
    let contender = contend(&world, "runner-0");
    second_runs(&world, 1).await;
    world.kill_main();
    second_runs(&world, 2).await;
    world.end_job("second", JobOutcome::Succeeded).await;
    assert_eq!(code(contender).await, 0);
    assert_eq!(
        (count(&world, "main"), count(&world, "submit second"), count(&world, "cluster 2")),
        (2, 1, 0)
    );
    assert_eq!(world.recorded().await.main.as_ref().unwrap().kills, 1);
}

#[tokio::test]
async fn an_exit_code_is_a_signal_only_where_the_engine_says_so() {
    const TERMINATED: i32 = 143;
    let world = two_jobs().await;
    world.exit_with_signals();
    let contender = contend(&world, "runner-0");
    second_runs(&world, 1).await;
    world.exit_main(TERMINATED);
    second_runs(&world, 2).await;
    world.exit_main(3);
    assert_eq!(code(contender).await, 1);
    assert_eq!(world.recorded().await.reason, "MAIN_EXITED");
    assert_eq!(count(&world, "main"), 2);

    let world = two_jobs().await;
    let contender = contend(&world, "runner-0");
    second_runs(&world, 1).await;
    world.exit_main(TERMINATED);
    assert_eq!(code(contender).await, 1);
    assert_eq!(world.recorded().await.reason, "MAIN_EXITED");
    assert_eq!(count(&world, "main"), 1);
}

#[tokio::test]
async fn a_main_that_is_killed_again_and_again_is_executed_four_times_whoever_leads() {
    let world = two_jobs().await;
    let contenders = [contend(&world, "runner-0"), contend(&world, "runner-1")];
    for times in 1..=4 {
        second_runs(&world, times).await;
        world.kill_main();
    }
    for contender in contenders {
        assert_eq!(code(contender).await, 1);
    }
    assert_eq!((count(&world, "main"), count(&world, "submit second")), (4, 1));
    let application = world.recorded().await;
    assert_eq!(application.reason, "MAIN_KILLED");
    assert!(application.message.contains("executed again 3 times"), "{}", application.message);
}

#[tokio::test]
async fn a_dead_cluster_is_followed_by_another_where_the_open_job_runs_again() {
    let world = two_jobs().await;
    let contender = contend(&world, "runner-0");
    second_runs(&world, 1).await;
    world.kill_cluster();
    let again =
        world.until(|a| a.jobs.iter().any(|job| job.name == "second" && job.submissions > 1));
    soon("the second incarnation", again).await;
    world.end_job("second", JobOutcome::Succeeded).await;
    assert_eq!(code(contender).await, 0);
    assert_eq!(
        (count(&world, "main"), count(&world, "submit first"), count(&world, "submit second")),
        (1, 1, 2)
    );
    assert_eq!(count(&world, "sweep 1"), 1, "what the first incarnation staged");
}

#[tokio::test]
async fn a_cluster_that_keeps_dying_ends_the_application() {
    let world =
        world(|execution| async move { i32::from(!succeeded(&execute(&execution, "long").await)) })
            .await;
    world.behave("long", Behaviour::Run);
    let contender = contend(&world, "runner-0");
    for incarnation in 1..=3 {
        let up = |a: &api::Application| {
            let ready = a.cluster.as_ref().is_some_and(|c| c.incarnation == incarnation);
            ready && a.jobs.iter().any(|job| job.incarnation == incarnation)
        };
        soon("the incarnation", world.until(up)).await;
        world.kill_cluster();
    }
    assert_eq!(code(contender).await, 1);
    let application = world.recorded().await;
    assert_eq!(application.reason, "CLUSTER_KEEPS_DYING");
    assert!(
        application.message.contains("; the last one: worker-0 signal 9"),
        "{}",
        application.message
    );
}

#[tokio::test]
async fn a_main_that_asks_for_other_jobs_the_second_time_is_stopped() {
    static EXECUTIONS: AtomicU32 = AtomicU32::new(0);
    let world = world(|execution| async move {
        let name =
            if EXECUTIONS.fetch_add(1, Ordering::SeqCst) == 0 { "monday" } else { "tuesday" };
        execute(&execution, name).await.ok();
        std::future::pending::<i32>().await
    })
    .await;
    world.behave("monday", Behaviour::Run);
    let contender = contend(&world, "runner-0");
    soon("the job", world.until(|a| a.jobs.iter().any(|job| job.submissions > 0))).await;
    world.lose_lease();
    assert_eq!(code(contender).await, 1);
    let application = world.recorded().await;
    assert_eq!(application.reason, "MAIN_DIVERGED");
    assert!(application.message.contains("tuesday"), "{}", application.message);
}

#[tokio::test]
async fn a_shutdown_leaves_the_application_to_the_next_contender() {
    let world = two_jobs().await;
    let identity = Identity { application: world.application(), holder: "runner-0".into() };
    let shutdown = Shutdown::new();
    let contender =
        Contender::new(identity, world.ports(), Arc::new(world.clone()), shutdown.clone());
    let first = tokio::spawn(contender.run());
    second_runs(&world, 1).await;
    shutdown.begin();
    assert_eq!(code(first).await, EXIT_RESTART);
    assert_eq!(world.live_mains(), 0);
    let next = contend(&world, "runner-0");
    second_runs(&world, 2).await;
    world.end_job("second", JobOutcome::Succeeded).await;
    assert_eq!(code(next).await, 0);
}

#[tokio::test]
async fn a_contender_of_a_clean_application_exits_with_the_recorded_code() {
    let world = world(|_| async { 3 }).await;
    assert_eq!(code(contend(&world, "runner-0")).await, 1);
    let before = world.done();
    assert_eq!(code(contend(&world, "runner-1")).await, 1);
    assert_eq!(world.done(), before, "it did nothing");
}

#[tokio::test]
async fn a_leader_that_is_refused_for_good_gives_up_and_leaves_nothing_running() {
    let world = two_jobs().await;
    let contender = contend(&world, "runner-0");
    second_runs(&world, 1).await;
    world.refuse_write(Problem::new(Reason::CredentialInvalid, "not of this deployment"));
    world.end_job("second", JobOutcome::Succeeded).await;
    let error = soon("the contender's end", contender).await.unwrap().unwrap_err();
    assert!(error.is_permanent() && error.message == "not of this deployment", "{error:?}");
    assert_eq!(world.live_mains(), 0);
    // A contender that is not refused goes on where the application stood.
    assert_eq!(code(contend(&world, "runner-1")).await, 0);
}

#[tokio::test]
async fn what_is_damaged_in_the_record_ends_the_application_and_is_not_tried_for_ever() {
    let world = two_jobs().await;
    let contender = contend(&world, "runner-0");
    second_runs(&world, 1).await;
    world.refuse_write(Problem::new(Reason::DataCorrupt, "payloads/ab/abcd has other bytes"));
    world.end_job("second", JobOutcome::Succeeded).await;
    assert_eq!(code(contender).await, 1);
    let application = world.recorded().await;
    assert_eq!(
        (application.reason.as_str(), application.message.as_str()),
        ("DATA_CORRUPT", "payloads/ab/abcd has other bytes")
    );
}

#[tokio::test]
async fn output_whose_list_of_files_is_damaged_is_not_published_by_it_and_is_once_it_is_restored() {
    let world = world(|execution| async move {
        if succeeded(&execute(&execution, "report").await) { 0 } else { 9 }
    })
    .await;
    world.damage_lists();
    let contender = contend(&world, "runner-0");
    let told = |application: &api::Application| {
        application.conditions.iter().any(|condition| condition.r#type == "Published")
    };
    let application = soon("the complaint", world.until(told)).await;
    let condition =
        application.conditions.iter().find(|condition| condition.r#type == "Published").unwrap();
    assert_eq!(condition.reason, "DATA_CORRUPT");
    let damaged = world.damaged()[0].to_string();
    for word in
        ["\"report\"", "the list of its files is damaged", &damaged, "mainspring abandon orders@1"]
    {
        assert!(condition.message.contains(word), "{word}: {}", condition.message);
    }
    assert_eq!(count(&world, "publish report"), 0, "places without their files were published");
    world.restore_lists().await;
    assert_eq!(code(contender).await, 0);
    assert_eq!(count(&world, "publish report"), 1);
}
