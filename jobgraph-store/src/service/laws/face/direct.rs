//! The laws ask the service itself, without the wire.

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use proto::{ApplicationRef, Digest, Epoch, EpochFence, PlaceUid, Reason, api, jobgraph};

use super::{Answer, Beside};
use crate::error::Error;
use crate::service::Service;

/// The service, as a face asks it.
pub(crate) struct Direct(pub(crate) Service);

fn why(error: Error) -> Reason {
    proto::problem::reason(&tonic::Status::from(error)).expect("every refusal has a reason")
}

#[async_trait]
impl Beside for Direct {
    async fn submit(&self, request: api::SubmitRequest) -> Answer<api::SubmitResponse> {
        let submitted = self.0.submit(request).await.map_err(why)?;
        let (application, accepted_earlier, existing) =
            (Some(submitted.application), submitted.accepted_earlier, submitted.existing);
        Ok(api::SubmitResponse { application, accepted_earlier, existing })
    }

    async fn get(&self, application: &ApplicationRef) -> Answer<api::Application> {
        self.0.get(&application.id, application.generation.get()).await.map_err(why)
    }

    async fn list(&self, request: api::ListRequest) -> Answer<api::ListResponse> {
        let filter = crate::service::list::Filter {
            labels: request.labels.clone(),
            latest_only: request.latest_only,
            phases: request.phases().collect(),
            application: request.application_id.parse().ok(),
            ..Default::default()
        };
        let page = self
            .0
            .list(&filter, request.page_size as usize, &request.page_token)
            .await
            .map_err(why)?;
        Ok(api::ListResponse {
            applications: page.applications,
            next_page_token: page.next,
            revision: page.revision,
        })
    }

    async fn cancel(&self, application: &ApplicationRef) -> Answer<bool> {
        let cancel =
            self.0.cancel(&application.id, application.generation.get(), "enough", "me@here");
        Ok(cancel.await.map_err(why)?.1)
    }

    async fn abandon(&self, application: &ApplicationRef) -> Answer<()> {
        self.0
            .abandon(&application.id, application.generation.get(), "enough", "me@here")
            .await
            .map_err(why)?;
        Ok(())
    }

    async fn forget(&self, application: &ApplicationRef, seen_revision: u64) -> Answer<bool> {
        let (id, generation) = (&application.id, application.generation.get());
        Ok(self.0.forget(id, generation, seen_revision, false).await.map_err(why)?.earlier)
    }

    async fn events(&self, application: &ApplicationRef) -> Answer<Vec<api::Event>> {
        let events = self
            .0
            .events(&application.id, application.generation.get(), 0, false)
            .await
            .map_err(why)?;
        events.try_collect().await.map_err(why)
    }

    async fn ask_for_savepoints(
        &self,
        application: &ApplicationRef,
        request_id: &str,
        job: &str,
        stop: bool,
    ) -> Answer<bool> {
        let (request_id, job) = (request_id.to_owned(), job.to_owned());
        let wish = api::SavepointWish { request_id, job, stop, ..Default::default() };
        let asked = self.0.ask_for_savepoints(&application.id, application.generation.get(), &wish);
        Ok(asked.await.map_err(why)?.1)
    }

    async fn ask_at(
        &self,
        application: &ApplicationRef,
        request_id: &str,
        directory: &str,
    ) -> Answer<bool> {
        let (request_id, directory) = (request_id.to_owned(), directory.to_owned());
        let wish = api::SavepointWish { request_id, directory, ..Default::default() };
        let asked = self.0.ask_for_savepoints(&application.id, application.generation.get(), &wish);
        Ok(asked.await.map_err(why)?.1)
    }

    async fn put_process(&self, process: jobgraph::Process, epoch: Option<Epoch>) -> Answer<()> {
        let application = ApplicationRef::try_from(process.application.clone()).expect("it is set");
        let fence = epoch.map(|epoch| EpochFence { application, epoch });
        self.0.put_process(process, fence.as_ref()).await.map_err(why)
    }

    async fn list_processes(&self, key_prefix: &str) -> Answer<Vec<jobgraph::Process>> {
        self.0.list_processes(key_prefix).await.map_err(why)
    }

    async fn delete_processes(&self, key_prefix: &str) -> Answer<()> {
        self.0.delete_processes(key_prefix).await.map_err(why)
    }

    async fn give_up(&self, place: PlaceUid) -> Answer<(usize, Vec<ApplicationRef>)> {
        let given_up = self.0.give_up_place(place, "me@here", "it burnt").await.map_err(why)?;
        Ok((given_up.processes, given_up.applications))
    }

    async fn put_payload(&self, bytes: Bytes) -> Answer<bool> {
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        let found =
            self.0.put_payload(digest, size, futures::stream::iter([Ok::<_, Error>(bytes)]));
        found.await.map_err(why)
    }

    async fn read_payload(&self, digest: Digest) -> Answer<Bytes> {
        let parts = self.0.get_payload(digest, 0).await.map_err(why)?;
        let parts: Vec<Bytes> = parts.try_collect().await.map_err(|error| why(error.into()))?;
        Ok(parts.concat().into())
    }
}
