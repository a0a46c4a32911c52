//! Laws of the two fences.

use bytes::Bytes;
use proto::{EpochFence, Incarnation, Reason, jobgraph};

use super::{Court, Verdict, ensure, fence, incarnation, succeeded, wrongly};

/// A write that the old leader decided on before its successor began does not commit after that.
pub(super) async fn no_lower_epoch_commits(court: &Court) -> Verdict {
    let (application, old, job) = court.running("epochs").await?;
    let new = fence(&application, 2);
    // Each round holds one of these back: a write of the state, of a job, of an event, of the
    // journal.
    for (round, part) in ["/state", "/job/", "/event/", "/journal/"].into_iter().enumerate() {
        let old = fence(&application, u64::try_from(round).unwrap() + 1);
        let new = fence(&application, old.epoch.get() + 1);
        let mut held = court.gate.hold(part);
        let writer = {
            let (face, old) = (court.face.clone(), old.clone());
            tokio::spawn(async move {
                match round {
                    0 => face.main_ended(&old, 3).await,
                    1 => face
                        .leader_ended(&old, job, proto::job::JobEnd { outcome: 4, ..succeeded("") })
                        .await
                        .map(|_| ()),
                    2 => face.append_event(&old, "from the past").await,
                    _ => face
                        .journal(&old, "step", Some(Bytes::from_static(b"past")))
                        .await
                        .map(|_| ()),
                }
            })
        };
        held.reached().await;
        let begun =
            court.face.begin_attempt(&new, "runner-1").await.map_err(wrongly("a higher epoch"))?;
        ensure!(
            begun.disposition() == jobgraph::Disposition::Resume,
            "a successor was told {:?}",
            begun.disposition()
        );
        held.release();
        let late = writer.await.unwrap();
        ensure!(
            late == Err(Reason::EpochSuperseded),
            "{part}: a superseded leader's write came to {late:?}"
        );
    }
    let events = court.face.events(&application).await.map_err(wrongly("events"))?;
    let mut highest = 0;
    for event in &events {
        ensure!(
            event.epoch == 0 || event.epoch >= highest,
            "an event of epoch {} after one of {highest}",
            event.epoch
        );
        highest = highest.max(event.epoch);
    }
    let seen = court.face.get(&application).await.map_err(wrongly("get"))?;
    ensure!(seen.jobs[0].end.is_none(), "a superseded leader ended a job");
    let read = court
        .face
        .journal(&fence(&application, 5), "step", None)
        .await
        .map_err(wrongly("a read"))?;
    ensure!(read == (None, false), "a superseded leader kept a step");
    let known = fence(&application, 5);
    known_for_its_steps(court, &known).await?;
    let late = court.face.begin_attempt(&new, "runner-1").await.map(|_| ());
    ensure!(late == Err(Reason::EpochSuperseded), "an older epoch began again: {late:?}");
    let late = court.face.begin_attempt(&old, "runner-0").await.map(|_| ());
    ensure!(late == Err(Reason::EpochSuperseded), "the first epoch began again: {late:?}");
    Ok(())
}

/// A leader whose steps every store has kept is superseded, and no store keeps a step of it then.
async fn known_for_its_steps(court: &Court, known: &EpochFence) -> Verdict {
    let value = || Some(Bytes::from_static(b"known"));
    for step in ["1", "2", "3", "4"] {
        let kept = court.face.journal(known, step, value()).await;
        ensure!(kept == Ok((value(), false)), "step {step} came to {kept:?}");
    }
    let next = fence(&known.application, known.epoch.get() + 1);
    court.face.begin_attempt(&next, "runner-1").await.map_err(wrongly("a higher epoch"))?;
    for step in ["5", "6"] {
        let late = court.face.journal(known, step, value()).await;
        ensure!(late == Err(Reason::EpochSuperseded), "step {step} came late to {late:?}");
    }
    for (step, is_known) in [("4", true), ("5", false), ("6", false), ("5", true), ("6", true)] {
        let stands = court.face.journal(&next, step, value()).await;
        ensure!(stands == Ok((value(), is_known)), "the next leader's {step} came to {stands:?}");
    }
    Ok(())
}

/// A report that a cluster decided on before the next incarnation began does not commit after that.
pub(super) async fn no_lower_incarnation_commits(court: &Court) -> Verdict {
    let (application, leader, job) = court.running("incarnations").await?;
    let mut held = court.gate.hold("/job/");
    let cluster = {
        let (face, old) = (court.face.clone(), incarnation(&application, 1));
        tokio::spawn(async move { face.job_ended(&old, job, succeeded("late")).await })
    };
    held.reached().await;
    let begun =
        court.face.begin_cluster(&leader, "c2").await.map_err(wrongly("a new incarnation"))?;
    ensure!(begun.incarnation == 2, "incarnation {} after 1", begun.incarnation);
    held.release();
    let late = cluster.await.unwrap();
    ensure!(
        late == Err(Reason::IncarnationSuperseded),
        "a superseded cluster's end came to {late:?}"
    );
    let late = court.face.job_ended(&incarnation(&application, 1), job, succeeded("later")).await;
    ensure!(
        late == Err(Reason::IncarnationSuperseded),
        "a superseded cluster's end came to {late:?}"
    );
    let submitted = court.face.submitted(&leader, job, Incarnation(1)).await;
    ensure!(submitted == Ok(()), "a repeat of what is recorded was refused: {submitted:?}");
    let now = court.face.job_ended(&incarnation(&application, 2), job, succeeded("now")).await;
    ensure!(now.is_ok_and(|(recorded, _)| recorded), "the current cluster may not end a job");
    Ok(())
}

/// One leader alone has an epoch; a lower epoch never begins; an epoch that has not begun may not
/// write.
pub(super) async fn an_epoch_begins_once_and_only_upwards(court: &Court) -> Verdict {
    let application = court.application("upwards").await?;
    let five = fence(&application, 5);
    let early = court.face.append_event(&five, "before it began").await;
    ensure!(early == Err(Reason::EpochSuperseded), "an epoch that has not begun wrote: {early:?}");
    court.face.begin_attempt(&five, "runner-0").await.map_err(wrongly("the first epoch"))?;
    let before = court.face.get(&application).await.map_err(wrongly("get"))?.revision;
    court.face.begin_attempt(&five, "runner-0").await.map_err(wrongly("a repeat"))?;
    let after = court.face.get(&application).await.map_err(wrongly("get"))?.revision;
    ensure!(before == after, "a repeat changed the record");
    let other = court.face.begin_attempt(&five, "runner-1").await.map(|_| ());
    ensure!(other == Err(Reason::EpochSuperseded), "two holders of one epoch: {other:?}");
    let lower = court.face.begin_attempt(&fence(&application, 4), "runner-1").await.map(|_| ());
    ensure!(lower == Err(Reason::EpochSuperseded), "a lower epoch began: {lower:?}");
    let mut held = court.gate.hold("/attempt");
    let slow = {
        let (face, six) = (court.face.clone(), fence(&application, 6));
        tokio::spawn(async move { face.begin_attempt(&six, "runner-1").await.map(|_| ()) })
    };
    held.reached().await;
    court
        .face
        .begin_attempt(&fence(&application, 7), "runner-2")
        .await
        .map_err(wrongly("a higher epoch"))?;
    held.release();
    let slow = slow.await.unwrap();
    ensure!(slow == Err(Reason::EpochSuperseded), "epoch 6 began after 7: {slow:?}");
    let seen = court.face.get(&application).await.map_err(wrongly("get"))?.leadership.unwrap();
    ensure!(
        (seen.epoch, seen.ordinal) == (7, 2),
        "epoch {}, {}th leader",
        seen.epoch,
        seen.ordinal
    );
    Ok(())
}

/// Between two leaders, and while one follows the other, the cluster's word counts.
pub(super) async fn a_cluster_ends_its_job_without_a_leader(court: &Court) -> Verdict {
    let (application, _, job) = court.running("leaderless").await?;
    let mut held = court.gate.hold("/job/");
    let cluster = {
        let (face, fence) = (court.face.clone(), incarnation(&application, 1));
        tokio::spawn(async move { face.job_ended(&fence, job, succeeded("")).await })
    };
    held.reached().await;
    // A change of leader comes in between: the cluster's word is decided on anew, and stands.
    court
        .face
        .begin_attempt(&fence(&application, 2), "runner-1")
        .await
        .map_err(wrongly("a higher epoch"))?;
    held.release();
    let ended = cluster.await.unwrap();
    ensure!(
        ended == Ok((true, succeeded(""))),
        "a cluster's word during a change of leader came to {ended:?}"
    );
    let seen = court.face.get(&application).await.map_err(wrongly("get"))?;
    ensure!(seen.jobs[0].end == Some(succeeded("")), "the end is not in the record");
    ensure!(seen.leadership.unwrap().epoch == 2, "the leader is not in the record");
    Ok(())
}

/// The value that stands is the first one, whichever leader asks.
pub(super) async fn a_step_of_the_journal_is_kept_once(court: &Court) -> Verdict {
    let application = court.application("journal").await?;
    let leader = fence(&application, 1);
    court.face.begin_attempt(&leader, "runner-0").await.map_err(wrongly("an epoch"))?;
    let (one, two) = (Bytes::from_static(b"one"), Bytes::from_static(b"two"));
    ensure!(
        court.face.journal(&leader, "a/b c", None).await == Ok((None, false)),
        "a step that was never kept is found"
    );
    let mut held = court.gate.hold("/journal/");
    let slow = {
        let (face, leader, two) = (court.face.clone(), leader.clone(), two.clone());
        tokio::spawn(async move { face.journal(&leader, "a/b c", Some(two)).await })
    };
    held.reached().await;
    let first = court.face.journal(&leader, "a/b c", Some(one.clone())).await;
    ensure!(first == Ok((Some(one.clone()), false)), "keeping a step came to {first:?}");
    held.release();
    let second = slow.await.unwrap();
    ensure!(
        second == Ok((Some(one.clone()), true)),
        "a second value for a step came to {second:?}"
    );
    let large = court.face.journal(&leader, "large", Some(vec![0; 32 * 1024 + 1].into())).await;
    ensure!(large == Err(Reason::JournalValueTooLarge), "a large value came to {large:?}");
    let fitting = court.face.journal(&leader, "large", Some(vec![0; 32 * 1024].into())).await;
    ensure!(fitting.is_ok(), "a value of the limit came to {fitting:?}");
    Ok(())
}
