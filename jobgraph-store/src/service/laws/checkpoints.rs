//! Laws of what a job resumes from.

use proto::{Reason, api, job};

use super::{Court, Verdict, answered, ensure, incarnation, succeeded, wrongly};

fn checkpoint(id: u64, pointer: &str) -> job::Checkpoint {
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    job::Checkpoint {
        id,
        pointer: pointer.into(),
        created_at: at(7),
        completed_at: at(8),
        ..Default::default()
    }
}

fn ids(checkpoints: &[job::Checkpoint]) -> Vec<u64> {
    checkpoints.iter().map(|checkpoint| checkpoint.id).collect()
}

/// The job owns its checkpoints, and the current incarnation writes them. A superseded incarnation
/// neither adds nor removes a checkpoint, not even by a write that it decided on before the next
/// incarnation began.
pub(super) async fn outlive_their_cluster(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, leader, job) = court.running("resume").await?;
    let (old, new) = (incarnation(&application, 1), incarnation(&application, 2));
    let nothing = face.checkpoints(&old, job).await.map_err(wrongly("a read"))?;
    ensure!(
        (nothing.0, ids(&nothing.1), nothing.2) == (false, vec![], 1),
        "at first there is {nothing:?}"
    );
    for id in [2, 1] {
        face.add_checkpoint(&old, job, checkpoint(id, "file:/old"))
            .await
            .map_err(wrongly("a checkpoint"))?;
    }
    for removes in [false, true] {
        let begun = if removes { 3 } else { 2 };
        let mut held = court.gate.hold("/checkpoints/");
        let late = {
            let (face, writer) = (face.clone(), incarnation(&application, begun - 1));
            tokio::spawn(async move {
                if removes {
                    face.remove_checkpoint(&writer, job, 1).await
                } else {
                    face.add_checkpoint(&writer, job, checkpoint(9, "file:/late")).await
                }
            })
        };
        held.reached().await;
        face.begin_cluster(&leader, &format!("c{begun}"))
            .await
            .map_err(wrongly("a new incarnation"))?;
        held.release();
        let late = answered(late).await?;
        ensure!(
            late == Err(Reason::IncarnationSuperseded),
            "a superseded cluster's checkpoint came to {late:?}"
        );
    }
    let new = proto::IncarnationFence { incarnation: new.incarnation.next(), ..new };
    for refused in [
        face.checkpoints(&old, job).await.map(|_| ()),
        face.add_checkpoint(&old, job, checkpoint(9, "file:/later")).await,
        face.remove_checkpoint(&old, job, 1).await,
        face.advance_checkpoint_id(&old, job, 99).await.map(|_| ()),
    ] {
        ensure!(
            refused == Err(Reason::IncarnationSuperseded),
            "a superseded cluster came to {refused:?}"
        );
    }
    let kept = face.checkpoints(&new, job).await.map_err(wrongly("a read"))?;
    ensure!((ids(&kept.1), kept.2) == (vec![1, 2], 3), "the next incarnation finds {kept:?}");
    face.add_checkpoint(&new, job, checkpoint(2, "file:/new"))
        .await
        .map_err(wrongly("a replacement"))?;
    for _ in 0..2 {
        face.remove_checkpoint(&new, job, 1).await.map_err(wrongly("a removal"))?;
    }
    face.job_ended(&new, job, succeeded("")).await.map_err(wrongly("an end"))?;
    let kept = face.checkpoints(&new, job).await.map_err(wrongly("a read after the end"))?;
    ensure!(
        kept == (true, vec![checkpoint(2, "file:/new")], 3),
        "after the end of the job there is {kept:?}"
    );
    face.end(&leader, api::Outcome::Succeeded, 0).await.map_err(wrongly("the end"))?;
    let late = face.add_checkpoint(&new, job, checkpoint(4, "file:/late")).await;
    ensure!(late == Err(Reason::AlreadyEnded), "a checkpoint after the end came to {late:?}");
    let seen = face.get(&application).await.map_err(wrongly("get"))?;
    ensure!(
        seen.jobs[0].checkpoint == Some(checkpoint(2, "file:/new")),
        "people see {:?}",
        seen.jobs[0]
    );
    Ok(())
}

/// The counter of ids never goes down, whichever writer raises it and in whichever order the writes
/// commit: no id is given twice.
pub(super) async fn ids_only_grow(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, _, job) = court.running("counter").await?;
    let cluster = incarnation(&application, 1);
    let mut held = court.gate.hold("/checkpoints/");
    let slow = {
        let (face, cluster) = (face.clone(), cluster.clone());
        tokio::spawn(async move { face.advance_checkpoint_id(&cluster, job, 5).await })
    };
    held.reached().await;
    let high = face.advance_checkpoint_id(&cluster, job, 10).await;
    ensure!(high == Ok(10), "raising the counter to 10 came to {high:?}");
    held.release();
    let slow = answered(slow).await?;
    ensure!(slow == Ok(10), "a lower counter came to {slow:?}");
    face.add_checkpoint(&cluster, job, checkpoint(12, "file:/x"))
        .await
        .map_err(wrongly("a checkpoint"))?;
    face.remove_checkpoint(&cluster, job, 12).await.map_err(wrongly("a removal"))?;
    let kept = face.checkpoints(&cluster, job).await.map_err(wrongly("a read"))?;
    ensure!(kept == (false, vec![], 13), "after checkpoint 12 came and went there is {kept:?}");
    Ok(())
}

/// A checkpoint is shown, and wakes no watcher: it is no event and no revision of the application.
/// The exception is the first checkpoint of an incarnation, which is barren no longer.
pub(super) async fn are_no_change_for_watchers(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, leader, job) = court.running("quiet").await?;
    let cluster = incarnation(&application, 1);
    let told = face.events(&application).await.map_err(wrongly("events"))?.len();
    face.add_checkpoint(&cluster, job, checkpoint(1, "file:/1"))
        .await
        .map_err(wrongly("a checkpoint"))?;
    let first = face.get(&application).await.map_err(wrongly("get"))?;
    ensure!(
        first.cluster.is_some_and(|cluster| cluster.barren_incarnations == 0),
        "a checkpoint is not something"
    );
    for id in 2..=4 {
        let pointer = format!("file:/{id}");
        face.add_checkpoint(&cluster, job, checkpoint(id, &pointer))
            .await
            .map_err(wrongly("a checkpoint"))?;
        face.remove_checkpoint(&cluster, job, id - 1).await.map_err(wrongly("a removal"))?;
        face.advance_checkpoint_id(&cluster, job, id + 2).await.map_err(wrongly("a counter"))?;
    }
    let seen = face.get(&application).await.map_err(wrongly("get"))?;
    ensure!(
        seen.jobs[0].checkpoint == Some(checkpoint(4, "file:/4")),
        "people see {:?}",
        seen.jobs[0]
    );
    ensure!(seen.revision == first.revision, "checkpoints moved the application's revision");
    let now = face.events(&application).await.map_err(wrongly("events"))?.len();
    ensure!(now == told, "{} events tell of checkpoints", now - told);
    let begun = face.begin_cluster(&leader, "c2").await.map_err(wrongly("a new incarnation"))?;
    ensure!(
        begun.barren_incarnations == 1,
        "{} barren ones after a checkpoint",
        begun.barren_incarnations
    );
    Ok(())
}

/// The checkpoints of one job have a bound, and a write over the bound changes nothing.
pub(super) async fn are_bounded(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, _, job) = court.running("many").await?;
    let cluster = incarnation(&application, 1);
    for (id, pointer) in [(0, "file:/x".to_owned()), (1, String::new()), (1, "x".repeat(4097))] {
        let odd = face.add_checkpoint(&cluster, job, checkpoint(id, &pointer)).await;
        ensure!(
            odd == Err(Reason::RequestInvalid),
            "{} bytes at {id} came to {odd:?}",
            pointer.len()
        );
    }
    let stranger = proto::JobId::derive(&application, "", "none", 0);
    let odd = face.add_checkpoint(&cluster, stranger, checkpoint(1, "file:/x")).await;
    ensure!(odd == Err(Reason::JobNotFound), "a checkpoint of no job came to {odd:?}");
    for id in 1..=100 {
        face.add_checkpoint(&cluster, job, checkpoint(id, &"x".repeat(400)))
            .await
            .map_err(wrongly("a checkpoint"))?;
    }
    let over = face.add_checkpoint(&cluster, job, checkpoint(101, "file:/x")).await;
    ensure!(over == Err(Reason::TooManyCheckpoints), "the 101st came to {over:?}");
    let large = face.add_checkpoint(&cluster, job, checkpoint(50, &"x".repeat(4096))).await;
    ensure!(large.is_ok(), "a replacement of the largest size came to {large:?}");
    let kept = face.checkpoints(&cluster, job).await.map_err(wrongly("a read"))?;
    ensure!(kept.1.len() == 100 && kept.2 == 101, "{} are kept, next {}", kept.1.len(), kept.2);
    for id in 51..=56 {
        let large = face.add_checkpoint(&cluster, job, checkpoint(id, &"x".repeat(4096))).await;
        ensure!(
            matches!(large, Ok(()) | Err(Reason::TooManyCheckpoints)),
            "one more large one came to {large:?}"
        );
    }
    let over = face.add_checkpoint(&cluster, job, checkpoint(57, &"x".repeat(4096))).await;
    ensure!(over == Err(Reason::TooManyCheckpoints), "more than a value holds came to {over:?}");
    Ok(())
}
