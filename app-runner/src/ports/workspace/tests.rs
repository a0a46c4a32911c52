#![allow(clippy::unwrap_used)]
use client::tether::output;
use futures::stream;
use proto::{Epoch, Generation};

use super::*;

impl LocalWorkspace {
    /// Takes tokens into the keyring, as if the record had answered them.
    fn begun(&self, fence: &EpochFence) {
        let token = |text: &str| text.to_owned();
        let tokens = proto::jobgraph::AttemptTokens {
            execution: token("mains"),
            main_tether: token("its-tethers"),
            describe: token("describes"),
            describe_tether: token("its-tethers-too"),
            jobs: String::new(),
        };
        self.keyring.take_attempt(fence, proto::Incarnation(0), Some(tokens)).unwrap();
    }
}

fn workspace() -> (tempfile::TempDir, LocalWorkspace, EpochFence) {
    let directory = tempfile::tempdir().unwrap();
    let workspace = LocalWorkspace::new(Places::new(directory.path()), Keyring::default());
    let application = ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(4) };
    let fence = EpochFence { application, epoch: Epoch(7) };
    workspace.begun(&fence);
    (directory, workspace, fence)
}

#[tokio::test]
async fn what_attempts_left_is_removed_and_what_is_others_stays() {
    let (_state, workspace, fence) = workspace();
    let directory = workspace.prepare(&fence).await.unwrap();
    fs::write(directory.join("scratch"), "x").unwrap();
    let work = workspace.places.application_work(&fence.application);
    fs::write(work.join(MAIN_LOCK), "").unwrap();
    fs::create_dir(work.join("contender-0")).unwrap();
    assert!(AttemptPlaces::new(&workspace.places, &fence).token_file.exists());
    assert_eq!(workspace.remove(&fence.application).await, Vec::<String>::new());
    let left: Vec<_> =
        fs::read_dir(&work).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(
        left.len(),
        2,
        "the contender's directory, and the lock for the next campaign: {left:?}"
    );
    fs::remove_dir(work.join("contender-0")).unwrap();
    workspace.forget(&fence.application).await;
    assert!(!work.exists());
    assert_eq!(
        workspace.remove(&fence.application).await,
        Vec::<String>::new(),
        "a repeat finds it done"
    );
}

#[tokio::test]
async fn output_that_is_not_in_the_record_outlives_its_directory() {
    let (_state, workspace, fence) = workspace();
    let earlier = EpochFence { epoch: Epoch(6), ..fence.clone() };
    for fence in [&earlier, &fence] {
        workspace.begun(fence);
        workspace.prepare(fence).await.unwrap();
        let output = AttemptPlaces::new(&workspace.places, fence).output();
        fs::create_dir(&output).unwrap();
        fs::write(output::segment_path(&output, 0), "words").unwrap();
    }
    // A successor rescues only earlier attempts, because its own main() may be writing.
    assert_eq!(
        rescue_output(&workspace.places, &fence.application, Some(fence.epoch)),
        Vec::<String>::new()
    );
    let sources = || Outbox::new(&workspace.places).sources().unwrap();
    assert_eq!(sources(), [source(&earlier)]);
    assert_eq!(workspace.remove(&fence.application).await, Vec::<String>::new());
    assert_eq!(sources(), [source(&earlier), source(&fence)]);
    let told = workspace.unshipped(&fence.application).await;
    assert!(told.len() == 2 && told[1].contains("main() 7"), "{told:?}");
    let other = ApplicationRef { generation: Generation(5), ..fence.application };
    assert_eq!(workspace.unshipped(&other).await, Vec::<String>::new());
}

#[tokio::test]
async fn output_that_cannot_be_saved_stays_where_it_is_and_is_told() {
    let (state, workspace, fence) = workspace();
    workspace.prepare(&fence).await.unwrap();
    let output = AttemptPlaces::new(&workspace.places, &fence).output();
    fs::create_dir(&output).unwrap();
    fs::write(output::segment_path(&output, 0), "words").unwrap();
    fs::write(state.path().join("outbox"), "in the way").unwrap();
    let left = workspace.remove(&fence.application).await;
    assert!(left.len() == 1 && left[0].contains("not in the record"), "{left:?}");
    assert!(output.exists());
}

#[tokio::test]
async fn bytes_of_another_digest_never_get_the_files_name() {
    let (_state, workspace, fence) = workspace();
    let path = workspace.prepare(&fence).await.unwrap().join("main");
    let chunks = || {
        stream::iter([Ok(Bytes::from_static(b"#!/bin/")), Ok(Bytes::from_static(b"sh\n"))]).boxed()
    };
    let refused = workspace.write(&path, Digest::of(b"other"), true, chunks()).await.unwrap_err();
    assert_eq!(refused.reason, Some(Reason::DataCorrupt));
    assert!(!path.exists());
    assert_eq!(
        workspace.write(&path, Digest::of(b"#!/bin/sh\n"), true, chunks()).await.unwrap(),
        10
    );
    assert_eq!(fs::read(&path).unwrap(), b"#!/bin/sh\n");
}
