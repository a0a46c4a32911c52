//! One leader from the submit to the exit.

use std::sync::OnceLock;

use proto::Reason;

use super::*;

#[tokio::test]
async fn a_run_takes_the_steps_in_order_and_exits_with_the_applications_code() {
    let world = world(|execution| async move {
        let both = succeeded(&execute(&execution, "clean").await)
            && succeeded(&execute(&execution, "report").await);
        if both { 0 } else { 9 }
    })
    .await;
    assert_eq!(code(contend(&world, "runner-0")).await, 0);
    let done = world.done();
    let steps: Vec<&str> = done
        .iter()
        .map(String::as_str)
        .filter(|step| *step != "cluster 1" && *step != "main")
        .collect();
    let jobs = [
        "submit clean",
        "ended clean",
        "publish clean",
        "submit report",
        "ended report",
        "publish report",
    ];
    assert_eq!(steps[0], "lead runner-0");
    assert_eq!(steps[1..7], jobs);
    assert_eq!(steps[7], "end Succeeded");
    assert_eq!(*steps.last().unwrap(), "clean");
    assert!(done.contains(&"teardown 1".to_owned()) && done.contains(&"release".to_owned()));
    let application = world.recorded().await;
    assert!(application.clean && application.leftovers.is_empty());
    assert_eq!(application.artifacts.len(), 1);
}

#[tokio::test]
async fn the_engine_is_told_of_no_secret_in_a_uri_but_in_those_that_a_jvm_loads_by_itself() {
    let uri = |of: &str| format!("https://user:pa55-{of}@host/{of}.jar?token=pa55-{of}");
    let program =
        api::Program { uri: uri("program"), classpaths: vec![uri("loaded")], ..Default::default() };
    let file = api::ArtifactReference { uri: uri("file"), ..Default::default() };
    let spec = api::ApplicationSpec { program: Some(program), artifacts: vec![file], ..spec() };
    let world = world_of(spec, |_| async { 0 }).await;
    assert_eq!(code(contend(&world, "runner-0")).await, 0);
    let subjects = world.subjects();
    assert_eq!(subjects.len(), 2, "of the cluster and of main()");
    for mut subject in subjects {
        let program = subject.spec.program.as_mut().unwrap();
        assert_eq!(std::mem::take(&mut program.classpaths), [uri("loaded")]);
        let told = format!("{subject:?}");
        assert!(!told.contains("pa55"), "{told}");
        for of in ["program", "file"] {
            let masked = format!("https://***@host/{of}.jar?***");
            assert_eq!(
                told.matches(&masked).count(),
                2,
                "in the spec and as a file: {masked} in {told}"
            );
        }
    }
}

#[tokio::test]
async fn an_application_without_jobs_needs_no_job_to_end() {
    let world = world(|_| async { 0 }).await;
    assert_eq!(code(contend(&world, "runner-0")).await, 0);
    assert_eq!(world.live_mains(), 0);
}

#[tokio::test]
async fn a_main_that_fails_has_its_job_cancelled_and_the_reason_recorded() {
    let world = world(|execution| async move {
        let running = execution.clone();
        tokio::spawn(async move { execute(&running, "long").await });
        while execution.attempt().epoch != 0
            && execution.watch_job(execution.job_id("long", 0)).await.is_err()
        {
            tokio::task::yield_now().await;
        }
        3
    })
    .await;
    world.behave("long", Behaviour::Run);
    assert_eq!(code(contend(&world, "runner-0")).await, 1);
    let application = world.recorded().await;
    assert_eq!(application.reason, "MAIN_EXITED");
    assert!(application.message.contains("exited 3"), "{}", application.message);
    assert_eq!(application.jobs[0].end.as_ref().unwrap().outcome(), JobOutcome::Cancelled);
}

#[tokio::test]
async fn a_cancel_stops_main_and_its_jobs() {
    let world = world(|execution| async move {
        execute(&execution, "long").await.ok();
        std::future::pending::<i32>().await
    })
    .await;
    world.behave("long", Behaviour::Run);
    let contender = contend(&world, "runner-0");
    soon("the job", world.until(|a| a.jobs.iter().any(|job| job.submissions > 0))).await;
    world.cancel().await;
    assert_eq!(code(contender).await, 3);
    let application = world.recorded().await;
    assert_eq!(application.jobs[0].end.as_ref().unwrap().outcome(), JobOutcome::Cancelled);
    assert_eq!((application.outcome(), world.live_mains()), (api::Outcome::Cancelled, 0));
}

#[tokio::test]
async fn a_deadline_ends_a_main_that_never_ends() {
    // The deadline is an absolute instant, which passes before any contender leads.
    let deadline = Some(prost_types::Duration { seconds: 0, nanos: 1 });
    let spec = api::ApplicationSpec { deadline, ..spec() };
    let world = world_of(spec, |_| std::future::pending()).await;
    assert_eq!(code(contend(&world, "runner-0")).await, 4);
    assert_eq!(world.recorded().await.reason, "DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn a_refusal_by_the_engine_ends_it_before_a_cluster_or_main() {
    let world = world(|_| async { 0 }).await;
    world.refuse_main(PortError::refused(Reason::OptionMeaningless, "-n means nothing to memory"));
    assert_eq!(code(contend(&world, "runner-0")).await, 1);
    let application = world.recorded().await;
    assert_eq!(
        (application.reason.as_str(), application.message.as_str()),
        ("OPTION_MEANINGLESS", "-n means nothing to memory")
    );
    assert_eq!((count(&world, "main"), count(&world, "cluster 1")), (0, 0));
}

#[tokio::test]
async fn an_artifact_that_is_not_there_ends_it_with_its_name() {
    let mut spec = spec();
    spec.artifacts
        .push(api::ArtifactReference { uri: "/missing/zones.csv".into(), ..Default::default() });
    let world = world_of(spec, |_| async { 0 }).await;
    assert_eq!(code(contend(&world, "runner-0")).await, 1);
    let application = world.recorded().await;
    assert_eq!(application.reason, "ARTIFACT_NOT_FOUND");
    assert!(application.message.contains("zones.csv"), "{}", application.message);
}

#[tokio::test]
async fn a_failed_job_fails_the_application_only_if_main_was_not_told() {
    let told = world(|execution| async move {
        let end = execute(&execution, "broken").await.unwrap();
        i32::from(end.outcome() != JobOutcome::Failed)
    })
    .await;
    told.behave("broken", Behaviour::Fail);
    assert_eq!(code(contend(&told, "runner-0")).await, 0);

    let untold = world(|execution| async move {
        let running = execution.clone();
        tokio::spawn(async move { execute(&running, "long").await });
        while execution.watch_job(execution.job_id("long", 0)).await.is_err() {
            tokio::task::yield_now().await;
        }
        0
    })
    .await;
    untold.behave("long", Behaviour::Run);
    let contender = contend(&untold, "runner-0");
    soon(
        "main()'s end",
        untold.until(|a| a.main.as_ref().is_some_and(|main| main.exit_code == Some(0))),
    )
    .await;
    untold.end_job("long", JobOutcome::Failed).await;
    assert_eq!(code(contender).await, 1);
    assert_eq!(untold.recorded().await.reason, "JOB_FAILED");
}

#[tokio::test]
async fn unnamed_calls_that_overlap_and_equal_names_are_refused() {
    let world = world(|execution| async move {
        let first = execution.enter("one", "").unwrap();
        let refused = execution.enter("two", "").unwrap_err();
        assert_eq!(refused.reason, Some(Reason::UnnamedJobOverlaps));
        drop(first);
        assert!(succeeded(&execute(&execution, "a").await));
        let refused = execute_graph(&execution, "a", b"another call").await.unwrap_err();
        assert_eq!(refused.reason, Some(Reason::JobNameTaken));
        let wrong = Call {
            call_id: "x".into(),
            graph_digest: Digest::of(b"y").to_string(),
            ..Call::default()
        };
        let refused =
            execution.execute(wrong, execution.enter("x", "b").unwrap()).await.unwrap_err();
        assert_eq!(refused.reason, Some(Reason::GraphDigestMismatch));
        0
    })
    .await;
    assert_eq!(code(contend(&world, "runner-0")).await, 0);
}

#[tokio::test]
async fn once_keeps_the_first_value() {
    let world = world(|execution| async move {
        let nothing = execution.journal("key", None).await.unwrap();
        let first = execution.journal("key", Some(Bytes::from_static(b"1"))).await.unwrap();
        let second = execution.journal("key", Some(Bytes::from_static(b"2"))).await.unwrap();
        let stands = (nothing.value, first.found, second.value.as_deref(), second.found);
        if stands == (None, false, Some(&b"1"[..]), true) { 0 } else { 9 }
    })
    .await;
    assert_eq!(code(contend(&world, "runner-0")).await, 0);
}

#[tokio::test]
async fn an_application_that_is_ending_takes_no_further_job() {
    let kept: Arc<OnceLock<MainService>> = Arc::default();
    let keep = kept.clone();
    let world = world(move |execution| {
        keep.get_or_init(|| execution);
        async { 0 }
    })
    .await;
    assert_eq!(code(contend(&world, "runner-0")).await, 0);
    let execution = kept.get().unwrap();
    let announced = execution.assign_job("late", "late", None).await.unwrap_err();
    assert_eq!(announced.reason, Some(Reason::ApplicationEnding));
    let refused = soon("an answer", execute(execution, "late")).await.unwrap_err();
    assert_eq!(refused.reason, Some(Reason::ApplicationEnding));
}

/// Runs main() while its runner hears nothing of what is written, because the watch of a record may
/// be late.
async fn run_unheard<F, Fut>(program: F) -> i32
where
    F: Fn(MainService) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = i32> + Send + 'static,
{
    let world = world(program).await;
    world.behave("long", Behaviour::Run);
    world.hold_news(true);
    let contender = contend(&world, "runner-0");
    let exited =
        |a: &api::Application| a.main.as_ref().is_some_and(|main| main.exit_code.is_some());
    let seen = soon("main()'s end", world.until(exited)).await;
    world.hold_news(false);
    code(contender).await;
    seen.main.unwrap().exit_code.unwrap()
}

async fn accepted(execution: &MainService, name: &str) {
    let entered = execution.enter(name, name).unwrap();
    let call = Call {
        call_id: name.into(),
        name: name.into(),
        graph_digest: Digest::of(name.as_bytes()).to_string(),
        graph: Bytes::copy_from_slice(name.as_bytes()),
        ..Call::default()
    };
    let mut answers = execution.execute(call, entered).await.unwrap();
    assert!(matches!(answers.recv().await.unwrap().unwrap(), Item::Accepted(_)));
}

#[tokio::test]
async fn a_program_that_was_told_of_its_job_can_ask_for_it_at_once() {
    let exit = run_unheard(|execution| async move {
        accepted(&execution, "long").await;
        let watched = execution.watch_job(execution.job_id("long", 0)).await.is_ok();
        // Exit code 0 would wait for a job that never ends.
        if watched && execution.cancel_job(execution.job_id("long", 0), String::new()).await.is_ok()
        {
            3
        } else {
            4
        }
    });
    assert_eq!(exit.await, 3);
}

#[tokio::test]
async fn a_result_can_be_read_as_soon_as_its_job_has_ended() {
    let exit = run_unheard(|execution| async move {
        accepted(&execution, "quick").await;
        let quick = execution.job_id("quick", 0);
        loop {
            match execution.read_result(quick).await.map(|_| ()) {
                Err(error) if error.reason == Some(Reason::ResultNotReady) => {
                    tokio::task::yield_now().await
                }
                // The job has ended, and is one without rows.
                answer => break i32::from(answer.unwrap_err().reason != Some(Reason::ResultNone)),
            }
        }
    });
    assert_eq!(exit.await, 0);
}

#[tokio::test]
async fn an_application_is_not_clean_before_its_last_output_is_in_the_record() {
    let world = world(|_| async { 0 }).await;
    world.keep_output_waiting(3);
    assert_eq!(code(contend(&world, "runner-0")).await, 0);
    let application = world.recorded().await;
    assert!(application.clean);
    assert_eq!(application.leftovers, Vec::<String>::new(), "it got there a moment later");
}
