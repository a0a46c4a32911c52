//! Laws of ends: of jobs and of applications.

use bytes::Bytes;
use proto::{EpochFence, Incarnation, Reason, api, job};
use tokio::task::JoinHandle;

use super::face::Answer;
use super::gate::Held;
use super::{
    Court, Verdict, answered, ensure, fence, graph, incarnation, kept_as, succeeded, with_output,
    wrongly,
};

/// Of several ends of a job one is recorded, and every caller is told that one.
pub(super) async fn the_first_end_of_a_job_wins(court: &Court) -> Verdict {
    let (application, leader, job) = court.running("first-end").await?;
    let abandoned =
        job::JobEnd { outcome: job::JobOutcome::Abandoned.into(), ..succeeded("given up") };
    let mut held = court.gate.hold("/job/");
    let slow = {
        let (face, leader, abandoned) = (court.face.clone(), leader.clone(), abandoned.clone());
        tokio::spawn(async move { face.leader_ended(&leader, job, abandoned).await })
    };
    held.reached().await;
    let cluster = incarnation(&application, 1);
    let first = court.face.job_ended(&cluster, job, succeeded("done")).await;
    ensure!(first == Ok((true, succeeded("done"))), "the first end came to {first:?}");
    held.release();
    let slow = answered(slow).await?;
    ensure!(slow == Ok((false, succeeded("done"))), "the second end came to {slow:?}");
    let again = court.face.job_ended(&cluster, job, succeeded("done")).await;
    ensure!(again == Ok((true, succeeded("done"))), "the first end, repeated, came to {again:?}");
    let other = court.face.job_ended(&cluster, job, succeeded("otherwise")).await;
    ensure!(other == Ok((false, succeeded("done"))), "another end came to {other:?}");
    let seen = court.face.get(&application).await.map_err(wrongly("get"))?;
    ensure!(
        seen.jobs[0].end == Some(succeeded("done")),
        "the end changed to {:?}",
        seen.jobs[0].end
    );
    let told = court.face.events(&application).await.map_err(wrongly("events"))?;
    let ends = told
        .iter()
        .filter(|event| event.attributes.get("state").is_some_and(|state| state == "ended"))
        .count();
    ensure!(ends == 1, "{ends} ends of one job were told");
    let claim = court.face.leader_ended(&leader, job, succeeded("")).await;
    ensure!(claim == Err(Reason::RequestInvalid), "a leader's claim of success came to {claim:?}");
    Ok(())
}

/// A job that a leader gives up as lost says so, in the record and to every reader of it.
pub(super) async fn a_lost_job_says_so(court: &Court) -> Verdict {
    let (application, leader, job) = court.running("lost").await?;
    let lost =
        job::JobEnd { outcome: job::JobOutcome::Lost.into(), ..succeeded("the cluster denies it") };
    for _ in 0..2 {
        let ended = court.face.leader_ended(&leader, job, lost.clone()).await;
        ensure!(
            ended
                .as_ref()
                .is_ok_and(|(recorded, end)| *recorded && end.reason == Reason::JobLost.as_str()),
            "a lost job came to {ended:?}"
        );
    }
    let seen = court.face.get(&application).await.map_err(wrongly("get"))?;
    let reason = seen.jobs[0].end.as_ref().map(|end| end.reason.as_str());
    ensure!(reason == Some(Reason::JobLost.as_str()), "people see {reason:?}");
    let told = court.face.events(&application).await.map_err(wrongly("events"))?;
    ensure!(
        told.iter().any(|event| event.reason == Reason::JobLost.as_str()),
        "no event tells of it"
    );
    Ok(())
}

/// An end of the application that is decided and held back before its commit, and what its leader
/// is told in the end.
async fn decided_end(
    court: &Court,
    leader: &EpochFence,
) -> (Held, JoinHandle<Answer<api::Outcome>>) {
    let mut held = court.gate.hold("/state");
    let (face, leader) = (court.face.clone(), leader.clone());
    let end = tokio::spawn(async move { face.end(&leader, api::Outcome::Succeeded, 0).await });
    held.reached().await;
    (held, end)
}

/// A cancel that is acknowledged while the end is being written is not overtaken by the end.
pub(super) async fn a_cancel_before_the_end_decides_it(court: &Court) -> Verdict {
    let (application, leader, job) = court.running("cancelled").await?;
    court.job_ends(&application, job).await?;
    let (held, end) = decided_end(court, &leader).await;
    ensure!(court.face.cancel(&application).await == Ok(false), "a cancel was refused");
    ensure!(
        court.face.cancel(&application).await == Ok(true),
        "a second cancel is not said to be one"
    );
    held.release();
    let end = answered(end).await?;
    ensure!(end == Err(Reason::RevisionMoved), "an end decided without the cancel came to {end:?}");
    let begun = court
        .face
        .begin_attempt(&fence(&application, 2), "runner-1")
        .await
        .map_err(wrongly("an epoch"))?;
    let told = begun
        .record
        .and_then(|record| record.application)
        .and_then(|application| application.desired);
    let desired = told.ok_or("a successor is told of no wish at all")?;
    ensure!(
        desired.cancel && desired.revision > 0,
        "a successor is not told of the cancel: {desired:?}"
    );
    let end =
        court.face.end(&fence(&application, 2), api::Outcome::Succeeded, desired.revision).await;
    ensure!(end == Ok(api::Outcome::Cancelled), "the end after a cancel came to {end:?}");
    let seen = court.face.get(&application).await.map_err(wrongly("get"))?;
    ensure!(
        seen.outcome() == api::Outcome::Cancelled && seen.terminal && !seen.clean,
        "the record says {:?}",
        seen.outcome()
    );
    ensure!(seen.jobs[0].end == Some(succeeded("")), "a cancel changed the end of a job");
    Ok(())
}

/// Once the end is recorded it never changes, even if another write was on its way.
pub(super) async fn a_cancel_after_the_end_is_refused(court: &Court) -> Verdict {
    let (application, leader, job) = court.running("too-late").await?;
    court.job_ends(&application, job).await?;
    let mut held = court.gate.hold("/desired");
    let cancel = {
        let (face, application) = (court.face.clone(), application.clone());
        tokio::spawn(async move { face.cancel(&application).await })
    };
    held.reached().await;
    let end = court.face.end(&leader, api::Outcome::Succeeded, 0).await;
    ensure!(end == Ok(api::Outcome::Succeeded), "the end came to {end:?}");
    held.release();
    let cancel = answered(cancel).await?;
    ensure!(cancel == Err(Reason::AlreadyEnded), "a cancel after the end came to {cancel:?}");
    let again = court.face.end(&leader, api::Outcome::Failed, 0).await;
    ensure!(again == Ok(api::Outcome::Succeeded), "a second end came to {again:?}");
    court.face.mark_clean(&leader).await.map_err(wrongly("clean"))?;
    let again = court.face.end(&leader, api::Outcome::Failed, 0).await;
    ensure!(again == Ok(api::Outcome::Succeeded), "an end after clean came to {again:?}");
    let seen = court.face.get(&application).await.map_err(wrongly("get"))?;
    ensure!(
        seen.outcome() == api::Outcome::Succeeded && seen.clean,
        "the record says {:?}",
        seen.outcome()
    );
    Ok(())
}

/// Of a new job and the end that are written at the same time, one is refused.
pub(super) async fn no_job_slips_in_beside_the_end(court: &Court) -> Verdict {
    let bytes = Bytes::from_static(b"graph");
    let (application, leader, job) = court.running("slip").await?;
    court.job_ends(&application, job).await?;
    let (held, end) = decided_end(court, &leader).await;
    let second = court
        .face
        .put_graph(&leader, graph("second", "call-2", 1, &bytes))
        .await
        .map_err(wrongly("a job"))?;
    held.release();
    let end = answered(end).await?;
    ensure!(end == Err(Reason::JobsNotEnded), "an end decided without a job came to {end:?}");
    let second = kept_as(&second)?;
    court.face.submitted(&leader, second, Incarnation(1)).await.map_err(wrongly("a submission"))?;
    court.job_ends(&application, second).await?;
    let mut held = court.gate.hold("/job/");
    let third = {
        let (face, leader, bytes) = (court.face.clone(), leader.clone(), bytes.clone());
        tokio::spawn(async move {
            face.put_graph(&leader, graph("third", "call-3", 2, &bytes)).await.map(|_| ())
        })
    };
    held.reached().await;
    let end = court.face.end(&leader, api::Outcome::Succeeded, 0).await;
    ensure!(end == Ok(api::Outcome::Succeeded), "the end came to {end:?}");
    held.release();
    let third = answered(third).await?;
    ensure!(third == Err(Reason::ApplicationEnding), "a job after the end came to {third:?}");
    let seen = court.face.get(&application).await.map_err(wrongly("get"))?;
    ensure!(
        seen.jobs.iter().all(|job| job.end.is_some()),
        "an ended application has a job without an end"
    );
    Ok(())
}

/// Jobs without an end and unpublished outputs hold up the application's end, unless it is
/// abandoned.
pub(super) async fn nothing_ends_with_work_left(court: &Court) -> Verdict {
    let (application, leader, job) = court.running("work-left").await?;
    let early = court.face.end(&leader, api::Outcome::Failed, 0).await;
    ensure!(early == Err(Reason::JobsNotEnded), "an end with a running job came to {early:?}");
    let clean = court.face.mark_clean(&leader).await;
    ensure!(clean == Err(Reason::NotEnded), "clean before the end came to {clean:?}");
    let abandon = court.face.abandon(&application).await;
    ensure!(abandon == Err(Reason::NotEnded), "an abandon of what runs came to {abandon:?}");
    court
        .face
        .job_ended(&incarnation(&application, 1), job, with_output())
        .await
        .map_err(wrongly("an end"))?;
    let unpublished = court.face.end(&leader, api::Outcome::Failed, 0).await;
    ensure!(
        unpublished == Err(Reason::OutputNotPublished),
        "an end with an unpublished output came to {unpublished:?}"
    );
    let abandon = court.face.abandon(&application).await;
    ensure!(abandon == Err(Reason::NotEnded), "an abandon while main() runs came to {abandon:?}");
    court.face.cancel(&application).await.map_err(wrongly("a cancel"))?;
    court.face.abandon(&application).await.map_err(wrongly("an abandon"))?;
    let given_up = court.face.end(&leader, api::Outcome::Failed, 2).await;
    ensure!(
        given_up == Ok(api::Outcome::Cancelled),
        "the end of what was abandoned came to {given_up:?}"
    );
    Ok(())
}

/// After a lost answer every call can be repeated: the answer is the same, and the record does not
/// move.
pub(super) async fn every_write_may_be_repeated(court: &Court) -> Verdict {
    let face = &court.face;
    let application = court.application("repeat").await?;
    let (leader, cluster) = (fence(&application, 1), incarnation(&application, 1));
    let bytes = Bytes::from_static(b"artifact and graph");
    let digest = proto::Digest::of(&bytes).to_string();
    let artifact = api::PinnedArtifact {
        uri: "/a/b.sql".into(),
        name: "b.sql".into(),
        digest,
        size_bytes: 18,
    };
    let seen = async || {
        let events = face.events(&application).await.map_err(wrongly("events"))?;
        Ok::<_, String>((face.get(&application).await.map_err(wrongly("get"))?.revision, events))
    };
    macro_rules! twice {
        ($what:literal, $call:expr) => {{
            let first = format!("{:?}", $call.await.map_err(wrongly($what))?);
            let before = seen().await?;
            let second =
                format!("{:?}", $call.await.map_err(wrongly(concat!($what, ", repeated")))?);
            let after = seen().await?;
            ensure!(first == second, "{}: answered {first}, then {second}", $what);
            ensure!(before == after, "{}: the repeat changed the record", $what);
        }};
    }
    twice!("a submission", async {
        face.submit(super::request("r-repeat", "repeat"))
            .await
            .map(|answer| answer.application.map(|known| known.generation))
    });
    twice!("begin attempt", async {
        face.begin_attempt(&leader, "runner-0").await.map(|begun| begun.disposition())
    });
    face.put_payload(bytes.clone()).await.map_err(wrongly("a payload"))?;
    twice!("pin", face.pin(&leader, vec![artifact.clone()]));
    twice!("begin cluster", face.begin_cluster(&leader, "c1"));
    twice!("cluster ready", face.cluster_ready(&leader, Incarnation(1)));
    twice!("main starting", face.main_starting(&leader, "unix:/main"));
    twice!("main running", face.main_running(&leader, 7));
    twice!("put graph", face.put_graph(&leader, graph("job", "call", 0, &bytes)));
    let put = face
        .put_graph(&leader, graph("job", "call", 0, &bytes))
        .await
        .map_err(wrongly("a retry"))?;
    let job = kept_as(&put)?;
    twice!("submitted", face.submitted(&leader, job, Incarnation(1)));
    twice!("job ended", face.job_ended(&cluster, job, with_output()));
    twice!("published", face.published(&leader, job));
    twice!("main ended", face.main_ended(&leader, 0));
    twice!("end", face.end(&leader, api::Outcome::Succeeded, 0));
    twice!("clean", face.mark_clean(&leader));
    ensure!(face.get(&application).await.is_ok_and(|seen| seen.clean), "it is not clean");
    let taken = face.put_graph(&leader, graph("job", "another", 0, &bytes)).await.map(|_| ());
    ensure!(taken.is_err(), "a job after clean");
    Ok(())
}

/// An occurrence that was assigned stands in whichever order calls come, and no two calls of one
/// attempt have the same occurrence.
pub(super) async fn no_two_calls_share_an_occurrence(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, leader, _) = court.running("equal").await?;
    let bytes = Bytes::from_static(b"graph");
    let wish = |call: &str, occurrence: Option<u32>| proto::jobgraph::PutJobGraphRequest {
        equal_names_allowed: true,
        overlapped: true,
        occurrence,
        ..graph("twin", call, 9, &bytes)
    };
    let uid = face.get(&application).await.map_err(wrongly("the application"))?.uid;
    ensure!(uid.len() == 32, "the generation has uid {uid:?}");
    let id = |occurrence| proto::JobId::derive(&application, &uid, "twin", occurrence);
    // The call with the second occurrence comes first.
    let second = face.put_graph(&leader, wish("b", Some(1))).await.map_err(wrongly("a graph"))?;
    ensure!(kept_as(&second)? == id(1), "assigned 1, got {second:?}");
    let mut held = court.gate.hold("/job/");
    let slow = {
        let (face, leader, wish) = (face.clone(), leader.clone(), wish("x", Some(0)));
        tokio::spawn(async move { face.put_graph(&leader, wish).await.map(|_| ()) })
    };
    held.reached().await;
    let first = face.put_graph(&leader, wish("a", Some(0))).await.map_err(wrongly("a graph"))?;
    ensure!(kept_as(&first)? == id(0), "assigned 0, got {first:?}");
    held.release();
    let slow = answered(slow).await?;
    ensure!(slow == Err(Reason::JobNameTaken), "two calls have occurrence 0: {slow:?}");
    let again = face.put_graph(&leader, wish("b", Some(1))).await.map_err(wrongly("a retry"))?;
    ensure!(again == second, "a retry came to {again:?}");
    let counted = face.put_graph(&leader, wish("c", None)).await.map_err(wrongly("a graph"))?;
    ensure!(kept_as(&counted)? == id(2), "counted 2, got {counted:?}");
    let one =
        proto::jobgraph::PutJobGraphRequest { equal_names_allowed: false, ..wish("d", Some(3)) };
    let one = face.put_graph(&leader, one).await.map(|_| ());
    ensure!(
        one == Err(Reason::RequestInvalid),
        "occurrence 3 of a name for one job came to {one:?}"
    );
    Ok(())
}
