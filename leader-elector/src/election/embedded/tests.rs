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

/// Resignations that are slow meet the grants that followed when their leases had ended. The latest
/// epoch has to stay, or it would be granted again. Many threads write at once, so that some of
/// them meet between a comparison and its write wherever that is possible.
#[test]
fn of_those_that_write_at_once_the_highest_epoch_stays() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = EmbeddedLedger::open(directory.path().join("grants.redb")).unwrap();
    let id: ApplicationId = "orders".parse().unwrap();
    for round in 0..20 {
        let those = (1..=WRITERS).map(|n| grant(round * WRITERS + n, n < WRITERS));
        let all = &Barrier::new(usize::try_from(WRITERS).unwrap());
        std::thread::scope(|scope| {
            let ledger = &ledger;
            for one in those {
                scope.spawn(move || {
                    all.wait();
                    ledger.write(&one).unwrap();
                });
            }
        });
        let last = grant((round + 1) * WRITERS, false);
        assert_eq!(ledger.read(&id).unwrap(), Some(last), "in round {round}");
    }
}

/// How many threads write at once.
const WRITERS: u64 = 12;

#[test]
fn a_damaged_ledger_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("grants.redb");
    let ledger = EmbeddedLedger::open(&path).unwrap();
    ledger.write(&grant(7, false)).unwrap();
    drop(ledger);
    let whole = std::fs::read(&path).unwrap();
    for (what, bytes) in
        [("empty", &whole[..0]), ("cut", &whole[..5000]), ("other", &b"nothing of ours"[..])]
    {
        std::fs::write(&path, bytes).unwrap();
        let refused = EmbeddedLedger::open(&path).unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains("grants.redb is damaged") && text.contains("remove it"),
            "{what}: {text}"
        );
        let status = tonic::Status::from(refused);
        assert_eq!(
            (status.code(), proto::problem::reason(&status)),
            (Code::DataLoss, Some(Reason::DataCorrupt))
        );
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{what}: it was touched");
    }
}
