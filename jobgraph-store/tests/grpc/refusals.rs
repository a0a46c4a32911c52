//! What bad input gets: the thing, the value, the way out.

use proto::api::{
    ApplicationSpec, ArtifactReference, IfExists, ListRequest, SubmitRequest, WaitFor,
};
use proto::{Problem, Reason, api, jobgraph};
use record::Record as _;

use crate::host::{Host, spec, submit_request};

type Spoil = fn(&mut SubmitRequest, &mut ApplicationSpec);

/// Each way to spoil a submission, with the path that has to be named.
const TABLE: &[(&str, Spoil)] = &[
    ("request_id", |request, _| request.request_id.clear()),
    ("request_id", |request, _| request.request_id = "x".repeat(129)),
    ("if_exists", |request, _| request.if_exists = 77),
    ("labels", |request, _| drop(request.labels.insert("a b".into(), String::new()))),
    ("annotations", |request, _| drop(request.annotations.insert("a".into(), "x".repeat(20_000)))),
    ("spec.application_id", |_, spec| spec.application_id = "Upper".into()),
    ("spec.application_id", |_, spec| spec.application_id = "x".repeat(64)),
    ("spec.program", |_, spec| spec.program = None),
    ("spec.program.uri", |_, spec| program(spec).uri = "relative/a.sql".into()),
    ("spec.program.uri", |_, spec| program(spec).uri = "ftp://host/a.sql".into()),
    ("spec.program.uri", |_, spec| program(spec).uri = "file://relative".into()),
    ("spec.program.uri", |_, spec| program(spec).uri = "http://".into()),
    ("spec.program.claim_mode", |_, spec| program(spec).claim_mode = "claim".into()),
    ("spec.program.digest", |_, spec| program(spec).digest = "sha256:12".into()),
    ("spec.program.claim_mode", |_, spec| program(spec).claim_mode = "MAYBE".into()),
    ("spec.artifacts[0].uri", |_, spec| spec.artifacts.push(artifact("nowhere", "a"))),
    ("spec.artifacts[0].name", |_, spec| spec.artifacts.push(artifact("/a/b", "../b"))),
    ("spec.artifacts[0].name", |_, spec| spec.artifacts.push(artifact("/a/b", ".."))),
    ("spec.artifacts[0].name", |_, spec| spec.artifacts.push(artifact("/a/carriers.sql", ""))),
    ("spec.artifacts[1].name", |_, spec| {
        spec.artifacts.extend([artifact("/a/b", ""), artifact("/c/b", "")])
    }),
    ("spec.engine", |_, spec| spec.engine.clear()),
    ("spec.engine", |_, spec| spec.engine = "../sh".into()),
    ("spec.contenders", |_, spec| spec.contenders = 17),
    ("spec.settings", |_, spec| drop(spec.settings.insert("a=b".into(), String::new()))),
    ("spec.environment", |_, spec| drop(spec.environment.insert("A=B".into(), String::new()))),
    ("spec.environment", |_, spec| {
        drop(spec.environment.insert("MAINSPRING_EPOCH".into(), "1".into()))
    }),
    ("spec.deadline", |_, spec| {
        spec.deadline = Some(prost_types::Duration { seconds: 0, nanos: 0 })
    }),
    ("spec.deadline", |_, spec| {
        spec.deadline = Some(prost_types::Duration { seconds: -1, nanos: 0 })
    }),
    ("spec.output", |_, spec| spec.output = "relative".into()),
    ("spec.output", |_, spec| spec.output = "s3://bucket/x".into()),
    ("spec.on_failover", |_, spec| spec.on_failover = 9),
    ("spec.secrets", |_, spec| spec.secrets.push("A=B".into())),
    ("secret_values", |_, spec| spec.secrets.push("TOKEN".into())),
    ("secret_values", |request, _| drop(request.secret_values.insert("TOKEN".into(), "x".into()))),
    ("spec", |_, spec| program(spec).arguments.push("x".repeat(61 * 1024))),
];

fn program(spec: &mut ApplicationSpec) -> &mut api::Program {
    spec.program.as_mut().unwrap()
}

fn artifact(uri: &str, name: &str) -> ArtifactReference {
    ArtifactReference { uri: uri.into(), digest: String::new(), name: name.into() }
}

#[tokio::test]
async fn a_spec_that_cannot_work_is_refused_with_the_path_of_the_field() {
    let host = Host::start().await;
    for (number, (path, spoil)) in TABLE.iter().enumerate() {
        let mut request = submit_request("r1", spec("bad"));
        let mut spoiled = spec("bad");
        spoil(&mut request, &mut spoiled);
        request.spec = Some(spoiled);
        let refused = host.applications().submit(request).await.expect_err(path);
        assert_eq!(refused.reason(), Some(Reason::SpecInvalid), "{number}: {path}");
        let fields = Problem::from_status(refused.status()).fields;
        assert_eq!(
            fields.iter().map(|field| field.path.as_str()).collect::<Vec<_>>(),
            [*path],
            "{number}"
        );
    }
    let nothing = host.applications().list_all(ListRequest::default()).await.unwrap();
    assert!(nothing.0.is_empty(), "a refused submission left something");
    host.stop().await;
}

#[tokio::test]
async fn an_output_with_an_address_is_refused_for_what_it_is() {
    let host = Host::start().await;
    let spec = api::ApplicationSpec { output: "s3://bucket/x".into(), ..spec("far") };
    let refused = host.applications().submit(submit_request("r", spec)).await.unwrap_err();
    let fields = Problem::from_status(refused.status()).fields;
    assert!(format!("{fields:?}").contains("outputs cannot go to s3:// yet"), "{fields:?}");
    host.stop().await;
}

/// People meet the limit with a long argument, so the limit has to stand where they look.
#[test]
fn the_limits_of_a_spec_are_documented() {
    use jobgraph_store::model::spec::{MAX_CONTENDERS, MAX_SPEC_BYTES};
    let limits = [
        format!("at most {} KiB as a message", MAX_SPEC_BYTES / 1024),
        format!("{MAX_CONTENDERS} contenders"),
    ];
    for page in ["docs/cli.md", "proto/mainspring/api/v1/spec.proto"] {
        let path = format!("{}/../{page}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap().to_lowercase();
        for limit in limits.iter().map(|limit| limit.to_lowercase()) {
            assert!(text.contains(&limit), "{page} does not say {limit:?}");
        }
    }
}

#[tokio::test]
async fn a_target_that_is_none_is_refused_by_name_before_anything_that_depends_on_it() {
    let host = Host::start().await;
    // A path of the caller's is wrong for every target but local; the refusal must not say that of
    // this one.
    let moon = api::ApplicationSpec { target: "moon".into(), ..spec("lost") };
    for validate_only in [true, false] {
        let request = SubmitRequest { validate_only, ..submit_request("r1", moon.clone()) };
        let refused = host.applications().submit(request).await.unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::TargetUnknown));
        assert!(
            refused.message().contains("\"moon\"") && refused.message().contains("local"),
            "{refused:?}"
        );
        let fields = Problem::from_status(refused.status()).fields;
        assert_eq!(
            fields.iter().map(|field| field.path.as_str()).collect::<Vec<_>>(),
            ["spec.target"]
        );
    }
    host.stop().await;
}

#[tokio::test]
async fn a_submission_that_is_only_checked_writes_nothing_and_shows_the_defaults() {
    let host = Host::start().await;
    let checked = SubmitRequest { validate_only: true, ..submit_request("r1", spec("dry")) };
    let shown = host.applications().submit(checked).await.unwrap().application.unwrap();
    let spec = shown.spec.unwrap();
    assert_eq!((spec.contenders, spec.target.as_str()), (1, "local"));
    assert_eq!(spec.on_failover(), api::OnFailover::ReExecute);
    let missing = host.applications().get(&"dry".parse().unwrap(), None).await.unwrap_err();
    assert_eq!(missing.reason(), Some(Reason::ApplicationNotFound));
    let long = api::ApplicationSpec {
        program: Some(api::Program {
            uri: format!("/x/My_Long  Name.{}.sql", "x".repeat(80)),
            ..Default::default()
        }),
        ..crate::host::spec("")
    };
    let named =
        host.applications().submit(submit_request("r2", long)).await.unwrap().application.unwrap();
    assert!(named.application_id.starts_with("my-long-name-"), "{}", named.application_id);
    host.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_said_by_name() {
    let host = Host::start().await;
    let applications = host.applications();
    let none = "none".parse().unwrap();
    let reason = |error: client::error::CallError| error.reason();
    let not_found = Some(Reason::ApplicationNotFound);
    assert_eq!(applications.get(&none, None).await.map_err(reason), Err(not_found));
    assert_eq!(applications.cancel(&none, None, "", "").await.map_err(reason), Err(not_found));
    let bounded = std::time::Duration::from_millis(10);
    assert_eq!(
        applications.wait(&none, None, WaitFor::Clean, "", bounded).await.map_err(reason),
        Err(not_found)
    );
    let watch = api::WatchRequest { application_id: "none".into(), ..Default::default() };
    assert_eq!(applications.watch(watch).await.map(|_| ()).map_err(reason), Err(not_found));
    let malformed = api::WatchRequest { application_id: "No!".into(), ..Default::default() };
    assert_eq!(
        applications.watch(malformed).await.map(|_| ()).map_err(reason),
        Err(Some(Reason::IdMalformed))
    );
    let (app, fence) = host.led("there").await;
    let second = Some(proto::Generation(2));
    assert_eq!(applications.get(&app.id, second).await.map_err(reason), Err(not_found));
    assert_eq!(
        applications.graph(&app.id, None, "job").await.map_err(reason),
        Err(Some(Reason::JobNotFound))
    );
    let result = applications.read_result(&app.id, None, "job").await.map(|_| ());
    assert_eq!(result.map_err(reason), Err(Some(Reason::JobNotFound)));
    let bytes = bytes::Bytes::from_static(b"g");
    let request = jobgraph::PutJobGraphRequest {
        call_id: "c".into(),
        graph_digest: proto::Digest::of(&bytes).to_string(),
        description: Some(api::GraphDescription {
            statement: "select 1".into(),
            ..Default::default()
        }),
        staging_locations: vec!["/out".into()],
        ..Default::default()
    };
    let early = host.record().put_job_graph(&fence, request.clone()).await.map(|_| ());
    assert_eq!(early.map_err(|error| reason(error.into())), Err(Some(Reason::PayloadMissing)));
    host.payloads().put_bytes(proto::Digest::of(&bytes), bytes).await.unwrap();
    let put = host.record().put_job_graph(&fence, request).await.unwrap();
    let job = put.job.unwrap();
    assert_eq!(job.name, "job-0");
    for named in [&job.name, &job.job_id] {
        let graph = applications.graph(&app.id, None, named).await.unwrap();
        assert_eq!(graph.description.unwrap().statement, "select 1");
        let result = applications.read_result(&app.id, None, named).await.map(|_| ());
        assert_eq!(result.map_err(reason), Err(Some(Reason::ResultNotReady)));
    }
    assert_eq!(host.record().read(&app).await.unwrap().staging_locations, ["/out"]);
    let failed =
        proto::job::JobEnd { outcome: proto::job::JobOutcome::Failed.into(), ..Default::default() };
    host.record().leader_job_ended(&fence, job.job_id.parse().unwrap(), failed).await.unwrap();
    let result = applications.read_result(&app.id, None, "job-0").await.map(|_| ());
    assert_eq!(result.map_err(reason), Err(Some(Reason::ResultNone)));
    let again =
        SubmitRequest { if_exists: IfExists::Fail.into(), ..submit_request("r2", spec("there")) };
    let exists = applications.submit(again).await.unwrap_err();
    let problem = Problem::from_status(exists.status());
    assert_eq!(
        (problem.reason, problem.metadata["application_id"].as_str()),
        (Some(Reason::ApplicationExists), "there")
    );
    assert!(!problem.help.is_empty());
    host.stop().await;
}
