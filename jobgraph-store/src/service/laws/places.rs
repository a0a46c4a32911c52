//! Laws of places: which processes of a cluster lifecycle may start, and at which place; what the
//! record says of the places; and what becomes of one that is given up.

use proto::{ApplicationRef, Epoch, Incarnation, Place, PlaceUid, Reason, api, fences, jobgraph};

use super::{Answer, Court, Verdict, ensure, incarnation, wrongly};

/// A worker of an incarnation, about to be started for the `starts`-th time.
pub(super) fn worker(
    application: &ApplicationRef,
    incarnation: u64,
    starts: u32,
    place: Option<&Place>,
) -> jobgraph::Process {
    let host = place.map(|place| format!("{}/", place.uid())).unwrap_or_default();
    jobgraph::Process {
        key: format!("{}/1/{host}cluster/{incarnation}/worker/0", application.id),
        application: Some(application.clone().into()),
        kind: "cluster".into(),
        number: incarnation,
        role: "worker".into(),
        starts,
        state: jobgraph::ProcessState::Intended.into(),
        place: place.cloned().map(Into::into),
        ..Default::default()
    }
}

pub(super) fn place(name: &str, byte: u8) -> Result<Place, String> {
    let uid = PlaceUid::from_bytes([byte; 8]);
    Place::host(name, uid).map_err(|invalid| invalid.to_string())
}

/// Neither the first start nor a later one of a superseded incarnation is intended, also when the
/// next incarnation begins while the intent is on its way. What is gone may be said at any time.
pub(super) async fn no_intent_of_a_superseded_cluster(court: &Court) -> Verdict {
    let (application, leader, _) = court.running("restarted").await?;
    let face = &court.face;
    let early = face.put_process(worker(&application, 2, 1, None), Some(leader.epoch)).await;
    ensure!(
        early == Err(Reason::IncarnationSuperseded),
        "an intent of an incarnation that has not begun came to {early:?}"
    );
    for (starts, epoch) in [(1, Some(leader.epoch)), (2, None)] {
        let kept = face.put_process(worker(&application, 1, starts, None), epoch).await;
        kept.map_err(wrongly("an intent of the current incarnation"))?;
    }
    // An intent is held back until the next incarnation has begun: first one that a leader fenced,
    // then one of a process that lifecycle starts again by itself.
    for (next, epoch) in [(2, Some(leader.epoch)), (3, None)] {
        let mut held = court.gate.hold("/worker/");
        let starting = {
            let (face, late) = (face.clone(), worker(&application, next - 1, 3, None));
            tokio::spawn(async move { face.put_process(late, epoch).await })
        };
        held.reached().await;
        let begun = face.begin_cluster(&leader, &format!("c{next}")).await;
        let begun = begun.map_err(wrongly("a new incarnation"))?.incarnation;
        ensure!(begun == next, "incarnation {begun} after {}", next - 1);
        held.release();
        let late = super::answered(starting).await?;
        ensure!(
            late == Err(Reason::IncarnationSuperseded),
            "an intent of a superseded incarnation came to {late:?}"
        );
    }
    for epoch in [Some(leader.epoch), None] {
        let late = face.put_process(worker(&application, 1, 2, None), epoch).await;
        ensure!(
            late == Err(Reason::IncarnationSuperseded),
            "an intent that was once kept came to {late:?}"
        );
    }
    let mut gone = worker(&application, 1, 2, None);
    gone.set_state(jobgraph::ProcessState::Gone);
    face.put_process(gone, None).await.map_err(wrongly("a tombstone"))?;
    let current = face.put_process(worker(&application, 3, 1, None), Some(leader.epoch)).await;
    current.map_err(wrongly("an intent of the new incarnation"))
}

/// An incarnation stays where it was begun: no other place intends a process of it, and no repeat
/// moves it.
pub(super) async fn no_intent_at_another_place(court: &Court) -> Verdict {
    let application = court.application("placed").await?;
    let (leader, face) = (super::fence(&application, 1), &court.face);
    face.begin_attempt(&leader, "runner-0").await.map_err(wrongly("an attempt"))?;
    let (here, there) = (place("here", 1)?, place("there", 2)?);
    let begin = |request: &'static str, place| face.begin_cluster_at(&leader, request, place);
    begin("c1", Some(&here)).await.map_err(wrongly("a cluster"))?;
    let intend = |incarnation, place| {
        let process = worker(&application, incarnation, 1, Some(place));
        let epochs: [Option<Epoch>; 2] = [Some(leader.epoch), None];
        async move {
            let mut answers = Vec::new();
            for epoch in epochs {
                answers.push(face.put_process(process.clone(), epoch).await);
            }
            answers
        }
    };
    let kept = intend(1, &here).await;
    ensure!(kept == [Ok(()), Ok(())], "an intent at the incarnation's place came to {kept:?}");
    let elsewhere: [Answer<()>; 2] =
        [Err(Reason::IncarnationElsewhere), Err(Reason::IncarnationElsewhere)];
    let strayed = intend(1, &there).await;
    ensure!(strayed == elsewhere, "an intent at another place came to {strayed:?}");
    let moved = begin("c1", Some(&there)).await.map(drop);
    ensure!(moved == Err(Reason::RequestInvalid), "a repeat at another place came to {moved:?}");
    begin("c1", Some(&here)).await.map_err(wrongly("a repeat"))?;
    let strayed = intend(1, &there).await;
    ensure!(strayed == elsewhere, "after a repeat an intent elsewhere came to {strayed:?}");

    let mut held = court.gate.hold("/worker/");
    let starting = {
        let (face, late) = (face.clone(), worker(&application, 1, 2, Some(&here)));
        tokio::spawn(async move { face.put_process(late, None).await })
    };
    held.reached().await;
    begin("c2", Some(&there)).await.map_err(wrongly("an incarnation at another place"))?;
    held.release();
    let late = super::answered(starting).await?;
    ensure!(
        late == Err(Reason::IncarnationSuperseded),
        "an intent at the place before came to {late:?}"
    );
    let kept = intend(2, &there).await;
    ensure!(kept == [Ok(()), Ok(())], "an intent at the new place came to {kept:?}");
    let strayed = intend(2, &here).await;
    ensure!(strayed == elsewhere, "an intent at the place before came to {strayed:?}");
    Ok(())
}

/// A contender of an application that is about to be started at this place.
fn contender(application: &ApplicationRef, place: &Place) -> jobgraph::Process {
    jobgraph::Process {
        key: format!("{}/1/{}/contender/0/contender/0", application.id, place.uid()),
        application: Some(application.clone().into()),
        kind: "contender".into(),
        role: "contender".into(),
        state: jobgraph::ProcessState::Intended.into(),
        place: Some(place.clone().into()),
        ..Default::default()
    }
}

/// A cluster that stands when a leader of another place begins the next one counts for nothing:
/// however often that happens, the application goes on. Clusters that died count as before. Red
/// without `is_taken_over` in `model/cluster.rs`: the fourth leader is refused.
pub(super) async fn a_cluster_that_moves_has_not_died(court: &Court) -> Verdict {
    let (application, face) = (court.application("moving").await?, &court.face);
    let (here, there) = (place("here", 1)?, place("there", 2)?);
    let lead = async |epoch: u64, at: &Place| {
        let leader = super::fence(&application, epoch);
        let begun = face.begin_attempt_at(&leader, &format!("runner-{epoch}"), Some(at)).await;
        begun.map(|_| leader).map_err(wrongly("an attempt"))
    };
    for epoch in 1..=5 {
        let at = if epoch % 2 == 0 { &there } else { &here };
        let leader = lead(epoch, at).await?;
        let begun = face.begin_cluster_at(&leader, &format!("c{epoch}"), Some(at)).await;
        let begun = begun.map_err(wrongly("a cluster that moved"))?;
        let numbers = (begun.incarnation, begun.barren_incarnations);
        ensure!(numbers == (epoch, 1), "cluster {epoch} began as {numbers:?}");
        if epoch % 2 == 0 {
            let ready = face.cluster_ready(&leader, Incarnation(epoch)).await;
            ready.map_err(wrongly("a cluster's readiness"))?;
        }
    }
    let fifth = super::fence(&application, 5);
    let gone = face.cluster_is(&fifth, Incarnation(5), api::ClusterState::Gone).await;
    gone.map_err(wrongly("a cluster's end"))?;
    let sixth = lead(6, &there).await?;
    for (request, counted) in [("c6", 2), ("c7", 3)] {
        let begun = face.begin_cluster_at(&sixth, request, Some(&there)).await;
        let begun = begun.map_err(wrongly("a cluster after one that died"))?;
        ensure!(
            begun.barren_incarnations == counted,
            "{request} is the {}th in vain",
            begun.barren_incarnations
        );
    }
    let fourth = face.begin_cluster_at(&sixth, "c8", Some(&there)).await.map(drop);
    ensure!(fourth == Err(Reason::ClusterKeepsDying), "a fourth in vain came to {fourth:?}");
    let seventh = lead(7, &here).await?;
    let moved = face.begin_cluster_at(&seventh, "c8", Some(&here)).await;
    let moved = moved.map_err(wrongly("a cluster on another host than the third in vain"))?;
    ensure!(moved.barren_incarnations == 3, "it counts as {}", moved.barren_incarnations);
    // A cluster that takes its host down each time does not move for ever.
    let mut epoch = 7;
    let refused = loop {
        epoch += 1;
        ensure!(epoch < 40, "it moves for ever");
        let at = if epoch % 2 == 0 { &there } else { &here };
        let leader = lead(epoch, at).await?;
        if let Err(refused) = face.begin_cluster_at(&leader, &format!("m{epoch}"), Some(at)).await {
            break refused;
        }
    };
    ensure!(refused == Reason::ClusterKeepsDying, "the end of its moves was {refused:?}");
    Ok(())
}

/// The record names the place of main(), and the places that may have processes of clusters, of any
/// incarnation. A change of those alone is no revision of the application. Red without
/// `cluster_places` in `service/load.rs`, and without `main_place` in `model/attempt.rs`.
pub(super) async fn the_record_says_where(court: &Court) -> Verdict {
    let (application, face) = (court.application("where").await?, &court.face);
    let (here, there) = (place("here", 1)?, place("there", 2)?);
    let wire = |place: &Place| fences::Place::from(place.clone());
    let said = async || {
        let record = face.read(&application).await.map_err(wrongly("a read"))?;
        Ok::<_, String>((record.main_place, record.cluster_places))
    };
    for (epoch, at) in [(1, &here), (2, &there)] {
        let leader = super::fence(&application, epoch);
        let lead = async {
            face.begin_attempt_at(&leader, &format!("runner-{epoch}"), Some(at)).await?;
            face.begin_cluster_at(&leader, &format!("c{epoch}"), Some(at)).await?;
            Answer::Ok(())
        };
        lead.await.map_err(wrongly("a leader's beginning"))?;
        let before = face.get(&application).await.map_err(wrongly("get"))?.revision;
        for starts in [1, 2] {
            let intended = face.put_process(worker(&application, epoch, starts, Some(at)), None);
            intended.await.map_err(wrongly("an intent"))?;
        }
        let after = face.get(&application).await.map_err(wrongly("get"))?.revision;
        ensure!(before == after, "an intent is a revision of what people see");
        if epoch == 2 {
            let known = said().await?;
            let expected = (Some(wire(&here)), vec![wire(&here), wire(&there)]);
            ensure!(known == expected, "after a leader moved the record says {known:?}");
        }
        let started = face.main_starting(&leader, &format!("unix:/main-{epoch}")).await;
        started.map_err(wrongly("a start of main()"))?;
    }
    let contends = face.put_process(contender(&application, &place("third", 3)?), None).await;
    contends.map_err(wrongly("a contender"))?;
    let mut gone = worker(&application, 1, 2, Some(&here));
    gone.set_state(jobgraph::ProcessState::Gone);
    face.put_process(gone, None).await.map_err(wrongly("a tombstone"))?;
    let known = said().await?;
    let expected = (Some(wire(&there)), vec![wire(&there)]);
    ensure!(known == expected, "in the end the record says {known:?}");
    Ok(())
}

/// A host that asks about what it runs is told where the latest leader is, whether the application
/// has ended, and that nothing runs of what is clean or forgotten. Red without `&& !clean` in
/// `service/record/signs.rs`, and without the end and the leader's place there.
pub(super) async fn who_needs_an_incarnation(court: &Court) -> Verdict {
    let (application, face) = (court.application("needed").await?, &court.face);
    let (here, there) = (place("here", 1)?, place("there", 2)?);
    let (first, second) = (super::fence(&application, 1), super::fence(&application, 2));
    let said = async |when: &str, leader: &Place, holds: bool, ended: bool| {
        let confirmed = face.confirm_incarnation(&incarnation(&application, 1)).await;
        let confirmed = confirmed.map_err(wrongly("a question"))?;
        let expected = ::record::Confirmed {
            holds,
            current: 1,
            place: Some(there.clone()),
            application_ended: ended,
            leader_place: Some(leader.clone()),
        };
        ensure!(confirmed == expected, "{when}: {confirmed:?}");
        Ok::<_, String>(())
    };
    let begun = async {
        face.begin_attempt_at(&first, "runner-0", Some(&there)).await?;
        face.begin_cluster_at(&first, "c1", Some(&there)).await?;
        Answer::Ok(())
    };
    begun.await.map_err(wrongly("a leader's beginning"))?;
    said("led there", &there, true, false).await?;
    let second_begun = face.begin_attempt_at(&second, "runner-1", Some(&here)).await;
    second_begun.map_err(wrongly("a leader on another host"))?;
    said("led here", &here, true, false).await?;
    face.end(&second, api::Outcome::Failed, 0).await.map_err(wrongly("the end"))?;
    said("ended", &here, true, true).await?;
    face.mark_clean(&second).await.map_err(wrongly("clean"))?;
    said("clean", &here, false, true).await?;
    face.forget(&application, 0).await.map_err(wrongly("forgetting"))?;
    said("forgotten", &here, false, true).await
}

/// Giving up a place forgets what it kept, and nothing of another place; each application that is
/// not clean and may have had a process there is told once. Red without `tells` in
/// `service/processes/giving_up.rs`, and where a clean application is told.
pub(super) async fn what_was_given_up(court: &Court) -> Verdict {
    let face = &court.face;
    let (here, there) = (place("here", 1)?, place("there", 2)?);
    let ran = court.application("ran").await?;
    let leader = super::fence(&ran, 1);
    let begun = async {
        face.begin_attempt_at(&leader, "runner-0", Some(&there)).await?;
        face.begin_cluster_at(&leader, "c1", Some(&there)).await?;
        face.put_process(worker(&ran, 1, 1, Some(&there)), None).await
    };
    begun.await.map_err(wrongly("a cluster"))?;
    let stood_by = court.application("stood-by").await?;
    let (clean, clean_leader, job) = court.running("clean").await?;
    court.job_ends(&clean, job).await?;
    face.end(&clean_leader, api::Outcome::Succeeded, 0).await.map_err(wrongly("the end"))?;
    face.mark_clean(&clean_leader).await.map_err(wrongly("clean"))?;
    for application in [&ran, &stood_by, &clean] {
        for place in [&here, &there] {
            let kept = face.put_process(contender(application, place), None).await;
            kept.map_err(wrongly("a contender"))?;
        }
    }
    let given_up = face.give_up(there.uid()).await;
    let expected = Ok((4, vec![ran.clone()]));
    ensure!(given_up == expected, "giving a place up came to {given_up:?}");
    let again = face.give_up(there.uid()).await;
    ensure!(again == Ok((0, Vec::new())), "giving it up again came to {again:?}");
    let kept = face.list_processes("").await.map_err(wrongly("a list"))?;
    let uid = here.uid().to_string();
    let is_here = |kept: &jobgraph::Process| kept.key.split('/').nth(2) == Some(uid.as_str());
    ensure!(kept.len() == 3 && kept.iter().all(is_here), "left are {kept:?}");
    for (application, told) in [(&ran, 1), (&stood_by, 1), (&clean, 0)] {
        let events = face.events(application).await.map_err(wrongly("events"))?;
        let of_it = |event: &&api::Event| {
            event.kind == "warning" && event.attributes.get("host").is_some_and(|of| of == "there")
        };
        let found: Vec<_> = events.iter().filter(of_it).collect();
        ensure!(found.len() == told, "{application} was told {found:?}");
        let says = |event: &&api::Event| event.message.contains("by me@here: it burnt");
        ensure!(found.iter().all(says), "{application} was told {found:?}");
    }
    Ok(())
}
