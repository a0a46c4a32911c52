//! A look at what an elector keeps, for an operator who wants to know whether it is whole, and
//! which hosts have seats. The look changes nothing, and an elector may be at work there meanwhile.

use std::path::Path;

use chassis::clock::SharedClock;
use chassis::transport::SharedTransport;
use etcd::{Etcd, EtcdArgs};
use proto::Place;

use crate::error::Error;
use crate::hosts::etcd as seats_on_etcd;

/// The name of the ledger in the elector's directory.
pub const LEDGER: &str = "grants.redb";

/// What there is to say about the ledger of the elector in this directory, or what is wrong with it
/// and what to do; `None` if there is no ledger.
pub async fn ledger(state: &Path, clock: &SharedClock) -> Option<Result<String, String>> {
    let path = state.join(LEDGER);
    if !path.exists() {
        return None;
    }
    Some(match redb_file::examine_patiently(&path, clock).await {
        Ok(Some(bytes)) => Ok(format!("{} is whole ({bytes} bytes)", path.display())),
        Ok(None) => Ok(format!(
            "{} is written to all the time: look again at a quiet moment",
            path.display()
        )),
        Err(error) => Err(Error::from(error).to_string()),
    })
}

/// The hosts that have a seat on the etcd that the settings name, by name, whether an elector runs
/// here or not.
pub async fn seats(
    settings: &EtcdArgs,
    transport: &SharedTransport,
    clock: &SharedClock,
) -> Result<Vec<Place>, Error> {
    let etcd = Etcd::of(settings, transport, clock).await?;
    let hosts = seats_on_etcd::seats(&etcd, &settings.prefix).await?;
    Ok(hosts.into_iter().map(|host| host.place).collect())
}
