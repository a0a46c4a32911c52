#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use chassis::clock::{Clock as _, SystemClock};
use chassis::credential::{DeploymentKey, Principal};
use chassis::transport::OsTransport;

use super::*;
use crate::api::tests::puppet::{Puppet, soon};

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

fn hosts(endpoints: &[&Endpoint], credential: &Credential) -> Arc<Hosts> {
    let endpoints = endpoints.iter().map(|&endpoint| endpoint.clone()).collect();
    Arc::new(Hosts::new(endpoints, credential.clone(), Arc::new(OsTransport), clock()))
}

/// An endpoint where connections are taken and never answered.
async fn silent(directory: &std::path::Path) -> (Endpoint, Incoming) {
    let endpoint = Endpoint::Unix(directory.join("silent.sock"));
    let incoming = OsTransport.listen(&endpoint).await.unwrap();
    (endpoint, incoming)
}

fn nobody(directory: &std::path::Path) -> Endpoint {
    Endpoint::Unix(directory.join("nobody.sock"))
}

async fn version(channel: &GrpcChannel) -> Said {
    soon(Applications::new(channel.clone()).version()).await
}

#[tokio::test]
async fn the_first_host_that_answers_is_kept_and_dead_and_silent_ones_cost_little() {
    let (directory, store) = (tempfile::tempdir().unwrap(), Puppet::new(clock()).await);
    let ((silent, _incoming), dead) = (silent(directory.path()).await, nobody(directory.path()));
    let hosts = hosts(&[&dead, &silent, &store.endpoint], &store.credential);
    let began = SystemClock.boot();
    let channel = soon(hosts.channel()).await.ok().unwrap();
    assert_eq!(channel.endpoint(), &store.endpoint);
    let took = SystemClock.boot().saturating_duration_since(began);
    assert!(took < ANSWER, "the silent one was waited for: {took:?}");
    version(&channel).await.unwrap();
    assert_eq!(hosts.kept.load(Ordering::Relaxed), 2);
    // The kept one is asked first, so that the silent one is not waited for again.
    let began = SystemClock.boot();
    soon(hosts.channel()).await.ok().unwrap();
    assert!(SystemClock.boot().saturating_duration_since(began) < ANSWER);
}

#[tokio::test]
async fn after_a_failed_call_another_host_is_asked_first() {
    let (first, second) = (Puppet::new(clock()).await, Puppet::new(clock()).await);
    let hosts = hosts(&[&first.endpoint, &second.endpoint], &first.credential);
    // Both answer, the second one by refusing the credential.
    for expected in [&first.endpoint, &second.endpoint, &first.endpoint] {
        assert_eq!(soon(hosts.channel()).await.ok().unwrap().endpoint(), expected);
        hosts.turn_away();
    }
}

#[tokio::test]
async fn where_none_answers_each_is_named_with_what_became_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let ((silent, _incoming), dead) = (silent(directory.path()).await, nobody(directory.path()));
    let credential = DeploymentKey::generate().mint(&Principal::Deployment);
    let hosts = hosts(&[&dead, &silent], &credential);
    let Err(Silence(all)) = soon(hosts.channel()).await else { panic!("one answered") };
    assert_eq!(all.len(), 2, "{all:?}");
    for endpoint in [dead, silent] {
        let endpoint = endpoint.to_string();
        assert!(all.iter().any(|why| why.contains(&endpoint)), "{endpoint}: {all:?}");
    }
}

#[tokio::test]
async fn a_host_that_refuses_the_credential_has_answered() {
    let store = Puppet::new(clock()).await;
    let other = DeploymentKey::generate().mint(&Principal::Deployment);
    let hosts = hosts(&[&store.endpoint], &other);
    let channel = soon(hosts.channel()).await.ok().unwrap();
    let refused = version(&channel).await.unwrap_err();
    assert_eq!(refused.reason(), Some(proto::Reason::CredentialInvalid));
    let said = soon(hosts.ask_all()).await;
    assert_eq!(said.len(), 1);
    assert!(said[0].1.is_err());
}

#[tokio::test]
async fn a_channel_whose_host_goes_away_goes_on_at_another_one() {
    let (first, second) = (Puppet::new(clock()).await, Puppet::new(clock()).await);
    let hosts = hosts(&[&first.endpoint, &second.endpoint], &first.credential);
    let channel = soon(hosts.channel()).await.ok().unwrap();
    version(&channel).await.unwrap();
    drop(first);
    // The second store has another key, so that its refusal shows that the call has reached it.
    let refused = Some(proto::Reason::CredentialInvalid);
    let moved = async {
        while version(&channel).await.err().and_then(|error| error.reason()) != refused {
            SystemClock.sleep(Duration::from_millis(5)).await;
        }
    };
    soon(moved).await;
    assert_eq!(hosts.kept.load(Ordering::Relaxed), 1);
}
