//! `--run-as`: main() and its cluster as a user who can read neither the host's files nor another
//! application's. These tests need root, because only root can give processes to another user;
//! elsewhere they say that they were not run.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use client::places::Places;
use e2e::Host;
use e2e::process::eventually;

use crate::waiting::{Waiting, program};

/// A user without rights that every distribution has.
const USER: &str = "nobody";

/// A directory that every user can reach, for one test.
struct Ground(tempfile::TempDir);

impl Ground {
    /// `None` where the test is not run by root.
    fn new() -> Option<Self> {
        if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
            eprintln!("not run: --run-as needs root");
            return None;
        }
        let directory =
            tempfile::Builder::new().prefix("ms-run-as").tempdir_in("/var/tmp").unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        Some(Self(directory))
    }

    /// A binary of this build where every user can run it, because the build's own directory may be
    /// shut to others.
    fn binary(&self, name: &str) -> PathBuf {
        let binaries = self.0.path().join("bin");
        if !binaries.exists() {
            std::fs::create_dir(&binaries).unwrap();
            std::fs::set_permissions(&binaries, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let (from, to) = (e2e::host::binary(name), binaries.join(name));
        if !to.exists() && std::fs::hard_link(&from, &to).is_err() {
            std::fs::copy(&from, &to).unwrap();
        }
        to
    }

    fn host(&self) -> Host {
        let below = self.0.path().join("ground");
        let engine = self.binary("mainspring-datafusion");
        let engines = engine.parent().unwrap();
        Host::new()
            .with("MAINSPRING_RUN_AS", USER)
            .with("MAINSPRING_RUN_AS_DIR", below.to_str().unwrap())
            .with("MAINSPRING_ENGINE_PATH", engines.to_str().unwrap())
    }
}

fn uid_of(pid: u32) -> u32 {
    std::fs::metadata(format!("/proc/{pid}")).unwrap().uid()
}

fn nobody() -> u32 {
    USER.parse::<chassis::run_as::User>().unwrap();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with("nobody:")).unwrap();
    line.split(':').nth(2).unwrap().parse().unwrap()
}

/// A script that reports every small file that holds something like a token or the key, wherever it
/// can read a file: below `/`, and through what `/proc` shows of every process.
const WALK: &str = r#"
echo "uid $(id -u)"
while [ ! -e "$GATE" ]; do sleep 0.05; done
# One finding a line. The key is 64 hex digits, alone in its file.
look() {
  find "$1" -xdev \( -path /proc -o -path /sys -o -path /usr -o -path /var/cache \) -prune -o \
    -type f -size -2 -readable -print0 2>/dev/null |
    xargs -0 -r grep -lsaE '^ms1\.[a-z]+\.[0-9a-f.a-z]+$|^[0-9a-f]{64}$' 2>/dev/null |
    sed "s|^|found |"
}
look /
look /var/tmp
look /tmp
look "$(dirname "$MAINSPRING_TOKEN_FILE")"
# Names that no walk finds, because their directories are not listed, may be known all the same.
for known in "$(dirname "$OTHER")" "$OTHER_WORK" "$OTHER_WORK/../artifacts" "$OTHER_CLUSTER" "$OWN_CLUSTER"; do
  ls "$known" >/dev/null 2>&1 && echo "entered $known"
done
for token in "$OTHER_CLUSTER/.token" "$OTHER_CLUSTER/.jobs.token" "$OWN_CLUSTER/.token" "$OWN_CLUSTER/.jobs.token"; do
  cat "$token" 2>/dev/null && echo "read $token"
done
for process in /proc/[0-9]*; do
  [ "$process" = "/proc/$$" ] && continue
  # A shell's own helpers are of this main().
  grep -aqs "MAINSPRING_EPOCH=$MAINSPRING_EPOCH" "$process/environ" && grep -aqs "MAINSPRING_APPLICATION=$MAINSPRING_APPLICATION" "$process/environ" && continue
  grep -asE 'ms1\.[a-z]+\.' "$process/environ" "$process/cmdline" >/dev/null && echo "found in $process"
  cat "$process/environ" >/dev/null 2>&1 && [ "$(stat -c %u "$process")" = "$(id -u)" ] && echo "readable $process $(tr '\0' ' ' < "$process/cmdline")"
  ls "$process/cwd/" >/dev/null 2>&1 && [ "$(stat -c %u "$process")" = "$(id -u)" ] && echo "entered $process/cwd"
  head -c 1 "$process/mem" >/dev/null 2>&1 && echo "opened $process/mem"
done
ls "$STATE" >/dev/null 2>&1 && echo "listed the state directory"
cat "$STATE/deployment.key" 2>/dev/null && echo "read the key"
cat "$OTHER" 2>/dev/null && echo "read the other application's token"
echo "own token $(wc -c < "$MAINSPRING_TOKEN_FILE" | tr -d ' ') bytes"
echo written > "$MAINSPRING_OUTPUT_DIR/by-main" && echo "wrote output"
echo kept > scratch && echo "wrote its directory"
ls | sed 's/^/sees /'
"#;

#[test]
fn a_main_that_looks_everywhere_finds_no_key_and_no_other_applications_token() {
    let Some(ground) = Ground::new() else { return };
    let host = ground.host();
    let other = Waiting::start(&host, "other");
    let other_token = other.environment["MAINSPRING_TOKEN_FILE"].clone();
    assert!(Path::new(&other_token).exists());
    let state = host.state();
    let own_mark = Places::new(&state).state_mark();
    let other_work = std::fs::read_link(format!("/proc/{}/cwd", other.pid)).unwrap();
    let work = ground.0.path().join("ground").join(&own_mark).join("work");
    let cluster = |application: &str| work.join(application).join("cluster-1/worker-0");
    // The files that the walk did not open exist, which this test can see.
    for there in
        [&other_work, &cluster("other@1").join(".token"), &cluster("other@1").join(".jobs.token")]
    {
        assert!(there.exists(), "{}", there.display());
    }
    let gate = ground.0.path().join("gate");
    let told = [
        ("GATE", gate.clone()),
        ("STATE", state.clone()),
        ("OTHER", PathBuf::from(&other_token)),
        ("OTHER_WORK", other_work),
        ("OTHER_CLUSTER", cluster("other@1")),
        ("OWN_CLUSTER", cluster("walk@1")),
    ];
    let told: Vec<String> =
        told.iter().map(|(name, path)| format!("{name}='{}'", path.display())).collect();
    let walker = program(&host, "walk", &format!("{}\n{WALK}", told.join("\n")));
    let walking = host.start(&["run", "-q", "--application-id", "walk", &walker]);
    eventually("its cluster is ready", || {
        let status = host.run(&["status", "walk", "-o", "json"]);
        status.code == 0 && status.json()["cluster"]["state"] == "CLUSTER_STATE_READY"
    });
    assert!(cluster("walk@1").join(".jobs.token").exists());
    std::fs::write(&gate, "").unwrap();
    let said = walking.finish().exits(0).stdout;

    // A busy machine may take the lead from the runner, and then main() walks once more.
    let begun = format!("uid {}\n", nobody());
    let (before, walks) = said.split_once(&begun).expect(&said);
    assert_eq!(before, "", "{said}");
    let walks: Vec<Vec<&str>> = walks
        .split(&begun)
        .map(|walk| walk.lines().filter(|line| line.starts_with("found ")).collect())
        .collect();
    // The last walk finds its own token, which proves that it sees what can be seen. None finds
    // another one: each execution has a token of its own, so no two walks find the same.
    assert_eq!(walks.last().map(Vec::len), Some(1), "{said}");
    let found = walks.concat();
    assert!(walks.iter().all(|walk| walk.len() <= 1), "{said}");
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len(), "{said}");
    assert!(
        found.iter().all(|found| found.ends_with("/token") && found.contains(&own_mark)),
        "{said}"
    );
    for word in ["readable ", "entered ", "opened ", "listed ", "read "] {
        assert!(!said.lines().any(|line| line.starts_with(word)), "{word}: {said}");
    }
    for word in ["wrote output", "wrote its directory", "sees walk"] {
        assert!(said.lines().any(|line| line == word), "{word}: {said}");
    }
    assert_eq!(std::fs::metadata(&state).unwrap().mode() & 0o777, 0o700);
    host.run(&["cancel", "other", "--wait"]).exits(3);
}

#[test]
fn main_and_its_cluster_run_as_the_user_and_the_host_does_not() {
    let Some(ground) = Ground::new() else { return };
    let host = ground.host();
    let main = Waiting::start(&host, "own");
    assert_eq!(uid_of(main.pid), nobody());
    assert_eq!(uid_of(main.leader), 0);
    assert_eq!(main.environment["USER"], USER);
    let worker =
        host.alive().into_iter().find(|(_, line)| line.contains("mainspring-datafusion worker"));
    assert_eq!(uid_of(worker.unwrap().0), nobody());

    // A host cannot change the user that it runs applications as, and refuses the wish instead of
    // leaving it out silently.
    let mut wishes = host.command(&["list"]);
    wishes.env("MAINSPRING_RUN_AS", "daemon");
    let refused = e2e::process::Running::start(wishes).finish().exits(6);
    refused.says("HOST_INCOMPATIBLE").says("as user nobody, not as daemon");
    host.run(&["cancel", "own", "--wait"]).exits(3);
    eventually("nothing of it is left", || left(ground.0.path()).is_empty());
}

/// What is below the ground of a host, except for ways and the store's socket.
fn left(ground: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![ground.join("ground")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => open.push(path),
                false if path.ends_with("store/jobgraph-store.sock") => {}
                false => found.push(path),
            }
        }
    }
    found
}

#[test]
fn a_script_runs_as_the_user_from_its_files_to_its_output() {
    let Some(ground) = Ground::new() else { return };
    let host = ground.host();
    let script = host.file(
        "totals.sql",
        "-- job: totals\nCOPY (SELECT 6 * 7 AS answer) TO 'totals/' STORED AS CSV;\nSELECT 1 AS one;\n",
    );
    let said = host.run(&["run", "-q", "--application-id", "sql", &script]).exits(0).stdout;
    assert!(said.contains("one"), "{said}");
    let places = Places::new(host.state());
    let application =
        proto::ApplicationRef { id: "sql".parse().unwrap(), generation: proto::Generation(1) };
    let below = ground.0.path().join("ground").join(places.state_mark());
    let output = Places::new(below).outputs(&application).join("totals");
    let files: Vec<PathBuf> =
        std::fs::read_dir(&output).unwrap().map(|entry| entry.unwrap().path()).collect();
    let part = files.iter().find(|file| file.extension().is_some_and(|end| end == "csv")).unwrap();
    assert_eq!(std::fs::read_to_string(part).unwrap().lines().last(), Some("42"));
    assert_eq!(std::fs::metadata(part).unwrap().uid(), nobody());
}

#[test]
fn what_cannot_be_run_as_is_refused_with_a_sentence() {
    let Some(ground) = Ground::new() else { return };
    let host = Host::new();
    host.run(&["up", "--run-as", "no-such-user"])
        .exits(2)
        .says("this machine has no user \"no-such-user\"");
    host.run(&["up", "--run-as", "root"]).exits(2).says("root reads everything");
    let shut = ground.0.path().join("shut");
    std::fs::create_dir(&shut).unwrap();
    std::fs::set_permissions(&shut, std::fs::Permissions::from_mode(0o700)).unwrap();
    let below = shut.join("ground");
    host.run(&["up", "--run-as", USER, "--run-as-dir", below.to_str().unwrap()])
        .exits(2)
        .says("others cannot enter");

    // A host that is not root's: the same command, run as that user.
    let home = ground.0.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = std::process::Command::new(ground.binary("mainspring"));
    std::os::unix::process::CommandExt::uid(&mut command, nobody());
    command.args(["up", "--run-as", USER]).current_dir("/");
    command.env("MAINSPRING_STATE_DIR", home.join("state")).env("TMPDIR", &home);
    let refused = e2e::process::Running::start(command).finish().exits(2);
    assert!(refused.stderr.contains("needs a host that runs as root"), "{}", refused.stderr);
}
