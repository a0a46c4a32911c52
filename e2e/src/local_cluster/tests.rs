#![allow(clippy::unwrap_used)]

use super::machine::namespace_of;
use super::*;

#[test]
fn what_is_shared_has_another_path_on_a_machine_and_all_else_has_the_same() {
    let cluster = LocalCluster::new();
    let shared = cluster.shared().join("programs/a.sql");
    assert_eq!(cluster.seen(&shared), Path::new("/srv/shared/programs/a.sql"));
    assert_eq!(cluster.seen(Path::new("/usr/bin/env")), Path::new("/usr/bin/env"));
}

#[test]
fn a_machine_runs_as_long_as_its_first_process_and_not_as_long_as_the_number_is_taken() {
    let cluster = LocalCluster::new();
    let machine = cluster.named("host-1");
    assert_eq!(machine.first(), None, "it was never started");
    std::fs::create_dir_all(machine.directory()).unwrap();
    let pid = std::process::id();
    let note = |ticks: u64| {
        let known = format!("{{\"pid\": {pid}, \"start_ticks\": {ticks}}}");
        std::fs::write(machine.directory().join("machine.json"), known).unwrap();
    };
    note(machine::started_at(pid).unwrap());
    assert_eq!(machine.first(), Some(pid));
    assert_eq!(machine.namespace(), namespace_of(pid));
    assert!(machine.processes().contains(&pid));
    assert_eq!(machine.outside(pid), Some(pid), "this process is in no namespace of its own");
    note(1);
    assert_eq!((machine.first(), machine.processes().len()), (None, 0));
}

#[test]
fn a_cut_is_told_in_the_words_of_the_script() {
    let cut = |way| Cut::new("host-1", ["etcd-1", "etcd-2"], way);
    assert_eq!(cut(Way::Both).words(), [["host-1", "etcd-1", "etcd-2"]]);
    assert_eq!(cut(Way::Out).words(), [["--one-way", "host-1", "etcd-1", "etcd-2"]]);
    let each = [["--one-way", "etcd-1", "host-1"], ["--one-way", "etcd-2", "host-1"]];
    assert_eq!(cut(Way::In).words(), each);
}
