#![allow(clippy::unwrap_used)]

use std::sync::Barrier;

use proto::{ApplicationRef, Epoch, Generation, Reason};
use tonic::Code;

use super::*;

fn grant(epoch: u64, resigned: bool) -> Grant {
    Grant {
        application: ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(1) },
        epoch: Epoch(epoch),
        holder: format!("runner-{epoch}"),
        boot_id: "boot".to_owned(),
        since_unix_ms: 0,
        resigned,
    }
}

/// A resignation that is slow, and the grant that follows when its lease has ended: the later epoch stays, or it would be granted again.
#[test]
fn of_two_that_write_at_once_the_higher_epoch_stays() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = EmbeddedLedger::open(directory.path().join("grants.redb")).unwrap();
    let id: ApplicationId = "orders".parse().unwrap();
    for round in 1..60 {
        let (slow, next) = (grant(2 * round, true), grant(2 * round + 1, false));
        ledger.write(&grant(2 * round, false)).unwrap();
        let (ledger, both) = (&ledger, &Barrier::new(2));
        std::thread::scope(|scope| {
            for one in [&slow, &next] {
                scope.spawn(move || {
                    both.wait();
                    ledger.write(one).unwrap();
                });
            }
        });
        assert_eq!(ledger.read(&id).unwrap(), Some(next), "in round {round}");
    }
}

#[test]
fn a_damaged_ledger_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("grants.redb");
    let ledger = EmbeddedLedger::open(&path).unwrap();
    ledger.write(&grant(7, false)).unwrap();
    drop(ledger);
    let whole = std::fs::read(&path).unwrap();
    for (what, bytes) in [("empty", &whole[..0]), ("cut", &whole[..5000]), ("other", &b"nothing of ours"[..])]
    {
        std::fs::write(&path, bytes).unwrap();
        let refused = EmbeddedLedger::open(&path).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("grants.redb is damaged") && text.contains("remove it"), "{what}: {text}");
        let status = tonic::Status::from(refused);
        assert_eq!(
            (status.code(), chassis::status::reason(&status)),
            (Code::DataLoss, Some(Reason::DataCorrupt))
        );
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{what}: it was touched");
    }
}
