//! Which place this host is. The state directory says so, for as long as it exists: a host whose
//! state directory was lost is another place, whatever its name is.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use chassis::{disk, failpoint};
use proto::{Place, PlaceUid};
use serde::{Deserialize, Serialize};

use super::Places;

/// The longest part of a host's name that the machine's own name becomes: the rest is taken by a
/// dash and four digits of the uid, because many machines have one name.
const MAX_NODE_BYTES: usize = Place::MAX_NAME_BYTES - 5;

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct HostId {
    name: String,
    uid: PlaceUid,
}

impl Places {
    /// The file that says which place this host is.
    pub fn host_id(&self) -> PathBuf {
        self.state.join("host-id")
    }

    /// This host as a place. The first process that asks draws the uid, which is durable before the
    /// process goes on. Several processes that ask at once all get the same one.
    pub fn host(&self) -> io::Result<Place> {
        let path = self.host_id();
        match read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            known => return known,
        }
        let about = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot make {}: {error}", path.display()))
        };
        let uid = PlaceUid::from_bytes(rand::random());
        let id = HostId { name: name(&node(), uid), uid };
        let new = path.with_extension(format!("new-{}-{uid}", std::process::id()));
        write(&new, &id).map_err(about)?;
        // The new file never replaces one that another process has just made.
        disk::place(&new, &path).map_err(about)?;
        read(&path)
    }
}

fn read(path: &Path) -> io::Result<Place> {
    let about =
        |kind, why: &dyn fmt::Display| io::Error::new(kind, format!("{}: {why}", path.display()));
    let text = fs::read(path).map_err(|error| about(error.kind(), &error))?;
    let damaged = |why: &dyn fmt::Display| {
        let remedy = "it says which host this is, and was damaged: restore it from a copy; without \
                      one, end all processes of this state directory and remove the file";
        about(ErrorKind::InvalidData, &format!("{remedy} ({why})"))
    };
    let HostId { name, uid } = serde_json::from_slice(&text).map_err(|error| damaged(&error))?;
    failpoint::on_host(&name);
    Place::host(&name, uid).map_err(|invalid| damaged(&invalid))
}

fn write(path: &Path, id: &HostId) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    serde_json::to_writer(&mut file, id)?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// The machine's own name.
fn node() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A host's name: what a place may be called of the machine's name, and four digits of the uid.
fn name(node: &str, uid: PlaceUid) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let node: String = node.to_ascii_lowercase().chars().map(plain).take(MAX_NODE_BYTES).collect();
    let node = node.trim_matches('-');
    let node = if node.is_empty() { Place::HOST } else { node };
    format!("{node}-{}", &uid.to_string()[..4])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn services_that_start_at_once_are_on_one_host_and_stay_there() {
        let state = tempfile::tempdir().unwrap();
        let places = Places::new(state.path());
        let asked: Vec<Place> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| places.host().unwrap())).collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        assert!(asked.iter().all(|place| *place == asked[0]), "{asked:?}");
        assert_eq!(places.host().unwrap(), asked[0], "it stays the same host");
        let left: Vec<_> = fs::read_dir(state.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");

        let other = tempfile::tempdir().unwrap();
        assert_ne!(Places::new(other.path()).host().unwrap().uid(), asked[0].uid());
    }

    #[test]
    fn a_host_that_was_lost_is_another_place_and_a_damaged_file_is_named() {
        let state = tempfile::tempdir().unwrap();
        let places = Places::new(state.path());
        let before = places.host().unwrap();
        fs::remove_file(places.host_id()).unwrap();
        assert_ne!(places.host().unwrap().uid(), before.uid());
        for damaged in ["", "{}", r#"{"name":"a","uid":"7"}"#, r#"{"name":"","uid":"00"}"#] {
            fs::write(places.host_id(), damaged).unwrap();
            let error = places.host().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert!(error.to_string().contains("host-id"), "{error}");
        }
    }

    #[test]
    fn any_machine_has_a_name_that_a_place_may_have() {
        let uid = PlaceUid::from_bytes([0xab, 0xcd, 0, 0, 0, 0, 0, 0]);
        let (long, cut) = ("x".repeat(200), format!("{}-abcd", "x".repeat(58)));
        for (node, expected) in [
            ("worker-7", "worker-7-abcd"),
            ("Worker_7.Example", "worker-7-example-abcd"),
            ("-", "host-abcd"),
            ("", "host-abcd"),
            ("ä", "host-abcd"),
            (long.as_str(), cut.as_str()),
        ] {
            assert_eq!(name(node, uid), expected);
            assert!(Place::host(&name(node, uid), uid).is_ok(), "{node:?}");
        }
    }
}
