#![allow(clippy::unwrap_used)]

use super::*;

/// Writes of one application, each at the next revision: what, generation, number, writer.
fn writes(all: &[(Of, u64, u64, &str)]) -> Vec<Write> {
    let seen = Instant::now();
    let write = |(at, &(of, generation, number, writer)): (usize, &(Of, u64, u64, &str))| Write {
        revision: at as u64,
        of,
        application: "app".to_owned(),
        generation,
        number,
        writer: writer.to_owned(),
        seen,
    };
    all.iter().enumerate().map(write).collect()
}

#[test]
fn leaders_and_clusters_that_follow_each_other_are_no_violation() {
    let found = violations(&writes(&[
        (Of::Event, 1, 0, "record"),
        (Of::Attempt, 1, 1, "a"),
        (Of::Event, 1, 1, "a"),
        (Of::Cluster, 1, 1, "r1"),
        (Of::Attempt, 1, 3, "b"),
        (Of::Attempt, 1, 3, "b"),
        (Of::Cluster, 1, 2, "r2"),
        (Of::Event, 1, 3, "b"),
        (Of::Attempt, 2, 4, "a"),
        (Of::Event, 2, 0, "record"),
    ]));
    assert!(found.is_empty(), "{found:#?}");
}

/// The control: each of these histories was written by hand, and none of them may pass.
#[test]
fn a_history_that_must_never_be_is_reported() {
    for (word, history) in [
        ("falls", [(Of::Attempt, 1, 2, "b"), (Of::Attempt, 1, 1, "a")]),
        ("falls", [(Of::Cluster, 1, 2, "r2"), (Of::Cluster, 1, 1, "r1")]),
        ("two writers", [(Of::Attempt, 1, 2, "b"), (Of::Attempt, 1, 2, "a")]),
        ("two writers", [(Of::Cluster, 1, 2, "r1"), (Of::Cluster, 1, 2, "r2")]),
        ("two writers", [(Of::Attempt, 1, 2, "a"), (Of::Attempt, 2, 2, "a")]),
        ("comes again", [(Of::Attempt, 2, 1, "a"), (Of::Attempt, 1, 2, "b")]),
        ("an event under epoch 1 of 2", [(Of::Attempt, 1, 2, "b"), (Of::Event, 1, 1, "a")]),
    ] {
        let found = violations(&writes(&history));
        let [told] = found.as_slice() else { panic!("{history:?}: {found:#?}") };
        assert!(told.contains(word), "{told}");
    }
    let alternate = [1, 2, 1, 2].map(|number| (Of::Attempt, 1, number, "x"));
    assert_eq!(violations(&writes(&alternate)).len(), 1);
}

/// The control of what is read: the same, but as etcd tells of it.
#[test]
fn a_fence_that_is_set_back_on_etcd_is_reported() {
    let etcd = crate::etcd::Etcd::start();
    let gateway = Gateway::new([etcd.address().to_owned()]);
    let key = format!("{APPLICATIONS}app/attempt");
    // `{ epoch, generation: 1, holder: "a" }` behind the version, and faster than any look.
    for epoch in [1, 2, 3, 2] {
        assert!(gateway.put(&key, &[1, 0x08, epoch, 0x10, 1, 0x1a, 1, b'a']));
    }
    let chronicle = Chronicle::start(gateway.clone());
    crate::process::eventually("all is seen", || chronicle.writes("app").len() == 4);
    let epochs: Vec<u64> = chronicle.writes("app").iter().map(|write| write.number).collect();
    assert_eq!((epochs, chronicle.missed()), (vec![1, 2, 3, 2], 0));
    assert_eq!(chronicle.violations("app").len(), 1);
    assert!(chronicle.violations("other").is_empty());
    assert!(gateway.put(&key, b"?"));
    crate::process::eventually("it is told", || chronicle.violations("app").len() == 2);
}
