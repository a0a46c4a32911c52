//! Flink's first example, as a newcomer runs it.

use std::collections::BTreeMap;
use std::path::Path;

use e2e::Host;
use e2e::flink::{WORD_COUNT, examples, programs};
use e2e::process::eventually;
use proto::{ApplicationRef, Generation, JobId};

const TEXT: &str = "To be, or not to be,--that is the question:--\nWhether 'tis nobler in the mind to suffer\nor to take arms\n";

/// The counts of a text that is split as the example splits it: at every character that is no
/// letter, digit or underscore, in lower case.
fn counts(text: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for word in text.to_lowercase().split(|c| !is_word(c)).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}

/// The `(word,count)` lines as the example writes them.
fn written(out: &Path) -> BTreeMap<String, u64> {
    let mut written = BTreeMap::new();
    for hour in std::fs::read_dir(out).unwrap().flatten() {
        for part in std::fs::read_dir(hour.path()).unwrap().flatten() {
            for line in std::fs::read_to_string(part.path()).unwrap().lines() {
                let (word, count) = line.trim_matches(['(', ')']).split_once(',').unwrap();
                assert!(
                    written.insert(word.to_owned(), count.parse().unwrap()).is_none(),
                    "{word} twice"
                );
            }
        }
    }
    written
}

#[test]
fn an_unchanged_jar_runs_in_one_command() {
    let host = Host::new();
    let (jar, text) = (examples(), host.file("text", TEXT));
    let out = host.scratch().join("out");
    let run = host
        .run(&[
            "run",
            "--application-id",
            "words",
            "-c",
            WORD_COUNT,
            &jar,
            "--execution-mode",
            "BATCH",
            "--input",
            &text,
            "--output",
            out.to_str().unwrap(),
        ])
        .exits(0)
        .says("nothing left over");
    // main() says nothing with these options, and what Flink's client says about submissions is not
    // main()'s output.
    assert_eq!(run.stdout, "");
    assert_eq!(written(&out), counts(TEXT));

    let status = host.status("words");
    assert_eq!((&status["outcome"], &status["clean"]), (&"OUTCOME_SUCCEEDED".into(), &true.into()));
    let jobs = status["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 1, "{jobs:#?}");
    assert_eq!((&jobs[0]["name"], &jobs[0]["submissions"]), (&"WordCount".into(), &1.into()));
    let application = ApplicationRef { id: "words".parse().unwrap(), generation: Generation(1) };
    let expected = JobId::derive(&application, status["uid"].as_str().unwrap(), "WordCount", 0);
    assert_eq!(jobs[0]["jobId"], expected.to_string());

    // The job was over before its counters were read; what its source handed on is in its end all
    // the same.
    let words: u64 = counts(TEXT).values().sum();
    assert_eq!(jobs[0]["end"]["progress"]["rowsIn"], words.to_string(), "{jobs:#?}");

    let graph = host.run(&["graph", "words", "-o", "json"]).exits(0).json();
    let vertices = graph["description"]["vertices"].as_array().unwrap();
    assert!(vertices.len() >= 3 && vertices.iter().all(|vertex| vertex["name"] != ""), "{graph:#}");
    for (role, line) in [
        ("jobmanager", "Starting StandaloneSessionClusterEntrypoint"),
        ("taskmanager", "Starting TaskManager"),
    ] {
        let logs = host.run(&["logs", "words", "--role", role]).exits(0);
        assert!(logs.stdout.contains(line), "{role}:\n{}", logs.stdout);
    }
    host.down();
}

/// What the program's operators write to a relative path outlives their process, and lies where
/// relative outputs lie.
#[test]
fn relative_paths_begin_at_the_output_directory() {
    let host = Host::new();
    let (jar, text) = (examples(), host.file("text", TEXT));
    let batch = ["--execution-mode", "BATCH", "--input", &text, "--output", "words"];
    for (options, directory) in [
        (&["--output", "results"][..], "results"),
        (&["--application-id", "plain"], "state/outputs/plain@1"),
    ] {
        let program = ["-c", WORD_COUNT, &jar];
        let line: Vec<&str> =
            ["run"].iter().chain(options).chain(&program).chain(&batch).copied().collect();
        host.run(&line).exits(0);
        assert_eq!(
            written(&host.scratch().join(directory).join("words")),
            counts(TEXT),
            "{options:?}"
        );
    }
    host.down();
}

/// Whether a JVM below this directory has unpacked Flink's RPC system for itself, as Flink does at
/// each start.
fn has_unpacked_rpc(directory: &Path) -> bool {
    std::fs::read_dir(directory).into_iter().flatten().flatten().any(|entry| {
        let is_it = entry.file_name().to_string_lossy().starts_with("flink-rpc-akka");
        is_it
            || (entry.file_type().is_ok_and(|kind| kind.is_dir())
                && has_unpacked_rpc(&entry.path()))
    })
}

#[test]
fn flinks_rpc_system_is_unpacked_by_set_up_alone_unless_the_program_says_how_classes_are_found() {
    let host = Host::new();
    let jar = programs();
    for (id, option, unpacked) in [
        ("plain", "-Dparallelism.default=1", false),
        ("particular", "-Dclassloader.resolve-order=parent-first", true),
    ] {
        host.run(&[
            "run",
            "-d",
            "--application-id",
            id,
            option,
            "-c",
            "Misbehaving",
            &jar,
            "forever",
        ])
        .exits(0);
        eventually("the job runs", || host.status(id)["jobs"][0]["state"] == "JOB_STATE_RUNNING");
        assert_eq!(has_unpacked_rpc(&host.state().join("work")), unpacked, "{id}");
        host.run(&["cancel", id, "--wait"]).exits(3);
    }
    host.down();
}
