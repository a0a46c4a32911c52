//! A look at the elector's file, for an operator who wants to know whether the file is whole. The
//! look changes nothing, and an elector may be at work in the file meanwhile.

use std::path::Path;

use chassis::clock::SharedClock;

use crate::error::Error;

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
