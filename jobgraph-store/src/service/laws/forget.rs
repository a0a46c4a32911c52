//! Laws of forgetting, and of the index of what is not clean.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::StreamExt as _;
use proto::{ApplicationRef, Digest, Reason, api, job, jobgraph};

use super::{
    Court, Verdict, ensure, fence, graph, incarnation, reference, request, succeeded, wrongly,
};
use crate::keys::payload;
use crate::logs::LogFilter;
use crate::service::{Snapshot, WatchItem};
use crate::store::Read;

/// Lives through a generation of two jobs, one of them with rows, until it is clean.
async fn clean(
    court: &Court,
    id: &str,
) -> Result<(ApplicationRef, proto::EpochFence, Digest), String> {
    let face = &court.face;
    let (application, leader, job) = court.running(id).await?;
    let rows = Bytes::from(format!("rows of {id}"));
    face.put_payload(rows.clone()).await.map_err(wrongly("rows"))?;
    face.journal(&leader, "step", Some(Bytes::from_static(b"v")))
        .await
        .map_err(wrongly("a step"))?;
    let end = job::JobEnd { result_digest: Digest::of(&rows).to_string(), ..succeeded("") };
    face.job_ended(&incarnation(&application, 1), job, end).await.map_err(wrongly("an end"))?;
    face.end(&leader, api::Outcome::Succeeded, 0).await.map_err(wrongly("the end"))?;
    face.mark_clean(&leader).await.map_err(wrongly("clean"))?;
    Ok((application, leader, Digest::of(&rows)))
}

/// A clean generation is forgotten as a whole, once, and no verb answers anything of it any more.
pub(super) async fn is_gone_for_everybody(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, _, rows) = clean(court, "forgotten").await?;
    let (kept, _, kept_rows) = clean(court, "kept").await?;
    let shown = face.get(&application).await.map_err(wrongly("get"))?;
    let moved = face.forget(&application, shown.revision + 1).await;
    ensure!(moved == Err(Reason::RevisionMoved), "forgetting what was not seen came to {moved:?}");
    let forgotten = face.forget(&application, shown.revision).await;
    ensure!(forgotten == Ok(false), "forgetting came to {forgotten:?}");
    let again = face.forget(&application, shown.revision).await;
    ensure!(again == Ok(true), "forgetting again came to {again:?}");
    let never = ApplicationRef { generation: proto::Generation(2), ..application.clone() };
    let never = face.forget(&never, 0).await;
    ensure!(
        never == Err(Reason::ApplicationNotFound),
        "forgetting what never was came to {never:?}"
    );
    let got = face.get(&application).await.map(|_| ());
    ensure!(got == Err(Reason::ApplicationNotFound), "get came to {got:?}");
    let events = face.events(&application).await.map(|_| ());
    ensure!(events == Err(Reason::ApplicationNotFound), "events came to {events:?}");
    let listed =
        face.list(api::ListRequest::default()).await.map_err(wrongly("list"))?.applications;
    ensure!(listed.iter().map(reference).eq([kept.clone()]), "the list has {listed:?}");
    let payload = face.read_payload(rows).await.map(|_| ());
    ensure!(payload == Err(Reason::PayloadMissing), "its rows came to {payload:?}");
    ensure!(face.read_payload(kept_rows).await.is_ok(), "another one's rows are gone");
    // Both generations have the same graph.
    ensure!(
        face.read_payload(Digest::of(b"graph")).await.is_ok(),
        "a payload that is shared is gone"
    );
    let requests = court.gate.keys("r/").await.len();
    ensure!(requests == 1, "{requests} requests are left for one generation");
    let events = face.events(&kept).await.map_err(wrongly("events of another one"))?;
    ensure!(events.len() > 5, "another one has {} events left", events.len());
    Ok(())
}

/// A generation that is not clean is refused, whichever work is left.
pub(super) async fn only_what_is_clean(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, leader, job) = court.running("unclean").await?;
    let running = face.forget(&application, 0).await;
    ensure!(running == Err(Reason::NotClean), "forgetting what runs came to {running:?}");
    court.job_ends(&application, job).await?;
    face.end(&leader, api::Outcome::Succeeded, 0).await.map_err(wrongly("the end"))?;
    let dirty = face.forget(&application, 0).await;
    ensure!(dirty == Err(Reason::NotClean), "forgetting what is being cleaned came to {dirty:?}");
    face.mark_clean(&leader).await.map_err(wrongly("clean"))?;
    let mut process = jobgraph::Process {
        key: "unclean/1/contender/0/contender/0".into(),
        application: Some(application.clone().into()),
        state: jobgraph::ProcessState::Intended.into(),
        ..Default::default()
    };
    let inside = |error: crate::error::Error| error.to_string();
    court.inside.put_process(process.clone(), None).await.map_err(inside)?;
    let live = face.forget(&application, 0).await;
    ensure!(live == Err(Reason::TreeAlive), "forgetting what may have a process came to {live:?}");
    ensure!(face.get(&application).await.is_ok(), "what was refused is gone");
    process.set_state(jobgraph::ProcessState::Gone);
    court.inside.put_process(process.clone(), None).await.map_err(inside)?;
    face.forget(&application, 0).await.map_err(wrongly("forgetting"))?;
    ensure!(court.inside.list_processes("unclean/").await == Ok(vec![]), "its tombstone is left");
    // Lifecycle's last word may come late; the record takes it and does not keep it.
    court.inside.put_process(process.clone(), None).await.map_err(inside)?;
    ensure!(court.inside.list_processes("unclean/").await == Ok(vec![]), "a tombstone came again");
    process.set_state(jobgraph::ProcessState::Intended);
    let intended = court.inside.put_process(process, None).await;
    ensure!(intended.is_err(), "a process of what was forgotten was taken");
    Ok(())
}

/// The next life of the id has another number, other jobs, and fences above those of the forgotten
/// life.
pub(super) async fn the_id_goes_on(court: &Court) -> Verdict {
    let face = &court.face;
    let (first, leader, _) = clean(court, "again").await?;
    let first_job = face.get(&first).await.map_err(wrongly("get"))?.jobs[0].job_id.clone();
    let last_event =
        face.events(&first).await.map_err(wrongly("events"))?.last().map(|e| e.event_id);
    face.forget(&first, 0).await.map_err(wrongly("forgetting"))?;
    // The same request is a new wish.
    let next = face.submit(request("r-again", "again")).await.map_err(wrongly("a submission"))?;
    ensure!(!next.accepted_earlier && !next.existing, "a forgotten request was answered as known");
    let next = reference(&next.application.unwrap());
    ensure!(next.generation.get() == 2, "the next generation is {}", next.generation);
    let again = face.submit(request("r-again", "again")).await.map_err(wrongly("a repeat"))?;
    ensure!(again.accepted_earlier, "the request of the next generation is not known");
    let low = face.begin_attempt(&fence(&next, 1), "runner-0").await.map(|_| ());
    ensure!(low == Err(Reason::EpochSuperseded), "an epoch was given twice: {low:?}");
    let old = face.begin_attempt(&leader, "runner-0").await.map(|_| ());
    ensure!(
        old == Err(Reason::ApplicationNotFound),
        "a leader of what was forgotten came to {old:?}"
    );
    let leader = fence(&next, 2);
    face.begin_attempt(&leader, "runner-0").await.map_err(wrongly("the next epoch"))?;
    let begun = face.begin_cluster(&leader, "c1").await.map_err(wrongly("a cluster"))?;
    ensure!(begun.incarnation == 2, "incarnations began anew: {}", begun.incarnation);
    face.put_payload(Bytes::from_static(b"graph")).await.map_err(wrongly("a payload"))?;
    let put = graph("job", "call", 0, &Bytes::from_static(b"graph"));
    let put = face.put_graph(&leader, put).await.map_err(wrongly("a graph"))?;
    ensure!(put.job.unwrap().job_id != first_job, "a job has the id of one before");
    let events = face.events(&next).await.map_err(wrongly("events"))?;
    ensure!(events.first().map(|e| e.event_id) > last_event, "the numbers of events began anew");
    // A forgotten generation is not there for a caller that asks for the latest one, nor for a
    // submission that skips what exists.
    let (_, _, _) = clean(court, "skipped").await?;
    let skipped =
        ApplicationRef { id: "skipped".parse().unwrap(), generation: proto::Generation(1) };
    face.forget(&skipped, 0).await.map_err(wrongly("forgetting"))?;
    let skip = api::SubmitRequest {
        if_exists: api::IfExists::Skip.into(),
        ..request("r-skip", "skipped")
    };
    let made = face.submit(skip).await.map_err(wrongly("skip"))?;
    ensure!(
        !made.existing && made.application.unwrap().generation == 2,
        "skip answered what was forgotten"
    );
    Ok(())
}

/// From the first commit on a generation is gone for every caller. Its request is a new wish
/// although the request's key is still there, and watchers are told then, and once.
pub(super) async fn the_first_commit_decides(court: &Court) -> Verdict {
    let inside = |error: crate::error::Error| error.to_string();
    let (application, _, _) = clean(court, "meanwhile").await?;
    let watch = court.inside.watch(None, Snapshot::Unclean, 0).await.map_err(inside)?;
    let mut watch = std::pin::pin!(watch);
    let mut held = court.gate.hold("a/meanwhile/g/0000000000000001/request/");
    let forgetting = {
        let (face, application) = (court.face.clone(), application.clone());
        tokio::spawn(async move { face.forget(&application, 0).await })
    };
    held.reached().await;
    let mut told = Vec::new();
    while told.is_empty() {
        match watch.next().await {
            Some(Ok(WatchItem::Forgotten(of))) => told.push(of),
            Some(Ok(_)) => {}
            ended => return Err(format!("the watch came to {ended:?}")),
        }
    }
    let request = || request("r-meanwhile", "meanwhile");
    let next = court.face.submit(request()).await.map_err(wrongly("a submission"))?;
    ensure!(!next.accepted_earlier, "a request is known although its generation is not");
    ensure!(next.application.unwrap().generation == 2, "the next generation is not the second");
    held.release();
    let forgotten = super::answered(forgetting).await?;
    ensure!(forgotten == Ok(false), "forgetting came to {forgotten:?}");
    let again = court.face.submit(request()).await.map_err(wrongly("a repeat"))?;
    ensure!(again.accepted_earlier, "the request of the next generation went with the first one's");
    let last = court.application("last").await?;
    loop {
        match watch.next().await {
            Some(Ok(WatchItem::Forgotten(of))) => told.push(of),
            Some(Ok(WatchItem::Application(shown))) if reference(&shown) == last => break,
            Some(Ok(_)) => {}
            ended => return Err(format!("the watch came to {ended:?}")),
        }
    }
    ensure!(told == [application], "told as forgotten: {told:?}");
    Ok(())
}

/// A writer that read a generation before it was forgotten writes nothing to it afterwards.
pub(super) async fn nothing_of_it_comes_again(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, leader, _) = clean(court, "late").await?;
    let late = |key: &'static str| {
        let (face, leader) = (face.clone(), leader.clone());
        tokio::spawn(
            async move { face.journal(&leader, key, Some(Bytes::from_static(b"v"))).await },
        )
    };
    let source = jobgraph::LogSource {
        application: Some(application.clone().into()),
        role: "main".into(),
        number: 1,
        ..Default::default()
    };
    let (appender, _) =
        court.inside.append_logs(&application, &source).await.map_err(|error| error.to_string())?;
    let mut held = court.gate.hold("journal/late");
    let step = late("late");
    held.reached().await;
    face.forget(&application, 0).await.map_err(wrongly("forgetting"))?;
    held.release();
    let step = step.await.unwrap().map(|_| ());
    ensure!(step == Err(Reason::ApplicationNotFound), "a late step came to {step:?}");
    let line = jobgraph::OutputChunk {
        next_offset: 5,
        stream: "stdout".into(),
        data: Bytes::from_static(b"late\n"),
        ..Default::default()
    };
    let taken = appender.take(&[line], true).await;
    ensure!(taken.is_err(), "late output was taken");
    let left = court.gate.keys("a/late/").await;
    let left: Vec<&str> = left.iter().map(String::as_str).collect();
    ensure!(
        left == ["a/late/attempt", "a/late/cluster", "a/late/events", "a/late/head"],
        "what is left of it: {left:?}"
    );
    let id = "late".parse().unwrap();
    let read = court.inside.read_logs(&id, 1, "", LogFilter::default()).await.map(|_| ());
    ensure!(read.is_err(), "its output can be read");
    Ok(())
}

/// The index of what is not clean has all such generations and no other, at every revision.
pub(super) async fn the_index_is_the_truth(court: &Court) -> Verdict {
    let face = &court.face;
    let unclean = || api::ListRequest {
        phases: [
            api::Phase::Submitted,
            api::Phase::Starting,
            api::Phase::Running,
            api::Phase::Finishing,
            api::Phase::Cleaning,
        ]
        .map(i32::from)
        .to_vec(),
        page_size: 2,
        ..Default::default()
    };
    let check = async |when: &str| {
        let all = face.list(api::ListRequest { page_size: 500, ..Default::default() });
        let all = all.await.map_err(wrongly("list"))?.applications;
        let expected: Vec<_> = all.iter().filter(|shown| !shown.clean).map(reference).collect();
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let page = face.list(api::ListRequest { page_token: token, ..unclean() });
            let page = page.await.map_err(wrongly("a page"))?;
            found.extend(page.applications.iter().map(reference));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        ensure!(found == expected, "{when}: the index has {found:?}, there are {expected:?}");
        let indexed = court.gate.keys("u/").await.len();
        ensure!(indexed == expected.len(), "{when}: {indexed} entries for {}", expected.len());
        Ok(())
    };
    for n in 0..5 {
        court.application(&format!("waits-{n}")).await?;
    }
    let (_, leader, job) = court.running("ends").await?;
    check("submitted").await?;
    court.job_ends(&leader.application, job).await?;
    face.end(&leader, api::Outcome::Succeeded, 0).await.map_err(wrongly("the end"))?;
    check("dirty").await?;
    face.mark_clean(&leader).await.map_err(wrongly("clean"))?;
    check("clean").await?;
    face.forget(&leader.application, 0).await.map_err(wrongly("forgetting"))?;
    check("forgotten").await?;
    let of_one = api::ListRequest { application_id: "waits-3".into(), ..Default::default() };
    let of_one = face.list(of_one).await.map_err(wrongly("a list of one id"))?.applications;
    ensure!(
        of_one.iter().map(|shown| &shown.application_id[..]).eq(["waits-3"]),
        "of one id: {of_one:?}"
    );
    Ok(())
}

/// Marks of payloads go with the payloads, and a mark that has gone deceives no writer.
pub(super) async fn marks_go_with_their_payloads(court: &Court) -> Verdict {
    let (_, _, rows) = clean(court, "marks").await?;
    let marked = async |court: &Court| -> BTreeSet<Digest> {
        let keys = court.gate.keys("p/").await;
        keys.into_iter().filter_map(|key| payload::marked(&crate::store::Key::from(key))).collect()
    };
    ensure!(marked(court).await.contains(&rows), "rows that are pointed to have no mark");
    let application =
        ApplicationRef { id: "marks".parse().unwrap(), generation: proto::Generation(1) };
    court.face.forget(&application, 0).await.map_err(wrongly("forgetting"))?;
    ensure!(!marked(court).await.contains(&rows), "the mark of what was swept stays");
    // This is a mark without a payload: the payload's writer died, or an older build has swept the
    // payload.
    let lone = Digest::of(b"never put");
    court.inside.marked(&[lone]).await.map_err(|error| error.to_string())?;
    let kept = std::time::Duration::from_secs(3600);
    court.inside.sweep_all(kept).await.map_err(|error| error.to_string())?;
    ensure!(marked(court).await.contains(&lone), "the mark of what is being put has gone");
    court.inside.sweep_all(std::time::Duration::ZERO).await.map_err(|error| error.to_string())?;
    ensure!(!marked(court).await.contains(&lone), "the mark of what is not there stays");
    let view = court.inside.metadata.read(vec![Read::all(payload::prefix())], None).await;
    let left = view.map_err(|error| error.to_string())?.answers.remove(0);
    ensure!(left.is_empty(), "left about payloads: {left:?}");
    Ok(())
}
