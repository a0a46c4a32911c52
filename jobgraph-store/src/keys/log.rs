//! `…/log/head`, `…/log/chunk/<first line>`, `…/log/source/<source>`: where the output of a
//! generation's processes is.

use proto::{ApplicationRef, jobgraph};

use super::Kind;
use crate::store::Key;

/// What is left of a generation's output, and what was dropped. Every commit that writes lines,
/// chunks or the state of a source compares the head and writes it anew, so that several stores do
/// not write over each other's lines.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LogHead {
    /// Bytes of the chunks that are kept.
    #[prost(uint64, tag = "1")]
    pub kept_bytes: u64,
    /// Bytes of all lines that were ever dropped for room.
    #[prost(uint64, tag = "2")]
    pub lost_bytes: u64,
    /// The number of the last durable line.
    #[prost(uint64, tag = "3")]
    pub last_line: u64,
}

impl Kind for LogHead {
    const NAME: &'static str = "log head";
}

/// The key of the head of a generation's output.
pub fn head_key(application: &ApplicationRef) -> Key {
    super::of_generation(application, "log/head")
}

/// Some lines, either in a payload or, where they are few, in the record itself.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LogChunk {
    /// The digest of the payload, an encoded [`ChunkBody`]; empty when the lines are in `body`.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// The number of the chunk's first line.
    #[prost(uint64, tag = "2")]
    pub first_line: u64,
    /// The number of the chunk's last line.
    #[prost(uint64, tag = "3")]
    pub last_line: u64,
    /// Bytes of the text of the chunk's lines.
    #[prost(uint64, tag = "4")]
    pub bytes: u64,
    /// Bytes that were lost before the chunk's lines.
    #[prost(uint64, tag = "5")]
    pub lost_bytes: u64,
    /// The size of the encoded [`ChunkBody`] in bytes, which differs from `bytes` because empty
    /// lines take room too.
    #[prost(uint64, tag = "6")]
    pub stored_bytes: u64,
    /// The encoded [`ChunkBody`] itself when it is small: a payload for a line or two costs more
    /// than the lines do.
    #[prost(bytes = "bytes", tag = "7")]
    pub body: bytes::Bytes,
}

impl Kind for LogChunk {
    const NAME: &'static str = "log chunk";
}

/// The key of the chunk that begins with this line.
pub fn chunk_key(application: &ApplicationRef, first_line: u64) -> Key {
    super::of_generation(application, &format!("log/chunk/{first_line:016x}"))
}

/// The beginning of the keys of chunks.
pub fn chunk_prefix(application: &ApplicationRef) -> Key {
    super::of_generation(application, "log/chunk/")
}

/// The lines of a chunk.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChunkBody {
    /// The application that wrote the lines: it makes equal lines of two applications different
    /// payloads.
    #[prost(string, tag = "1")]
    pub application: String,
    /// The lines, in the order of their numbers.
    #[prost(message, repeated, tag = "2")]
    pub lines: Vec<StoredLine>,
}

impl Kind for ChunkBody {
    const NAME: &'static str = "log lines";
}

/// One line of output.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StoredLine {
    /// The line's number in its generation, from 1. In a chunk this is the number that the line had
    /// when the chunk's lines were encoded; if another store was faster, the commit gave it a later
    /// one. The numbers of a chunk's lines are `first_line` and those after it.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// When the tether saw the line, in nanoseconds since 1970.
    #[prost(sint64, tag = "2")]
    pub unix_nanos: i64,
    /// The role that wrote it.
    #[prost(string, tag = "3")]
    pub role: String,
    /// The epoch or the incarnation that the role belongs to.
    #[prost(uint64, tag = "4")]
    pub source_number: u64,
    /// Whether the line went to stderr.
    #[prost(bool, tag = "5")]
    pub stderr: bool,
    /// The text of the line, without its line end.
    #[prost(bytes = "bytes", tag = "6")]
    pub text: bytes::Bytes,
    /// Whether the line had no end.
    #[prost(bool, tag = "7")]
    pub partial: bool,
    /// Bytes that were lost just before the line.
    #[prost(uint64, tag = "8")]
    pub lost_before: u64,
    /// The tether's offset behind the line. The line has the same offset in every life of the
    /// store, while its number is another one where the store died before the line was durable.
    #[prost(uint64, tag = "9")]
    pub position: u64,
    /// Which process of the role wrote the line.
    #[prost(uint32, tag = "10")]
    pub replica: u32,
    /// Which start of that process wrote the line.
    #[prost(uint32, tag = "11")]
    pub start: u32,
    /// The host of that process, where numbers of several hosts are to be kept apart; else empty.
    #[prost(string, tag = "12")]
    pub host: String,
}

impl StoredLine {
    /// The role as people and readers name it: `worker`, or `a-1/contender` where processes of
    /// several hosts have one number.
    pub fn shown_role(&self) -> String {
        let Self { host, role, .. } = self;
        if host.is_empty() { role.clone() } else { format!("{host}/{role}") }
    }
}

/// How far one source's output is durable.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SourceState {
    /// The tether's offset up to which every line is in a chunk.
    #[prost(uint64, tag = "1")]
    pub acknowledged_offset: u64,
    /// Whether the source will write nothing more.
    #[prost(bool, tag = "2")]
    pub complete: bool,
    /// How many lines beyond that offset are in a chunk. Only earlier builds wrote this number, in
    /// place of `last_position`.
    #[prost(uint64, tag = "3")]
    pub lines_after: u64,
    /// The position of the last line that is in a chunk. Lines up to there are left out when the
    /// output is shipped again.
    #[prost(uint64, tag = "4")]
    pub last_position: u64,
}

impl Kind for SourceState {
    const NAME: &'static str = "log source";
}

/// The key of a source's state. The host is the last part, and is left out where the source names
/// none, so that such a source has the key that it always had.
pub fn source_key(application: &ApplicationRef, source: &jobgraph::LogSource) -> Key {
    let jobgraph::LogSource { role, replica, number, start, host, .. } = source;
    let mut key = format!("log/source/{role}/{number:016x}/{replica}/{start}");
    if !host.is_empty() {
        key.push('/');
        key.push_str(host);
    }
    super::of_generation(application, &key)
}
