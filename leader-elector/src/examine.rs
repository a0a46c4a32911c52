//! A look at the elector's file, for whoever wants to know whether it is whole. It changes nothing, and an elector may be at work in
//! it meanwhile.

use std::path::Path;

use chassis::clock::SharedClock;

use crate::error::Error;

/// The ledger in the elector's directory.
pub const LEDGER: &str = "grants.redb";

/// The ledger of the elector in this directory: what is there, or what is wrong with it and what to do; `None` if there is none.
pub async fn ledger(state: &Path, clock: &SharedClock) -> Option<Result<String, String>> {
    let path = state.join(LEDGER);
    if !path.exists() {
        return None;
    }
    Some(match redb_file::examine_patiently(&path, clock).await {
        Ok(Some(bytes)) => Ok(format!("{} is whole ({bytes} bytes)", path.display())),
        Ok(None) => {
            Ok(format!("{} is written to all the time: look again at a quiet moment", path.display()))
        }
        Err(error) => Err(Error::from(error).to_string()),
    })
}
