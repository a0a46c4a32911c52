//! The past of an application.

use chassis::tasks::{Feed, fed};
use futures::Stream;
use proto::{ApplicationId, ApplicationRef, api};

use super::{Service, load};
use crate::error::Error;
use crate::keys::{Kind as _, event, generation};
use crate::store::Read;

/// How many events are read at once.
const READ_AHEAD: usize = 256;

/// How many events are on their way to a reader.
const ROOM: usize = 64;

impl Service {
    /// Events of one generation after an event id, oldest first. With `follow` the stream goes on
    /// until the application is clean.
    pub async fn events(
        &self,
        id: &ApplicationId,
        generation: u64,
        after: u64,
        follow: bool,
    ) -> Result<impl Stream<Item = Result<api::Event, Error>> + Send + 'static + use<>, Error> {
        let application = self.resolve(id, generation).await?;
        self.load(&application, None).await?;
        let service = self.clone();
        let feeder = move |feed| async move {
            service.feed_events(&application, after, follow, &feed).await
        };
        Ok(fed("events", ROOM, feeder))
    }

    async fn feed_events(
        &self,
        application: &ApplicationRef,
        mut after: u64,
        follow: bool,
        feed: &Feed<api::Event>,
    ) -> Result<(), Error> {
        let mut revisions = self.metadata.revisions();
        loop {
            revisions.borrow_and_update();
            let reads = vec![
                Read::Key(generation::state_key(application)),
                Read::Range {
                    prefix: event::prefix(&application.id),
                    after: Some(event::key(&application.id, after)),
                    limit: READ_AHEAD,
                },
            ];
            let view = self.metadata.read(reads, None).await?;
            let state: Option<generation::GenerationState> = load::one(&view, 0)?;
            let entries = &view.answers[1];
            for (_, stored) in entries {
                let mut event = api::Event::from_stored(&stored.value)?;
                proto::uri::mask_event(&mut event);
                after = event.event_id;
                if event.generation == application.generation.get() {
                    feed.send(event).await;
                }
            }
            if entries.len() >= READ_AHEAD {
                continue;
            }
            if !follow || state.is_none_or(|state| state.application().clean) {
                return Ok(());
            }
            let closed = |_| Error::Unavailable("the record is closed".into());
            revisions.changed().await.map_err(closed)?;
        }
    }
}
