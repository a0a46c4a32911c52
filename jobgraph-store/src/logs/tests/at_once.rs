//! Stores that write one application's output all the time, each its own, with followers at both.

use std::pin::pin;

use chassis::clock::SharedClock;
use chassis::transport::{OsTransport, SharedTransport};
use etcd::Etcd;
use futures::StreamExt as _;

use super::court::{Court, soon, text};
use super::*;
use crate::error::Error;
use crate::store::etcd::EtcdMetadata;

fn source(role: &str) -> jobgraph::LogSource {
    jobgraph::LogSource { role: role.into(), number: 1, ..Default::default() }
}

/// Which line of its source this is.
fn number(text: &str) -> usize {
    text[1..].parse().unwrap()
}

/// Follows until so many lines are shown, and sees that each source's are shown once and in order.
async fn follows(store: Service, application: ApplicationRef, count: usize) {
    let filter = LogFilter { follow: true, ..LogFilter::default() };
    let mut lines = pin!(store.read_logs(&application.id, 0, "", filter).await.unwrap());
    let (mut left, mut right) = (0, 0);
    while left + right < count {
        for line in lines.next().await.expect("the follower goes on").unwrap() {
            let seen = if line.role == "left" { &mut left } else { &mut right };
            *seen += 1;
            assert_eq!(number(&text(&line)), *seen, "of {}", line.role);
        }
    }
}

/// Makes lines durable. A store that was overtaken in each of its tries says so and keeps the
/// lines; on a slow machine that comes to pass now and then, and a shipper goes on as well.
async fn becomes_durable(appender: &Appender) {
    loop {
        match appender.flush().await {
            Err(Error::Contended(_)) => {}
            flushed => return flushed.unwrap(),
        }
    }
}

/// Writes so many lines, each in a chunk of its own.
async fn writes(store: Service, application: ApplicationRef, role: &'static str, count: u64) {
    let (appender, _) = store.append_logs(&application, &source(role)).await.unwrap();
    for n in 1..=count {
        appender.take(&[chunk(6 * n, &format!("x{n:04}\n"))], false).await.unwrap();
        becomes_durable(&appender).await;
    }
    let ended = appender.take(&[], true).await;
    assert!(matches!(ended, Ok(true) | Err(Error::Contended(_))), "{ended:?}");
    becomes_durable(&appender).await;
    appender.finish().await.unwrap();
}

async fn write_and_follow(left: Service, right: Service, of: &ApplicationRef, count: u64) {
    let all = 2 * usize::try_from(count).unwrap();
    let tasks = [
        tokio::spawn(follows(left.clone(), of.clone(), all)),
        tokio::spawn(follows(right.clone(), of.clone(), all)),
        tokio::spawn(writes(left, of.clone(), "left", count)),
        tokio::spawn(writes(right, of.clone(), "right", count)),
    ];
    for task in tasks {
        soon(task).await.unwrap();
    }
}

/// The numbers of the lines of each store, as a reader is shown them who has not followed.
async fn kept(store: &Service) -> [Vec<usize>; 2] {
    let lines = read(store, "").await;
    ["left", "right"].map(|role| {
        let of_role = lines.iter().filter(|line| line.role == role);
        of_role.map(|line| number(&text(line))).collect()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_that_write_all_the_time_lose_and_double_nothing() {
    let court = Court::new().await;
    write_and_follow(court.store(), court.store(), &court.application, 300).await;
    let all: Vec<usize> = (1..=300).collect();
    assert_eq!(kept(&court.store()).await, [all.clone(), all]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_etcd_that_write_all_the_time_lose_and_double_nothing() {
    let server = e2e::etcd::Etcd::start();
    let transport: SharedTransport = Arc::new(OsTransport);
    let clock: SharedClock = Arc::new(SystemClock);
    let blobs = MemoryBlobs::default();
    let store = async |writer: &str| {
        let member = server.address().parse().unwrap();
        let etcd = Etcd::new(&[member], &transport, &clock).await.unwrap();
        let metadata = EtcdMetadata::open(etcd, "/test", writer).await.unwrap();
        Service::new(Arc::new(metadata), Arc::new(blobs.clone()), clock.clone())
    };
    let (left, right, fresh) = (store("left").await, store("right").await, store("fresh").await);
    let application = submitted(&left, "logs").await;
    write_and_follow(left, right, &application, 60).await;
    let all: Vec<usize> = (1..=60).collect();
    assert_eq!(kept(&fresh).await, [all.clone(), all]);
}
