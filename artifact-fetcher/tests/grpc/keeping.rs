//! What stays in the cache, and what callers can ask about it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use client::artifacts::Wanted;
use futures::TryStreamExt as _;
use proto::{ApplicationRef, Digest, Generation, Reason};

use crate::{Fixture, fixture, fixture_with, wanted};

fn application(generation: u64) -> ApplicationRef {
    ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(generation) }
}

impl Fixture {
    /// Fetches a new file of these bytes.
    async fn fetched(
        &self,
        name: &str,
        bytes: &[u8],
        application: Option<ApplicationRef>,
    ) -> Digest {
        let wanted = Wanted { application, ..wanted(&self.file(name, bytes)) };
        let fetched = self.artifacts.fetch(&wanted, |_| {}).await.unwrap();
        fetched.artifact.unwrap().digest.parse().unwrap()
    }
}

#[tokio::test]
async fn what_a_live_application_uses_stays_until_it_is_released() {
    let fixture = fixture().await;
    let held = fixture.fetched("held", b"held", Some(application(1))).await;
    let loose = fixture.fetched("loose", b"loose", None).await;
    let answer = fixture.artifacts.evict(&[held, loose]).await.unwrap();
    assert_eq!((answer.evicted, answer.kept), (vec![loose.to_string()], vec![held.to_string()]));
    assert_eq!(fixture.artifacts.evict_to(0).await.unwrap().evicted, Vec::<String>::new());

    let stat = fixture.artifacts.stat(held).await.unwrap();
    let used_by = stat.artifact.unwrap().used_by;
    assert_eq!(used_by, vec![application(1).into()]);
    let gone = fixture.artifacts.stat(loose).await.unwrap_err();
    assert_eq!(gone.reason(), Some(Reason::ArtifactNotCached));

    // Another generation has nothing to release, and releasing twice is no error.
    fixture.artifacts.release(&application(2)).await.unwrap();
    assert_eq!(fixture.artifacts.evict(&[held]).await.unwrap().kept, vec![held.to_string()]);
    fixture.artifacts.release(&application(1)).await.unwrap();
    fixture.artifacts.release(&application(1)).await.unwrap();
    assert_eq!(fixture.artifacts.evict_to(0).await.unwrap().evicted, vec![held.to_string()]);
    fixture.end().await;
}

#[tokio::test]
async fn more_than_the_cache_may_hold_is_refused_with_the_way_out() {
    let fixture = fixture_with(1000).await;
    fixture.fetched("held", &[1; 600], Some(application(1))).await;
    let loose = fixture.fetched("loose", &[2; 300], None).await;
    let large = wanted(&fixture.file("large", &[3; 500]));
    let error = fixture.refused(large).await;
    assert_eq!(error.reason(), Some(Reason::CacheFull), "{error}");
    for says in ["500 bytes", "600", "1000", "artifact-fetcher"] {
        assert!(error.message().contains(says), "{says}: {error}");
    }
    assert!(fixture.artifacts.stat(loose).await.is_ok(), "evicted for nothing");
    fixture.fetched("fits", &[4; 400], None).await;
    assert!(fixture.artifacts.stat(loose).await.is_err(), "the least recently used makes room");
    fixture.end().await;
}

#[tokio::test]
async fn a_list_comes_in_pages_most_recently_used_first() {
    let fixture = fixture().await;
    let mut digests = Vec::new();
    for n in 0..5 {
        digests.push(fixture.fetched(&format!("file-{n}"), &[n; 10], None).await.to_string());
    }
    digests.reverse();
    let (mut token, mut listed) = (String::new(), Vec::new());
    loop {
        let page = fixture.artifacts.list(2, token).await.unwrap();
        assert_eq!((page.cache_bytes, page.cache_limit_bytes), (50, 1 << 30));
        assert!(page.artifacts.len() <= 2);
        listed.extend(page.artifacts.into_iter().map(|artifact| artifact.digest));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, digests);
    let error = fixture.artifacts.list(2, "page two, please".into()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::PageTokenInvalid));
    fixture.end().await;
}

#[tokio::test]
async fn any_range_of_a_cached_artifact_can_be_read_and_nothing_behind_its_end() {
    let fixture = fixture().await;
    let bytes: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = fixture.fetched("large", &bytes, None).await;
    let end = bytes.len();
    for (offset, length, expected) in [
        (0, 0, &bytes[..]),
        (0, 1, &bytes[..1]),
        (1_048_570, 12, &bytes[1_048_570..1_048_582]),
        (end - 3, 100, &bytes[end - 3..]),
        (end, 0, &[]),
    ] {
        let chunks = fixture.artifacts.read(digest, offset as u64, length).await.unwrap();
        let read: Vec<_> = chunks.try_collect().await.unwrap();
        assert!(read.concat() == expected, "{length} bytes from {offset}");
    }
    let error = fixture.artifacts.read(digest, end as u64 + 1, 0).await.err().unwrap();
    let expected = (tonic::Code::InvalidArgument, Some(proto::Reason::RequestInvalid));
    assert_eq!((error.code(), error.reason()), expected);
    fixture.end().await;
}

/// A damaged artifact is not given out, in whole or in part, and can be fetched again.
#[tokio::test]
async fn a_damaged_artifact_is_an_error_that_names_the_file() {
    let fixture = fixture().await;
    let bytes: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    for (offset, length) in [(0, 0), (5, 10), (bytes.len() as u64 - 1, 0)] {
        let digest = fixture.fetched("large", &bytes, None).await;
        let path = fixture.artifacts.stat(digest).await.unwrap().path;
        let fetched = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &changed).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(fetched).unwrap();
        let mut given = 0;
        let read = async {
            let mut parts = fixture.artifacts.read(digest, offset, length).await?;
            while let Some(part) = parts.try_next().await? {
                given += part.len();
            }
            Ok::<_, client::error::CallError>(())
        };
        let damaged = read.await.unwrap_err();
        assert!(given < bytes.len(), "all of it was given out, the damage included");
        assert_eq!(
            (damaged.code(), damaged.reason()),
            (tonic::Code::DataLoss, Some(Reason::DataCorrupt))
        );
        assert!(damaged.message().contains(&path), "{damaged}");
        let gone = fixture.artifacts.stat(digest).await.unwrap_err();
        assert_eq!(gone.reason(), Some(Reason::ArtifactNotCached));
    }
    fixture.end().await;
}

#[tokio::test]
async fn an_executable_runs_where_it_is_placed_and_the_cached_file_stays_as_it_is() {
    let fixture = fixture().await;
    let target = fixture.directory.path().join("program");
    let (uri, bytes) = (fixture.file("program.src", b"#!/bin/sh\n"), b"#!/bin/sh\n");
    let request = Wanted { link_to: Some(target.clone()), executable: true, ..wanted(&uri) };
    let fetched = fixture.artifacts.fetch(&request, |_| {}).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&target), mode(Path::new(&fetched.path))), (0o755, 0o444));
    assert_eq!(std::fs::read(&target).unwrap(), bytes);
    // A file that is no program shares its bytes with the cache.
    let request = Wanted { link_to: Some(target.clone()), ..wanted(&uri) };
    let fetched = fixture.artifacts.fetch(&request, |_| {}).await.unwrap();
    let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&target), inode(Path::new(&fetched.path)));
    fixture.end().await;
}
