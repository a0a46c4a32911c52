use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use chassis::credential::{Kind, Principal};
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport};
use client::describe::{Describe, Subject};
use client::error::CallError;
use proto::engine::{Commit, LocalArtifact, RestartPolicy, StagingOwner, SweepRequest};
use proto::{ApplicationRef, Generation, Incarnation, JobId, Problem, Reason, api, job};

use crate::{channel, clock, ready, token};

struct World {
    root: tempfile::TempDir,
    describe: Describe,
    endpoint: Endpoint,
    shutdown: Shutdown,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

impl World {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix(root.path().join("s"));
        let shutdown = Shutdown::new();
        let token = token(Self::runner());
        let serving = mainspring_datafusion::describe::serve(
            endpoint.clone(),
            token.clone(),
            Arc::new(OsTransport),
            clock(),
            shutdown.clone(),
        );
        tokio::spawn(serving);
        ready(&endpoint).await;
        let describe = Describe::new(channel(&endpoint, Some(token)));
        Self { root, describe, endpoint, shutdown }
    }

    fn runner() -> Principal {
        Principal::Describe { application: "orders".into(), generation: 1, epoch: 3 }
    }

    fn subject(&self, name: &str, text: &str) -> Subject {
        let path = self.root.path().join(name);
        std::fs::write(&path, text).unwrap();
        let path = path.display().to_string();
        let artifact = LocalArtifact {
            name: name.to_owned(),
            path: path.clone(),
            uri: "file:///home/u/x/a.sql".to_owned(),
            ..Default::default()
        };
        Subject {
            state_directory: String::new(),
            output_directory: "/out/orders@1".to_owned(),
            incarnation: Incarnation(0),
            application: ApplicationRef {
                id: "orders".parse().unwrap(),
                generation: Generation(1),
            },
            spec: api::ApplicationSpec {
                program: Some(api::Program { uri: path, ..Default::default() }),
                ..Default::default()
            },
            artifacts: vec![artifact],
        }
    }
}

fn problem(error: &CallError) -> Problem {
    Problem::from_status(error.status())
}

#[tokio::test]
async fn a_cluster_is_one_worker_with_its_settings() {
    let world = World::new().await;
    let mut subject = world.subject("a.sql", "SELECT 1");
    subject.spec.settings =
        HashMap::from([("datafusion.memory-limit".to_owned(), "64MiB".to_owned())]);
    let plan = world.describe.cluster(&subject).await.unwrap();
    assert_eq!((plan.engine.as_str(), plan.commit()), ("datafusion", Commit::Gated));
    let [worker] = plan.roles.as_slice() else { panic!("one role") };
    assert_eq!((worker.name.as_str(), worker.replicas, worker.serves_jobs), ("worker", 1, true));
    assert_eq!(worker.restart(), RestartPolicy::Never);
    assert!(
        worker.command.contains(&format!("--memory-limit-bytes={}", 64 << 20)),
        "{:?}",
        worker.command
    );

    subject.spec.settings =
        HashMap::from([("datafusion.memory-limt".to_owned(), "64MiB".to_owned())]);
    let error = world.describe.cluster(&subject).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::SettingUnknown));
    assert_eq!(problem(&error).fields[0].path, "spec.settings[datafusion.memory-limt]");
    assert!(error.message().contains("did you mean 'datafusion.memory-limit'"), "{error}");
}

#[tokio::test]
async fn a_script_is_launched_beside_its_inputs() {
    let world = World::new().await;
    let mut subject = world.subject("a.sql", "SELECT 1");
    subject.spec.append_output = true;
    subject.spec.program.as_mut().unwrap().parallelism = 3;
    let main = world.describe.main(&subject).await.unwrap();
    let arguments: Vec<_> = main.command[1..].iter().map(String::as_str).collect();
    let path = world.root.path().join("a.sql").display().to_string();
    assert_eq!(
        arguments,
        ["sql-main", "--name=a.sql", "--inputs=/home/u/x", "--outputs=/out/orders@1", &path]
    );
    assert_eq!(
        main.environment["MAINSPRING_DATAFUSION_SETTINGS"],
        "datafusion.execution.target_partitions=3"
    );
    assert_eq!(main.environment["MAINSPRING_DATAFUSION_APPEND"], "true");
}

#[tokio::test]
async fn what_cannot_run_is_refused_before_anything_starts() {
    let world = World::new().await;
    let refused = async |subject: &Subject| world.describe.main(subject).await.unwrap_err();

    let error = refused(&world.subject("a.sql", "SELECT 1;\nSELEC 2")).await;
    assert_eq!(error.reason(), Some(Reason::ProgramInvalid));
    assert_eq!(problem(&error).metadata["line"], "2");
    assert!(error.message().contains("2 | SELEC 2"), "{error}");

    assert_eq!(
        refused(&world.subject("a.jar", "PK")).await.reason(),
        Some(Reason::ProgramUnsupported)
    );
    assert_eq!(
        refused(&world.subject("a.txt", "x")).await.reason(),
        Some(Reason::ProgramNotExecutable)
    );

    let mut subject = world.subject("a.sql", "SELECT 1");
    subject.spec.program.as_mut().unwrap().entry_class = "Main".to_owned();
    let error = refused(&subject).await;
    assert_eq!(error.reason(), Some(Reason::OptionMeaningless));
    assert_eq!(problem(&error).fields[0].path, "spec.program.entry_class");
}

#[tokio::test]
async fn publish_and_sweep_may_be_repeated() {
    let world = World::new().await;
    let job: JobId = "00112233445566778899aabbccddeeff".parse().unwrap();
    let location = world.root.path().join("out");
    let staging = format!(".mainspring-staging/{job}-1");
    std::fs::create_dir_all(location.join(&staging)).unwrap();
    std::fs::write(location.join(&staging).join("x.csv"), "1").unwrap();
    let file = job::StagedFile {
        staged: "x.csv".to_owned(),
        r#final: format!("part-{job}-0.csv"),
        size_bytes: 1,
    };
    let output = job::Output {
        location: location.display().to_string(),
        staging,
        files: vec![file],
        ..Default::default()
    };
    let manifest = job::Manifest { outputs: vec![output], ..Default::default() };
    let first = world.describe.publish(job, manifest.clone(), &[job]).await.unwrap();
    assert_eq!((first.files_published, first.files_found), (1, 0));
    let again = world.describe.publish(job, manifest.clone(), &[job]).await.unwrap();
    assert_eq!((again.files_published, again.files_found), (0, 1));
    std::fs::remove_file(location.join(format!("part-{job}-0.csv"))).unwrap();
    let error = world.describe.publish(job, manifest, &[job]).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::OutputLost));

    let stale: PathBuf = location.join(format!(".mainspring-staging/{job}-2"));
    std::fs::create_dir_all(&stale).unwrap();
    let locations = vec![location.display().to_string()];
    let what = |up_to_incarnation| SweepRequest {
        locations: locations.clone(),
        owners: vec![StagingOwner { job_id: job.to_string(), up_to_incarnation }],
        ..SweepRequest::default()
    };
    assert_eq!(world.describe.sweep(what(1)).await.unwrap(), 0);
    assert_eq!(world.describe.sweep(what(2)).await.unwrap(), 1);
    assert_eq!(world.describe.sweep(what(2)).await.unwrap(), 0);
}

#[tokio::test]
async fn every_method_opens_for_the_runner_and_for_nobody_else() {
    let world = World::new().await;
    let (channel, service) =
        (channel(&world.endpoint, None), "mainspring.engine.v1.DescribeService");
    let mint = |who: &Principal| match who.kind() {
        Kind::Describe => token(World::runner()),
        _ => token(who.clone()),
    };
    let tried = trespass::walk(&channel, &clock(), service, mint, Kind::Describe).await;
    trespass::assert_held(&tried, Kind::Describe);
}

#[tokio::test]
async fn only_the_holder_of_the_token_is_answered() {
    let world = World::new().await;
    let application = || "orders".to_owned();
    let earlier =
        token(Principal::Describe { application: application(), generation: 1, epoch: 2 });
    let main = token(Principal::Attempt { application: application(), generation: 1, epoch: 3 });
    for (token, reason) in [
        (None, Reason::CredentialMissing),
        (Some(earlier), Reason::CredentialInvalid),
        (Some(main), Reason::CredentialInvalid),
    ] {
        let error = Describe::new(channel(&world.endpoint, token)).info().await.unwrap_err();
        assert_eq!(error.reason(), Some(reason));
    }
    assert_eq!(world.describe.info().await.unwrap().engine, "datafusion");
}
