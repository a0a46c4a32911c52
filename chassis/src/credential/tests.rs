#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;

use super::{Credential, DeploymentKey, Kept, Principal};
use crate::disk;

fn principals() -> Vec<Principal> {
    let application = || "orders".to_owned();
    vec![
        Principal::Deployment,
        Principal::Attempt { application: application(), generation: 4, epoch: 48_213 },
        Principal::Incarnation { application: application(), generation: 4, incarnation: 48_213 },
        Principal::Contender { application: application(), generation: 4 },
        Principal::Describe { application: application(), generation: 4, epoch: 48_213 },
        Principal::Jobs { application: application(), generation: 4, incarnation: 48_213 },
        owner(Kept::Main, 48_213),
        owner(Kept::Describe, 48_213),
        owner(Kept::Cluster, 48_213),
        owner(Kept::Contender, 4),
        Principal::Attempt { application: "x.1.2".into(), generation: 3, epoch: 4 },
        Principal::Attempt { application: "a".repeat(63), generation: u64::MAX, epoch: u64::MAX },
    ]
}

fn owner(kept: Kept, number: u64) -> Principal {
    Principal::Owner { application: "orders".into(), generation: 4, kept, number }
}

#[test]
fn a_token_says_what_it_was_minted_for_and_no_two_are_equal() {
    let key = DeploymentKey::generate();
    let tokens: Vec<_> = principals().iter().map(|p| key.mint(p)).collect();
    for (principal, token) in principals().iter().zip(&tokens) {
        assert_eq!(key.verify(token.expose()).as_ref(), Some(principal));
        assert_eq!(tokens.iter().filter(|other| *other == token).count(), 1);
        assert_eq!(token.header().to_str().unwrap(), format!("Bearer {}", token.expose()));
        assert!(token.header().is_sensitive());
    }
}

#[test]
fn another_key_or_any_changed_byte_does_not_verify() {
    let key = DeploymentKey::generate();
    for principal in principals() {
        let token = key.mint(&principal).expose().to_owned();
        assert_eq!(DeploymentKey::generate().verify(&token), None);
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(key.verify(&changed), None, "{changed}");
        }
    }
    for garbage in
        ["", ".", "ms1.deployment", "ms1.deployment.", "ms1.deployment.00", &"x".repeat(9999)]
    {
        assert_eq!(key.verify(garbage), None);
    }
}

#[test]
fn secrets_print_as_stars() {
    let key = DeploymentKey::from_bytes([0xab; 32]);
    assert_eq!(format!("{key:?}"), "DeploymentKey(***)");
    assert_eq!(format!("{:?}", key.mint(&Principal::Deployment)), "Credential(***)");
}

#[test]
fn a_key_is_made_once_also_by_many_at_once_and_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    // The directory is made by the first of them, too.
    let state = dir.path().join("state");
    let path = state.join("key");
    let tokens: Vec<_> = std::thread::scope(|scope| {
        let load = || DeploymentKey::load_or_create(&path).unwrap().mint(&Principal::Deployment);
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "nothing is left beside the key");
}

#[test]
fn a_fingerprint_tells_keys_apart_and_gives_nothing_away() {
    let bytes = [0x5a; 32];
    let key = DeploymentKey::from_bytes(bytes);
    let fingerprint = key.fingerprint();
    assert_eq!(fingerprint, DeploymentKey::from_bytes(bytes).fingerprint());
    assert_ne!(fingerprint, DeploymentKey::generate().fingerprint());
    assert_eq!(fingerprint.len(), 32);
    assert!(!hex::encode(bytes).contains(&fingerprint));
    // A stranger who reads the record knows the fingerprint and what it is the MAC of.
    for claim in ["fingerprint of a deployment key", "ms1.deployment"] {
        assert_eq!(key.verify(&format!("{claim}.{fingerprint}")), None);
    }
}

#[test]
fn a_key_that_is_there_is_never_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let made = DeploymentKey::create(&path).unwrap().unwrap();
    assert!(DeploymentKey::create(&path).unwrap().is_none());
    assert_eq!(DeploymentKey::load(&path).unwrap().fingerprint(), made.fingerprint());
}

#[test]
fn a_key_that_others_can_read_or_that_is_damaged_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    DeploymentKey::load_or_create(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let error = DeploymentKey::load_or_create(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(
        error.to_string().contains("0640") && error.to_string().contains("chmod 600"),
        "{error}"
    );
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "short").unwrap();
    let error = DeploymentKey::load_or_create(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let (named, text) = (path.display().to_string(), error.to_string());
    assert!(text.contains(&named) && text.contains("restore it from a copy"), "{text}");
}

/// A key that a machine without power forgot would be made anew, and every token would be
/// worthless.
#[test]
fn a_key_and_a_token_have_durable_names() {
    let dir = tempfile::tempdir().unwrap();
    disk::watched::begin();
    let key = DeploymentKey::load_or_create(&dir.path().join("key")).unwrap();
    assert_eq!(disk::watched::syncs_of(dir.path()), 1);
    key.mint(&Principal::Deployment).write_file(&dir.path().join("token")).unwrap();
    assert_eq!(disk::watched::syncs_of(dir.path()), 2);
}

#[test]
fn a_credential_file_reads_back_and_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let key = DeploymentKey::generate();
    for principal in principals() {
        key.mint(&principal).write_file(&path).unwrap();
        assert_eq!(key.verify(Credential::from_file(&path).unwrap().expose()), Some(principal));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    fs::write(&path, "two words").unwrap();
    let error = Credential::from_file(&path).unwrap_err().to_string();
    assert!(error.contains("token") && !error.contains("two words"), "{error}");
}

#[test]
fn a_held_token_matches_only_itself_and_says_what_it_stands_for() {
    let principal = Principal::Attempt { application: "orders".into(), generation: 4, epoch: 9 };
    let held = DeploymentKey::generate().mint(&principal);
    assert_eq!(held.claims(), Some(principal.clone()));
    assert!(held.matches(held.expose()));
    assert!(!held.matches(DeploymentKey::generate().mint(&principal).expose()));
    assert!(!held.matches(""));
}
