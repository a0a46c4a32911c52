//! A file that is only read: what redb writes while it opens and repairs the file stays in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// The size of the pieces in which written bytes are kept.
const PIECE: u64 = 4096;

/// A redb backend that reads from a file and writes beside it, into memory.
#[derive(Debug)]
pub(crate) struct Beside {
    file: File,
    /// How long the file was when it was opened.
    kept: u64,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    pieces: BTreeMap<u64, Box<[u8; PIECE as usize]>>,
}

impl Beside {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let kept = file.metadata()?.len();
        Ok(Self {
            file,
            kept,
            written: Mutex::new(Written { length: kept, pieces: BTreeMap::new() }),
        })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file itself has at this place, with zeros behind its end.
    fn read_file(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.fill(0);
        let there = self.kept.saturating_sub(offset).min(out.len() as u64);
        self.file.read_exact_at(&mut out[..usize::try_from(there).unwrap_or_default()], offset)
    }
}

/// Cuts `offset` and `length` at the borders of pieces: (piece, begin within the piece, length).
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + length as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        let piece = at / PIECE;
        let next = ((piece + 1) * PIECE).min(end);
        let cut = (at < end).then(|| {
            let within = |bytes: u64| usize::try_from(bytes).unwrap_or_default();
            (piece, within(at % PIECE), within(next - at))
        });
        at = next;
        cut
    })
}

impl StorageBackend for Beside {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.written().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let written = self.written();
        if offset + out.len() as u64 > written.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_file(offset, out)?;
        let mut done = 0;
        for (piece, begin, length) in pieces(offset, out.len()) {
            if let Some(bytes) = written.pieces.get(&piece) {
                out[done..done + length].copy_from_slice(&bytes[begin..begin + length]);
            }
            done += length;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        let mut written = self.written();
        written.length = length;
        // Pieces behind the cut can go: redb reads nothing there before it has written there again.
        written.pieces.split_off(&length.div_ceil(PIECE));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut written = self.written();
        let mut done = 0;
        for (piece, begin, length) in pieces(offset, data.len()) {
            let bytes = match written.pieces.entry(piece) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let mut bytes = Box::new([0; PIECE as usize]);
                    self.read_file(piece * PIECE, &mut bytes[..])?;
                    entry.insert(bytes)
                }
            };
            bytes[begin..begin + length].copy_from_slice(&data[done..done + length]);
            done += length;
        }
        Ok(())
    }
}
