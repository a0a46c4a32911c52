//! Laws of intents: which processes of a cluster lifecycle may start, and at which place.

use proto::{ApplicationRef, Epoch, Place, PlaceUid, Reason, jobgraph};

use super::{Answer, Court, Verdict, ensure, wrongly};

/// A worker of an incarnation, about to be started for the `starts`-th time.
fn worker(
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

fn place(name: &str, byte: u8) -> Result<Place, String> {
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
