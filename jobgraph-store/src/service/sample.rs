//! For tests: an application to submit, of which only the id counts.
#![allow(clippy::unwrap_used)]

use proto::{ApplicationRef, Generation, api};

use super::Service;

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
