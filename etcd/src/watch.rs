//! A watch that goes on: on another member when its stream breaks, from the revision after the last
//! one that was heard.

use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, timeout};
use chassis::failpoint;
use etcd_client::{Event, KeyValue, WatchOptions, WatchStream};

use crate::error::Error;
use crate::link::{Etcd, watch};

/// A stream that says nothing for so long is asked for a sign of life.
const SILENCE: Duration = Duration::from_secs(2);

/// How long opening a stream may take.
const OPENING: Duration = Duration::from_secs(3);

/// The first pause before a stream is opened again.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause before a stream is opened again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The revision of an etcd that holds nothing. A watch from 0 would begin now.
const FIRST_REVISION: i64 = 1;

/// What a watch tells.
#[derive(Debug)]
pub enum Heard {
    /// What happened to the watched keys, in the order of revisions. Events of one revision come
    /// together.
    Events(Vec<Event>),
    /// Events between the last revision that was heard and this one are lost, because etcd keeps
    /// them no longer. The watch goes on after this revision.
    Lost(i64),
}

/// A watch of all keys with one prefix.
#[derive(Debug)]
pub struct Watch {
    etcd: Etcd,
    prefix: Vec<u8>,
    next: i64,
    /// The member that tells, the token that it took, and what it tells.
    stream: Option<(usize, u64, WatchStream)>,
    backoff: Backoff,
    asked: bool,
}

impl Watch {
    /// A watch of what happens from the revision `from` on. Nothing is connected yet. It is told
    /// as lost if etcd keeps the revision before `from` no longer.
    pub fn new(etcd: Etcd, prefix: impl Into<Vec<u8>>, from: i64) -> Self {
        let backoff = Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE);
        Self { etcd, prefix: prefix.into(), next: from, stream: None, backoff, asked: false }
    }

    /// What happened next. The watch tries for as long as the caller waits, and may be dropped and
    /// called again at any time.
    pub async fn next(&mut self) -> Heard {
        loop {
            match self.step().await {
                Ok(Some(heard)) => return heard,
                Ok(None) => {}
                Err(error) => self.broke(&error).await,
            }
        }
    }

    /// One message of the stream. `None` for a message that tells nothing.
    async fn step(&mut self) -> Result<Option<Heard>, Error> {
        let etcd = self.etcd.clone();
        let clock = etcd.clock();
        let (at, token, stream) = match &mut self.stream {
            Some(stream) => stream,
            stream => {
                let (at, client) = etcd.present();
                // The last revision that was heard is asked for once more. etcd refuses it exactly
                // if something after it is compacted; it does not refuse the compacted revision
                // itself, of which deletions may be gone. And etcd gives no sign of life on a
                // stream that begins with a revision of the future.
                let from = self.next.saturating_sub(1).max(FIRST_REVISION);
                let options = WatchOptions::new().with_prefix().with_start_revision(from);
                let prefix = self.prefix.clone();
                let opening = async {
                    let token = etcd.token(at).await?;
                    let opened = watch(&client).watch(prefix, Some(options)).await;
                    let opened = opened.map_err(|error| etcd.judge(at, token, error.into()))?;
                    Ok::<_, Error>((at, token, opened))
                };
                let opened = match timeout(clock, OPENING, opening).await {
                    Ok(opened) => opened,
                    Err(silence) => Err(silence.into()),
                };
                self.asked = false;
                match opened {
                    Ok(opened) => stream.insert(opened),
                    Err(error) => {
                        etcd.broke(at, &error);
                        return Err(error);
                    }
                }
            }
        };
        let (at, token) = (*at, *token);
        let message = match timeout(clock, SILENCE, stream.message()).await {
            Ok(message) => message?.ok_or_else(|| Error::Away("the watch ended".to_owned()))?,
            Err(silence) if self.asked => return Err(silence.into()),
            Err(_) => {
                // The answer is a sign of life alone: the revision in it may run ahead of events
                // that are still on their way.
                self.asked = true;
                stream.request_progress().await?;
                return Ok(None);
            }
        };
        self.asked = false;
        if message.compact_revision() > 0 {
            self.stream = None;
            let lost = message.compact_revision();
            self.next = lost + 1;
            // A test plants the bug to see that it would be noticed.
            if failpoint::is_planted("etcd.watch-without-list") {
                return Ok(None);
            }
            return Ok(Some(Heard::Lost(lost)));
        }
        if message.canceled() {
            return Err(etcd.judge(at, token, Error::of_ended_watch(message.cancel_reason())));
        }
        self.backoff.reset();
        let revision = |event: &Event| event.kv().map_or(0, KeyValue::mod_revision);
        let mut events = message.events().to_vec();
        events.retain(|event| revision(event) >= self.next);
        let Some(last) = events.iter().map(revision).max() else { return Ok(None) };
        self.next = last + 1;
        Ok(Some(Heard::Events(events)))
    }

    async fn broke(&mut self, error: &Error) {
        if error.is_away() {
            tracing::debug!(%error, next = self.next, "a watch broke and is opened again");
        } else {
            tracing::warn!(%error, next = self.next, "etcd refuses a watch, which is opened again");
        }
        if let Some((at, ..)) = self.stream.take() {
            self.etcd.broke(at, error);
        }
        let pause = self.backoff.next_delay();
        self.etcd.clock().sleep(pause).await;
    }
}
