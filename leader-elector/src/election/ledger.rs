//! Where grants are written before they count.

use proto::ApplicationId;

use crate::error::Error;
use crate::model::Grant;

/// The newest grant of every application.
///
/// Laws: what [`write`](Ledger::write) has returned for is read after a crash of the process or the machine; a
/// grant never replaces one with a higher epoch.
pub trait Ledger: Send + Sync + 'static {
    /// The newest grant of an application.
    fn read(&self, application: &ApplicationId) -> Result<Option<Grant>, Error>;

    /// Puts a grant in place of an older one. Does nothing when the one in place has a higher epoch.
    fn write(&self, grant: &Grant) -> Result<(), Error>;

    /// Whether `write` waits for a disk and belongs on a thread for that.
    fn blocks(&self) -> bool;
}
