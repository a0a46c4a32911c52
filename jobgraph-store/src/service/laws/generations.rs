//! Laws of generations, of lists and of the past.

use proto::{Reason, api, jobgraph};

use super::{Court, Verdict, ensure, fence, incarnation, reference, request, succeeded, wrongly};

/// The id of an application that is not clean is taken.
pub(super) async fn begins_only_after_a_clean_one(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, leader, job) = court.running("generations").await?;
    let again = |id: &str, if_exists: api::IfExists| api::SubmitRequest {
        if_exists: if_exists.into(),
        ..request(id, "generations")
    };
    let taken = face.submit(again("r1", api::IfExists::Fail)).await.map(|_| ());
    ensure!(taken == Err(Reason::ApplicationExists), "an id in use came to {taken:?}");
    let attached =
        face.submit(again("r2", api::IfExists::Attach)).await.map_err(wrongly("attach"))?;
    ensure!(
        attached.existing && attached.application.unwrap().generation == 1,
        "attach made something else"
    );
    let reused = face.submit(request("r2", "other")).await.map(|_| ());
    ensure!(
        reused == Err(Reason::RequestIdReused),
        "a request id with other content came to {reused:?}"
    );
    court.job_ends(&application, job).await?;
    face.end(&leader, api::Outcome::Succeeded, 0).await.map_err(wrongly("the end"))?;
    let dirty = face.submit(again("r3", api::IfExists::Fail)).await.map(|_| ());
    ensure!(
        dirty == Err(Reason::ApplicationExists),
        "an id that is being cleaned came to {dirty:?}"
    );
    face.mark_clean(&leader).await.map_err(wrongly("clean"))?;
    let skipped = face.submit(again("r4", api::IfExists::Skip)).await.map_err(wrongly("skip"))?;
    ensure!(
        skipped.existing && skipped.application.unwrap().generation == 1,
        "skip made something else"
    );
    let next =
        face.submit(again("r5", api::IfExists::Attach)).await.map_err(wrongly("the next"))?;
    ensure!(
        !next.existing && next.application.as_ref().unwrap().generation == 2,
        "no second generation"
    );
    ensure!(
        next.application.unwrap().jobs.is_empty(),
        "a generation has the jobs of the one before"
    );
    let answer =
        face.submit(again("r5", api::IfExists::Attach)).await.map_err(wrongly("a repeat"))?;
    ensure!(
        answer.accepted_earlier && answer.application.unwrap().generation == 2,
        "a repeated request made something"
    );
    Ok(())
}

/// Two submissions that meet make one generation, and the same request gets the same generation.
pub(super) async fn two_submissions_make_one(court: &Court) -> Verdict {
    for same in [true, false] {
        let id = if same { "same" } else { "different" };
        let mut held = court.gate.hold(&format!("a/{id}/head"));
        let slow = {
            let face = court.face.clone();
            tokio::spawn(async move { face.submit(request("slow", id)).await })
        };
        held.reached().await;
        let fast = if same { request("slow", id) } else { request("fast", id) };
        let first = court.face.submit(fast).await.map_err(wrongly("a submission"))?;
        ensure!(!first.accepted_earlier, "the first submission is said to be a repeat");
        held.release();
        let slow = slow.await.unwrap();
        if same {
            let slow = slow.map_err(wrongly("the same request"))?;
            ensure!(
                slow.accepted_earlier && slow.application.unwrap().generation == 1,
                "the same request made another one"
            );
        } else {
            ensure!(
                slow.as_ref().err() == Some(&Reason::ApplicationExists),
                "another request came to {slow:?}"
            );
        }
        // The request ids are used for both rounds.
        if same {
            let other = court.face.submit(request("slow", "different")).await.map(|_| ());
            ensure!(
                other == Err(Reason::RequestIdReused),
                "a request id with other content came to {other:?}"
            );
            break;
        }
    }
    Ok(())
}

/// A generation that is clean or not the newest is answered with its end and not touched, not even
/// by an epoch.
pub(super) async fn an_older_one_is_never_run_again(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, leader, job) = court.running("older").await?;
    court.job_ends(&application, job).await?;
    face.end(&leader, api::Outcome::Succeeded, 0).await.map_err(wrongly("the end"))?;
    let dirty = face
        .begin_attempt(&fence(&application, 2), "runner-1")
        .await
        .map_err(wrongly("an epoch"))?;
    ensure!(
        dirty.disposition() == jobgraph::Disposition::Dirty,
        "a dirty one was said to be {:?}",
        dirty.disposition()
    );
    let main = face.main_starting(&fence(&application, 2), "unix:/again").await;
    ensure!(main == Err(Reason::AlreadyEnded), "main() of what has ended: {main:?}");
    face.mark_clean(&fence(&application, 2)).await.map_err(wrongly("clean"))?;
    let before = face.get(&application).await.map_err(wrongly("get"))?;
    let clean = face
        .begin_attempt(&fence(&application, 9), "runner-2")
        .await
        .map_err(wrongly("an epoch"))?;
    ensure!(
        clean.disposition() == jobgraph::Disposition::Clean,
        "a clean one was said to be {:?}",
        clean.disposition()
    );
    let after = face.get(&application).await.map_err(wrongly("get"))?;
    ensure!(before.revision == after.revision, "a clean one was changed");
    let next = face.submit(request("r-next", "older")).await.map_err(wrongly("the next"))?;
    let next = reference(&next.application.unwrap());
    let old = face
        .begin_attempt(&fence(&application, 9), "runner-2")
        .await
        .map_err(wrongly("an epoch"))?;
    ensure!(
        old.disposition() == jobgraph::Disposition::Clean,
        "an older one was said to be {:?}",
        old.disposition()
    );
    // Epoch nine was never written: the leader of the next generation comes in below nine, but not
    // below the epochs that were written.
    let low = face.begin_attempt(&fence(&next, 2), "runner-0").await.map(|_| ());
    ensure!(low == Err(Reason::EpochSuperseded), "epochs began anew with a generation: {low:?}");
    face.begin_attempt(&fence(&next, 3), "runner-0").await.map_err(wrongly("the next epoch"))?;
    let begun = face.begin_cluster(&fence(&next, 3), "c1").await.map_err(wrongly("a cluster"))?;
    ensure!(
        begun.incarnation == 2,
        "incarnations began anew with a generation: {}",
        begun.incarnation
    );
    let old = face.job_ended(&incarnation(&application, 2), job, succeeded("")).await;
    ensure!(
        old == Err(Reason::IncarnationSuperseded),
        "the new cluster wrote to the old generation: {old:?}"
    );
    Ok(())
}

/// A list of several pages shows what was so at its beginning.
pub(super) async fn pages_are_of_one_revision(court: &Court) -> Verdict {
    let face = &court.face;
    for n in 0..7 {
        court.application(&format!("page-{n}")).await?;
    }
    let page = |token: &str| api::ListRequest {
        page_size: 3,
        page_token: token.into(),
        ..Default::default()
    };
    let mut listed = Vec::new();
    let mut token = String::new();
    let mut revision = None;
    for round in 0..3 {
        let answer = face.list(page(&token)).await.map_err(wrongly("a page"))?;
        ensure!(
            *revision.get_or_insert(answer.revision) == answer.revision,
            "pages of different revisions"
        );
        listed.extend(answer.applications);
        token = answer.next_page_token;
        // Between the pages one application comes and one changes.
        court.application(&format!("between-{round}")).await?;
        let changed = listed.last().map(|_| format!("page-{}", 3 - round)).unwrap_or_default();
        let changed = proto::ApplicationRef {
            id: changed.parse().unwrap(),
            generation: proto::Generation(1),
        };
        face.cancel(&changed).await.map_err(wrongly("a cancel"))?;
    }
    ensure!(token.is_empty(), "there is a fourth page");
    let names: Vec<String> =
        listed.iter().map(|application| application.application_id.clone()).collect();
    let expected: Vec<String> = (0..7).rev().map(|n| format!("page-{n}")).collect();
    ensure!(names == expected, "listed {names:?}");
    let moved = listed
        .iter()
        .filter(|application| application.desired.as_ref().is_some_and(|desired| desired.cancel))
        .count();
    ensure!(moved == 0, "{moved} of them are shown as they were later");
    let odd = face
        .list(api::ListRequest { page_token: "00".into(), ..Default::default() })
        .await
        .map(|_| ());
    ensure!(odd == Err(Reason::PageTokenInvalid), "an odd token came to {odd:?}");
    Ok(())
}

/// Every event is told once, numbered from 1 without a gap, also when several writers tell at the
/// same time.
pub(super) async fn the_past_is_told_in_order(court: &Court) -> Verdict {
    let (application, leader, _) = court.running("past").await?;
    let before = court.face.events(&application).await.map_err(wrongly("events"))?.len();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let (face, leader) = (court.face.clone(), leader.clone());
        writers.spawn(async move {
            for n in 0..5 {
                face.append_event(&leader, &format!("{writer}-{n}")).await?;
            }
            Ok::<_, Reason>(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap().map_err(wrongly("an event"))?;
    }
    let told = court.face.events(&application).await.map_err(wrongly("events"))?;
    ensure!(told.len() == before + 20, "{} events instead of {}", told.len(), before + 20);
    ensure!(
        told.iter().map(|event| event.event_id).eq(1..=told.len() as u64),
        "event ids have a gap"
    );
    for writer in 0..4 {
        let of: Vec<&str> = told
            .iter()
            .map(|event| event.message.as_str())
            .filter(|text| text.starts_with(&format!("{writer}-")))
            .collect();
        ensure!(of.is_sorted() && of.len() == 5, "events of one writer are told as {of:?}");
    }
    let kinds: Vec<&str> = told.iter().take(4).map(|event| event.kind.as_str()).collect();
    ensure!(
        kinds == ["submitted", "leader", "cluster", "cluster"],
        "the past begins with {kinds:?}"
    );
    Ok(())
}
