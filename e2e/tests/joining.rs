//! Hosts of one record: which may join, and what each is told that may not yet.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};

use e2e::Host;
use e2e::etcd::Etcd;

/// What all hosts of a test see.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new() -> Self {
        let mount = Self(tempfile::tempdir().unwrap());
        for made_once in [mount.shared(), mount.payloads()] {
            std::fs::create_dir(made_once).unwrap();
        }
        mount
    }

    fn shared(&self) -> PathBuf {
        self.0.path().join("shared")
    }

    fn payloads(&self) -> PathBuf {
        self.0.path().join("payloads")
    }
}

/// A host of this etcd with payloads on the mount.
fn host_on(etcd: &Etcd, mount: &Mount) -> Host {
    Host::new()
        .with("MAINSPRING_ETCD", format!("http://{}", etcd.address()))
        .with("MAINSPRING_BLOBS", format!("file://{}", mount.payloads().display()))
}

/// One of several hosts, which share this directory.
fn sharing(host: Host, shared: &Path) -> Host {
    host.with("MAINSPRING_SHARED_DIR", shared.to_str().unwrap())
}

fn key(host: &Host) -> PathBuf {
    host.state().join("deployment.key")
}

#[test]
fn a_host_joins_with_the_key_of_another() {
    let (etcd, mount) = (Etcd::start(), Mount::new());
    let [first, second] = [(); 2].map(|()| sharing(host_on(&etcd, &mount), &mount.shared()));
    first.run(&["list"]).exits(0);
    second
        .run(&["list"])
        .says("copy the file of another host")
        .says(key(&first).to_str().unwrap())
        .says(key(&second).to_str().unwrap());
    assert!(!key(&second).exists(), "a second key was made");

    std::fs::copy(key(&first), key(&second)).unwrap();
    second.run(&["list"]).exits(0);
    first.run(&["list"]).exits(0);
    let seen = second.run(&["doctor"]).stdout;
    assert!(seen.contains("ok shared directory"), "{seen}");
}

#[test]
fn a_host_is_told_the_directory_of_the_others() {
    let (etcd, mount) = (Etcd::start(), Mount::new());
    let first = sharing(host_on(&etcd, &mount), &mount.shared());
    first.run(&["list"]).exits(0);
    let shared = mount.shared().display().to_string();
    host_on(&etcd, &mount).run(&["list"]).says("MAINSPRING_SHARED_DIR").says(&shared);
    let other = tempfile::tempdir().unwrap();
    let second = sharing(host_on(&etcd, &mount), other.path());
    second.run(&["list"]).says("name the same directory").says(&shared);
}

#[test]
fn a_directory_that_hosts_share_needs_a_record_that_they_share() {
    let (etcd, mount) = (Etcd::start(), Mount::new());
    let shared = mount.shared();
    sharing(Host::new(), &shared).run(&["list"]).says("MAINSPRING_ETCD");
    let on_etcd = Host::new().with("MAINSPRING_ETCD", format!("http://{}", etcd.address()));
    sharing(on_etcd, &shared).run(&["list"]).says("MAINSPRING_BLOBS");
    let absent = sharing(host_on(&etcd, &mount), &mount.0.path().join("absent"));
    absent.run(&["list"]).says("there is no such directory");
    absent.run(&["doctor"]).exits(1);
}

#[test]
fn a_host_alone_becomes_one_of_several_and_keeps_its_key_and_its_history() {
    let (etcd, mount) = (Etcd::start(), Mount::new());
    let alone = host_on(&etcd, &mount);
    let script = alone.file("one.sql", "SELECT 1 AS one;");
    alone.run(&["run", "--application-id", "one", &script]).exits(0);
    alone.run(&["wait", "one"]).exits(0);
    alone.down();
    let before = std::fs::read(key(&alone)).unwrap();

    let shared = sharing(alone, &mount.shared());
    let listed = shared.run(&["list", "--all", "-o", "json"]).exits(0).json();
    assert_eq!(listed["applications"][0]["applicationId"], "one", "{listed:#}");
    assert_eq!(std::fs::read(key(&shared)).unwrap(), before);
    shared.run(&["run", &script]).says("LOCATION_LOCAL").says(mount.shared().to_str().unwrap());
}
