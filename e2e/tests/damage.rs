//! A disk that does not keep its word, as a user meets it: one flipped bit, a file that was cut or
//! emptied. No verb says anything that is not so, what is damaged is named, and `doctor` sees it
//! without a host.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use e2e::Host;
use e2e::process::{eventually, signal};
use serde_json::Value;
use sha2::Digest as _;

/// The payloads of a host, by what is in them.
fn payloads(host: &Host, holds: impl Fn(&[u8]) -> bool) -> Vec<PathBuf> {
    let below = |directory: &Path| -> Vec<PathBuf> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let root = host.state().join("jobgraph-store/payloads");
    let directories = below(&root).into_iter().filter(|path| !path.ends_with("unfinished"));
    directories
        .flat_map(|path| below(&path))
        .filter(|path| holds(&fs::read(path).unwrap()))
        .collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// What `doctor` says about one thing, in which it has to find a problem.
fn problem(host: &Host, what: &str) -> String {
    let doctor: Value = host.run(&["doctor", "-o", "json"]).exits(1).json();
    let findings = doctor["findings"].as_array().unwrap();
    let found = findings
        .iter()
        .find(|finding| finding["what"] == what)
        .unwrap_or_else(|| panic!("{doctor}"));
    found["problem"].as_str().unwrap_or_else(|| panic!("{found}")).to_owned()
}

#[test]
fn a_result_with_one_flipped_bit_is_refused_by_name() {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "5m");
    let script =
        host.file("one.sql", "-- job: one\nSELECT 41 + 1 AS answer, 'the-only-row' AS row;");
    host.run(&["run", "--application-id", "one", &script]).exits(0);
    let printed = host.run(&["result", "one", "--as", "csv"]).exits(0);
    assert!(printed.stdout.contains("42"), "{}", printed.stdout);
    // An Arrow stream begins with these bytes.
    let rows =
        payloads(&host, |bytes| bytes.starts_with(&[0xff; 4]) && contains(bytes, b"the-only-row"));
    let [rows] = rows.as_slice() else { panic!("{rows:?}") };
    let whole = fs::read(rows).unwrap();
    let mut flipped = whole.clone();
    let at = flipped.windows(8).position(|window| window == 42_u64.to_le_bytes()).unwrap();
    flipped[at] ^= 1;
    fs::write(rows, &flipped).unwrap();
    for shape in ["csv", "json", "table", "arrow"] {
        let refused = host.run(&["result", "one", "--as", shape]).exits(6);
        assert_eq!(refused.stdout, "", "as {shape}");
        refused
            .says("error[DATA_CORRUPT]")
            .says(rows.to_str().unwrap())
            .says("help: restore the file");
    }
    assert!(problem(&host, "payloads").contains(rows.to_str().unwrap()));
    fs::write(rows, whole).unwrap();
    host.run(&["result", "one", "--as", "csv"]).exits(0);
    host.down();
}

/// The first part of a large result is given out before the last part is known, and the reader of
/// rows stumbles over it.
#[test]
fn a_large_result_is_refused_by_name_also_when_its_reader_meets_the_damage_first() {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "5m");
    let rows =
        "SELECT repeat('x', 1000) AS x FROM (SELECT unnest(generate_series(1, 3000))) AS rows;";
    let script = host.file("many.sql", &format!("-- job: many\n{rows}"));
    host.run(&["run", "-q", "--application-id", "many", &script]).exits(0);
    let rows =
        payloads(&host, |bytes| bytes.starts_with(&[0xff; 4]) && bytes.len() > 2 * 1024 * 1024);
    let [rows] = rows.as_slice() else { panic!("{rows:?}") };
    let mut damaged = fs::read(rows).unwrap();
    // The description of the columns begins here.
    damaged[8..12].fill(0xff);
    fs::write(rows, damaged).unwrap();
    for shape in ["csv", "json", "table"] {
        let refused = host.run(&["result", "many", "--as", shape]).exits(6);
        assert_eq!(refused.stdout, "", "as {shape}");
        refused.says("error[DATA_CORRUPT]").says(rows.to_str().unwrap());
    }
    host.down();
}

#[test]
fn a_damaged_record_or_ledger_is_told_in_a_sentence_and_seen_by_doctor() {
    let host = Host::new();
    let script = host.file("one.sql", "SELECT 1 AS one;");
    host.run(&["run", "--application-id", "one", &script]).exits(0);
    host.down();
    for (what, file) in
        [("record", "jobgraph-store/record.redb"), ("ledger", "leader-elector/grants.redb")]
    {
        let path = host.state().join(file);
        let whole = fs::read(&path).unwrap();
        // The text is damaged everywhere it occurs, because pages that are no longer in use hold it
        // too.
        let text = if what == "record" { &b"one.sql"[..] } else { &b"\"holder\""[..] };
        let mut flipped = whole.clone();
        for at in 0..=whole.len() - text.len() {
            if whole[at..].starts_with(text) {
                flipped[at] ^= 0x20;
            }
        }
        for (damage, bytes) in
            [("emptied", &whole[..0]), ("cut", &whole[..5000]), ("flipped", &flipped[..])]
        {
            fs::write(&path, bytes).unwrap();
            let refused = host.run(&["list"]).exits(5);
            assert_eq!(refused.stdout, "", "{what} {damage}");
            let said = &refused.stderr;
            assert!(
                said.contains(&format!("{} is damaged", path.display())),
                "{what} {damage}: {said}"
            );
            for raw in ["{\"", "   0: ", "RUST_BACKTRACE", "stack backtrace"] {
                assert!(!said.contains(raw), "{what} {damage}: {said}");
            }
            assert!(problem(&host, what).contains(path.to_str().unwrap()), "{what} {damage}");
            assert!(fs::read(&path).unwrap() == *bytes, "{what} {damage}: it was touched");
        }
        fs::write(&path, whole).unwrap();
        host.run(&["status", "one"]).exits(0);
        host.down();
    }
    // Without its record a host knows nothing of what lies beside the record, and would sweep it.
    let path = host.state().join("jobgraph-store/record.redb");
    fs::rename(&path, host.scratch().join("kept")).unwrap();
    host.run(&["list"]).exits(5).says("record.redb is gone").says("restore it from a copy");
    assert!(problem(&host, "record").contains("is gone"));
    assert!(!path.exists(), "a new one was begun");
}

#[test]
fn a_host_whose_own_file_is_damaged_says_so_at_once() {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "5m");
    host.run(&["list"]).exits(0);
    let path = host.state().join("host.json");
    fs::write(&path, "{\"version\"").unwrap();
    host.run(&["list"])
        .exits(6)
        .says("error[DATA_CORRUPT]")
        .says(path.to_str().unwrap())
        .says("help: mainspring down --yes");
    assert!(problem(&host, "up").contains("host.json is damaged"));
    host.run(&["down", "--yes"]).exits(0);
    host.run(&["list"]).exits(0);
    host.down();
}

#[test]
fn a_damaged_artifact_of_the_cache_is_fetched_again() {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "5m");
    let script = host.file("one.sql", "SELECT 1 AS one;");
    host.run(&["run", &script]).exits(0);
    let blobs = host.state().join("artifact-fetcher/blobs");
    let cached: Vec<_> = fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [cached] = cached.as_slice() else { panic!("{cached:?}") };
    let fetched = fs::metadata(cached).unwrap().modified().unwrap();
    fs::set_permissions(cached, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(cached, "SELECT 2 AS two;").unwrap();
    fs::File::options().write(true).open(cached).unwrap().set_modified(fetched).unwrap();
    // A file that is asked for by its digest is not fetched as long as the cache has it.
    let digest = sha2::Sha256::digest("SELECT 1 AS one;");
    let again = host.run(&["run", &format!("{script}#sha256={}", hex::encode(digest))]).exits(0);
    assert!(again.stdout.contains("one") && !again.stdout.contains("two"), "{}", again.stdout);
    host.down();
}

/// A job that takes hours.
const ENDLESS: &str = "\
-- job: endless
SELECT count(*) FROM (SELECT unnest(generate_series(1, 1000000)) AS a) AS x,
  (SELECT unnest(generate_series(1, 1000000)) AS b) AS y WHERE a % 7 <> b % 11;
";

/// The graph is needed again when the cluster that had it is gone.
#[test]
fn a_job_whose_graph_is_damaged_ends_and_names_it() {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "1m");
    let script = host.file("endless.sql", ENDLESS);
    let run = host.start(&["run", "--application-id", "damaged", &script]);
    let job = || host.run(&["status", "damaged", "-o", "json"]).json()["jobs"][0].clone();
    eventually("the job runs", || {
        let status = host.run(&["status", "damaged", "-o", "json"]);
        status.code == 0 && status.json()["jobs"][0]["state"] == "JOB_STATE_RUNNING"
    });
    let digest = job()["graphDigest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let file = host.state().join("jobgraph-store/payloads").join(&digest[..2]).join(&digest);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let workers = || {
        let is_worker =
            |line: &str| line.contains("mainspring-datafusion") && line.contains("worker");
        host.alive().into_iter().filter(move |(_, line)| is_worker(line)).collect::<Vec<_>>()
    };
    let killed = workers();
    assert!(!killed.is_empty(), "{:?}", host.alive());
    killed.iter().for_each(|(pid, _)| signal(*pid, "KILL"));

    run.finish().exits(1).says(&digest).says("damaged");
    let end = job()["end"].clone();
    assert_eq!(
        (&end["outcome"], &end["reason"]),
        (&"JOB_OUTCOME_FAILED".into(), &"DATA_CORRUPT".into())
    );
    assert!(end["message"].as_str().unwrap().contains(&digest), "{end:#}");
    let status = host.status("damaged");
    assert_eq!((&status["outcome"], &status["clean"]), (&"OUTCOME_FAILED".into(), &true.into()));
    host.down();
}
