//! Giving up the past of the file, and the room that it took. redb reuses free pages, and gives
//! them back to the disk only when it is told to.

use redb::Database;

use super::batch::Tables;
use super::file::RecordFile;
use super::tables::NotDone;
use crate::store::StoreError;

/// With fewer free bytes than this, the copying is not worth its time.
const WORTHWHILE_BYTES: u64 = 1024 * 1024;

/// A file with more used bytes than this is not copied together, because nothing is read while
/// pages are moved; so many bytes take a fraction of a second.
const MOVED_BYTES: u64 = 32 * 1024 * 1024;

impl RecordFile {
    /// Gives up at most `step` revisions below `before`. `true`: more are left to give up.
    pub(super) fn forget_past(&self, before: u64, step: u64) -> Result<bool, StoreError> {
        let database = self.database()?;
        self.guarded(|| {
            let write = database.begin_write()?;
            let more = Tables::open(&write)?.forget_some(before, step)?;
            write.commit()?;
            Ok(more)
        })
    }

    /// Whether so much of the file is free that copying it together is worth the time.
    pub(super) fn is_mostly_free(&self) -> Result<bool, StoreError> {
        let database = self.database()?;
        // The opener of a test may have no file.
        let Ok(metadata) = std::fs::metadata(self.path()) else { return Ok(false) };
        let used = self.guarded(|| used_bytes(database))?;
        Ok(is_worthwhile(metadata.len(), used))
    }

    /// Moves the used pages to the file's beginning and gives back the rest. After an error the
    /// next reader opens the file again.
    pub(super) fn shrink(&mut self) -> Result<(), StoreError> {
        let Some(mut database) = self.take() else { return Ok(()) };
        self.guarded(|| Ok(database.compact()?))?;
        self.give_back(database);
        Ok(())
    }
}

fn used_bytes(database: &Database) -> Result<u64, NotDone> {
    let write = database.begin_write()?;
    let stats = write.stats()?;
    write.abort()?;
    Ok(stats.allocated_pages().saturating_mul(stats.page_size() as u64))
}

fn is_worthwhile(file: u64, used: u64) -> bool {
    let free = file.saturating_sub(used);
    free >= WORTHWHILE_BYTES && free >= used / 2 && used <= MOVED_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_copied_together_when_that_gains_much_and_costs_little() {
        const MIB: u64 = 1024 * 1024;
        for (file, used, expected) in [
            (MIB, MIB / 2, false),
            (4 * MIB, MIB, true),
            (4 * MIB, 3 * MIB, false),
            (5 * MIB, 3 * MIB, true),
            (100 * MIB, 30 * MIB, true),
            (200 * MIB, 60 * MIB, false),
            (MIB, 2 * MIB, false),
        ] {
            assert_eq!(is_worthwhile(file, used), expected, "{used} of {file}");
        }
    }
}
