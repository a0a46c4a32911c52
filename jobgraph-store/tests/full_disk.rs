//! A disk that is full: a small tmpfs in a mount namespace of this test's own. The service says
//! STORE_FULL, keeps what it has, goes on reading, and goes on writing once there is room.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "grpc/host.rs"]
#[allow(dead_code)]
mod host;

use record::Record as _;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use proto::{Digest, Reason};

/// The variable that names the mounted directory for the child.
const DISK: &str = "STORE_FULL_DISK_TEST";

/// What happens on the small disk, when this executable is called for it inside the namespace;
/// nothing otherwise.
#[tokio::test]
async fn on_the_small_disk() {
    let Some(disk) = std::env::var_os(DISK) else { return };
    let disk = Path::new(&disk);
    let host = host::Host::start_in(tempfile::tempdir_in(disk).unwrap()).await;
    let (_, fence) = host.led("full").await;
    let (record, payloads) = (host.record(), host.payloads());
    let ballast = disk.join("ballast");
    std::fs::write(&ballast, vec![1; 1024 * 1024]).unwrap();
    let kept = Bytes::from_static(b"kept");
    payloads.put_bytes(Digest::of(&kept), kept.clone()).await.unwrap();
    record.journal(&fence, "kept", Some(kept.clone())).await.unwrap();

    let large: Bytes = (0..16 * 1024 * 1024_u32)
        .map(|n| u8::try_from(n % 253).unwrap())
        .collect::<Vec<u8>>()
        .into();
    let refused = payloads.put_bytes(Digest::of(&large), large.clone()).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::StoreFull), "{refused:?}");
    assert!(
        payloads.present(&[Digest::of(&large)]).await.unwrap().is_empty(),
        "something half-written is visible"
    );
    // Nothing of the large payload is left; now another file takes the last room.
    let mut filler = std::fs::File::create(disk.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[2; 4096]).is_ok() {}
    let mut full = None;
    for n in 0..200 {
        if let Err(error) =
            record.journal(&fence, &format!("k{n}"), Some(vec![3; 30_000].into())).await
        {
            full = Some(error.reason());
            break;
        }
    }
    assert_eq!(full, Some(Some(Reason::StoreFull)));
    assert_eq!(
        record.journal(&fence, "kept", None).await.unwrap().value,
        Some(kept.clone()),
        "reading goes on"
    );
    assert_eq!(payloads.get_bytes(Digest::of(&kept), 10).await.unwrap(), kept);

    std::fs::remove_file(disk.join("filler")).unwrap();
    std::fs::remove_file(&ballast).unwrap();
    record.journal(&fence, "room", Some(kept.clone())).await.unwrap();
    payloads.put_bytes(Digest::of(b"room"), Bytes::from_static(b"room")).await.unwrap();
    host.stop().await;
    println!("came to the end");
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=8m tmpfs \"$1\" && exec \"$0\" --exact on_the_small_disk --nocapture";
    let mut command = Command::new("unshare");
    // Root may make a mount namespace; another user needs a user namespace as well.
    if !rustix::process::getuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(directory.path());
    let output = command.env(DISK, directory.path()).output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("came to the end"), "{said}\n{complained}");
}
