#![allow(clippy::unwrap_used)]
use clap::Parser as _;

use super::*;

#[derive(clap::Parser)]
struct Only {
    #[command(flatten)]
    options: SpecOptions,
}

fn build(
    line: &str,
    base: ApplicationSpec,
    program: Option<&str>,
) -> OrFailure<(ApplicationSpec, Secrets, &'static str)> {
    let only = Only::try_parse_from(std::iter::once("run").chain(line.split_whitespace())).unwrap();
    only.options.build(
        base,
        program,
        vec!["--year".into(), "2013".into()],
        Path::new("/home/me"),
        |_| None,
        |_| None,
    )
}

#[test]
fn options_become_a_spec() {
    let line = "-t local --application-id load --contenders 2 -D a=b -D c=d=e --output out --env K=V --deadline 5m -c org.Main \
                -C file:///x.jar -p 4 -s /sp -n --claim-mode claim --artifact data.csv --on-failover fail --append";
    let (spec, secrets, from) = build(line, ApplicationSpec::default(), Some("x.sql")).unwrap();
    let program = spec.program.unwrap();
    assert_eq!((spec.engine.as_str(), from), ("datafusion", ".sql"));
    assert_eq!(
        (spec.target.as_str(), spec.application_id.as_str(), spec.contenders),
        ("local", "load", 2)
    );
    assert_eq!((spec.settings["a"].as_str(), spec.settings["c"].as_str()), ("b", "d=e"));
    assert_eq!((spec.output.as_str(), spec.append_output), ("/home/me/out", true));
    assert_eq!(spec.environment["K"], "V");
    assert_eq!(spec.deadline.unwrap().seconds, 300);
    assert_eq!(spec.on_failover, i32::from(OnFailover::Fail));
    assert_eq!(spec.artifacts[0].uri, "file:///home/me/data.csv");
    assert_eq!(program.uri, "file:///home/me/x.sql");
    assert_eq!(program.arguments, ["--year", "2013"]);
    assert_eq!(
        (program.entry_class.as_str(), program.parallelism, program.savepoint.as_str()),
        ("org.Main", 4, "file:///sp")
    );
    assert_eq!((program.claim_mode.as_str(), program.allow_non_restored_state), ("CLAIM", true));
    assert!(secrets.is_empty());
}

#[test]
fn an_option_wins_over_the_file_and_adds_to_its_maps() {
    let mut base = ApplicationSpec {
        engine: "flink".into(),
        target: "local".into(),
        contenders: 3,
        program: Some(Program {
            uri: "https://host/x.jar".into(),
            arguments: vec!["old".into()],
            ..Program::default()
        }),
        ..ApplicationSpec::default()
    };
    base.settings.insert("a".into(), "file".into());
    base.settings.insert("b".into(), "file".into());
    let (spec, _, from) = build("--contenders 2 -D a=option", base, None).unwrap();
    assert_eq!((spec.engine.as_str(), spec.contenders, from), ("flink", 2, ""));
    assert_eq!((spec.settings["a"].as_str(), spec.settings["b"].as_str()), ("option", "file"));
    assert_eq!(spec.program.unwrap().uri, "https://host/x.jar");
}

#[test]
fn a_python_program_is_its_own_pointer() {
    let (spec, _, from) =
        build("--python job.py --py-files a.py,b.py", ApplicationSpec::default(), None).unwrap();
    let program = spec.program.unwrap();
    assert_eq!(
        (spec.engine.as_str(), from, program.uri.as_str()),
        ("flink", ".py", "file:///home/me/job.py")
    );
    assert_eq!(program.python["pyFiles"], "a.py,b.py");
}

#[test]
fn an_address_of_a_session_cluster_is_a_target_of_its_own() {
    for line in [
        "--jobmanager host:8081",
        "-t session --jobmanager http://host:8081/",
        "-t remote --jobmanager host:8081",
    ] {
        let (spec, ..) = build(line, ApplicationSpec::default(), Some("x.jar")).unwrap();
        let said =
            (spec.target.as_str(), &*spec.settings["rest.address"], &*spec.settings["rest.port"]);
        assert_eq!(said, ("static", "host", "8081"), "{line}");
    }
    assert!(Only::try_parse_from(["run", "--jobmanager", "host"]).is_err());
}

#[test]
fn what_cannot_work_is_refused() {
    let refused =
        |line: &str, program| build(line, ApplicationSpec::default(), program).unwrap_err();
    assert!(refused("", None).message.starts_with("which program?"));
    assert_eq!(refused("-t local --jobmanager host:1", Some("x.jar")).reason, "OPTION_MEANINGLESS");
    assert_eq!(refused("--zookeeper-namespace n", Some("x.jar")).reason, "OPTION_MEANINGLESS");
    assert!(refused("--secret A=b", Some("x.sql")).message.contains("A=@FILE"));
    assert!(refused("--env A", Some("x.sql")).message.contains("A=VALUE"));
    for address in ["s3://b/x", "s3:/b/x", "file:///tmp/x", "hdfs://host:1/x"] {
        let refused = Only::try_parse_from(["run", "--output", address]).err().unwrap().to_string();
        assert!(refused.contains("directories of this host"), "{refused}");
    }
    for path in ["out", "/tmp/a:b", "a:b/c", "./s3:/b"] {
        assert!(Only::try_parse_from(["run", "--output", path]).is_ok(), "{path}");
    }
}
