//! Reading output: from chunks and from memory, in the order of line numbers, and on as lines come.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use chassis::tasks::{Feed, fed};
use futures::Stream;
use proto::{ApplicationId, ApplicationRef, api};

use super::AppLog;
use super::cursor::Cursor;
use super::next::{BATCH_BYTES, Lines, Place};
use crate::error::Error;
use crate::keys::generation::{GenerationState, state_key};
use crate::keys::generation_of;
use crate::keys::log::{LogHead, StoredLine, head_key};
use crate::model::Refusal;
use crate::service::{Service, one};
use crate::store::{Key, Read};

/// How many batches are on their way to a reader.
const ROOM: usize = 4;

/// Which lines the reader wants.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogFilter {
    /// The roles whose lines are wanted; empty: all roles.
    pub roles: Vec<String>,
    /// The execution of main() whose lines alone are wanted; 0: all lines.
    pub attempt: u64,
    /// Lines that were seen at this time or later.
    pub since: Option<SystemTime>,
    /// Lines that were seen before this time.
    pub until: Option<SystemTime>,
    /// How many of the last lines are wanted; 0: all lines.
    pub tail: usize,
    /// Whether to go on as lines come, until the application is clean.
    pub follow: bool,
}

impl LogFilter {
    /// Whether the line is of a source that the reader wants. A role stands for all hosts, and with
    /// a host for that one.
    fn is_wanted(&self, line: &StoredLine) -> bool {
        let is_named = |role: &String| {
            *role == line.role || (!line.host.is_empty() && *role == line.shown_role())
        };
        (self.roles.is_empty() || self.roles.iter().any(is_named))
            && (self.attempt == 0 || (line.role == "main" && line.source_number == self.attempt))
    }

    /// Whether the line was seen in the time that the reader wants.
    fn is_in_time(&self, line: &StoredLine) -> bool {
        let nanos = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            i64::try_from(since).unwrap_or(i64::MAX)
        };
        self.since.is_none_or(|since| line.unix_nanos >= nanos(since))
            && self.until.is_none_or(|until| line.unix_nanos < nanos(until))
    }
}

/// One reading of a generation's log. However the reading ends, the log that it opened is closed.
struct Reading {
    service: Service,
    application: ApplicationRef,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.service.logs.close(&self.application);
    }
}

impl Service {
    /// Lines after a cursor, in batches; an empty cursor reads from the beginning.
    pub async fn read_logs(
        &self,
        id: &ApplicationId,
        generation: u64,
        after: &str,
        filter: LogFilter,
    ) -> Result<impl Stream<Item = Result<Vec<api::LogLine>, Error>> + Send + 'static + use<>, Error>
    {
        let application = self.resolve(id, generation).await?;
        self.load(&application, None).await?;
        let malformed = || {
            Refusal::RequestInvalid(format!("{after:?} is not a cursor that this service gave out"))
        };
        let at = if after.is_empty() {
            Cursor::default()
        } else {
            after.parse().map_err(|_| malformed())?
        };
        let reading = Reading { service: self.clone(), application };
        Ok(fed("log", ROOM, move |feed| async move {
            let Reading { service, application } = &reading;
            let log = service.log_of(application).await?;
            service.feed_logs(application, &log, at, &filter, &feed).await
        }))
    }

    async fn feed_logs(
        &self,
        application: &ApplicationRef,
        log: &AppLog,
        cursor: Cursor,
        filter: &LogFilter,
        feed: &Feed<Vec<api::LogLine>>,
    ) -> Result<(), Error> {
        let mut place = Place::at(cursor, log);
        let mut last = log.last.subscribe();
        let mut revisions = self.metadata.revisions();
        let mut tail = (filter.tail > 0).then(VecDeque::new);
        let (mut clean, mut asked_at) = (false, None);
        loop {
            last.borrow_and_update();
            let revision = *revisions.borrow_and_update();
            // The question is asked before lines are read, so that the lines that were written
            // before clean are read below, whichever store has written them. The answer changes
            // with the record, not with each line.
            if asked_at.replace(revision) != Some(revision) {
                let last_line;
                (clean, last_line) = self.clean_and_last_line(application).await?;
                if log.state().durable_line < last_line {
                    self.catch_up(application, log, last_line).await?;
                }
            }
            while let Some(next) = self.next_lines(application, log, &mut place).await? {
                let Lines { lines, durable } = next;
                let wanted = lines.into_iter().filter(|line| filter.is_wanted(line));
                let new = wanted.filter_map(|line| {
                    let is_new = place.cursor.pass(&line, durable) && filter.is_in_time(&line);
                    is_new.then(|| shown(line, place.cursor.to_string()))
                });
                match &mut tail {
                    Some(kept) => {
                        kept.extend(new);
                        kept.drain(..kept.len().saturating_sub(filter.tail));
                    }
                    None => send(feed, new).await,
                }
            }
            if let Some(kept) = tail.take() {
                send(feed, kept).await;
            }
            let over = filter.until.is_some_and(|until| until <= self.clock.wall());
            if !filter.follow || clean || over {
                return Ok(());
            }
            let head = head_key(application);
            let written =
                |key: &Key| *key == head || generation_of(key).as_ref() == Some(application);
            tokio::select! {
                changed = last.changed() => changed.map_err(|_| Error::Unavailable("the log is closed".into()))?,
                changed = self.changed_where(written, &mut revisions, revision) => changed?,
            }
        }
    }

    /// Whether the application is clean, and the number of the last line that is durable then.
    async fn clean_and_last_line(
        &self,
        application: &ApplicationRef,
    ) -> Result<(bool, u64), Error> {
        let reads = vec![Read::Key(state_key(application)), Read::Key(head_key(application))];
        let view = self.metadata.read(reads, None).await?;
        let clean = one::<GenerationState>(&view, 0)?.is_none_or(|state| state.application().clean);
        Ok((clean, one::<LogHead>(&view, 1)?.unwrap_or_default().last_line))
    }
}

async fn send(feed: &Feed<Vec<api::LogLine>>, lines: impl IntoIterator<Item = api::LogLine>) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    for line in lines {
        bytes += line.text.len();
        batch.push(line);
        if bytes >= BATCH_BYTES {
            bytes = 0;
            feed.send(std::mem::take(&mut batch)).await;
        }
    }
    if !batch.is_empty() {
        feed.send(batch).await;
    }
}

fn shown(line: StoredLine, cursor: String) -> api::LogLine {
    let (seconds, nanos) =
        (line.unix_nanos.div_euclid(1_000_000_000), line.unix_nanos.rem_euclid(1_000_000_000));
    api::LogLine {
        cursor,
        at: Some(prost_types::Timestamp { seconds, nanos: i32::try_from(nanos).unwrap_or(0) }),
        role: line.shown_role(),
        number: line.source_number,
        stream: if line.stderr { "stderr" } else { "stdout" }.into(),
        text: line.text,
        partial: line.partial,
        lost_before: line.lost_before,
    }
}
