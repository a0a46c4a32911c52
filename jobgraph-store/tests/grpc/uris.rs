//! Secrets in URIs: a caller that has the files fetched reads them, and no other caller is shown
//! them.

use futures::StreamExt as _;
use proto::{Digest, Reason, api};
use record::{Holder, Record as _};

use crate::host::{Host, fence, reference, spec, submit_request};

const PROGRAM: &str = "https://etl:hunter2@host.example/daily.sql?token=hunter2";

fn with_secrets(id: &str) -> api::ApplicationSpec {
    api::ApplicationSpec {
        program: Some(api::Program {
            uri: PROGRAM.into(),
            classpaths: vec!["https://hunter2@host.example/lib.jar".into()],
            ..Default::default()
        }),
        artifacts: vec![api::ArtifactReference {
            uri: "https://host.example/zones.csv?sig=hunter2".into(),
            ..Default::default()
        }],
        ..spec(id)
    }
}

#[track_caller]
fn hidden(place: &str, shown: &impl std::fmt::Debug) {
    let text = format!("{shown:?}");
    assert!(text.contains("host.example") && !text.contains("hunter2"), "{place}: {text}");
}

#[tokio::test]
async fn a_uris_secrets_are_for_the_leader_alone() {
    let host = Host::start().await;
    let api = host.applications();
    let checked =
        api::SubmitRequest { validate_only: true, ..submit_request("r0", with_secrets("masked")) };
    hidden("what is only checked", &api.submit(checked).await.unwrap());
    let submitted = api.submit(submit_request("r1", with_secrets("masked"))).await.unwrap();
    hidden("Submit", &submitted);
    let app = reference(&submitted.application.unwrap());
    let leader = fence(&app, 1);
    let begun =
        host.record().begin_attempt(&leader, &Holder::new("runner-0", 1), "").await.unwrap();
    let whole = begun.record.unwrap().application.unwrap().spec.unwrap();
    assert_eq!(whole.program.as_ref().map(|program| program.uri.as_str()), Some(PROGRAM));

    let digest = Digest::of(b"SELECT 1");
    host.payloads().put_bytes(digest, b"SELECT 1".as_slice().into()).await.unwrap();
    let pin = api::PinnedArtifact {
        uri: PROGRAM.into(),
        name: "daily.sql".into(),
        digest: digest.to_string(),
        size_bytes: 8,
    };
    let pinned = host.record().pin_artifacts(&leader, vec![pin]).await.unwrap();
    assert_eq!(pinned[0].uri, PROGRAM, "a successor knows it again by that");

    // The event is as builds before the mask have recorded it.
    let attributes = [("uri".to_owned(), PROGRAM.to_owned())].into();
    let recorded = api::Event { kind: "artifact".into(), attributes, ..api::Event::default() };
    host.record().append_events(&leader, vec![recorded], vec![]).await.unwrap();

    hidden("Get", &api.get(&app.id, None).await.unwrap());
    hidden("List", &api.list_all(api::ListRequest::default()).await.unwrap());
    let mut watch = api.watch(api::WatchRequest::default()).await.unwrap();
    hidden("Watch", &watch.next().await);
    let asked = api::EventsRequest { application_id: app.id.to_string(), ..Default::default() };
    let events = api.events(asked).await.unwrap();
    hidden("Events", &events.collect::<Vec<_>>().await);

    let refused = api::ApplicationSpec {
        program: Some(api::Program { uri: PROGRAM.replace("https", "ftp"), ..Default::default() }),
        ..spec("refused")
    };
    let refusal = api.submit(submit_request("r2", refused)).await.unwrap_err();
    assert_eq!(refusal.reason(), Some(Reason::SpecInvalid));
    hidden("a refusal", &refusal);
    host.stop().await;
}
