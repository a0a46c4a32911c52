//! The room for writes.

/// Whether there is room for writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Space {
    /// There is.
    #[default]
    Enough,
    /// There is room for one more write, which is done and answered with a lack of room: etcd
    /// compares its size with the quota before it does a write, and tells the outcome after.
    LastWrite,
    /// There is none, and the alarm says so. Reads, deletions, compaction and renewals go on.
    Exceeded,
}
