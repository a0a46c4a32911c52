//! What attempts left on a host where nobody leads any more.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use chassis::credential::{Kept, Principal};
use chassis::transport::OsTransport;
use client::attempts::{AttemptPlaces, MAIN_LOCK, source};
use client::outbox::Outbox;
use client::places::Kind;
use client::tether::{self, Owned, TetherEvent, TetherSpec, default_lock_wait_ms, output};
use proto::{Epoch, EpochFence};

use crate::host::Host;
use crate::{KEY, Machine, laws, lifecycle, tether_process, within};

/// A main() of this attempt that has said something and goes on for as long as it is owned.
pub(crate) async fn main_of(machine: &Machine, fence: &EpochFence) -> Owned {
    let (application, epoch) = (&fence.application, fence.epoch.get());
    let at = AttemptPlaces::new(&machine.places, fence);
    for directory in [&at.directory, &at.control, &at.sockets] {
        fs::create_dir_all(directory).unwrap();
    }
    let owner = Principal::Owner {
        application: application.id.to_string(),
        generation: application.generation.get(),
        kept: Kept::Main,
        number: epoch,
    };
    let spec = TetherSpec {
        argv: ["/bin/sh", "-c", "echo last words; sleep 1000"].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        cwd: at.directory.clone(),
        socket: at.sockets.join("main-0.tether.sock"),
        owner: KEY.mint(&owner),
        grace_ms: 0,
        lock_file: Some(machine.places.application_work(application).join(MAIN_LOCK)),
        lock_wait_ms: default_lock_wait_ms(),
        output_dir: at.output(),
        exit_file: at.control.join("main.exit"),
        becomes: None,
        yields: false,
        owner_mark: machine.places.owner_mark(application, Kind::Attempt, epoch),
    };
    let executable = tether_process::executable(machine.directory.path());
    let (transport, clock) = (Arc::new(OsTransport), machine.clock.clone());
    let tether = within(tether::spawn(&spec, &executable, transport, clock)).await.unwrap();
    let mut owned = within(tether.own(true, None)).await.unwrap();
    let started = within(owned.next()).await.unwrap();
    assert!(matches!(started, Some(TetherEvent::Started { .. })), "{started:?}");
    let has_spoken = async || !output::segments(&at.output()).unwrap().is_empty();
    machine.until("it has spoken", has_spoken).await;
    owned
}

#[tokio::test]
async fn what_attempts_left_goes_with_contenders_of_a_clean_application_and_not_before() {
    let machine = Machine::new();
    let application = laws::order(1, "").slot.group.application;
    let record = Host::with(&application).await;
    record.begin(1).await;
    let fence = EpochFence { application: application.clone(), epoch: Epoch(1) };
    let _owned = main_of(&machine, &fence).await;
    let at = AttemptPlaces::new(&machine.places, &fence);
    let outbox = Outbox::new(&machine.places);
    let (service, _tasks) = lifecycle(&machine, &record);

    // A contender that gave up goes while another host may lead on.
    let left = within(service.teardown_contenders(&application)).await.unwrap();
    assert_eq!(left, [""; 0]);
    record.end(1).await;
    let left = within(service.teardown_contenders(&application)).await.unwrap();
    assert_eq!(left, [""; 0]);
    assert!(!machine.marked().is_empty() && at.output().exists(), "a leader may need it");
    assert_eq!(outbox.sources().unwrap(), []);

    record.mark_clean(1).await;
    record.backend.set_away(true);
    within(service.teardown_contenders(&application)).await.unwrap_err();
    assert!(!machine.marked().is_empty() && at.output().exists(), "nobody says that it is over");
    record.backend.set_away(false);

    let left = within(service.teardown_contenders(&application)).await.unwrap();
    assert_eq!(left, [""; 0]);
    assert!(machine.marked().is_empty(), "{:?}", machine.marked());
    assert_eq!(outbox.sources().unwrap(), [source(&fence)], "what it said is kept");
    assert!(!at.sockets.exists());
    assert!(!machine.places.application_work(&application).exists(), "and nothing else is");
}
