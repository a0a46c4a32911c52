#![allow(missing_docs, clippy::all)]
use std::sync::Arc; use std::time::Instant;
use chassis::{channel, clock::SystemClock, credential::{DeploymentKey,Principal}, tasks::Shutdown, transport::{Endpoint,OsTransport}};
#[tokio::test(flavor="multi_thread", worker_threads=2)]
async fn speed() {
    chassis::install_crypto_provider();
    let dir = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap()).unwrap();
    let e = Endpoint::Unix(dir.path().join("f.sock"));
    let args = artifact_fetcher::config::Args{ state_dir: dir.path().into(), listen: Some(e.clone()), cache_limit: 20<<30 };
    let sd = Shutdown::new();
    let h = tokio::spawn(artifact_fetcher::serve(args, Arc::new(OsTransport), Arc::new(SystemClock::default()), sd.clone()));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let key = DeploymentKey::load_or_create(&dir.path().join("deployment.key")).unwrap();
    let a = client::artifacts::Artifacts::new(channel::connect(Arc::new(OsTransport), Arc::new(SystemClock::default()), e, Some(key.mint(&Principal::Deployment))));
    let mut w = client::artifacts::Wanted{application:None, uri: std::env::var("BENCH_URI").unwrap(), expected:None, link_to:None, executable:false};
    for _ in 0..3 {
        a.evict_to(0).await.unwrap();
        let t = Instant::now(); let f = a.fetch(&w, |_|{}).await.unwrap(); eprintln!("fetch {:?} cache={}", t.elapsed(), f.from_cache);
        w.expected = Some(f.artifact.unwrap().digest.parse().unwrap());
        let mut v = vec![]; for _ in 0..1000 { let t=Instant::now(); a.fetch(&w, |_|{}).await.unwrap(); v.push(t.elapsed()); } v.sort(); eprintln!("hit p50 {:?} p99 {:?}", v[500], v[990]);
        w.expected=None;
    }
    sd.begin(); h.await.unwrap().unwrap();
}
