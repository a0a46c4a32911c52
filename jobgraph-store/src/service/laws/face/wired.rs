//! The laws ask through a socket, with the clients that every process uses.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use bytes::Bytes;
use chassis::channel::connect;
use chassis::clock::{SharedClock, SystemClock};
use chassis::credential::{DeploymentKey, Principal};
use chassis::server::{Authenticator, Limits, Serve};
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport, SharedTransport};
use client::applications::Applications;
use client::error::CallError;
use client::payloads::Payloads;
use client::processes::Processes;
use client::record::RecordClient;
use futures::TryStreamExt as _;
use proto::{ApplicationRef, Digest, Epoch, PlaceUid, Reason, api, jobgraph};

use super::{Answer, Beside, Face};
use crate::blobs::Blobs;
use crate::service::Service;
use crate::store::Metadata;

/// The key of all stores, because several of them serve one deployment.
static KEY: LazyLock<DeploymentKey> = LazyLock::new(DeploymentKey::generate);

/// The clients, and the server that they call.
pub(crate) struct Wired {
    applications: Applications,
    payloads: Payloads,
    processes: Processes,
    shutdown: Shutdown,
    _directory: tempfile::TempDir,
}

impl Wired {
    pub(crate) async fn face(metadata: Arc<dyn Metadata>, blobs: Arc<dyn Blobs>) -> Face {
        let clock: SharedClock = Arc::new(SystemClock);
        let transport: SharedTransport = Arc::new(OsTransport);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let endpoint = Endpoint::Unix(directory.path().join("store.sock"));
        let key = KEY.clone();
        let shutdown = Shutdown::new();
        let server = chassis::server::bind(Serve {
            name: "jobgraph-store",
            endpoints: vec![endpoint.clone()],
            transport: transport.clone(),
            clock: clock.clone(),
            authenticator: Authenticator::new(key.clone()),
            routes: crate::grpc::routes(&Service::new(metadata, blobs, clock.clone()), &key),
            shutdown: shutdown.clone(),
            limits: Limits::default(),
        });
        tokio::spawn(server.await.expect("a free socket").run());
        let channel = connect(transport, clock, endpoint, Some(key.mint(&Principal::Deployment)));
        let record = RecordClient::new(channel.clone());
        let (applications, payloads) =
            (Applications::new(channel.clone()), Payloads::new(channel.clone()));
        let processes = Processes::new(channel);
        let beside = Self { applications, payloads, processes, shutdown, _directory: directory };
        Face::new(record, beside)
    }
}

impl Drop for Wired {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

fn said(error: CallError) -> Reason {
    error.reason().unwrap_or_else(|| panic!("no reason in {error:?}"))
}

#[async_trait]
impl Beside for Wired {
    async fn submit(&self, request: api::SubmitRequest) -> Answer<api::SubmitResponse> {
        self.applications.submit(request).await.map_err(said)
    }

    async fn get(&self, application: &ApplicationRef) -> Answer<api::Application> {
        self.applications.get(&application.id, Some(application.generation)).await.map_err(said)
    }

    async fn list(&self, request: api::ListRequest) -> Answer<api::ListResponse> {
        self.applications.list(request).await.map_err(said)
    }

    async fn cancel(&self, application: &ApplicationRef) -> Answer<bool> {
        let cancel = self.applications.cancel(
            &application.id,
            Some(application.generation),
            "enough",
            "me@here",
        );
        Ok(cancel.await.map_err(said)?.1)
    }

    async fn abandon(&self, application: &ApplicationRef) -> Answer<()> {
        let abandon = self.applications.abandon(
            &application.id,
            Some(application.generation),
            "enough",
            "me@here",
        );
        abandon.await.map_err(said)?;
        Ok(())
    }

    async fn forget(&self, application: &ApplicationRef, seen_revision: u64) -> Answer<bool> {
        let forget =
            self.applications.forget(&application.id, application.generation, seen_revision, false);
        Ok(forget.await.map_err(said)?.forgotten_earlier)
    }

    async fn events(&self, application: &ApplicationRef) -> Answer<Vec<api::Event>> {
        let (application_id, generation) =
            (application.id.to_string(), application.generation.get());
        let request = api::EventsRequest { application_id, generation, ..Default::default() };
        self.applications.events(request).await.map_err(said)?.try_collect().await.map_err(said)
    }

    async fn ask_for_savepoints(
        &self,
        application: &ApplicationRef,
        request_id: &str,
        job: &str,
        stop: bool,
    ) -> Answer<bool> {
        let (application_id, generation) =
            (application.id.to_string(), application.generation.get());
        let request_id = request_id.to_owned();
        let answer = if stop {
            // A stop is for all jobs of the application: a stop of one job would have other
            // content.
            let request =
                api::StopRequest { application_id, generation, request_id, ..Default::default() };
            self.applications.stop(request).await
        } else {
            let job = job.to_owned();
            let request = api::RequestSavepointRequest {
                application_id,
                generation,
                request_id,
                job,
                ..Default::default()
            };
            self.applications.request_savepoint(request).await
        };
        Ok(answer.map_err(said)?.1)
    }

    async fn ask_at(
        &self,
        application: &ApplicationRef,
        request_id: &str,
        directory: &str,
    ) -> Answer<bool> {
        let request = api::RequestSavepointRequest {
            application_id: application.id.to_string(),
            generation: application.generation.get(),
            request_id: request_id.to_owned(),
            directory: directory.to_owned(),
            ..Default::default()
        };
        Ok(self.applications.request_savepoint(request).await.map_err(said)?.1)
    }

    async fn put_process(&self, process: jobgraph::Process, epoch: Option<Epoch>) -> Answer<()> {
        self.processes.put(process, epoch).await.map_err(said)
    }

    async fn list_processes(&self, key_prefix: &str) -> Answer<Vec<jobgraph::Process>> {
        self.processes.list(key_prefix).await.map_err(said)
    }

    async fn delete_processes(&self, key_prefix: &str) -> Answer<()> {
        self.processes.delete(key_prefix).await.map_err(said)
    }

    async fn give_up(&self, place: PlaceUid) -> Answer<(usize, Vec<ApplicationRef>)> {
        let given_up = self.processes.give_up_place(place, "me@here", "it burnt").await;
        let given_up = given_up.map_err(said)?;
        let named = given_up.applications.into_iter().map(ApplicationRef::try_from);
        let named: Result<Vec<_>, _> = named.collect();
        Ok((given_up.processes as usize, named.expect("what was given up has a name")))
    }

    async fn put_payload(&self, bytes: Bytes) -> Answer<bool> {
        self.payloads.put_bytes(Digest::of(&bytes), bytes).await.map_err(said)
    }

    async fn read_payload(&self, digest: Digest) -> Answer<Bytes> {
        self.payloads.get_bytes(digest, usize::MAX).await.map_err(said)
    }
}
