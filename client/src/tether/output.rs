//! The output of a child as its tether keeps it: chunks in order, each with stream, wall time and
//! position, in segment files of one directory. The tether writes them. The process that ships
//! output reads them, also after the tether is gone.
//!
//! A segment is called `output-<offset of its first chunk, 20 digits>.seg`. A chunk is a header of
//! 21 bytes, little endian (offset u64, nanoseconds since the Unix epoch i64, stream u8, length
//! u32), and its bytes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// The bytes of a chunk's header.
pub const HEADER_BYTES: usize = 21;

/// The longest chunk, in bytes, which is what one read from a pipe yields.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// The stream that a child wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

impl Stream {
    /// `stdout` or `stderr`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A piece of a child's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The position after `data`, from which a reader goes on.
    pub next_offset: u64,
    /// The stream that the child wrote to.
    pub stream: Stream,
    /// The bytes as the child wrote them, so a chunk may end within a line or a character. A chunk
    /// without bytes only tells what is gone at the end.
    pub data: Bytes,
    /// How many bytes before this chunk are gone, because they were rotated away, or never kept
    /// because the disk was full.
    pub lost_before: u64,
    /// The wall clock when the tether read the bytes from the child, in nanoseconds since the Unix
    /// epoch.
    pub unix_nanos: i64,
}

/// The header of a chunk in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The position of the first byte.
    pub offset: u64,
    /// The wall clock, in nanoseconds since the Unix epoch.
    pub unix_nanos: i64,
    /// The stream that the child wrote to.
    pub stream: Stream,
    /// How many bytes follow the header.
    pub length: u32,
}

impl Header {
    /// The header as it stands in a segment.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.unix_nanos.to_le_bytes());
        bytes[16] = match self.stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        };
        bytes[17..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// Reads a header back; `None` for bytes that no tether has written.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (offset, rest) = bytes.split_first_chunk::<8>()?;
        let (unix_nanos, rest) = rest.split_first_chunk::<8>()?;
        let (&stream, length) = rest.split_first()?;
        let length = u32::from_le_bytes(length.try_into().ok()?);
        let stream = match stream {
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            _ => return None,
        };
        let fits = length as usize <= MAX_CHUNK_BYTES;
        let (offset, unix_nanos) = (u64::from_le_bytes(*offset), i64::from_le_bytes(*unix_nanos));
        fits.then_some(Self { offset, unix_nanos, stream, length })
    }
}

/// The path of the segment whose first chunk is at `offset`.
pub fn segment_path(directory: &Path, offset: u64) -> PathBuf {
    directory.join(format!("output-{offset:020}.seg"))
}

/// The offsets of the segments that are there, lowest first.
pub fn segments(directory: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut offsets = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|n| n.strip_prefix("output-"))
            .and_then(|n| n.strip_suffix(".seg"));
        offsets.extend(number.and_then(|n| n.parse::<u64>().ok()));
    }
    offsets.sort_unstable();
    Ok(offsets)
}

/// Removes the segments that are there, because the record holds all of their output.
pub fn discard(directory: &Path) -> io::Result<()> {
    for start in segments(directory)? {
        match fs::remove_file(segment_path(directory, start)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Reads a tether's segments from an offset on, while the tether writes and rotates them, or after
/// the tether is gone. It does blocking file I/O, of at most one chunk at a time.
#[derive(Debug)]
pub struct OutputReader {
    directory: PathBuf,
    /// Everything before this offset was read or is not wanted.
    offset: u64,
    open: Option<OpenSegment>,
}

#[derive(Debug)]
struct OpenSegment {
    start: u64,
    file: File,
    position: u64,
}

impl OutputReader {
    /// A reader of the segments in `directory`, from `offset` on.
    pub fn new(directory: impl AsRef<OsStr>, offset: u64) -> Self {
        Self { directory: PathBuf::from(directory.as_ref()), offset, open: None }
    }

    /// Where the next chunk begins, unless something was lost.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next chunk; `None` when there is none yet. The error is `InvalidData` when a segment is
    /// damaged.
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        loop {
            if self.open.is_none() && !self.open_segment(None)? {
                return Ok(None);
            }
            if let Some(chunk) = self.read_open()? {
                return Ok(Some(chunk));
            }
            // The open segment has nothing more. Once a later segment exists, the open one does not
            // grow, so it is read once more before it is left behind.
            let start = self.open.as_ref().map(|open| open.start);
            if !segments(&self.directory)?.iter().any(|&later| Some(later) > start) {
                return Ok(None);
            }
            if let Some(chunk) = self.read_open()? {
                return Ok(Some(chunk));
            }
            self.open_segment(start)?;
        }
    }

    /// Opens the segment to read next: the first one after `after`, or the one that holds the
    /// offset. The answer is `false` if there is none.
    fn open_segment(&mut self, after: Option<u64>) -> io::Result<bool> {
        loop {
            let starts = segments(&self.directory)?;
            let wanted = match after {
                Some(after) => starts.iter().copied().find(|&start| start > after),
                None => {
                    let holding = starts.iter().copied().rev().find(|&start| start <= self.offset);
                    holding.or_else(|| starts.first().copied())
                }
            };
            let Some(start) = wanted else { return Ok(false) };
            match File::open(segment_path(&self.directory, start)) {
                Ok(file) => {
                    self.open = Some(OpenSegment { start, file, position: 0 });
                    return Ok(true);
                }
                // The segment was rotated away between the listing and the opening, so the
                // directory is listed again.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next wanted chunk of the open segment that is there in full.
    fn read_open(&mut self) -> io::Result<Option<Chunk>> {
        let Some(open) = &mut self.open else { return Ok(None) };
        loop {
            let mut header = [0; HEADER_BYTES];
            if !read_full(&open.file, &mut header, open.position)? {
                return Ok(None);
            }
            let header = Header::decode(&header).ok_or_else(|| {
                let text =
                    format!("segment {} of {} is damaged", open.start, self.directory.display());
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?;
            let end = header.offset + u64::from(header.length);
            let data_position = open.position + HEADER_BYTES as u64;
            let next_position = data_position + u64::from(header.length);
            if end <= self.offset {
                if open.file.metadata()?.len() < next_position {
                    return Ok(None);
                }
                open.position = next_position;
                continue;
            }
            let mut data = vec![0; header.length as usize];
            if !read_full(&open.file, &mut data, data_position)? {
                return Ok(None);
            }
            open.position = next_position;
            let known = usize::try_from(self.offset.saturating_sub(header.offset)).unwrap_or(0);
            let lost_before = header.offset.saturating_sub(self.offset);
            self.offset = end;
            return Ok(Some(Chunk {
                next_offset: end,
                stream: header.stream,
                data: Bytes::from(data).slice(known..),
                lost_before,
                unix_nanos: header.unix_nanos,
            }));
        }
    }
}

/// Fills the buffer. The answer is `false` if the file is not that long yet.
fn read_full(file: &File, buffer: &mut [u8], position: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, position) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The last bytes of one stream that are kept in `directory`, at most `max_bytes`, as text for the
/// message of an end.
pub fn tail(directory: &Path, stream: Stream, max_bytes: usize) -> io::Result<String> {
    let mut reader = OutputReader::new(directory, 0);
    let mut kept: Vec<u8> = Vec::new();
    let mut is_cut = false;
    while let Some(chunk) = reader.next_chunk()? {
        if chunk.stream == stream {
            kept.extend_from_slice(&chunk.data);
            if kept.len() > max_bytes {
                kept.drain(..kept.len() - max_bytes);
                is_cut = true;
            }
        }
    }
    let text = String::from_utf8_lossy(&kept);
    // Half a line reads like a message that the process never wrote.
    let rest =
        text.split_once('\n').map(|(_, rest)| rest).filter(|rest| is_cut && !rest.is_empty());
    Ok(rest.unwrap_or(&text).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;

    use super::*;

    fn write(directory: &Path, segment: u64, offset: u64, stream: Stream, data: &[u8]) {
        let header =
            Header { offset, unix_nanos: 7, stream, length: u32::try_from(data.len()).unwrap() };
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(segment_path(directory, segment))
            .unwrap();
        file.write_all(&header.encode()).unwrap();
        file.write_all(data).unwrap();
    }

    #[test]
    fn a_reader_follows_a_growing_segment_and_goes_on_in_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut reader = OutputReader::new(directory.path(), 0);
        assert_eq!(reader.next_chunk().unwrap(), None);
        write(directory.path(), 0, 0, Stream::Stdout, b"abc");
        assert_eq!(reader.next_chunk().unwrap().unwrap().data, "abc");
        assert_eq!(reader.next_chunk().unwrap(), None);
        write(directory.path(), 0, 3, Stream::Stderr, b"de");
        write(directory.path(), 5, 5, Stream::Stdout, b"f");
        let second = reader.next_chunk().unwrap().unwrap();
        assert_eq!((second.stream, second.next_offset, second.lost_before), (Stream::Stderr, 5, 0));
        assert_eq!(reader.next_chunk().unwrap().unwrap().next_offset, 6);
        assert_eq!(reader.next_chunk().unwrap(), None);
    }

    #[test]
    fn an_offset_within_a_chunk_is_honoured_and_what_is_gone_is_said() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), 10, 10, Stream::Stdout, b"0123456789");
        write(directory.path(), 10, 25, Stream::Stdout, b"tail");
        let mut within = OutputReader::new(directory.path(), 14);
        assert_eq!(within.next_chunk().unwrap().unwrap().data, "456789");
        assert_eq!(
            within.next_chunk().unwrap().unwrap().lost_before,
            5,
            "never kept: the disk was full"
        );
        let rotated = OutputReader::new(directory.path(), 0).next_chunk().unwrap().unwrap();
        assert_eq!((rotated.lost_before, rotated.next_offset), (10, 20));
    }

    #[test]
    fn a_chunk_that_is_not_there_in_full_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), 0, 0, Stream::Stdout, b"whole");
        let header = Header { offset: 5, unix_nanos: 0, stream: Stream::Stdout, length: 100 };
        let mut file =
            File::options().append(true).open(segment_path(directory.path(), 0)).unwrap();
        file.write_all(&header.encode()).unwrap();
        file.write_all(b"cut off").unwrap();
        let mut reader = OutputReader::new(directory.path(), 0);
        assert_eq!(reader.next_chunk().unwrap().unwrap().data, "whole");
        assert_eq!(reader.next_chunk().unwrap(), None);
        assert_eq!(OutputReader::new(directory.path(), 200).next_chunk().unwrap(), None);
    }

    #[test]
    fn the_tail_is_of_one_stream_and_begins_with_a_whole_line() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), 0, 0, Stream::Stderr, b"error: no table\nhelp: name one\n");
        write(directory.path(), 0, 31, Stream::Stdout, b"rows");
        assert_eq!(tail(directory.path(), Stream::Stderr, 20).unwrap(), "help: name one");
        assert_eq!(
            tail(directory.path(), Stream::Stderr, 9).unwrap(),
            "name one",
            "rather a part than nothing"
        );
        assert_eq!(
            tail(directory.path(), Stream::Stderr, 31).unwrap(),
            "error: no table\nhelp: name one"
        );
    }
}
