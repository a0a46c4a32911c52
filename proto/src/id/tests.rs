#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn an_application_id_is_a_dns_label() {
    for good in ["a", "0", "carriers-7k2m", "a--b", &"x".repeat(63)] {
        assert_eq!(good.parse::<ApplicationId>().unwrap().as_str(), good);
    }
    for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä", "a b", "../x", &"x".repeat(64)] {
        let error = bad.parse::<ApplicationId>().unwrap_err().to_string();
        assert!(error.contains("1 to 63 characters"), "{error}");
    }
}

fn application(id: &str, generation: u64) -> ApplicationRef {
    ApplicationRef { id: id.parse().unwrap(), generation: Generation(generation) }
}

#[test]
fn a_job_id_never_changes_between_builds() {
    // A golden value, computed independently: this build has to find the records that an earlier
    // build wrote.
    let id = JobId::derive(&application("orders", 4), "", "enrich", 0);
    assert_eq!(id.to_string(), "003baa43f43c1fc5c5b0ea6301cf1025");
    let id =
        JobId::derive(&application("orders", 4), "00112233445566778899aabbccddeeff", "enrich", 0);
    assert_eq!(id.to_string(), "f1dc1e95a17f48f75dfdea8682697b51");
}

#[test]
fn parts_of_a_job_id_do_not_run_into_each_other() {
    let id = |app: &str, generation, name, occurrence| {
        JobId::derive(&application(app, generation), "", name, occurrence)
    };
    assert_ne!(id("ab", 1, "c", 0), id("a", 1, "bc", 0));
    assert_ne!(id("a", 1, "c", 0), id("a", 2, "c", 0));
    assert_ne!(id("a", 1, "c", 0), id("a", 1, "c", 1));
}

#[test]
fn a_savepoint_has_one_id_for_each_wish_and_job() {
    let job = |name| JobId::derive(&application("a", 1), "", name, 0);
    let id = TriggerId::derive("wish", job("x"));
    assert_eq!(id, TriggerId::derive("wish", job("x")));
    assert_ne!(id, TriggerId::derive("wish", job("y")));
    assert_ne!(id, TriggerId::derive("wish2", job("x")));
    assert_eq!(id.to_string().parse::<TriggerId>().unwrap(), id);
    assert!("savepoint-1".parse::<TriggerId>().is_err());
}

proptest! {
    #[test]
    fn a_digest_reads_back_what_it_prints(bytes in any::<[u8; 32]>()) {
        let digest = Digest::from_bytes(bytes);
        prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    }

    #[test]
    fn malformed_digests_and_job_ids_are_refused(text in ".{0,80}") {
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.to_string(), text.to_lowercase());
        }
        if let Ok(id) = text.parse::<JobId>() {
            prop_assert_eq!(id.to_string(), text.to_lowercase());
        }
    }
}
