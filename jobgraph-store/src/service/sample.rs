//! For tests: an application to submit, of which only the id counts, and a way to a real etcd.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use chassis::clock::{SharedClock, SystemClock};
use chassis::transport::{OsTransport, SharedTransport};
use proto::{ApplicationRef, Generation, api};

use super::Service;
use crate::store::Metadata;
use crate::store::etcd::EtcdMetadata;

/// A request that can be accepted.
pub(crate) fn request(request_id: &str, id: &str) -> api::SubmitRequest {
    let program = api::Program { uri: "/a/b.sql".into(), ..Default::default() };
    let spec = api::ApplicationSpec {
        application_id: id.into(),
        program: Some(program),
        engine: "datafusion".into(),
        ..Default::default()
    };
    api::SubmitRequest { request_id: request_id.into(), spec: Some(spec), ..Default::default() }
}

/// The application and its generation.
pub(crate) fn reference(application: &api::Application) -> ApplicationRef {
    ApplicationRef {
        id: application.application_id.parse().unwrap(),
        generation: Generation(application.generation),
    }
}

/// An application that this service has accepted.
pub(crate) async fn submitted(service: &Service, id: &str) -> ApplicationRef {
    let submitted = service.submit(request(&format!("r-{id}"), id)).await.unwrap();
    reference(&submitted.application)
}

/// A way of its own to the record below this prefix, for a store of this name.
pub(crate) async fn on_etcd(
    server: &e2e::etcd::Etcd,
    prefix: &str,
    store: &str,
) -> Arc<dyn Metadata> {
    let (transport, clock): (SharedTransport, SharedClock) =
        (Arc::new(OsTransport), Arc::new(SystemClock));
    let member: etcd::Member = server.address().parse().unwrap();
    let etcd = etcd::Etcd::new(&[member], &transport, &clock).await.unwrap();
    Arc::new(EtcdMetadata::open(etcd, prefix, store).await.unwrap())
}
