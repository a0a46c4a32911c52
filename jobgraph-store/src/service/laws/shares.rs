//! Laws of clean where several places had a share in an application.

use proto::{ApplicationRef, EpochFence, Place, Reason, api, jobgraph};

use super::places::{place, worker};
use super::{Answer, Court, Verdict, ensure, fence, incarnation, wrongly};

/// An application that has ended, by the word of a leader here. Its cluster is there, where the
/// leader before was.
async fn left_behind(
    court: &Court,
    id: &str,
) -> Result<(ApplicationRef, EpochFence, Place), String> {
    let (application, face) = (court.application(id).await?, &court.face);
    let (here, there) = (place("here", 1)?, place("there", 2)?);
    let (first, second) = (fence(&application, 1), fence(&application, 2));
    let led = async {
        face.begin_attempt_at(&first, "runner-0", Some(&there)).await?;
        face.begin_cluster_at(&first, "c1", Some(&there)).await?;
        let intent = worker(&application, 1, 1, Some(&there));
        face.put_process(intent, Some(first.epoch)).await?;
        face.begin_attempt_at(&second, "runner-1", Some(&here)).await?;
        face.end(&second, api::Outcome::Failed, 0).await?;
        Answer::Ok(())
    };
    led.await.map_err(wrongly("an ordinary take-over"))?;
    Ok((application, second, there))
}

/// An application becomes clean only once no other place may have a process of its clusters, also
/// when that place intends one while the commit is on its way. At the leader's own place only the
/// current incarnation is the leader's affair. Red without the mark that `admit_unclean` in
/// `service/processes/grounds.rs` writes anew, and without the compare on it in
/// `service/record/clean.rs`.
pub(super) async fn clean_waits(court: &Court) -> Verdict {
    let (application, leader, there) = left_behind(court, "awaited").await?;
    let face = &court.face;
    let early = face.mark_clean(&leader).await;
    ensure!(early == Err(Reason::PlacesNotReleased), "clean before a place came to {early:?}");
    let strayed = worker(&application, 1, 1, Some(&there));
    let key = strayed.key.replacen("awaited", "another", 1);
    let strayed = face.put_process(jobgraph::Process { key, ..strayed }, None).await;
    ensure!(strayed == Err(Reason::RequestInvalid), "a key that no leader reads: {strayed:?}");
    let released = face.delete_processes(&format!("awaited/1/{}/", there.uid())).await;
    released.map_err(wrongly("a release"))?;
    let mut held = court.gate.hold("/state");
    let marking = {
        let (face, leader) = (face.clone(), leader.clone());
        tokio::spawn(async move { face.mark_clean(&leader).await })
    };
    held.reached().await;
    let restarted = face.put_process(worker(&application, 1, 2, Some(&there)), None).await;
    restarted.map_err(wrongly("an intent before clean"))?;
    held.release();
    let marked = super::answered(marking).await?;
    ensure!(
        marked == Err(Reason::PlacesNotReleased),
        "clean with an intent that came in between came to {marked:?}"
    );
    let seen = face.get(&application).await.map_err(wrongly("get"))?;
    ensure!(!seen.clean, "it is clean although a place may run something");
    let mut gone = worker(&application, 1, 2, Some(&there));
    gone.set_state(jobgraph::ProcessState::Gone);
    face.put_process(gone, None).await.map_err(wrongly("a tombstone"))?;
    face.mark_clean(&leader).await.map_err(wrongly("clean once the place is released"))?;

    // Beside the leader's own place there is nothing to wait for; forgetting waits for that one.
    let (own, here) = (court.application("own").await?, place("here", 1)?);
    let leader = fence(&own, 1);
    let led = async {
        face.begin_attempt_at(&leader, "runner-0", Some(&here)).await?;
        face.begin_cluster_at(&leader, "c1", Some(&here)).await?;
        face.put_process(worker(&own, 1, 1, Some(&here)), None).await?;
        face.end(&leader, api::Outcome::Failed, 0).await?;
        face.mark_clean(&leader).await
    };
    led.await.map_err(wrongly("clean at the leader's own place"))?;
    let forgotten = face.forget(&own, 0).await;
    ensure!(forgotten == Err(Reason::TreeAlive), "forgetting came to {forgotten:?}");

    // A leader tears down the current incarnation alone, and the one before it may live on there.
    let replaced = court.application("replaced").await?;
    let leader = fence(&replaced, 1);
    let led = async {
        face.begin_attempt_at(&leader, "runner-0", Some(&here)).await?;
        face.begin_cluster_at(&leader, "c1", Some(&here)).await?;
        face.put_process(worker(&replaced, 1, 1, Some(&here)), None).await?;
        face.begin_cluster_at(&leader, "c2", Some(&here)).await?;
        face.end(&leader, api::Outcome::Failed, 0).await?;
        Answer::Ok(face.mark_clean(&leader).await)
    };
    let early = led.await.map_err(wrongly("a cluster that was never provisioned"))?;
    ensure!(early == Err(Reason::PlacesNotReleased), "beside a replaced cluster: {early:?}");
    let released = face.delete_processes(&format!("replaced/1/{}/", here.uid())).await;
    released.map_err(wrongly("a release"))?;
    face.mark_clean(&leader).await.map_err(wrongly("clean once it is released"))
}

/// Once an application is clean no process of its clusters is intended, neither at the leader's
/// place nor at another one, also when the intent was on its way before. Red without the compare on
/// the mark in `service/processes/grounds.rs`.
pub(super) async fn nothing_is_started(court: &Court) -> Verdict {
    let face = &court.face;
    let (here, first, job) = court.running("ends-here").await?;
    court.job_ends(&here, job).await?;
    face.end(&first, api::Outcome::Succeeded, 0).await.map_err(wrongly("the end"))?;
    let (elsewhere, second, there) = left_behind(court, "ends-elsewhere").await?;
    let released = face.delete_processes(&format!("ends-elsewhere/1/{}/", there.uid())).await;
    released.map_err(wrongly("a release"))?;
    for (application, leader, place) in [(here, first, None), (elsewhere, second, Some(&there))] {
        let mut held = court.gate.hold("/worker/");
        let starting = {
            let (face, late) = (face.clone(), worker(&application, 1, 2, place));
            tokio::spawn(async move { face.put_process(late, None).await })
        };
        held.reached().await;
        face.mark_clean(&leader).await.map_err(wrongly("clean"))?;
        held.release();
        let late = super::answered(starting).await?;
        ensure!(late == Err(Reason::AlreadyEnded), "an intent on its way came to {late:?}");
        for epoch in [Some(leader.epoch), None] {
            let late = face.put_process(worker(&application, 1, 3, place), epoch).await;
            ensure!(late == Err(Reason::AlreadyEnded), "an intent after clean came to {late:?}");
        }
        let mut gone = worker(&application, 1, 2, place);
        gone.set_state(jobgraph::ProcessState::Gone);
        face.put_process(gone, None).await.map_err(wrongly("a tombstone after clean"))?;
    }
    Ok(())
}

/// An abandoned application waits for no other place: it says what it left there, and the intents
/// stay for the place that comes back, also when the application is forgotten. Giving up the place
/// removes them. Red where `forget_processes` in `service/processes.rs` forgets them, and without
/// `is_given_up` in `model/forget.rs`.
pub(super) async fn what_was_abandoned(court: &Court) -> Verdict {
    let (application, leader, there) = left_behind(court, "abandoned").await?;
    let face = &court.face;
    face.abandon(&application).await.map_err(wrongly("abandon"))?;
    face.mark_clean(&leader).await.map_err(wrongly("clean"))?;
    let seen = face.get(&application).await.map_err(wrongly("get"))?;
    let left = "host there: processes of incarnation 1 may live there";
    ensure!(seen.clean && seen.leftovers == [left], "left over are {:?}", seen.leftovers);
    let kept = face.list_processes("abandoned/").await.map_err(wrongly("a list"))?;
    ensure!(kept.len() == 1, "after clean there are {kept:?}");
    let forgotten = face.forget(&application, 0).await;
    ensure!(forgotten == Ok(false), "forgetting came to {forgotten:?}");
    let still = face.list_processes("abandoned/").await.map_err(wrongly("a list"))?;
    ensure!(still == kept, "after it was forgotten there are {still:?}");
    let confirmed = face.confirm_incarnation(&incarnation(&application, 1)).await;
    let confirmed = confirmed.map_err(wrongly("a question"))?;
    ensure!(!confirmed.holds, "a place that comes back is told {confirmed:?}");
    let given_up = face.give_up(there.uid()).await;
    ensure!(given_up == Ok((1, vec![application])), "giving it up came to {given_up:?}");
    let left = face.list_processes("abandoned/").await.map_err(wrongly("a list"))?;
    ensure!(left.is_empty(), "left are {left:?}");
    Ok(())
}
