//! `…/log/head`, `…/log/chunk/<first line>`, `…/log/source/<source>`: where the output of a generation's processes is.

use proto::{ApplicationRef, jobgraph};

use super::Kind;
use crate::store::Key;

/// What is left of a generation's output.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LogHead {
    /// Bytes of the chunks that are kept.
    #[prost(uint64, tag = "1")]
    pub kept_bytes: u64,
    /// Bytes of lines that were dropped for room, ever.
    #[prost(uint64, tag = "2")]
    pub lost_bytes: u64,
    /// The number of the last durable line.
    #[prost(uint64, tag = "3")]
    pub last_line: u64,
}

impl Kind for LogHead {
    const NAME: &'static str = "log head";
}

/// Where the head of a generation's output is.
pub fn head_key(application: &ApplicationRef) -> Key {
    super::of_generation(application, "log/head")
}

/// Some lines, in a payload or, where they are few, in place.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LogChunk {
    /// The payload, an encoded [`ChunkBody`]; empty when the lines are in `body`.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// Number of its first line.
    #[prost(uint64, tag = "2")]
    pub first_line: u64,
    /// Number of its last line.
    #[prost(uint64, tag = "3")]
    pub last_line: u64,
    /// Bytes of its lines.
    #[prost(uint64, tag = "4")]
    pub bytes: u64,
    /// Bytes that were lost before its lines.
    #[prost(uint64, tag = "5")]
    pub lost_bytes: u64,
    /// Size of the encoded [`ChunkBody`] in bytes: empty lines take room too.
    #[prost(uint64, tag = "6")]
    pub stored_bytes: u64,
    /// The encoded [`ChunkBody`] itself, when it is small: a payload for a line or two costs more than they do.
    #[prost(bytes = "bytes", tag = "7")]
    pub body: bytes::Bytes,
}

impl Kind for LogChunk {
    const NAME: &'static str = "log chunk";
}

/// Where the chunk that begins with this line is.
pub fn chunk_key(application: &ApplicationRef, first_line: u64) -> Key {
    super::of_generation(application, &format!("log/chunk/{first_line:016x}"))
}

/// What the keys of chunks begin with.
pub fn chunk_prefix(application: &ApplicationRef) -> Key {
    super::of_generation(application, "log/chunk/")
}

/// The lines of a chunk.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChunkBody {
    /// Whose: makes equal lines of two applications different payloads.
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
    /// Its number in the generation, from 1.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// When it was seen, nanoseconds since 1970.
    #[prost(sint64, tag = "2")]
    pub unix_nanos: i64,
    /// The role that wrote it.
    #[prost(string, tag = "3")]
    pub role: String,
    /// Epoch or incarnation.
    #[prost(uint64, tag = "4")]
    pub source_number: u64,
    /// It went to stderr.
    #[prost(bool, tag = "5")]
    pub stderr: bool,
    /// The line without its end.
    #[prost(bytes = "bytes", tag = "6")]
    pub text: bytes::Bytes,
    /// It had no end.
    #[prost(bool, tag = "7")]
    pub partial: bool,
    /// Bytes that were lost just before it.
    #[prost(uint64, tag = "8")]
    pub lost_before: u64,
    /// The tether's offset behind it. The line has it in every life of the store, also where its number is another one
    /// because the store died before the line was durable.
    #[prost(uint64, tag = "9")]
    pub position: u64,
    /// Which of its role.
    #[prost(uint32, tag = "10")]
    pub replica: u32,
    /// Which start of it.
    #[prost(uint32, tag = "11")]
    pub start: u32,
}

/// How far one source's output is durable.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SourceState {
    /// The tether's offset up to which every line is in a chunk.
    #[prost(uint64, tag = "1")]
    pub acknowledged_offset: u64,
    /// Nothing more will come.
    #[prost(bool, tag = "2")]
    pub complete: bool,
    /// Written by earlier builds only, in place of `last_position`: how many lines beyond that offset are in a chunk.
    #[prost(uint64, tag = "3")]
    pub lines_after: u64,
    /// The position of the last line that is in a chunk: up to there lines are left out when the output comes again.
    #[prost(uint64, tag = "4")]
    pub last_position: u64,
}

impl Kind for SourceState {
    const NAME: &'static str = "log source";
}

/// Where a source's state is.
pub fn source_key(application: &ApplicationRef, source: &jobgraph::LogSource) -> Key {
    let jobgraph::LogSource { role, replica, number, start, .. } = source;
    super::of_generation(application, &format!("log/source/{role}/{number:016x}/{replica}/{start}"))
}
