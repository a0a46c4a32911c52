//! What the child says. It is read from the child's pipes at once, whether an owner is connected or
//! not, and kept in capped segment files. A full disk loses output and never stops the child.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chassis::clock::{Clock as _, SharedClock};
use client::tether::Stream;
use client::tether::output::{HEADER_BYTES, Header, MAX_CHUNK_BYTES, segment_path, segments};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How large a segment grows before a new one follows, in bytes.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

/// How many segments are kept.
const SEGMENTS: usize = 2;

/// How far the output has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The position after the last chunk.
    pub(crate) end: u64,
    /// Whether nothing more will come.
    pub(crate) complete: bool,
}

/// What one read from a pipe brought.
struct Piece {
    stream: Stream,
    unix_nanos: i64,
    data: Vec<u8>,
}

/// Reads both pipes into segments until both have ended, or until `ended` says that no process is
/// left that could write, and what is in the pipes is read.
pub(crate) async fn keep(
    directory: PathBuf,
    stdout: OwnedFd,
    stderr: OwnedFd,
    clock: SharedClock,
    ended: CancellationToken,
    progress: watch::Sender<Progress>,
) -> io::Result<()> {
    let (pieces, mut to_write) = mpsc::channel::<Piece>(2);
    let read = |stream, fd| read_pipe(stream, fd, pieces.clone(), clock.clone(), ended.clone());
    let (stdout, stderr) = (read(Stream::Stdout, stdout), read(Stream::Stderr, stderr));
    drop(pieces);
    let mut writer = Writer::open(directory)?;
    let write = async {
        while let Some(piece) = to_write.recv().await {
            // Writing has a thread of its own: a slow disk must not keep the tether from freezing
            // its tree in time.
            let written = tokio::task::spawn_blocking(move || {
                writer.append(&piece);
                writer
            });
            writer = written.await.map_err(io::Error::other)?;
            progress.send_modify(|progress| progress.end = writer.offset);
        }
        tokio::task::spawn_blocking(move || writer.end()).await.map_err(io::Error::other)
    };
    let (written, stdout, stderr) = tokio::join!(write, stdout, stderr);
    progress.send_modify(|progress| progress.complete = true);
    written.and(stdout).and(stderr)
}

async fn read_pipe(
    stream: Stream,
    fd: OwnedFd,
    pieces: mpsc::Sender<Piece>,
    clock: SharedClock,
    ended: CancellationToken,
) -> io::Result<()> {
    let pipe = pipe::Receiver::from_owned_fd(fd)?;
    let mut buffer = vec![0; MAX_CHUNK_BYTES];
    loop {
        // When the tree has ended, readiness says nothing. What is in the pipe is read, and then
        // the output is over, also if a process outside the tree was handed the writing end.
        let over = ended.is_cancelled();
        let read = if over {
            rustix::io::read(&pipe, &mut buffer[..]).map_err(io::Error::from)
        } else {
            pipe.try_read(&mut buffer)
        };
        match read {
            Ok(0) => return Ok(()),
            Ok(length) => {
                let unix_nanos = unix_nanos(clock.wall());
                let piece = Piece { stream, unix_nanos, data: buffer[..length].to_vec() };
                if pieces.send(piece).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && over => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::select! {
                    ready = pipe.readable() => ready?,
                    () = ended.cancelled() => {}
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn unix_nanos(wall: SystemTime) -> i64 {
    let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Appends chunks to segments and forgets the oldest.
struct Writer {
    directory: PathBuf,
    offset: u64,
    open: Option<(File, u64)>,
    failing: bool,
    last_nanos: i64,
}

impl Writer {
    /// Starts with an empty directory: segments of an earlier tether in the same place are not this
    /// child's words.
    fn open(directory: PathBuf) -> io::Result<Self> {
        for start in segments(&directory)? {
            fs::remove_file(segment_path(&directory, start))?;
        }
        Ok(Self { directory, offset: 0, open: None, failing: false, last_nanos: 0 })
    }

    /// Keeps a piece, or drops it when the disk does not take it: its bytes then count as lost.
    fn append(&mut self, piece: &Piece) {
        let result = self.try_append(piece);
        match &result {
            Err(error) if !self.failing => tracing::warn!("output is being lost: {error}"),
            Ok(()) if self.failing => tracing::warn!("output is kept again"),
            _ => {}
        }
        self.failing = result.is_err();
        self.last_nanos = piece.unix_nanos;
        self.offset += piece.data.len() as u64;
    }

    /// Ends the output. What was lost last is told by a chunk without bytes at the end, if the disk
    /// takes as much as that by now. A loss in the middle is told by the next chunk, but a loss at
    /// the end only the tether itself would know.
    fn end(mut self) {
        if self.failing {
            let unix_nanos = self.last_nanos;
            let told =
                self.try_append(&Piece { stream: Stream::Stdout, unix_nanos, data: Vec::new() });
            if let Err(error) = told {
                tracing::warn!("the end of the output is lost: {error}");
            }
        }
    }

    fn try_append(&mut self, piece: &Piece) -> io::Result<()> {
        if self.open.as_ref().is_none_or(|(_, bytes)| *bytes >= SEGMENT_BYTES) {
            self.rotate()?;
        }
        let Some((file, bytes)) = &mut self.open else { return Ok(()) };
        let length = u32::try_from(piece.data.len()).map_err(io::Error::other)?;
        let header = Header {
            offset: self.offset,
            unix_nanos: piece.unix_nanos,
            stream: piece.stream,
            length,
        };
        let mut record = Vec::with_capacity(HEADER_BYTES + piece.data.len());
        record.extend_from_slice(&header.encode());
        record.extend_from_slice(&piece.data);
        if let Err(error) = file.write_all(&record) {
            // Half a chunk must not stay, or all that follows would be unreadable.
            file.set_len(*bytes)?;
            return Err(error);
        }
        *bytes += record.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        // Room comes first: on a full disk the oldest segment makes place for the newest.
        let starts = segments(&self.directory)?;
        let excess = (starts.len() + 1).saturating_sub(SEGMENTS);
        for start in &starts[..excess] {
            fs::remove_file(segment_path(&self.directory, *start))?;
        }
        self.open = Some((create(&segment_path(&self.directory, self.offset))?, 0));
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use client::tether::OutputReader;

    use super::*;

    #[test]
    fn output_beyond_the_cap_rotates_and_a_reader_is_told_what_it_missed() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(directory.path().to_owned()).unwrap();
        let mut reader = OutputReader::new(directory.path(), 0);
        let data = vec![7; MAX_CHUNK_BYTES];
        let piece = Piece { stream: Stream::Stdout, unix_nanos: 0, data };
        writer.append(&piece);
        assert_eq!(reader.next_chunk().unwrap().unwrap().lost_before, 0);
        for _ in 0..1000 {
            writer.append(&piece);
        }
        let kept: u64 = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(
            kept <= SEGMENTS as u64
                * (SEGMENT_BYTES + MAX_CHUNK_BYTES as u64 + HEADER_BYTES as u64),
            "{kept}"
        );
        let (mut read, mut lost) = (MAX_CHUNK_BYTES as u64, 0);
        while let Some(chunk) = reader.next_chunk().unwrap() {
            read += chunk.data.len() as u64;
            lost += chunk.lost_before;
        }
        assert!(lost > 0);
        assert_eq!(read + lost, 1001 * MAX_CHUNK_BYTES as u64);
        assert_eq!(reader.offset(), writer.offset);
    }

    #[test]
    fn a_disk_that_takes_nothing_loses_output_and_what_comes_after_is_kept_again() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("output");
        let mut writer = Writer::open(output.clone()).unwrap();
        let piece = |text: &str| Piece {
            stream: Stream::Stderr,
            unix_nanos: 0,
            data: text.as_bytes().to_vec(),
        };
        writer.append(&piece("lost"));
        fs::create_dir(&output).unwrap();
        writer.append(&piece("kept"));
        let chunk = OutputReader::new(&output, 0).next_chunk().unwrap().unwrap();
        assert_eq!(
            (chunk.data.as_ref(), chunk.lost_before, chunk.next_offset),
            (b"kept".as_slice(), 4, 8)
        );
    }

    #[test]
    fn what_a_full_disk_loses_at_the_end_is_told_to_who_reads_the_files() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("output");
        fs::create_dir(&output).unwrap();
        let mut writer = Writer::open(output.clone()).unwrap();
        let piece = |text: &str| Piece {
            stream: Stream::Stdout,
            unix_nanos: 5,
            data: text.as_bytes().to_vec(),
        };
        writer.append(&piece("kept"));
        // There is no place for what comes next, until the directory is back.
        let (open, kept) = (writer.open.take(), directory.path().join("kept"));
        fs::rename(&output, &kept).unwrap();
        writer.append(&piece("lost"));
        fs::rename(&kept, &output).unwrap();
        writer.open = open;
        writer.end();
        let mut reader = OutputReader::new(&output, 0);
        assert_eq!(reader.next_chunk().unwrap().unwrap().data, "kept");
        let last = reader.next_chunk().unwrap().unwrap();
        assert_eq!((last.data.len(), last.lost_before, last.next_offset), (0, 4, 8));
        assert_eq!(reader.next_chunk().unwrap(), None);
    }
}
