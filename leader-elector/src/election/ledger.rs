//! Where grants are written before they count.

use proto::ApplicationId;

use crate::error::Error;
use crate::model::Grant;

/// The newest grant of every application.
///
/// An elector over a ledger writes each grant and each resignation here before the contender learns
/// of it, so that an elector that is started again knows the highest epoch.
///
/// Laws: what [`write`](Ledger::write) has returned for is read after a crash of the process or of
/// the machine; a grant never replaces one with a higher epoch.
pub trait Ledger: Send + Sync + 'static {
    /// The newest grant of an application.
    fn read(&self, application: &ApplicationId) -> Result<Option<Grant>, Error>;

    /// Puts a grant in place of an older one. Does nothing when the grant in place has a higher
    /// epoch.
    fn write(&self, grant: &Grant) -> Result<(), Error>;

    /// Whether `write` waits for a disk, so that the caller has to run it on a thread that may
    /// block.
    fn blocks(&self) -> bool;
}
