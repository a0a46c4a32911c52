//! The past of an application.

use futures::Stream;
use proto::{ApplicationId, ApplicationRef, api};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Service, load};
use crate::error::Error;
use crate::keys::{Kind as _, event, generation};
use crate::store::Read;

/// Events that are read at once.
const READ_AHEAD: usize = 256;

/// Events on their way to a reader.
const ROOM: usize = 64;

impl Service {
    /// Events of one generation after an id, oldest first; with `follow` until the application is clean.
    pub async fn events(
        &self,
        id: &ApplicationId,
        generation: u64,
        after: u64,
        follow: bool,
    ) -> Result<impl Stream<Item = Result<api::Event, Error>> + Send + 'static + use<>, Error> {
        let application = self.resolve(id, generation).await?;
        self.load(&application, None).await?;
        let (sender, receiver) = mpsc::channel(ROOM);
        let service = self.clone();
        tokio::spawn(async move {
            if let Err(error) = service.feed_events(&application, after, follow, &sender).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(ReceiverStream::new(receiver))
    }

    async fn feed_events(
        &self,
        application: &ApplicationRef,
        mut after: u64,
        follow: bool,
        sender: &mpsc::Sender<Result<api::Event, Error>>,
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
            let state: generation::GenerationState = load::one(&view, 0)?.unwrap_or_default();
            let entries = &view.answers[1];
            for (_, stored) in entries {
                let event = api::Event::from_stored(&stored.value)?;
                after = event.event_id;
                if event.generation == application.generation.get() && sender.send(Ok(event)).await.is_err() {
                    return Ok(());
                }
            }
            if entries.len() >= READ_AHEAD {
                continue;
            }
            if !follow || state.application().clean {
                return Ok(());
            }
            tokio::select! {
                () = sender.closed() => return Ok(()),
                changed = revisions.changed() => changed.map_err(|_| Error::Unavailable("the record is closed".into()))?,
            }
        }
    }
}
