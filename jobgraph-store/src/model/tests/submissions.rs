//! What a submission becomes: its deadline, its id and its digest.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use proto::api;

use crate::keys::head::Head;
use crate::model::{spec, submit};

#[test]
fn a_deadline_is_an_instant_from_the_submission_on() {
    let spec = api::ApplicationSpec {
        deadline: Some(prost_types::Duration { seconds: 90, nanos: 0 }),
        ..Default::default()
    };
    let request =
        api::SubmitRequest { request_id: "r".into(), spec: Some(spec), ..Default::default() };
    let known = submit::Known {
        accepted: None,
        head: Head::default(),
        latest_clean: true,
        latest_forgotten: false,
    };
    let now = UNIX_EPOCH + Duration::from_secs(1000);
    let decided = submit::decide(&known, &request, &"orders".parse().unwrap(), now).unwrap();
    let submit::Submission::New(new) = decided else { panic!("{decided:?}") };
    assert_eq!(new.spec.deadline_at.unwrap().seconds, 1090);
}

/// The fields of a submission that are of one host, where all hosts see `/mnt/shared`.
fn of_one_host(spec: api::ApplicationSpec) -> Vec<String> {
    let request = api::SubmitRequest { spec: Some(spec), ..Default::default() };
    let found = spec::of_one_host(&request, Path::new("/mnt/shared"));
    for violation in &found {
        assert!(violation.message.contains("/mnt/shared"), "{violation:?}");
    }
    found.into_iter().map(|violation| violation.path).collect()
}

#[test]
fn a_program_is_where_every_host_finds_it() {
    for (uri, found) in [
        ("/mnt/shared/app.sql", true),
        ("file:///mnt/shared/%C3%A4%20b.sql", true),
        ("file:///mnt/sh%61red/app.sql", true),
        ("local:///mnt/shared/app.jar", true),
        ("https://host/app.sql", true),
        ("/home/me/app.sql", false),
        ("file:///home/me/app.sql", false),
        ("local:///opt/app.jar", false),
        ("local:///mnt/sh%61red/app.jar", false),
        ("/mnt/shared-not/app.sql", false),
        ("/mnt/shared/../app.sql", false),
        ("file:///mnt/shared/%2E%2e/app.sql", false),
    ] {
        let program = Some(api::Program { uri: uri.into(), ..Default::default() });
        let paths = of_one_host(api::ApplicationSpec { program, ..Default::default() });
        assert_eq!(paths.is_empty(), found, "{uri}: {paths:?}");
    }
}

#[test]
fn everything_that_is_of_one_host_is_named() {
    let (here, shared) = ("/home/me/x", "/mnt/shared/x");
    let artifact = |uri: &str| api::ArtifactReference { uri: uri.into(), ..Default::default() };
    let program = |uri: &str, savepoint: &str| {
        let (uri, savepoint) = (uri.into(), savepoint.into());
        Some(api::Program { uri, savepoint, ..Default::default() })
    };
    let spec = api::ApplicationSpec {
        program: program(here, "file:/home/me/savepoint"),
        artifacts: vec![artifact(shared), artifact(here)],
        output: here.into(),
        ..Default::default()
    };
    assert_eq!(
        of_one_host(spec.clone()),
        ["spec.program.uri", "spec.program.savepoint", "spec.artifacts[1].uri", "spec.output"]
    );
    let program = program(shared, "s3://bucket/savepoint");
    let output = shared.into();
    assert_eq!(
        of_one_host(api::ApplicationSpec { program, artifacts: vec![], output, ..spec }),
        Vec::<String>::new()
    );
    assert_eq!(of_one_host(api::ApplicationSpec::default()), Vec::<String>::new());
}

#[test]
fn an_id_begins_with_the_programs_name() {
    for (uri, stem) in [
        ("/a/carriers.sql", "carriers"),
        ("https://host/x/Top%20Speed.jar?sig=1#frag", "top-speed"),
        ("local:///opt/my_app", "my-app"),
        ("file:///x/%C3%A4%20b.sql", "b"),
        ("/a/...", "app"),
        ("/a/-_-.py", "app"),
        ("", "app"),
    ] {
        assert_eq!(spec::id_stem(uri), stem, "{uri}");
    }
}

proptest! {
    #[test]
    fn every_stem_makes_an_id(uri in ".*") {
        let id = format!("{}-7k2m", spec::id_stem(&uri));
        prop_assert!(id.parse::<proto::ApplicationId>().is_ok(), "{}", id);
    }

    #[test]
    fn equal_requests_have_equal_digests_whatever_the_order_of_their_maps(
        labels in proptest::collection::btree_map("[a-z]{1,3}", "[a-z]{0,3}", 0..6), who in "[a-z]{0,4}",
    ) {
        let request = |labels: Vec<(String, String)>, who: &str| api::SubmitRequest {
            labels: labels.into_iter().collect(),
            requested_by: who.into(),
            ..Default::default()
        };
        let forth: Vec<(String, String)> = labels.clone().into_iter().collect();
        let back = forth.iter().rev().cloned().collect();
        let digest = submit::content_digest(&request(forth.clone(), ""));
        prop_assert_eq!(digest, submit::content_digest(&request(back, &who)));
        let mut other = forth;
        other.push(("other".into(), String::new()));
        prop_assert_ne!(digest, submit::content_digest(&request(other, "")));
    }
}
