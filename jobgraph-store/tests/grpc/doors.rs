//! All methods of all eight services, with every kind of token, about the caller's own application
//! and another one.

use std::sync::Arc;

use chassis::clock::{SharedClock, SystemClock};
use chassis::credential::Kind;
use trespass::{assert_lawful, walk};

use crate::host::Host;

/// These methods name a payload by its digest; `GetPayload` asks the record which applications
/// point to it.
const BY_DIGEST: [&str; 4] = ["GetPayload", "PutPayload", "StatPayloads", "TakePayload"];

#[tokio::test]
async fn every_method_opens_for_whom_the_table_says_and_for_their_own_application() {
    let host = Host::start().await;
    host.led(trespass::OWN.0).await;
    host.led(trespass::OTHER.0).await;
    let clock: SharedClock = Arc::new(SystemClock);
    for (service, unscoped) in [
        ("mainspring.api.v1.ApplicationsService", [].as_slice()),
        ("mainspring.jobgraph.v1.RecordService", &[]),
        ("mainspring.jobgraph.v1.PayloadService", &BY_DIGEST),
        ("mainspring.jobgraph.v1.LogService", &[]),
        ("mainspring.jobgraph.v1.ProcessService", &[]),
        ("mainspring.jobgraph.v1.AdmissionService", &[]),
        ("mainspring.jobgraph.v1.LiveService", &[]),
        ("mainspring.jobgraph.v1.BackupService", &[]),
    ] {
        let channel = host.as_(None).channel();
        let tried = walk(&channel, &clock, service, |who| host.mint(who), Kind::Deployment).await;
        assert_lawful(&tried, unscoped);
    }
    host.stop().await;
}
