#![allow(clippy::unwrap_used)]
use super::*;

fn slot() -> Slot {
    let application =
        ApplicationRef { id: "orders".parse().unwrap(), generation: proto::Generation(4) };
    Slot {
        group: GroupId { application, kind: Kind::Cluster, number: 9 },
        role: "worker".into(),
        replica: 1,
    }
}

/// A role with nothing special about it.
pub(crate) fn role(name: &str) -> RoleSpec {
    RoleSpec {
        name: name.into(),
        command: vec!["/bin/worker".into()],
        environment: BTreeMap::new(),
        files: Vec::new(),
        replicas: 1,
        probe: Probe::GrpcHealth,
        ready_within_ms: 60_000,
        restart: Restart::Never,
        ends_at_once: false,
        fatal_exit_codes: Vec::new(),
        serves_jobs: true,
        ports: Vec::new(),
        addresses: BTreeMap::new(),
        wish: 0,
        ungated: false,
    }
}

#[test]
fn keys_are_what_the_record_keeps_them_by() {
    assert_eq!(slot().key(), "orders/4/cluster/9/worker/1");
    assert!(slot().key().starts_with(&slot().group.key_prefix()));
    let host = PlaceUid::from_bytes([0xa1; 8]);
    assert_eq!(slot().key_at(host), "orders/4/a1a1a1a1a1a1a1a1/cluster/9/worker/1");
    assert!(slot().key_at(host).starts_with(&slot().group.key_prefix_at(host)));
}

#[test]
fn an_exit_means_what_the_role_says() {
    let exit = |code| Exit { code: Some(code), ..Exit::default() };
    let killed = Exit { signal: Some(9), ..Exit::default() };
    let contender = Restart::UntilDone(vec![0, 1, 3, 4]);
    for (restart, fatal_exit_codes, exit, fate) in [
        (&Restart::Never, vec![], &exit(0), Fate::Failed),
        (&Restart::Always, vec![], &exit(0), Fate::Open),
        (&Restart::Always, vec![3], &exit(0), Fate::Open),
        (&Restart::Always, vec![3], &killed, Fate::Open),
        (&Restart::Always, vec![3], &exit(3), Fate::Failed),
        (&contender, vec![], &exit(3), Fate::Done),
        (&contender, vec![], &exit(70), Fate::Open),
        (&contender, vec![2, 78], &exit(70), Fate::Open),
        (&contender, vec![2, 78], &exit(78), Fate::GaveUp),
        (&contender, vec![2, 78], &killed, Fate::Open),
        (&contender, vec![], &killed, Fate::Open),
    ] {
        let role = RoleSpec { restart: restart.clone(), fatal_exit_codes, ..role("worker") };
        assert_eq!(after_exit(&role, exit), fate, "{role:?} {exit}");
    }
}

#[test]
fn a_group_is_as_its_processes_are() {
    let status = |state, fate| Status { state, fate, ..Status::new(&slot(), 1, String::new()) };
    let ready = status(State::Ready, Fate::Open);
    let again = status(State::Starting, Fate::Open);
    let failed = status(State::Exited, Fate::Failed);
    let stopped = status(State::Exited, Fate::Stopped);
    for (statuses, expected) in [
        (vec![ready.clone(), ready.clone()], Phase::Ready),
        (vec![ready.clone(), again], Phase::Starting),
        (vec![ready.clone(), failed.clone()], Phase::Failed),
        (vec![failed, stopped.clone()], Phase::Failed),
        (vec![ready, stopped.clone()], Phase::Starting),
        (vec![stopped.clone(), stopped], Phase::Gone),
    ] {
        assert_eq!(phase(&statuses), expected, "{statuses:?}");
    }
}

#[test]
fn a_death_is_told_with_its_cause_also_when_the_next_start_is_under_way() {
    let words =
        LastWords { error: "no memory".into(), last: "Stopped.".into(), ..LastWords::default() };
    let code = |code| Some(Exit { code: Some(code), ..Exit::default() });
    let signal = |signal| Some(Exit { signal: Some(signal), ..Exit::default() });
    let status = |state, exit, was_ended| Status {
        state,
        exit,
        was_ended,
        last_words: words.clone(),
        ..Status::new(&slot(), 3, String::new())
    };
    for (state, exit, was_ended, expected) in [
        (State::Exited, code(1), false, (3, "exit code 1 (no memory)")),
        (State::Starting, code(1), false, (2, "exit code 1 (no memory)")),
        (State::Ready, signal(6), false, (2, "signal 6 (no memory)")),
        // A signal from outside comes in the middle of anything.
        (State::Exited, signal(9), false, (3, "signal 9")),
        (State::Exited, code(1), true, (0, "")),
        (State::Ready, None, false, (0, "")),
    ] {
        let status = status(state, exit, was_ended);
        assert_eq!((status.deaths(), status.last_exit().as_str()), expected, "{status:?}");
    }
    let silent = LastWords { last: "Stopped.".into(), ..LastWords::default() };
    let said = Status { last_words: silent, ..status(State::Exited, code(1), false) };
    assert_eq!(said.last_exit(), "exit code 1 (Stopped.)", "rather its last line than nothing");
}

#[test]
fn silence_has_a_limit() {
    let answered = Boot::from_nanos(0);
    assert_eq!(watchdog(answered, answered), Watchdog::AskAt(answered + PROBE_PAUSE));
    assert_eq!(watchdog(answered, answered + SILENCE_LIMIT), Watchdog::GiveUp);
}

#[test]
fn contenders_are_brought_to_their_count() {
    assert_eq!(contenders_to_change(&[], 2), (vec![0, 1], vec![]));
    assert_eq!(contenders_to_change(&[0, 1], 2), (vec![], vec![]));
    assert_eq!(contenders_to_change(&[1, 2], 2), (vec![0], vec![2]));
    assert_eq!(contenders_to_change(&[0], 0), (vec![], vec![0]));
}

#[test]
fn a_plan_that_contradicts_itself_is_refused_by_field() {
    let file = |path: &str| RoleFile { path: path.into(), content: Vec::new(), executable: false };
    let helper = RoleSpec { serves_jobs: false, ..role("helper") };
    for (roles, field) in [
        (vec![], "roles"),
        (vec![helper.clone()], "roles"),
        (vec![role("worker"), role("other")], "roles"),
        (vec![RoleSpec { replicas: 2, ..role("worker") }], "roles"),
        (vec![role("Worker")], "roles[0].name"),
        (vec![role("worker"), RoleSpec { serves_jobs: false, ..role("worker") }], "roles[1].name"),
        (vec![role("worker"), RoleSpec { command: vec![], ..helper.clone() }], "roles[1].command"),
        (vec![role("worker"), RoleSpec { replicas: 0, ..helper.clone() }], "roles[1].replicas"),
        (
            vec![RoleSpec { files: vec![file("a/../../b")], ..role("worker") }],
            "roles[0].files[0].path",
        ),
        (
            vec![RoleSpec { files: vec![file("/etc/passwd")], ..role("worker") }],
            "roles[0].files[0].path",
        ),
        (vec![RoleSpec { command: vec!["x".repeat(40_000)], ..role("worker") }], "roles[0]"),
        (
            vec![RoleSpec { restart: Restart::UntilDone(vec![]), ..role("worker") }],
            "roles[0].restart",
        ),
    ] {
        assert_eq!(check_plan(&roles).unwrap_err().field, field, "{roles:?}");
    }
    let files = vec![file("conf/log.xml")];
    check_plan(&[RoleSpec { files, ..role("worker") }, RoleSpec { replicas: 3, ..helper }])
        .unwrap();
}
