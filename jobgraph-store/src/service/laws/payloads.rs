//! Laws of payloads and their sweeping.

use ::record::Record as _;
use bytes::Bytes;
use prost::Message as _;
use proto::{Digest, Reason, api};

use super::{Court, Verdict, ensure, fence, graph, incarnation, succeeded, with_manifest, wrongly};

fn artifact(bytes: &Bytes, name: &str) -> api::PinnedArtifact {
    api::PinnedArtifact {
        uri: format!("/a/{name}"),
        name: name.into(),
        digest: Digest::of(bytes).to_string(),
        size_bytes: bytes.len() as u64,
    }
}

/// A pointer that is being written while its payload is swept does not commit; a pointer that was
/// written keeps the payload.
pub(super) async fn never_swept_while_pointed_to(court: &Court) -> Verdict {
    let face = &court.face;
    let application = court.application("sweep").await?;
    let leader = fence(&application, 1);
    face.begin_attempt(&leader, "runner-0").await.map_err(wrongly("an epoch"))?;
    let bytes = Bytes::from_static(b"bytes that somebody needs");
    let digest = Digest::of(&bytes);
    face.put_payload(bytes.clone()).await.map_err(wrongly("a payload"))?;
    let mut held = court.gate.hold("/ref/");
    let pin = {
        let (face, leader, artifact) = (face.clone(), leader.clone(), artifact(&bytes, "a"));
        tokio::spawn(async move { face.pin(&leader, vec![artifact]).await.map(|_| ()) })
    };
    held.reached().await;
    let swept = court.inside.sweep(digest).await.map_err(|error| error.to_string())?;
    ensure!(swept, "a payload that nothing points to stays");
    held.release();
    let pin = pin.await.unwrap();
    ensure!(pin == Err(Reason::PayloadMissing), "a pointer to what was swept came to {pin:?}");
    ensure!(
        face.put_payload(bytes.clone()).await == Ok(false),
        "the payload is not said to be missing"
    );
    face.pin(&leader, vec![artifact(&bytes, "a")]).await.map_err(wrongly("a pointer"))?;
    // The other way round: the pointer commits between the mark and the second look.
    let more = Bytes::from_static(b"more bytes");
    face.put_payload(more.clone()).await.map_err(wrongly("a payload"))?;
    let mut held = court.gate.hold("/sweep");
    let sweep = {
        let (inside, digest) = (court.inside.clone(), Digest::of(&more));
        tokio::spawn(async move { inside.sweep(digest).await })
    };
    held.reached().await;
    face.pin(&leader, vec![artifact(&more, "b")]).await.map_err(wrongly("a pointer"))?;
    held.release();
    let swept = sweep.await.unwrap().map_err(|error| error.to_string())?;
    ensure!(!swept, "a payload was swept after its pointer had committed");
    for (bytes, digest) in [(&bytes, digest), (&more, Digest::of(&more))] {
        let swept = court.inside.sweep(digest).await.map_err(|error| error.to_string())?;
        ensure!(!swept, "a payload that is pointed to was swept");
        ensure!(
            face.read_payload(digest).await.as_ref() == Ok(bytes),
            "a payload that is pointed to is gone"
        );
    }
    let pinned =
        face.pin(&leader, vec![artifact(&more, "a")]).await.map_err(wrongly("a pointer"))?;
    ensure!(pinned[0].digest == digest.to_string(), "the record did not win");
    Ok(())
}

/// At clean the bytes of artifacts go, unless another record needs them; graphs and results stay.
pub(super) async fn freed_at_clean(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, leader, job) = court.running("freed").await?;
    let (only, shared) = (Bytes::from_static(b"only an artifact"), Bytes::from_static(b"graph"));
    let rows = Bytes::from_static(b"rows");
    for bytes in [&only, &shared, &rows] {
        face.put_payload(bytes.clone()).await.map_err(wrongly("a payload"))?;
    }
    let artifacts = vec![artifact(&only, "only"), artifact(&shared, "shared")];
    face.pin(&leader, artifacts).await.map_err(wrongly("a pointer"))?;
    let again = face.put_graph(&leader, graph("job", "other-call", 0, &shared)).await.map(|_| ());
    ensure!(
        again == Err(Reason::JobNameTaken),
        "the same name under another call came to {again:?}"
    );
    let end = proto::job::JobEnd { result_digest: Digest::of(&rows).to_string(), ..succeeded("") };
    face.job_ended(&incarnation(&application, 1), job, end).await.map_err(wrongly("an end"))?;
    face.end(&leader, api::Outcome::Succeeded, 0).await.map_err(wrongly("the end"))?;
    ensure!(
        face.read_payload(Digest::of(&only)).await.is_ok(),
        "an artifact's bytes went before clean"
    );
    face.mark_clean(&leader).await.map_err(wrongly("clean"))?;
    let freed = face.read_payload(Digest::of(&only)).await;
    ensure!(freed == Err(Reason::PayloadMissing), "an artifact's bytes after clean: {freed:?}");
    court.inside.sweep_all(std::time::Duration::ZERO).await.map_err(|error| error.to_string())?;
    for kept in [&shared, &rows] {
        ensure!(
            face.read_payload(Digest::of(kept)).await.as_ref() == Ok(kept),
            "a graph or a result is gone"
        );
    }
    Ok(())
}

/// Files that a graph needs have to be in the store before the graph, stay as long as an attempt
/// may need them, and go at clean.
pub(super) async fn files_are_kept_until_clean(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, leader, first) = court.running("files").await?;
    let (jar, other) = (Bytes::from_static(b"a jar"), Bytes::from_static(b"another jar"));
    let bytes = Bytes::from_static(b"graph");
    let request = |files: &[&Bytes]| proto::jobgraph::PutJobGraphRequest {
        payload_digests: files.iter().map(|file| Digest::of(file).to_string()).collect(),
        ..graph("with jars", "call-2", 1, &bytes)
    };
    face.put_payload(jar.clone()).await.map_err(wrongly("a payload"))?;
    let early = face.put_graph(&leader, request(&[&jar, &other])).await.map(|_| ());
    ensure!(
        early == Err(Reason::PayloadMissing),
        "a graph whose file is not here came to {early:?}"
    );
    let many = vec![&jar; 65];
    let many = face.put_graph(&leader, request(&many)).await.map(|_| ());
    ensure!(many == Err(Reason::RequestInvalid), "65 files came to {many:?}");
    face.put_payload(other.clone()).await.map_err(wrongly("a payload"))?;
    let put = face
        .put_graph(&leader, request(&[&jar, &other, &jar]))
        .await
        .map_err(wrongly("a graph"))?;
    let second = put.job.unwrap().job_id.parse().unwrap();
    court.inside.sweep_all(std::time::Duration::ZERO).await.map_err(|error| error.to_string())?;
    for file in [&jar, &other] {
        let kept = face.read_payload(Digest::of(file)).await;
        ensure!(kept.as_ref() == Ok(file), "a file that a graph needs was swept: {kept:?}");
    }
    for job in [first, second] {
        court.job_ends(&application, job).await?;
    }
    face.end(&leader, api::Outcome::Succeeded, 0).await.map_err(wrongly("the end"))?;
    ensure!(face.read_payload(Digest::of(&jar)).await.is_ok(), "a file went before clean");
    face.mark_clean(&leader).await.map_err(wrongly("clean"))?;
    for file in [&jar, &other] {
        let freed = face.read_payload(Digest::of(file)).await;
        ensure!(freed == Err(Reason::PayloadMissing), "a file after clean: {freed:?}");
    }
    ensure!(face.read_payload(Digest::of(&bytes)).await.is_ok(), "a graph is gone");
    Ok(())
}

/// A manifest of any length is recorded like a short one: whole for the leader that publishes, in
/// counts for people, and kept with the generation.
pub(super) async fn a_job_may_stage_many_files(court: &Court) -> Verdict {
    let face = &court.face;
    let (application, leader, job) = court.running("staged").await?;
    let cluster = incarnation(&application, 1);
    let file = |n: usize| proto::job::StagedFile {
        staged: format!("year=2013/month={n}/part-{n:08}.parquet"),
        r#final: format!(
            "year=2013/month={n}/part-0123456789abcdef0123456789abcdef-{n:08}.parquet"
        ),
        size_bytes: 10,
    };
    let output = |files| proto::job::Output {
        location: "/out".into(),
        files: (0..files).map(file).collect(),
        ..Default::default()
    };
    let end = with_manifest(vec![output(2_000), output(1)]);
    let huge = face.job_ended(&cluster, job, with_manifest(vec![output(20_000)])).await.map(|_| ());
    ensure!(huge == Err(Reason::RequestInvalid), "20,000 files came to {huge:?}");
    for _ in 0..2 {
        let ended = face.job_ended(&cluster, job, end.clone()).await;
        ensure!(
            ended.as_ref().is_ok_and(|ended| *ended == (true, end.clone())),
            "2,001 files came to {:?}",
            ended.map(|ended| ended.0)
        );
    }
    let other = face.job_ended(&cluster, job, with_manifest(vec![output(1_999), output(2)])).await;
    ensure!(
        other.is_ok_and(|(recorded, stands)| !recorded && stands == end),
        "another manifest is not told the one that stands"
    );
    // A store that has read the list once has no need of the payload, but others have.
    let list = Bytes::from(end.manifest.as_ref().unwrap().encode_to_vec());
    court.inside.sweep_all(std::time::Duration::ZERO).await.map_err(|error| error.to_string())?;
    let swept = face.read_payload(Digest::of(&list)).await;
    ensure!(swept.as_ref() == Ok(&list), "the list of files was swept");
    let begun = face
        .begin_attempt(&fence(&application, 2), "runner-1")
        .await
        .map_err(wrongly("an epoch"))?;
    let told = begun.record.unwrap().application.unwrap().jobs.remove(0).end;
    ensure!(told.as_ref() == Some(&end), "a leader that has to publish is not told all files");
    let seen = face.get(&application).await.map_err(wrongly("get"))?.jobs.remove(0).end.unwrap();
    let counts: Vec<(usize, u64, u64)> = seen
        .manifest
        .iter()
        .flat_map(|manifest| &manifest.outputs)
        .map(|output| (output.files.len(), output.file_count, output.size_bytes))
        .collect();
    ensure!(counts == [(0, 2_000, 20_000), (0, 1, 10)], "people see {counts:?}");
    let leader = proto::EpochFence { epoch: leader.epoch.next(), ..leader };
    face.published(&leader, job).await.map_err(wrongly("a publication"))?;
    let told = face.events(&application).await.map_err(wrongly("events"))?;
    let counted = told
        .iter()
        .filter(|event| event.attributes.get("files").is_some_and(|files| files == "2001"));
    ensure!(counted.count() == 2, "the end and its publication do not count 2,001 files");
    face.end(&leader, api::Outcome::Succeeded, 0).await.map_err(wrongly("the end"))?;
    face.mark_clean(&leader).await.map_err(wrongly("clean"))?;
    court.inside.sweep_all(std::time::Duration::ZERO).await.map_err(|error| error.to_string())?;
    let record = court.inside.read(&application).await.map_err(|error| error.to_string())?;
    let kept = record.application.unwrap().jobs.remove(0).end;
    ensure!(kept == Some(end), "the manifest is gone after clean");
    let kept = face.read_payload(Digest::of(&list)).await;
    ensure!(kept.as_ref() == Ok(&list), "the list of files is gone after clean");
    Ok(())
}
