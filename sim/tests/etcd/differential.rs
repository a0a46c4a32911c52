//! Random scripts against the in-memory etcd and a real one.

use std::cell::Cell;
use std::time::Duration;

use chassis::clock::{SystemClock, timeout};
use etcd_client::{Client, EventType, PutOptions, WatchOptions};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::member::{InMemory, real};
use crate::script::scripts;
use crate::side;

/// How many scripts are tried.
const SCRIPTS: u32 = 300;

/// How long a script that shows a difference is made smaller, in milliseconds. The test tells its
/// seed after that, before its runner takes it for one that hangs.
const SHRINKING_MS: u32 = 45_000;

/// A run with this seed in the environment tries the same scripts again.
const SEED: &str = "MAINSPRING_SEED";

/// The real etcd writes nothing durably, which no answer tells.
fn start() -> e2e::etcd::Etcd {
    e2e::etcd::Etcd::start_with(&["--unsafe-no-fsync"])
}

#[test]
fn random_scripts_are_answered_as_a_real_etcd_answers_them() {
    let seed: u64 =
        std::env::var(SEED).map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = start();
    let (real, in_memory) =
        runtime.block_on(async { (real(server.address()).await, InMemory::start().await) });
    let number = Cell::new(0_u32);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&u64::to_le_bytes(seed));
    let config = Config {
        cases: SCRIPTS,
        failure_persistence: None,
        max_shrink_time: SHRINKING_MS,
        ..Config::default()
    };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let outcome = TestRunner::new_with_rng(config, random).run(&scripts(), |script| {
        number.set(number.get() + 1);
        // Each script has keys of its own, behind those of all scripts before it.
        let prefix = format!("/{:08}/", number.get());
        let (expected, answered) = runtime.block_on(async {
            (
                side::run(&real, prefix.clone(), &script).await,
                side::run(&in_memory.client, prefix, &script).await,
            )
        });
        let expected = expected.map_err(|why| TestCaseError::fail(format!("real: {why}")))?;
        let answered = answered.map_err(|why| TestCaseError::fail(format!("in memory: {why}")))?;
        let mut pairs = expected.iter().zip(&answered).enumerate();
        if let Some((at, (expected, answered))) = pairs.find(|(_, (one, other))| one != other) {
            let text = format!("answer {at}\n  real:      {expected}\n  in memory: {answered}");
            return Err(TestCaseError::fail(text));
        }
        if expected.len() != answered.len() {
            let text = format!("{} answers, in memory {}", expected.len(), answered.len());
            return Err(TestCaseError::fail(text));
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{SEED}={seed} brings this back: {error}");
    }
}

/// A watcher is told that the lease's key is deleted.
async fn outlives_its_key(mut client: Client) -> Result<i64, String> {
    let text = |error: etcd_client::Error| error.to_string();
    let granted = client.lease_grant(1, None).await.map_err(text)?;
    let with_lease = PutOptions::new().with_lease(granted.id());
    client.put("/leased", "x", Some(with_lease)).await.map_err(text)?;
    let from_the_first = WatchOptions::new().with_start_revision(1);
    let mut watch = client.watch("/leased", Some(from_the_first)).await.map_err(text)?;
    loop {
        let message = timeout(&SystemClock, Duration::from_secs(30), watch.message()).await;
        let message = message.map_err(|elapsed| elapsed.to_string())?.map_err(text)?;
        let message = message.ok_or("the watch ended")?;
        if message.events().iter().any(|event| event.event_type() == EventType::Delete) {
            return Ok(granted.ttl());
        }
    }
}

#[tokio::test]
async fn a_lease_that_runs_out_takes_its_key_with_it() {
    let server = start();
    let in_memory = InMemory::start().await;
    let (real, in_memory) = tokio::join!(
        outlives_its_key(real(server.address()).await),
        outlives_its_key(in_memory.client.clone())
    );
    // The shortest lease that is granted is longer than what was asked for.
    assert_eq!((real, in_memory), (Ok(2), Ok(2)));
}
