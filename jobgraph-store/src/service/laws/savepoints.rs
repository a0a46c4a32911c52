//! Laws of savepoints: a wish is kept once, and is answered once, by a process that may answer it.

use proto::{Reason, TriggerId, api};

use super::{Court, Verdict, ensure, fence, incarnation, succeeded, wrongly};

/// A wish is kept once, the application's end does not pass it by, and the first result of the
/// leader in office stands.
pub(super) async fn kept_once_and_settled_once(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, leader, job) = court.running("wish").await?;
    let cluster = incarnation(&application, 1);
    let trigger = TriggerId::derive("w", job);
    for earlier in [false, true] {
        let asked = face.ask_for_savepoints(&application, "w", "", false).await;
        ensure!(asked == Ok(earlier), "asking came to {asked:?} instead of {earlier}");
    }
    for (named, stop) in [("job", false), ("", true)] {
        let other = face.ask_for_savepoints(&application, "w", named, stop).await;
        ensure!(other == Err(Reason::RequestIdReused), "other content came to {other:?}");
    }
    let none = face.ask_for_savepoints(&application, "n", "nobody", false).await;
    ensure!(none == Err(Reason::JobNotFound), "a savepoint of no job came to {none:?}");
    let seen = face.get(&application).await.map_err(wrongly("get"))?;
    let desired = seen.desired.unwrap_or_default();
    let wishes: Vec<_> =
        desired.savepoints.iter().map(|wish| (&*wish.request_id, &wish.job_ids)).collect();
    ensure!(wishes == [("w", &vec![job.to_string()])], "people see {wishes:?}");
    ensure!(desired.revision == 1, "desired state is of revision {}", desired.revision);

    let nobody = TriggerId::derive("x", job);
    let odd = face.savepoint_settled(&leader, job, nobody, "file:/s").await;
    ensure!(
        odd == Err(Reason::RequestInvalid),
        "a savepoint that was not asked for came to {odd:?}"
    );
    let odd = face.savepoint_settled(&leader, job, trigger, &"x".repeat(2049)).await;
    ensure!(odd == Err(Reason::RequestInvalid), "a pointer over its limit came to {odd:?}");
    face.job_ended(&cluster, job, succeeded("")).await.map_err(wrongly("an end"))?;
    let late = face.ask_for_savepoints(&application, "late", "", false).await;
    ensure!(late == Err(Reason::JobNotRunning), "asking when no job runs came to {late:?}");
    let early = face.end(&leader, api::Outcome::Succeeded, 0).await;
    ensure!(
        early == Err(Reason::RevisionMoved),
        "an end that was decided without it came to {early:?}"
    );
    let early = face.end(&leader, api::Outcome::Succeeded, 1).await;
    ensure!(early == Err(Reason::SavepointPending), "an end without a result came to {early:?}");

    // A leader decided on this result and is superseded before it commits.
    let mut held = court.gate.hold("/job/");
    let late = {
        let (face, leader) = (face.clone(), leader.clone());
        tokio::spawn(
            async move { face.savepoint_settled(&leader, job, trigger, "file:/late").await },
        )
    };
    held.reached().await;
    let next = fence(&application, 2);
    face.begin_attempt(&next, "runner-1").await.map_err(wrongly("a take-over"))?;
    held.release();
    let late = late.await.expect("it does not panic");
    ensure!(late == Err(Reason::EpochSuperseded), "a superseded leader's result came to {late:?}");
    for (pointer, recorded) in
        [("file:/first", true), ("file:/first", true), ("file:/second", false)]
    {
        let settled = face.savepoint_settled(&next, job, trigger, pointer).await;
        ensure!(settled == Ok((recorded, "file:/first".into())), "{pointer} came to {settled:?}");
    }
    face.end(&next, api::Outcome::Succeeded, 1).await.map_err(wrongly("the end"))?;
    let again = face.ask_for_savepoints(&application, "w", "", false).await;
    ensure!(again == Ok(true), "a repeat after the end came to {again:?}");
    let new = face.ask_for_savepoints(&application, "y", "", false).await;
    ensure!(new == Err(Reason::AlreadyEnded), "a wish after the end came to {new:?}");
    let told = face.events(&application).await.map_err(wrongly("events"))?;
    let told: Vec<_> = told.iter().filter(|event| event.kind == "savepoint").collect();
    ensure!(told.len() == 2, "{} events tell of it", told.len());
    Ok(())
}

/// The savepoint that a job was stopped with commits with the job's end, without a leader. Only the
/// current cluster is told what to stop with.
pub(super) async fn a_stop_commits_with_the_end(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, leader, job) = court.running("stop").await?;
    let (old, new) = (incarnation(&application, 1), incarnation(&application, 2));
    let trigger = TriggerId::derive("s", job);
    ensure!(face.stopping(&old, job).await == Ok(String::new()), "no stop was asked for yet");
    face.ask_for_savepoints(&application, "plain", "job", false)
        .await
        .map_err(wrongly("a wish"))?;
    ensure!(face.stopping(&old, job).await == Ok(String::new()), "a savepoint alone stops nothing");
    face.ask_for_savepoints(&application, "s", "", true).await.map_err(wrongly("a stop"))?;
    let told = face.stopping(&old, job).await;
    ensure!(told == Ok(trigger.to_string()), "the cluster is told {told:?}");
    face.begin_cluster(&leader, "c2").await.map_err(wrongly("a new incarnation"))?;
    ensure!(
        face.stopping(&old, job).await == Err(Reason::IncarnationSuperseded),
        "a superseded one is told"
    );
    let end = |pointer: &str| proto::job::JobEnd { savepoint: pointer.into(), ..succeeded("") };
    let late = face.job_ended(&old, job, end("file:/old")).await;
    ensure!(
        late == Err(Reason::IncarnationSuperseded),
        "a superseded cluster's end came to {late:?}"
    );
    face.job_ended(&new, job, end("file:/new")).await.map_err(wrongly("the end"))?;
    let told = face.stopping(&new, job).await;
    ensure!(told == Ok(String::new()), "after the end the cluster is told {told:?}");
    let settled = face.savepoint_settled(&leader, job, trigger, "file:/other").await;
    ensure!(settled == Ok((false, "file:/new".into())), "a later result came to {settled:?}");
    let seen = face.get(&application).await.map_err(wrongly("get"))?;
    let kept: Vec<_> =
        seen.jobs[0].savepoints.iter().map(|s| (&*s.request_id, s.stop, &*s.pointer)).collect();
    ensure!(kept == [("s", true, "file:/new")], "people see {kept:?}");
    let end = seen.jobs[0].end.clone().unwrap_or_default();
    ensure!(end.savepoint == "file:/new", "the end says {:?}", end.savepoint);

    // The leader may be told of the savepoint first: then the end says the same, also to a cluster
    // that repeats it.
    let (application, leader, job) = court.running("told").await?;
    face.ask_for_savepoints(&application, "t", "", true).await.map_err(wrongly("a stop"))?;
    let settled =
        face.savepoint_settled(&leader, job, TriggerId::derive("t", job), "file:/t").await;
    ensure!(settled == Ok((true, "file:/t".into())), "the leader's word came to {settled:?}");
    for _ in 0..2 {
        let ended = face.job_ended(&incarnation(&application, 1), job, succeeded("")).await;
        let ended = ended.map_err(wrongly("an end"))?;
        ensure!((ended.0, &*ended.1.savepoint) == (true, "file:/t"), "the end came to {ended:?}");
    }
    Ok(())
}

/// A bounded number of wishes is kept; the oldest settled ones make room, and a result outlives its
/// wish.
pub(super) async fn are_bounded(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, leader, job) = court.running("wishes").await?;
    for number in 0..8 {
        let id = format!("w{number}");
        face.ask_for_savepoints(&application, &id, "", false).await.map_err(wrongly("a wish"))?;
    }
    let over = face.ask_for_savepoints(&application, "w8", "", false).await;
    ensure!(over == Err(Reason::TooManySavepoints), "the ninth came to {over:?}");
    for number in 0..30 {
        let trigger = TriggerId::derive(&format!("w{number}"), job);
        let settled = face.savepoint_settled(&leader, job, trigger, &"x".repeat(2048)).await;
        ensure!(matches!(settled, Ok((true, _))), "settling w{number} came to {settled:?}");
        let id = format!("w{}", number + 8);
        face.ask_for_savepoints(&application, &id, "", false).await.map_err(wrongly("a wish"))?;
    }
    let seen = face.get(&application).await.map_err(wrongly("get"))?;
    let wishes = seen.desired.unwrap_or_default().savepoints.len();
    let results = seen.jobs[0].savepoints.len();
    ensure!((wishes, results) == (8, 10), "{wishes} wishes and {results} results are kept");
    for (id, directory) in [(String::new(), 0), ("x".repeat(129), 0), ("d".into(), 1025)] {
        let odd = face.ask_at(&application, &id, &"d".repeat(directory)).await;
        ensure!(
            odd == Err(Reason::RequestInvalid),
            "{} and {directory} bytes came to {odd:?}",
            id.len()
        );
    }
    Ok(())
}
