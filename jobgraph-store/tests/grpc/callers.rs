//! Which caller may call what: the deployment everything, each other caller what the contract says.

use bytes::Bytes;
use chassis::credential::{Kept, Principal};
use proto::jobgraph::log_service_client::LogServiceClient;
use proto::{Digest, Incarnation, IncarnationFence, JobId, Reason, api, job, jobgraph};
use record::{ApplicationEnd, Holder, Record as _};

use crate::host::{Host, fence, spec, submit_request};

type Outcome = Result<(), Option<Reason>>;

fn outcome<T>(answer: Result<T, impl Into<client::error::CallError>>) -> Outcome {
    answer.map(|_| ()).map_err(|error| error.into().reason())
}

#[tokio::test]
async fn every_credential_opens_what_is_its_own_and_nothing_else() {
    let host = Host::start().await;
    let (app, leader) = host.led("own").await;
    let (other, _) = host.led("other").await;
    let scope: Outcome = Err(Some(Reason::CredentialScope));
    let cluster = |app: &proto::ApplicationRef| IncarnationFence {
        application: app.clone(),
        incarnation: Incarnation(1),
    };
    let end = || job::JobEnd { outcome: job::JobOutcome::Failed.into(), ..Default::default() };
    let job = JobId::derive(&app, "", "none", 0);
    let bytes = Bytes::from_static(b"rows");
    let digest = Digest::of(&bytes);

    let stranger = host.as_(None);
    assert_eq!(
        outcome(stranger.applications().version().await),
        Err(Some(Reason::CredentialMissing))
    );
    assert_eq!(outcome(stranger.record().read(&app).await), Err(Some(Reason::CredentialMissing)));

    let main = host.as_attempt(&app, 1);
    assert_eq!(outcome(main.record().read(&app).await), scope, "its runner reads for it");
    assert_eq!(
        outcome(main.record().begin_attempt(&fence(&app, 2), &Holder::new("me", 1), "").await),
        scope
    );
    assert_eq!(outcome(main.record().journal(&leader, "step", None).await), scope);
    assert_eq!(outcome(main.record().confirm_epoch(&leader).await), scope);
    assert_eq!(outcome(main.payloads().put_bytes(digest, bytes.clone()).await), scope);
    assert_eq!(outcome(main.payloads().get(digest, 0).await), scope);
    assert_eq!(outcome(main.applications().get(&app.id, None).await), scope);
    assert_eq!(outcome(main.applications().cancel(&app.id, None, "", "").await), scope);
    assert_eq!(outcome(main.applications().request_savepoint(Default::default()).await), scope);
    assert_eq!(outcome(main.applications().stop(Default::default()).await), scope);

    let worker = host.as_incarnation(&app, 1);
    assert_eq!(outcome(worker.record().confirm_epoch(&leader).await), Ok(()));
    assert_eq!(outcome(worker.record().confirm_epoch(&fence(&other, 1)).await), scope);
    assert_eq!(outcome(worker.record().confirm_incarnation(&cluster(&app)).await), Ok(()));
    assert_eq!(outcome(worker.record().confirm_incarnation(&cluster(&other)).await), scope);
    // The call is allowed, and then refused by the fence: no cluster has begun.
    let ended = worker.record().job_ended(&cluster(&app), job, end()).await;
    assert_eq!(outcome(ended), Err(Some(Reason::IncarnationSuperseded)));
    assert_eq!(outcome(worker.record().job_ended(&cluster(&other), job, end()).await), scope);
    let later = IncarnationFence { incarnation: Incarnation(2), ..cluster(&app) };
    assert_eq!(outcome(worker.record().job_ended(&later, job, end()).await), scope);
    assert_eq!(outcome(worker.record().leader_job_ended(&leader, job, end()).await), scope);
    // What became of a savepoint is the leader's word.
    assert_eq!(
        outcome(worker.record().savepoint_settled(&leader, job, Default::default()).await),
        scope
    );
    assert_eq!(outcome(worker.applications().stop(Default::default()).await), scope);
    assert_eq!(outcome(worker.record().read(&app).await), scope);
    assert_eq!(outcome(worker.payloads().put_bytes(digest, bytes.clone()).await), Ok(()));
    assert_eq!(outcome(worker.payloads().take_file(digest, "/etc/passwd".as_ref()).await), scope);
    assert_eq!(outcome(worker.payloads().present(&[digest]).await), scope);
    assert_eq!(
        outcome(worker.applications().submit(submit_request("r", spec("new"))).await),
        scope
    );

    let contender = host.as_contender(&app);
    assert_eq!(outcome(contender.record().read(&app).await), Ok(()));
    assert_eq!(outcome(contender.record().read(&other).await), scope);
    assert_eq!(
        outcome(
            contender.record().begin_attempt(&fence(&other, 2), &Holder::new("me", 1), "").await
        ),
        scope
    );
    assert_eq!(outcome(contender.record().journal(&fence(&other, 1), "step", None).await), scope);
    assert_eq!(outcome(contender.record().confirm_incarnation(&cluster(&app)).await), scope);
    assert_eq!(outcome(contender.applications().get(&app.id, None).await), scope);
    host.stop().await;
}

/// A digest is no secret: programs are shared, and their digests are shown.
#[tokio::test]
async fn a_payload_is_read_by_those_whose_record_points_to_it() {
    let host = Host::start().await;
    let (app, leader) = host.led("own").await;
    let (other, _) = host.led("other").await;
    let bytes = Bytes::from_static(b"SELECT secret");
    let digest = Digest::of(&bytes);
    let missing: Outcome = Err(Some(Reason::PayloadMissing));
    let read =
        async |caller: crate::host::Caller| outcome(caller.payloads().get_bytes(digest, 100).await);

    let contender = host.as_contender(&app);
    assert_eq!(outcome(contender.payloads().put_bytes(digest, bytes.clone()).await), Ok(()));
    assert_eq!(read(host.as_contender(&app)).await, missing, "no record points to it yet");
    let pin = api::PinnedArtifact {
        uri: "/a.sql".into(),
        name: "a.sql".into(),
        digest: digest.to_string(),
        size_bytes: bytes.len() as u64,
    };
    assert_eq!(outcome(contender.record().pin_artifacts(&leader, vec![pin]).await), Ok(()));
    assert_eq!(read(host.as_contender(&app)).await, Ok(()));
    assert_eq!(read(host.as_incarnation(&app, 1)).await, Ok(()));
    assert_eq!(read(host.as_contender(&other)).await, missing);
    assert_eq!(read(host.as_incarnation(&other, 1)).await, missing);
    assert_eq!(
        outcome(host.payloads().get_bytes(digest, 100).await),
        Ok(()),
        "the deployment's own"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_contender_brings_the_output_of_its_own_main_and_no_other() {
    let host = Host::start().await;
    let (app, _) = host.led("own").await;
    let (other, _) = host.led("other").await;
    for (application, role, refused) in [
        (&app, "main", None),
        (&app, "worker", Some(Reason::CredentialScope)),
        (&other, "main", Some(Reason::CredentialScope)),
    ] {
        let source = jobgraph::LogSource {
            application: Some(application.clone().into()),
            role: role.to_owned(),
            number: 1,
            ..Default::default()
        };
        let request = jobgraph::AppendLogsRequest {
            source: Some(source),
            complete: true,
            ..Default::default()
        };
        let mut logs = LogServiceClient::new(host.as_contender(&app).channel());
        let mut answers = logs.append_logs(tokio_stream::once(request)).await.unwrap().into_inner();
        let answered = answers.message().await;
        assert_eq!(
            answered.err().and_then(|status| proto::problem::reason(&status)),
            refused,
            "{role}"
        );
    }
    host.stop().await;
}

#[tokio::test]
async fn a_leader_is_answered_one_token_for_each_door_and_a_late_one_none() {
    let host = Host::start().await;
    let (app, leader) = host.led("own").await;
    let record = host.as_contender(&app).record();
    let begun = record
        .begin_attempt(&leader, &Holder::new("runner-0", 1), "")
        .await
        .unwrap()
        .tokens
        .unwrap();
    assert_eq!(begun.jobs, "", "there is no cluster");
    let wish =
        |id: &str| jobgraph::BeginClusterRequest { request_id: id.into(), ..Default::default() };
    let cluster = record.begin_cluster(&leader, wish("first")).await.unwrap();
    // The answer may have been lost: a leader that asks again is told the token that opens the
    // cluster.
    let again = record
        .begin_attempt(&leader, &Holder::new("runner-0", 1), "")
        .await
        .unwrap()
        .tokens
        .unwrap();
    assert_eq!(
        again,
        jobgraph::AttemptTokens { jobs: cluster.jobs_token.clone(), ..begun.clone() }
    );

    let (application, generation) = (app.id.to_string(), app.generation.get());
    let owner =
        |kept| Principal::Owner { application: application.clone(), generation, kept, number: 1 };
    for (token, wanted) in [
        (
            begun.execution,
            Principal::Attempt { application: application.clone(), generation, epoch: 1 },
        ),
        (begun.main_tether, owner(Kept::Main)),
        (
            begun.describe,
            Principal::Describe { application: application.clone(), generation, epoch: 1 },
        ),
        (begun.describe_tether, owner(Kept::Describe)),
        (
            cluster.jobs_token,
            Principal::Jobs { application: application.clone(), generation, incarnation: 1 },
        ),
    ] {
        assert_eq!(token, host.mint(&wanted).expose(), "{wanted}");
    }

    record.end(&leader, ApplicationEnd::new(api::Outcome::Cancelled, "", ""), 0).await.unwrap();
    record.mark_clean(&leader, Vec::new()).await.unwrap();
    let late =
        record.begin_attempt(&fence(&app, 2), &Holder::new("runner-1", 1), "").await.unwrap();
    assert_eq!((late.disposition(), late.tokens), (jobgraph::Disposition::Clean, None));
    host.stop().await;
}

#[tokio::test]
async fn secrets_reach_leaders_until_clean_and_nobody_else() {
    let host = Host::start().await;
    let request = api::SubmitRequest {
        spec: Some(api::ApplicationSpec { secrets: vec!["TOKEN".into()], ..spec("secret") }),
        secret_values: [("TOKEN".to_owned(), "hunter2".to_owned())].into(),
        ..submit_request("r1", spec(""))
    };
    let submitted = host.applications().submit(request.clone()).await.unwrap().application.unwrap();
    assert!(!format!("{submitted:?}").contains("hunter2"));
    let app = crate::host::reference(&submitted);
    let begun = host
        .record()
        .begin_attempt(&fence(&app, 1), &Holder::new("runner-0", 1), "")
        .await
        .unwrap();
    assert_eq!(begun.secret_values["TOKEN"], "hunter2");
    let seen = format!("{:?}", host.as_contender(&app).record().read(&app).await.unwrap());
    assert!(!seen.contains("hunter2"));
    let other = api::SubmitRequest {
        secret_values: [("TOKEN".to_owned(), "other".to_owned())].into(),
        ..request
    };
    let reused = host.applications().submit(other).await.unwrap_err();
    assert_eq!(reused.reason(), Some(Reason::RequestIdReused), "other secrets are another content");
    host.record()
        .end(&fence(&app, 1), ApplicationEnd::new(api::Outcome::Failed, "", ""), 0)
        .await
        .unwrap();
    host.record().mark_clean(&fence(&app, 1), Vec::new()).await.unwrap();
    let begun = host
        .record()
        .begin_attempt(&fence(&app, 2), &Holder::new("runner-0", 1), "")
        .await
        .unwrap();
    assert!(begun.secret_values.is_empty());
    host.stop().await;
}
