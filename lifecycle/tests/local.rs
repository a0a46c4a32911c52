//! The local substrate with real tethers: its laws, what a process is given, a lifecycle that is
//! killed, and two of them over one record.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "local/attempts.rs"]
mod attempts;
#[allow(dead_code, reason = "this binary needs only a part of it")]
#[path = "support/host.rs"]
mod host;
#[path = "support/laws.rs"]
mod laws;
#[path = "support/tether_process.rs"]
mod tether_process;
#[path = "local/two_hosts.rs"]
mod two_hosts;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::{Clock as _, SharedClock, SystemClock, timeout};
use chassis::credential::{Credential, DeploymentKey, Principal};
use chassis::tasks::{Shutdown, TaskSet};
use chassis::transport::{Endpoint, OsTransport, TLS_VARIABLE};
use client::places::Places;
use client::process_tree::{self, OwnerMark, Process};
use futures::StreamExt as _;
use lifecycle::model::{Order, RoleFile, Scope};
use lifecycle::record::LogSource;
use lifecycle::service::{Contenders, Lifecycle};
use lifecycle::substrate::{Adopted, Live, Local, Substrate};
use rustix::process::Signal;

use host::{Host, here};

/// A time longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

const KEY: DeploymentKey = DeploymentKey::from_bytes([7; 32]);

struct Machine {
    directory: tempfile::TempDir,
    places: Places,
    clock: SharedClock,
    store: Endpoint,
}

impl Machine {
    fn new() -> Self {
        Self::with_store(Endpoint::Unix("/store.sock".into()))
    }

    fn with_store(store: Endpoint) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let places = Places::new(directory.path().join("state"));
        Self { places, directory, clock: Arc::new(SystemClock), store }
    }

    /// One of several hosts.
    fn of_several() -> Self {
        let mut machine = Self::new();
        let shared = machine.directory.path().join("shared");
        machine.places = machine.places.clone().sharing(Some(shared));
        machine
    }

    fn local(&self) -> Arc<Local> {
        let executable = tether_process::executable(self.directory.path());
        let inherited = [("PATH", "/usr/bin:/bin"), (TLS_VARIABLE, "/certs")];
        let inherited = inherited.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (transport, clock) = (Arc::new(OsTransport), self.clock.clone());
        let local = Local::new(
            self.places.clone(),
            KEY,
            executable,
            self.store.clone(),
            BTreeMap::from(inherited),
            transport,
            clock,
        );
        Arc::new(local.on(&here()))
    }

    async fn start(&self, order: &Order) -> Arc<dyn Live> {
        within(self.local().start(order)).await.unwrap()
    }

    /// What a process says until it exits.
    async fn said(&self, order: &Order) -> String {
        let live = self.start(order).await;
        within(live.exited()).await;
        let mut output = self.local().remains(order, 0).await;
        let mut said = Vec::new();
        while let Some(chunk) = output.next().await {
            said.extend_from_slice(&chunk.unwrap().data);
        }
        live.release().await;
        String::from_utf8(said).unwrap()
    }

    fn marked(&self) -> Vec<(Process, OwnerMark)> {
        let state = self.places.state_mark();
        process_tree::marked(|mark| mark.state == state).unwrap()
    }

    async fn until(&self, what: &str, mut reached: impl AsyncFnMut() -> bool) {
        let end = self.clock.boot() + LONG;
        while !reached().await {
            assert!(
                self.clock.boot() < end,
                "never came true: {what}; there is {:?}",
                self.marked()
            );
            self.clock.sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Machine {
    /// Leaves nothing running and no sockets, however the test ended.
    fn drop(&mut self) {
        for _ in 0..1000 {
            let left = self.marked();
            if left.is_empty() {
                break;
            }
            for (process, _) in left {
                process.signal(Signal::KILL);
            }
            std::thread::yield_now();
        }
        let _ = std::fs::remove_dir_all(self.places.runtime());
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(&SystemClock, LONG, future).await.expect("bounded wait")
}

#[tokio::test]
async fn the_local_substrate_obeys_the_laws() {
    let machine = Machine::new();
    let subject = laws::Subject {
        substrate: machine.local(),
        another: machine.local(),
        clock: machine.clock.clone(),
    };
    laws::all(&subject).await;
    machine.until("every tether leaves", async || machine.marked().is_empty()).await;
}

#[tokio::test]
async fn a_role_gets_its_files_its_token_and_what_it_needs_to_know() {
    let machine = Machine::new();
    let mut order = laws::order(
        9,
        "env | sort; cat conf/own.txt; ./run; cat $MAINSPRING_TOKEN_FILE; stat -c %a $MAINSPRING_TOKEN_FILE; pwd",
    );
    let file = |path: &str, content: &str, executable| RoleFile {
        path: path.into(),
        content: content.as_bytes().to_vec(),
        executable,
    };
    order.role.files =
        vec![file("conf/own.txt", "mine\n", false), file("run", "#!/bin/sh\necho ran\n", true)];
    order.role.environment.insert("ENGINE".into(), "datafusion".into());
    order.role.environment.insert("MAINSPRING_INCARNATION".into(), "a lie".into());
    order.traceparent = "00-1-2-01".into();
    let said = machine.said(&order).await;
    let work =
        machine.places.application_work(&order.slot.group.application).join("cluster-9/worker-0");
    let token = KEY.mint(&Principal::Incarnation {
        application: "orders".into(),
        generation: 4,
        incarnation: 9,
    });
    for line in [
        "ENGINE=datafusion",
        "MAINSPRING_APPLICATION=orders",
        "MAINSPRING_GENERATION=4",
        "MAINSPRING_INCARNATION=9",
        "MAINSPRING_STORE=unix:/store.sock",
        "TRACEPARENT=00-1-2-01",
        "mine",
        "ran",
        token.expose(),
        "600",
        &format!("MAINSPRING_WORK_DIR={}", work.display()),
        &work.display().to_string(),
    ] {
        assert!(said.lines().any(|said| said == line), "{line} is missing in:\n{said}");
    }
    assert!(
        said.contains(&format!(
            "MAINSPRING_OWNER={}/orders/4/cluster/9",
            machine.places.state_mark()
        ))
    );
    assert!(!said.contains("MAINSPRING_STATE_DIR"), "a cluster must not find the deployment's key");
    within(machine.local().sweep(&Scope::Group(order.slot.group.clone()))).await;
    assert!(!work.exists() && !work.parent().unwrap().exists());
}

#[tokio::test]
async fn a_cluster_has_the_hosts_certificates_only_to_reach_its_store_by_tcp() {
    let order = laws::order(9, "env");
    let said = Machine::new().said(&order).await;
    assert!(!said.contains(TLS_VARIABLE), "{said}");
    let elsewhere = Machine::with_store(Endpoint::Tcp("store.example".into(), 7070));
    let said = elsewhere.said(&order).await;
    assert!(said.lines().any(|line| line == "MAINSPRING_TLS=/certs"), "{said}");
}

#[tokio::test]
async fn a_contender_finds_the_state_directory_and_its_name() {
    let machine = Machine::new();
    let said = machine.said(&laws::contender(2, "env")).await;
    let state = machine.places.state().display();
    for line in [format!("MAINSPRING_STATE_DIR={state}"), "MAINSPRING_CONTENDER=runner-2".into()] {
        assert!(said.lines().any(|said| said == line), "{line} is missing in:\n{said}");
    }
    let token_file =
        said.lines().find_map(|line| line.strip_prefix("MAINSPRING_TOKEN_FILE=")).unwrap();
    let token = Credential::from_file(Path::new(token_file)).unwrap();
    assert_eq!(
        KEY.verify(token.expose()),
        Some(Principal::Contender { application: "orders".into(), generation: 4 })
    );
}

#[tokio::test]
async fn a_contender_of_one_of_several_hosts_has_the_hosts_name() {
    let said = Machine::of_several().said(&laws::contender(2, "env")).await;
    assert!(said.lines().any(|said| said == "MAINSPRING_CONTENDER=here/runner-2"), "{said}");
}

#[tokio::test]
async fn a_cluster_yields_to_the_host_and_a_contender_does_not() {
    let machine = Machine::new();
    let niceness = async |order: &Order| machine.said(order).await.trim().parse::<i32>().unwrap();
    let contender = niceness(&laws::contender(2, "nice")).await;
    let cluster = niceness(&laws::order(9, "nice")).await;
    assert_eq!(contender, rustix::process::getpriority_process(None).unwrap());
    assert!(cluster > contender || contender == 19, "{cluster} and {contender}");
}

#[tokio::test]
async fn a_process_whose_tether_is_killed_is_ended_and_its_exit_is_unknown() {
    let machine = Machine::new();
    let order = laws::order(1, "sleep 1000");
    let other = laws::order(2, "sleep 1000");
    let (live, other) = (machine.start(&order).await, machine.start(&other).await);
    let tether = Process::of(live.pid()).unwrap().parent;
    Process::of(tether).unwrap().signal(Signal::KILL);
    let exit = within(live.exited()).await;
    assert_eq!((exit.code, exit.signal), (None, None));
    assert!(!exit.is_its_own());
    assert!(other.answers().await);
    let left = || machine.marked().into_iter().map(|(_, mark)| mark.number).collect::<Vec<_>>();
    machine
        .until("only the other is left", async || left().iter().all(|number| *number == 2))
        .await;
    assert!(matches!(within(machine.local().adopt(&order)).await, Adopted::Gone(_)));
}

#[tokio::test]
async fn a_tether_that_hangs_is_ended_by_force_and_its_process_with_it() {
    let machine = Machine::new();
    let order = laws::order(1, "sleep 1000");
    let live = machine.start(&order).await;
    let (pid, tether) = (live.pid(), Process::of(live.pid()).unwrap().parent);
    drop(live);
    Process::of(tether).unwrap().signal(Signal::STOP);
    machine
        .until("it hangs", async || Process::of(tether).is_some_and(|process| process.is_stopped()))
        .await;
    assert!(matches!(within(machine.local().adopt(&order)).await, Adopted::Gone(_)));
    machine.until("both are gone", async || machine.marked().is_empty()).await;
    assert!(Process::of(pid).is_none_or(|process| process.is_zombie()));
}

/// A lifecycle in this process; dropping the tasks is its kill -9.
fn lifecycle(machine: &Machine, record: &Host) -> (Lifecycle, TaskSet) {
    let tasks = TaskSet::new(Shutdown::new(), machine.clock.clone());
    let service = Lifecycle::new(
        machine.local(),
        record.store(here()),
        machine.clock.clone(),
        tasks.handle(),
    );
    tasks.spawn_job("adoption", service.clone().adopt());
    (service, tasks)
}

#[tokio::test]
async fn a_contender_outlives_its_lifecycle_is_killed_and_started_again_by_the_next_and_its_words_are_kept()
 {
    let machine = Machine::new();
    let order = laws::contender(0, "echo hello; sleep 1000");
    let record = Host::with(&order.slot.group.application).await;
    let wish = Contenders {
        application: order.slot.group.application.clone(),
        count: 1,
        role: order.role.clone(),
        traceparent: String::new(),
    };
    let (first, tasks) = lifecycle(&machine, &record);
    within(first.provision_contenders(wish.clone())).await.unwrap();
    let source = |start| LogSource::new(&order.slot, start);
    machine
        .until("its words are kept", async || record.log(&source(1)).await.0 == b"hello\n")
        .await;
    let pid = within(first.list(None)).await.unwrap()[0].1.pid;
    drop((first, tasks));

    let (second, _tasks) = lifecycle(&machine, &record);
    let seen = async || within(second.list(None)).await.unwrap()[0].1.clone();
    while seen().await.pid != pid {
        machine.clock.sleep(Duration::from_millis(5)).await;
    }
    assert!(within(second.provision_contenders(wish)).await.is_ok());
    assert!(
        Process::of(pid).is_some_and(|process| !process.is_zombie()),
        "adopted, not started again"
    );

    Process::of(pid).unwrap().signal(Signal::KILL);
    machine
        .until("the next one speaks", async || record.log(&source(2)).await.0 == b"hello\n")
        .await;
    assert_eq!(
        record.log(&source(1)).await,
        (b"hello\n".to_vec(), true),
        "each word once, and all of them"
    );
    assert_eq!(seen().await.starts, 2);

    let left = within(second.teardown_contenders(&order.slot.group.application)).await.unwrap();
    assert_eq!(left, Vec::<String>::new());
    machine.until("nothing is left", async || machine.marked().is_empty()).await;
    assert!(record.keys().await.is_empty());
    assert!(
        !machine.places.application_work(&order.slot.group.application).exists(),
        "nothing is kept"
    );
}
