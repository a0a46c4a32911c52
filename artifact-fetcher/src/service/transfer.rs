//! One transfer: from a source through the digest into the cache, with bounded tries, which go on
//! after a cut where the source can.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use chassis::backoff::Backoff;
use chassis::clock::Boot;
use futures::StreamExt as _;
use proto::Digest;
use tokio::sync::mpsc;

use super::Inner;
use crate::cache::{Incoming, Kept, NotKept};
use crate::error::FetchError;
use crate::model::Location;
use crate::source::{OpenError, Opened};

/// How often a source is asked before it counts as unreachable.
const TRIES: u32 = 5;

/// The first and the longest pause between tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long all tries of one transfer may take together.
const DEADLINE: Duration = Duration::from_secs(3600);

/// The least time between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// How many chunks may be under way between the source and the disk.
const QUEUE_CHUNKS: usize = 16;

/// How far a transfer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many bytes have arrived.
    pub bytes_done: u64,
    /// How many bytes there are in all, if the source tells.
    pub bytes_total: Option<u64>,
    /// The number of the present try, from 1 on; 0 before the first.
    pub attempt: u32,
}

/// Why a try ended early.
enum Cut {
    Source(String),
    Disk(io::Error),
    /// So many bytes have arrived, which is more than the whole cache may hold.
    Limit(u64),
}

/// Fetches one artifact into the cache; `tell` hears how far the transfer is.
pub(super) async fn run(
    inner: &Inner,
    location: &Location,
    expected: Option<Digest>,
    tell: &(impl Fn(Progress) + Sync),
) -> Result<Kept, FetchError> {
    let uri = location.to_string();
    let disk = |error: io::Error| FetchError::disk(inner.cache.directory(), &uri, error);
    let deadline = inner.clock.boot() + DEADLINE;
    let mut pauses = Backoff::new(PAUSE.0, PAUSE.1);
    let mut incoming = inner.cache.incoming().map_err(disk)?;
    let mut validator = None;
    let mut last = String::new();
    for attempt in 1..=TRIES {
        let progress = Progress { bytes_done: incoming.size_bytes(), bytes_total: None, attempt };
        tell(progress);
        let source = inner.sources.of(location);
        match source.open(location, incoming.size_bytes(), validator.as_deref()).await {
            Ok(opened) => {
                if let Some(size) = opened.size_bytes {
                    room_for(inner, size, &uri).await?;
                    incoming.reserve(size).map_err(disk)?;
                }
                validator.clone_from(&opened.validator);
                let (back, outcome) =
                    receive(inner, incoming, opened, progress, deadline, tell).await?;
                incoming = back;
                match outcome {
                    Ok(()) => return keep(inner, location, expected, incoming).await,
                    Err(Cut::Disk(error)) => return Err(disk(error)),
                    Err(Cut::Source(why)) => last = why,
                    Err(Cut::Limit(size)) => {
                        room_for(inner, size, &uri).await?;
                        last = "the cache's room was taken meanwhile".into();
                    }
                }
            }
            Err(OpenError::Final(error)) => return Err(error),
            Err(OpenError::Passing(why)) => last = why,
        }
        if inner.clock.boot() >= deadline {
            return Err(FetchError::NotReachable {
                uri,
                why: format!("not done within {DEADLINE:?}: {last}"),
                tries: attempt,
            });
        }
        if attempt < TRIES {
            tracing::debug!(uri, attempt, "fetch cut: {last}");
            inner.clock.sleep(pauses.next_delay()).await;
        }
    }
    Err(FetchError::NotReachable { uri, why: last, tries: TRIES })
}

/// Streams one opening into the file. Digest and disk have threads of their own, so that they run
/// beside the network.
async fn receive(
    inner: &Inner,
    incoming: Incoming,
    mut opened: Opened,
    mut progress: Progress,
    deadline: Boot,
    tell: &(impl Fn(Progress) + Sync),
) -> Result<(Incoming, Result<(), Cut>), FetchError> {
    let (chunks, queue) = mpsc::channel(QUEUE_CHUNKS);
    let from = opened.offset;
    let writer = tokio::task::spawn_blocking(move || write(incoming, from, queue));
    progress.bytes_done = opened.offset;
    progress.bytes_total = opened.size_bytes;
    let mut told = inner.clock.boot();
    let cut = loop {
        match opened.body.next().await {
            None => break None,
            Some(Err(broken)) => break Some(broken.0),
            Some(Ok(chunk)) => {
                progress.bytes_done += chunk.len() as u64;
                if chunks.send(chunk).await.is_err() {
                    break None; // The writer says why.
                }
            }
        }
        if progress.bytes_done > inner.cache.limit_bytes() {
            drop(chunks);
            let (incoming, _) = writer.await.map_err(|_| FetchError::GoingDown)?;
            return Ok((incoming, Err(Cut::Limit(progress.bytes_done))));
        }
        let now = inner.clock.boot();
        if now >= deadline {
            break Some("too slow".into());
        }
        if now.saturating_duration_since(told) >= PROGRESS_EVERY {
            told = now;
            tell(progress);
        }
    };
    drop(chunks);
    let (incoming, written) = writer.await.map_err(|_| FetchError::GoingDown)?;
    let outcome = match (written, cut, opened.size_bytes) {
        (Err(error), ..) => Err(Cut::Disk(error)),
        (_, Some(why), _) => Err(Cut::Source(why)),
        (_, None, Some(size)) if size != incoming.size_bytes() => {
            Err(Cut::Source(format!("{} of {size} bytes arrived", incoming.size_bytes())))
        }
        _ => Ok(()),
    };
    Ok((incoming, outcome))
}

fn write(
    mut incoming: Incoming,
    from: u64,
    mut queue: mpsc::Receiver<Bytes>,
) -> (Incoming, io::Result<()>) {
    if from != incoming.size_bytes()
        && let Err(error) = incoming.restart()
    {
        return (incoming, Err(error));
    }
    let written = incoming.receive(std::iter::from_fn(|| queue.blocking_recv()));
    (incoming, written)
}

/// Whether so many bytes could be kept at all, asked before they are moved.
async fn room_for(inner: &Inner, size_bytes: u64, uri: &str) -> Result<(), FetchError> {
    let cache = inner.cache.clone();
    let room = tokio::task::spawn_blocking(move || cache.could_keep(size_bytes));
    room.await.map_err(|_| FetchError::GoingDown)?.map_err(|why| not_kept(inner, uri, why))
}

async fn keep(
    inner: &Inner,
    location: &Location,
    expected: Option<Digest>,
    incoming: Incoming,
) -> Result<Kept, FetchError> {
    let actual = incoming.digest();
    if let Some(expected) = expected.filter(|expected| *expected != actual) {
        return Err(FetchError::DigestMismatch { uri: location.to_string(), expected, actual });
    }
    let (cache, uri) = (inner.cache.clone(), location.to_string());
    let kept = tokio::task::spawn_blocking(move || cache.keep(incoming, &uri));
    kept.await
        .map_err(|_| FetchError::GoingDown)?
        .map_err(|why| not_kept(inner, &location.to_string(), why))
}

fn not_kept(inner: &Inner, uri: &str, why: NotKept) -> FetchError {
    match why {
        NotKept::Disk(error) => FetchError::disk(inner.cache.directory(), uri, error),
        NotKept::NoRoom { used_bytes, size_bytes } => FetchError::CacheLimit {
            directory: inner.cache.directory().to_owned(),
            uri: uri.to_owned(),
            size_bytes,
            used_bytes,
            limit_bytes: inner.cache.limit_bytes(),
        },
    }
}
