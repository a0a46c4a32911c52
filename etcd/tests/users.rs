//! An etcd that asks for a user, and one that begins to.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::{Clock as _, SharedClock, SystemClock, timeout};
use chassis::transport::{OsTransport, SharedTransport};
use etcd::{Error, Etcd, EtcdArgs, Heard, Lease, Watch, revision_of};
use etcd_client::{Txn, TxnOp};
use tempfile::TempDir;

const USER: &str = "the-deployment";
const PASSWORD: &str = "correct horse";

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server whose hashes of passwords cost little.
fn server() -> e2e::etcd::Etcd {
    e2e::etcd::Etcd::start_with(&["--bcrypt-cost", "4"])
}

/// A file with a password in it.
fn password(directory: &TempDir, password: &str) -> PathBuf {
    let file = directory.path().join("password");
    fs::write(&file, format!("{password}\n")).unwrap();
    file
}

async fn reached(server: &e2e::etcd::Etcd, password_file: Option<&Path>) -> Etcd {
    let settings = EtcdArgs {
        members: vec![server.address().parse().unwrap()],
        user: password_file.map(|_| USER.to_owned()),
        password_file: password_file.map(Path::to_owned),
        ..EtcdArgs::default()
    };
    let transport: SharedTransport = Arc::new(OsTransport);
    let clock: SharedClock = Arc::new(SystemClock);
    Etcd::of(&settings, &transport, &clock).await.unwrap()
}

/// Puts a key, and answers the revision.
async fn put(etcd: &Etcd, key: &str) -> Result<i64, Error> {
    let put = TxnOp::put(key, "x", None);
    let answer = etcd.transact(PATIENCE, &Txn::new().and_then(vec![put])).await?;
    Ok(revision_of(&answer))
}

#[tokio::test]
async fn a_user_may_what_its_role_may() {
    let (server, directory) = (server(), TempDir::new().unwrap());
    server.ask_for_user(USER, PASSWORD);
    let etcd = reached(&server, Some(&password(&directory, PASSWORD))).await;
    put(&etcd, "/mainspring/x").await.unwrap();
    let refused = put(&etcd, "/another/x").await.unwrap_err();
    assert!(matches!(&refused, Error::Setting(why) if why.contains(USER)), "{refused:?}");
}

/// A member that was started again knows no token of before.
#[tokio::test]
async fn a_token_that_is_forgotten_is_got_anew() {
    let (mut server, directory) = (server(), TempDir::new().unwrap());
    server.ask_for_user(USER, PASSWORD);
    let etcd = reached(&server, Some(&password(&directory, PASSWORD))).await;
    let first = put(&etcd, "/mainspring/x").await.unwrap();
    let mut watch = Watch::new(etcd.clone(), "/mainspring/", first + 1);
    let (mut lease, _) = Lease::grant(&etcd, Duration::from_secs(60), PATIENCE).await.unwrap();
    assert_eq!(lease.renew(PATIENCE).await, Ok(true));
    // The watch is open before the server goes.
    let second = put(&etcd, "/mainspring/x").await.unwrap();
    assert_eq!(told(&mut watch).await, second);
    // What etcd has not written down yet, it does again when it is started, tokens included.
    SystemClock.sleep(Duration::from_secs(1)).await;
    server.restart();
    let third = put(&etcd, "/mainspring/x").await.unwrap();
    assert_eq!(told(&mut watch).await, third);
    assert_eq!(lease.renew(PATIENCE).await, Ok(true));
    lease.revoke(PATIENCE).await.unwrap();
}

/// The revision that a watch tells next.
async fn told(watch: &mut Watch) -> i64 {
    match timeout(&SystemClock, PATIENCE, watch.next()).await.unwrap() {
        Heard::Events(events) => events[0].kv().unwrap().mod_revision(),
        Heard::Lost(lost) => panic!("what was until {lost} is lost"),
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once_and_the_right_one_is_taken_without_a_restart() {
    let (server, directory) = (server(), TempDir::new().unwrap());
    server.ask_for_user(USER, PASSWORD);
    let file = password(&directory, "wrong horse");
    let etcd = reached(&server, Some(&file)).await;
    let asked = SystemClock.boot();
    let Err(Error::Setting(why)) = put(&etcd, "/mainspring/x").await else {
        panic!("etcd took a wrong password");
    };
    assert!(SystemClock.boot() < asked + PATIENCE / 2, "it was tried again and again");
    for named in [USER, file.to_str().unwrap(), "MAINSPRING_ETCD_PASSWORD_FILE"] {
        assert!(why.contains(named), "{why:?} does not name {named}");
    }
    assert!(!why.contains("wrong horse"), "{why:?} tells the password");
    password(&directory, PASSWORD);
    let until = SystemClock.boot() + PATIENCE;
    while let Err(error) = put(&etcd, "/mainspring/x").await {
        assert!(SystemClock.boot() < until, "{error}");
        SystemClock.sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn an_etcd_that_begins_to_ask_for_a_user_is_told_one() {
    let (server, directory) = (server(), TempDir::new().unwrap());
    let etcd = reached(&server, Some(&password(&directory, PASSWORD))).await;
    put(&etcd, "/mainspring/x").await.unwrap();
    server.ask_for_user(USER, PASSWORD);
    put(&etcd, "/mainspring/x").await.unwrap();
}

#[tokio::test]
async fn an_etcd_that_asks_for_a_user_says_which_setting_is_missing() {
    let server = server();
    server.ask_for_user(USER, PASSWORD);
    let refused = put(&reached(&server, None).await, "/mainspring/x").await;
    let Err(Error::Setting(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("MAINSPRING_ETCD_USER"), "{why}");
}
