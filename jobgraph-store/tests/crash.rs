//! `kill -9` of the service in the middle of its writes, many times. Every answered write is there
//! afterwards, and what is there makes sense. The service runs in a process of its own: this test
//! executable, called again.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "grpc/host.rs"]
#[allow(dead_code)]
mod host;

use record::{Holder, Record as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chassis::channel::connect;
use chassis::clock::{Clock as _, SystemClock, timeout};
use chassis::credential::{DeploymentKey, Principal};
use chassis::server::Footing;
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport};
use client::applications::Applications;
use client::payloads::Payloads;
use client::record::RecordClient;
use etcd::EtcdArgs;
use futures::TryStreamExt as _;
use jobgraph_store::blobs::location::BlobsArgs;
use proto::{Digest, api};

/// The variable that names the state directory for the child.
const STATE: &str = "STORE_CRASH_TEST_STATE";

/// The service, when this executable is called for it; nothing otherwise.
#[test]
fn the_service_itself() {
    let Some(state_dir) = std::env::var_os(STATE) else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listen = Some(Endpoint::Unix(Path::new(&state_dir).join("store.sock")));
    let (state_dir, run_as, shared) = (state_dir.into(), Default::default(), Default::default());
    let args = jobgraph_store::config::Args {
        listen,
        network: None,
        state_dir,
        etcd: EtcdArgs::default(),
        blobs: BlobsArgs::default(),
        past_seconds: 900,
        run_as,
        shared,
    };
    let footing = Footing {
        transport: Arc::new(OsTransport),
        clock: Arc::new(SystemClock),
        shutdown: Shutdown::new(),
    };
    runtime.block_on(jobgraph_store::serve(args, footing)).unwrap();
}

/// The process of a service, which is killed when this value is dropped, also by a failed
/// assertion.
struct Service(Child);

impl Service {
    fn start(state_dir: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "the_service_itself", "--nocapture"]).env(STATE, state_dir);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_kill_9_in_the_middle_of_writing() {
    let directory = tempfile::tempdir().unwrap();
    let key = DeploymentKey::load_or_create(&directory.path().join("deployment.key")).unwrap();
    let endpoint = Endpoint::Unix(directory.path().join("store.sock"));
    let channel = || {
        connect(
            Arc::new(OsTransport),
            Arc::new(SystemClock),
            endpoint.clone(),
            Some(key.mint(&Principal::Deployment)),
        )
    };
    let answering = async || {
        let version = async {
            while Applications::new(channel()).version().await.is_err() {
                SystemClock.sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(&SystemClock, Duration::from_secs(20), version).await.expect("it answers");
    };
    let service = Service::start(directory.path());
    answering().await;
    let submitted = Applications::new(channel())
        .submit(host::submit_request("r1", host::spec("crash")))
        .await
        .unwrap();
    let app = host::reference(&submitted.application.unwrap());
    let fence = host::fence(&app, 1);
    RecordClient::new(channel())
        .begin_attempt(&fence, &Holder::new("runner-0", 1), "")
        .await
        .unwrap();
    drop(service);

    let mut acknowledged: Vec<(usize, u64)> = Vec::new();
    for round in 0..8 {
        let service = Service::start(directory.path());
        answering().await;
        let counts: Arc<[AtomicU64; 3]> = Arc::default();
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..3_usize {
            let (record, payloads) = (RecordClient::new(channel()), Payloads::new(channel()));
            let (fence, counts) = (fence.clone(), counts.clone());
            writers.spawn(async move {
                for n in 0.. {
                    let text = format!("{round}-{writer}-{n}");
                    let is_refused = match writer {
                        0 => record
                            .journal(&fence, &text, Some(Bytes::from(text.clone())))
                            .await
                            .is_err(),
                        1 => {
                            let event = api::Event {
                                kind: "warning".into(),
                                message: text,
                                ..Default::default()
                            };
                            record.append_events(&fence, vec![event], vec![]).await.is_err()
                        }
                        _ => {
                            let bytes = Bytes::from(text);
                            payloads.put_bytes(Digest::of(&bytes), bytes).await.is_err()
                        }
                    };
                    if is_refused {
                        return;
                    }
                    counts[writer].store(n + 1, Ordering::SeqCst);
                }
            });
        }
        // The service is killed once every writer has come a little further in this round, in the
        // middle of what the writers do then.
        let target = 5 + round * 3;
        let far = async {
            while counts.iter().any(|count| count.load(Ordering::SeqCst) < target) {
                SystemClock.sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(&SystemClock, Duration::from_secs(30), far).await.expect("the writers come on");
        drop(service);
        writers.join_all().await;
        acknowledged.extend((0..3).map(|writer| (writer, counts[writer].load(Ordering::SeqCst))));
    }

    let _service = Service::start(directory.path());
    answering().await;
    let (record, payloads) = (RecordClient::new(channel()), Payloads::new(channel()));
    let request = api::EventsRequest { application_id: "crash".into(), ..Default::default() };
    let events: Vec<api::Event> =
        Applications::new(channel()).events(request).await.unwrap().try_collect().await.unwrap();
    assert!(
        events.iter().map(|event| event.event_id).eq(1..=events.len() as u64),
        "event ids have a gap"
    );
    let told: Vec<&str> = events.iter().map(|event| event.message.as_str()).collect();
    let mut total = 0;
    for (index, (writer, count)) in acknowledged.into_iter().enumerate() {
        let round = index / 3;
        for n in 0..count {
            total += 1;
            let text = format!("{round}-{writer}-{n}");
            match writer {
                0 => {
                    let kept = record.journal(&fence, &text, None).await.unwrap();
                    assert_eq!(kept.value, Some(Bytes::from(text)));
                }
                1 => assert_eq!(told.iter().filter(|told| **told == text).count(), 1, "{text}"),
                _ => {
                    let digest = Digest::of(text.as_bytes());
                    assert_eq!(payloads.get_bytes(digest, 100).await.unwrap(), text);
                }
            }
        }
    }
    assert!(total > 8 * 3 * 5, "only {total} writes were answered");
}
