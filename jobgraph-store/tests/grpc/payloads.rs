//! Payloads and processes through the wire.

use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use proto::{Digest, Epoch, Reason, api, jobgraph};
use record::{Holder, Record as _};
use tonic::Code;

use crate::host::{Host, fence};

#[tokio::test]
async fn a_payload_comes_back_as_it_was_and_is_there_once() {
    let host = Host::start().await;
    let bytes: Bytes =
        (0..9_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect::<Vec<u8>>().into();
    let digest = Digest::of(&bytes);
    let payloads = host.payloads();
    assert!(!payloads.put_bytes(digest, bytes.clone()).await.unwrap());
    assert!(payloads.put_bytes(digest, bytes.clone()).await.unwrap());
    assert_eq!(payloads.get_bytes(digest, bytes.len()).await.unwrap(), bytes);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"from a file").unwrap();
    let other = Digest::of(b"from a file");
    assert!(!payloads.put_file(other, file.path()).await.unwrap());
    assert_eq!(
        payloads.present(&[Digest::of(b"none"), other, digest]).await.unwrap(),
        [other, digest]
    );
    let empty = Digest::of(b"");
    payloads.put_bytes(empty, Bytes::new()).await.unwrap();
    assert_eq!(payloads.get_bytes(empty, 0).await.unwrap(), Bytes::new());
    let missing = payloads.get(Digest::of(b"none"), 0).await.map(|_| ()).unwrap_err();
    assert_eq!((missing.code(), missing.reason()), (Code::NotFound, Some(Reason::PayloadMissing)));
    host.stop().await;
}

#[tokio::test]
async fn bytes_that_are_not_what_was_said_are_refused_and_never_visible() {
    let host = Host::start().await;
    let payloads = host.payloads();
    let said = Digest::of(b"what was said");
    let wrong = Bytes::from_static(b"something new");
    for (size, chunks) in [
        (13, vec![wrong.clone()]),
        (5, vec![wrong.clone()]),
        (50, vec![wrong.clone(), wrong.clone()]),
    ] {
        let refused = payloads.put_stream(said, size, stream::iter(chunks)).await.unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::PayloadDigestMismatch), "{size}");
        assert!(payloads.present(&[said]).await.unwrap().is_empty());
    }
    // A stream that breaks off leaves nothing either.
    let begun = payloads
        .put_stream(said, 13, stream::iter([Bytes::from_static(b"what ")]))
        .await
        .unwrap_err();
    assert_eq!(begun.reason(), Some(Reason::PayloadDigestMismatch));
    assert!(payloads.present(&[said]).await.unwrap().is_empty());
    host.stop().await;
}

/// A disk has changed one bit. Every reader is told so with the file's name, and bytes that are put
/// again mend the payload.
#[tokio::test]
async fn damaged_bytes_are_never_given_out_as_whole() {
    let host = Host::start().await;
    let payloads = host.payloads();
    for length in [9, 5_000_000_u32] {
        let bytes: Bytes =
            (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect::<Vec<u8>>().into();
        let digest = Digest::of(&bytes);
        payloads.put_bytes(digest, bytes.clone()).await.unwrap();
        let path = host.payload(digest);
        let mut changed = bytes.to_vec();
        changed[length as usize - 1] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        for offset in [0, u64::from(length) - 1] {
            let read = async { payloads.get(digest, offset).await?.try_collect::<Vec<_>>().await };
            let refused = read.await.unwrap_err();
            assert_eq!(
                (refused.code(), refused.reason()),
                (Code::DataLoss, Some(Reason::DataCorrupt))
            );
            assert!(
                !refused.is_retryable() && !refused.may_have_happened(),
                "nothing would change"
            );
            let file = proto::Problem::from_status(refused.status()).metadata.remove("file");
            assert_eq!(file, Some(path.display().to_string()));
        }
        assert!(payloads.present(&[digest]).await.unwrap().is_empty(), "it is said to be there");
        assert!(
            !payloads.put_bytes(digest, bytes.clone()).await.unwrap(),
            "the bytes were not taken"
        );
        assert_eq!(payloads.get_bytes(digest, length as usize).await.unwrap(), bytes);
    }
    host.stop().await;
}

/// Where a directory is shared, the bytes do not travel. They are the record's own, so a change of
/// the file does not change them.
#[tokio::test]
async fn a_file_is_taken_verified_and_copied() {
    let host = Host::start().await;
    let payloads = host.payloads();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("app.jar");
    let (bytes, other) = (vec![7; 3_000_000], Digest::of(b"other"));
    std::fs::write(&file, &bytes).unwrap();
    let digest = Digest::of(&bytes);
    assert!(!payloads.take_file(digest, &file).await.unwrap());
    assert!(payloads.take_file(digest, &file).await.unwrap());
    // The file is written in place: a link would change with it.
    std::fs::write(&file, vec![8; 3_000_000]).unwrap();
    assert_eq!(payloads.get_bytes(digest, bytes.len()).await.unwrap(), bytes);

    let wrong = payloads.take_file(other, &file).await.unwrap_err();
    assert_eq!(wrong.reason(), Some(Reason::PayloadDigestMismatch));
    for unseen in
        [directory.path(), &directory.path().join("none"), std::path::Path::new("Cargo.toml")]
    {
        let refused = payloads.take_file(other, unseen).await.unwrap_err();
        let told = (refused.code(), refused.reason());
        assert_eq!(
            told,
            (Code::FailedPrecondition, Some(Reason::ArtifactNotReadable)),
            "{unseen:?}"
        );
    }
    assert!(payloads.present(&[other]).await.unwrap().is_empty());
    // A file that the store cannot see is sent; here the store cannot, because only this process
    // knows what the path is relative to.
    let sent = Digest::of(&std::fs::read("Cargo.toml").unwrap());
    assert!(!payloads.put_file(sent, std::path::Path::new("Cargo.toml")).await.unwrap());
    assert_eq!(payloads.present(&[sent]).await.unwrap(), [sent]);
    host.stop().await;
}

#[tokio::test]
async fn processes_are_kept_across_a_restart_and_fenced_by_their_leader() {
    let mut host = Host::start().await;
    let (app, leader) = host.led("procs").await;
    let process = |replica: u32| jobgraph::Process {
        key: format!("procs/1/cluster/1/worker/{replica}"),
        application: Some(app.clone().into()),
        detail: Bytes::from_static(b"detail"),
        replica,
        ..Default::default()
    };
    let processes = host.processes();
    for replica in [2, 0, 1] {
        processes.put(process(replica), Some(leader.epoch)).await.unwrap();
    }
    processes.put(jobgraph::Process { starts: 5, ..process(2) }, None).await.unwrap();
    host.record().begin_attempt(&fence(&app, 2), &Holder::new("runner-1", 1), "").await.unwrap();
    let late = processes.put(process(3), Some(Epoch(1))).await.unwrap_err();
    assert_eq!(late.reason(), Some(Reason::EpochSuperseded));
    host.restart().await;
    let processes = host.processes();
    let kept = processes.list("procs/1/").await.unwrap();
    assert_eq!(
        kept.iter().map(|process| (process.replica, process.starts)).collect::<Vec<_>>(),
        [(2, 5), (0, 0), (1, 0)]
    );
    let all = processes.delete("").await.unwrap_err();
    assert_eq!(all.reason(), Some(Reason::RequestInvalid));
    processes.delete("procs/1/cluster/1/worker/0").await.unwrap();
    assert_eq!(processes.list("").await.unwrap().len(), 2);
    processes.delete("procs/").await.unwrap();
    processes.delete("procs/").await.unwrap();
    assert!(processes.list("").await.unwrap().is_empty());
    let large = jobgraph::Process { detail: vec![0; 32 * 1024 + 1].into(), ..process(0) };
    assert_eq!(
        processes.put(large, None).await.unwrap_err().reason(),
        Some(Reason::RequestInvalid)
    );
    host.stop().await;
}

#[tokio::test]
async fn a_contender_that_gave_up_shows_in_its_application_until_it_is_tried_again() {
    let host = Host::start().await;
    let (app, _) = host.led("stuck").await;
    let process = |state: jobgraph::ProcessState| jobgraph::Process {
        key: "stuck/1/contender/0/contender/0".into(),
        application: Some(app.clone().into()),
        kind: "contender".into(),
        state: state.into(),
        exit: "error[CREDENTIAL_INVALID]: not of this deployment".into(),
        ..Default::default()
    };
    let conditions =
        async || host.record().read(&app).await.unwrap().application.unwrap().conditions;
    let trouble = async || {
        conditions().await.into_iter().find(|condition| condition.r#type == "ContendersRun")
    };
    host.processes().put(process(jobgraph::ProcessState::Intended), None).await.unwrap();
    assert_eq!(trouble().await, None);
    host.processes().put(process(jobgraph::ProcessState::GaveUp), None).await.unwrap();
    let gave_up = trouble().await.unwrap();
    assert_eq!(gave_up.status(), api::ConditionStatus::False);
    assert!(gave_up.message.contains("CREDENTIAL_INVALID"), "{}", gave_up.message);
    host.processes().put(process(jobgraph::ProcessState::Intended), None).await.unwrap();
    assert_eq!(trouble().await.unwrap().status(), api::ConditionStatus::True);
    host.stop().await;
}
