//! The laws of the choice, for every number of hosts and of contenders that a deployment has.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proto::Generation;

use super::*;

/// The most hosts that a law is tried with.
const HOSTS: u8 = 7;

/// How many contenders an application may ask for.
const WANTED: std::ops::RangeInclusive<u32> = 1..=16;

fn host(n: u8) -> PlaceUid {
    PlaceUid::from_bytes([0, 0, 0, 0, 0, 0, 7, n])
}

fn hosts(count: u8) -> Vec<PlaceUid> {
    (0..count).map(host).collect()
}

fn application(n: u64) -> ApplicationRef {
    ApplicationRef { id: format!("load-{n}").parse().unwrap(), generation: Generation(1 + n % 3) }
}

/// How many contenders each of these hosts keeps.
fn shares(
    hosts: &[PlaceUid],
    application: &ApplicationRef,
    wanted: u32,
) -> BTreeMap<PlaceUid, u32> {
    let share = |me: &PlaceUid| Live::among(*me, hosts.to_vec()).share(application, wanted);
    hosts.iter().map(|me| (*me, share(me))).collect()
}

#[test]
fn the_hosts_together_keep_as_many_as_are_wanted_and_at_least_two_where_two_are_there() {
    for count in 1..=HOSTS {
        for (wanted, n) in WANTED.zip(0..) {
            let shares = shares(&hosts(count), &application(n), wanted);
            let expected = if count == 1 { wanted } else { wanted.max(2) };
            assert_eq!(shares.values().sum::<u32>(), expected, "{count} hosts, {wanted} wanted");
            let (most, fewest) = (shares.values().max().unwrap(), shares.values().min().unwrap());
            assert!(most - fewest <= 1, "{count} hosts, {wanted} wanted: {shares:?}");
            let with_some = shares.values().filter(|share| **share > 0).count();
            assert!(count == 1 || with_some >= 2, "all on one host: {shares:?}");
        }
    }
}

#[test]
fn one_host_or_one_that_knows_of_no_other_keeps_all() {
    for wanted in WANTED {
        assert_eq!(Live::only().share(&application(0), wanted), wanted);
        assert_eq!(Live::alone(host(3)).share(&application(0), wanted), wanted);
        assert_eq!(Live::among(host(3), [host(3)]), Live::alone(host(3)));
    }
}

#[test]
fn no_host_has_to_be_told_the_others_in_an_order() {
    let (listed, me) = (hosts(HOSTS), host(2));
    let backwards: Vec<_> = listed.iter().rev().copied().collect();
    assert_eq!(Live::among(me, listed), Live::among(me, backwards));
}

#[test]
fn when_a_host_goes_the_others_keep_what_they_have_and_get_only_what_was_its_own() {
    for count in 2..=HOSTS {
        for (n, wanted) in (0..200).zip(WANTED.cycle()) {
            let (application, all) = (application(n), hosts(count));
            let before = shares(&all, &application, wanted);
            for gone in &all {
                let left: Vec<_> = all.iter().filter(|host| *host != gone).copied().collect();
                let after = shares(&left, &application, wanted);
                let kept = left.iter().all(|host| after[host] >= before[host]);
                assert!(kept, "{before:?} became {after:?}");
                let moved: u32 = left.iter().map(|host| after[host] - before[host]).sum();
                // The last host that is left needs no second contender beside the one it has.
                let needed = if count == 2 { wanted } else { wanted.max(2) };
                let expected = needed - (before.values().sum::<u32>() - before[gone]);
                assert_eq!(moved, expected, "{before:?} became {after:?}");
            }
        }
    }
}

#[test]
fn a_thousand_applications_are_spread_evenly() {
    let all = hosts(5);
    let (mut contenders, mut first) = (BTreeMap::new(), BTreeMap::new());
    for n in 0..1000 {
        for (host, share) in shares(&all, &application(n), 2) {
            *contenders.entry(host).or_insert(0) += share;
        }
        let first_of_all = all.iter().min_by_key(|host| weight(**host, &application(n))).unwrap();
        *first.entry(*first_of_all).or_insert(0) += 1;
    }
    // Chance strays by 16 from 400 contenders of a host, and by 13 from 200 first places.
    assert!(contenders.values().all(|count| (320..=480).contains(count)), "{contenders:?}");
    assert!(first.values().all(|count| (135..=265).contains(count)), "{first:?}");
    assert_eq!((contenders.len(), first.len()), (5, 5));
}

#[test]
fn generations_and_ids_are_told_apart() {
    let of = |id: &str, generation| ApplicationRef {
        id: id.parse().unwrap(),
        generation: Generation(generation),
    };
    let weights = [of("a", 1), of("a", 2), of("a1", 1), of("b", 1)].map(|of| weight(host(1), &of));
    assert_eq!(weights.iter().collect::<BTreeSet<_>>().len(), 4);
    assert_ne!(weight(host(1), &of("a", 1)), weight(host(2), &of("a", 1)));
}

#[test]
fn builds_agree_on_the_order() {
    // The value is that of the build which brought several hosts: `printf` of the parts into
    // `sha256sum`. A change of it would have two builds choose differently.
    let reference = ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(4) };
    let digest = hex::encode(weight(PlaceUid::from_bytes([0xa7; 8]), &reference));
    assert_eq!(digest, "7dbd8382770e2be8ecaa9a93e224f54e56cb0576b3df57e55f058cf5f8d06bb1");
}
