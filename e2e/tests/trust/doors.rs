//! main()'s token opens its attempt's `Execution`, and a contender's token opens what its own
//! application needs.

use record::{Holder, Record as _};
use std::time::Duration;

use chassis::clock::{Boot, Clock as _, SystemClock};
use chassis::credential::Principal;
use chassis::transport::{OsTransport, Transport as _};
use client::execution::Execution;
use client::record::RecordClient;
use client::tether::Tether;
use e2e::Host;
use e2e::process::{eventually, signal, state_of};
use proto::{ApplicationRef, Epoch, EpochFence, Generation, Reason};

use crate::waiting::{Waiting, channel, clock, key, service};

/// Where each service of the contract is served while an application runs. The services of its
/// cluster and its attempt are found by their sockets.
fn served(host: &Host, main: &Waiting) -> Vec<(&'static str, chassis::transport::Endpoint)> {
    let store = || service(host, "jobgraph-store");
    let status = host.status("own");
    let cluster = client::places::Places::new(host.state());
    let incarnation = status["cluster"]["incarnation"].as_str().unwrap().parse().unwrap();
    let sockets = cluster.sockets(&own(), client::places::Kind::Cluster, incarnation);
    let worker = chassis::transport::Endpoint::Unix(sockets.join("worker-0.sock"));
    vec![
        ("mainspring.api.v1.ApplicationsService", store()),
        ("mainspring.jobgraph.v1.RecordService", store()),
        ("mainspring.jobgraph.v1.PayloadService", store()),
        ("mainspring.jobgraph.v1.LogService", store()),
        ("mainspring.jobgraph.v1.ProcessService", store()),
        ("mainspring.election.v1.ElectionService", service(host, "leader-elector")),
        ("mainspring.artifact.v1.ArtifactService", service(host, "artifact-fetcher")),
        ("mainspring.lifecycle.v1.LifecycleService", service(host, "lifecycle")),
        ("mainspring.tether.v1.TetherService", main.beside("main-0.tether.sock")),
        ("mainspring.tether.v1.TetherService", main.beside("describe-0.tether.sock")),
        ("mainspring.engine.v1.DescribeService", main.beside("describe-0.sock")),
        ("mainspring.engine.v1.JobsService", worker),
    ]
}

fn own() -> ApplicationRef {
    ApplicationRef { id: "own".parse().unwrap(), generation: Generation(1) }
}

fn other() -> ApplicationRef {
    ApplicationRef { id: "other".parse().unwrap(), generation: Generation(1) }
}

#[tokio::test]
async fn mains_token_opens_its_execution_and_no_method_of_anything_else() {
    let host = Host::new();
    let main = Waiting::start(&host, "own");
    let token = main.token();
    let execution = Execution::new(channel(&main.execution(), &token), clock());
    assert_eq!(execution.get_attempt().await.unwrap().epoch, 1);

    for (name, endpoint) in served(&host, &main) {
        OsTransport.connect(&endpoint).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let (channel, mint) = (channel(&endpoint, &token), |_: &Principal| token.clone());
        for tried in trespass::walk_around(&channel, &clock(), name, mint).await {
            let shut = [Some(Reason::CredentialScope), Some(Reason::CredentialInvalid)];
            assert!(shut.contains(&tried.shut), "{endpoint} {}: {:?}", tried.path, tried.shut);
        }
    }

    // None of the refused calls has had an effect.
    assert_eq!(state_of(main.pid), Some('S'));
    assert_eq!(host.status("own")["leadership"]["epoch"], "1");
    host.run(&["cancel", "own", "--wait"]).exits(3);
}

#[tokio::test]
async fn main_is_frozen_with_its_runner_stopped_although_it_claims_its_tether_with_a_far_deadline()
{
    let host = Host::new();
    let main = Waiting::start(&host, "own");
    let tether = Tether::new(channel(&main.beside("main-0.tether.sock"), &main.token()));
    let far = || Some(SystemClock.boot() + Duration::from_secs(3600));
    let claim = async |deadline: Option<Boot>| {
        tether.own(false, deadline).await.err().and_then(|e| e.reason())
    };
    assert_eq!(claim(far()).await, Some(Reason::CredentialInvalid));

    signal(main.leader, "STOP");
    eventually("main() is frozen", || {
        // The leader goes on trying until then.
        state_of(main.pid) == Some('T')
    });
    assert_eq!(claim(far()).await, Some(Reason::CredentialInvalid));
    assert!(tether.end(Duration::ZERO).await.is_err() && tether.release().await.is_err());
    assert_eq!(state_of(main.pid), Some('T'), "it stays frozen");

    signal(main.leader, "CONT");
    eventually("a contender leads again", || host.status("own")["observation"]["stale"] == false);
    host.run(&["cancel", "own", "--wait"]).exits(3);
}

#[tokio::test]
async fn a_contender_reaches_its_own_application_and_no_other() {
    let host = Host::new();
    let _main = Waiting::start(&host, "own");
    let _other = Waiting::start(&host, "other");
    let file = host.state().join("work/own@1/contender-0/.tether/token");
    let token = chassis::credential::Credential::from_file(&file).unwrap();
    let contender = Principal::Contender { application: "own".into(), generation: 1 };
    assert!(token == key(&host).mint(&contender), "its own, and not the deployment's");

    let record = RecordClient::new(channel(&service(&host, "jobgraph-store"), &token));
    assert!(record.read(&own()).await.is_ok());
    let scope = Some(Reason::CredentialScope);
    assert_eq!(record.read(&other()).await.unwrap_err().reason(), scope);
    let fence = EpochFence { application: other(), epoch: Epoch(99) };
    let begun = record.begin_attempt(&fence, &Holder::new("thief", 1), "").await;
    assert_eq!(begun.unwrap_err().reason(), scope);
    let lifecycle =
        client::lifecycle::Lifecycle::new(channel(&service(&host, "lifecycle"), &token));
    let torn_down = lifecycle.teardown(&fence, proto::Incarnation(1), Duration::ZERO).await;
    assert_eq!(torn_down.unwrap_err().reason(), scope);
    let artifacts =
        client::artifacts::Artifacts::new(channel(&service(&host, "artifact-fetcher"), &token));
    assert_eq!(artifacts.release(&other()).await.unwrap_err().reason(), scope);
    let election = client::election::Election::new(
        channel(&service(&host, "leader-elector"), &token),
        clock(),
    );
    assert_eq!(election.observe(&other().id).await.err().unwrap().reason(), scope);

    assert_eq!(host.status("other")["leadership"]["epoch"], "1");
    for id in ["own", "other"] {
        host.run(&["cancel", id, "--wait"]).exits(3);
    }
}

/// The host's services and the command line read the key, and no runner holds the file or its
/// content.
#[test]
fn a_runner_does_not_have_the_deployments_key_open_or_in_its_memory() {
    let host = Host::new();
    let main = Waiting::start(&host, "own");
    let key = std::fs::read_to_string(host.state().join("deployment.key")).unwrap();
    let bytes = hex_bytes(key.trim());
    assert!(!memory_holds(main.leader, &bytes), "the runner's memory holds the key");
    assert!(
        memory_holds(host.pid_of("jobgraph-store").unwrap(), &bytes),
        "the store's does, so that this test sees it"
    );
    host.run(&["cancel", "own", "--wait"]).exits(3);
}

fn hex_bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// Whether these bytes are anywhere in what a process can write to.
fn memory_holds(pid: u32, wanted: &[u8]) -> bool {
    use std::os::unix::fs::FileExt as _;
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let writable = maps
        .lines()
        .filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw")));
    writable.into_iter().any(|line| {
        let range = line.split(' ').next().and_then(|range| range.split_once('-')).unwrap();
        let at = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let (from, to) = (at(range.0), at(range.1));
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // A page that was never touched, or that is gone by now, holds nothing.
        let read = memory.read_at(&mut bytes, from).unwrap_or(0);
        bytes[..read].windows(wanted.len()).any(|part| part == wanted)
    })
}
