#![allow(clippy::unwrap_used)]
use proto::api::{ApplicationSpec, Job};

use super::*;

fn at(millis: i64) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: 1_000 + millis / 1000,
        nanos: i32::try_from(millis % 1000).unwrap() * 1_000_000,
    })
}

fn event(millis: i64, kind: &str, epoch: u64, attributes: &[(&str, &str)]) -> Event {
    let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Event { at: at(millis), kind: kind.into(), epoch, attributes, ..Event::default() }
}

fn application(contenders: u32) -> Application {
    Application {
        application_id: "carriers-7k2m".into(),
        generation: 1,
        submitted_at: at(0),
        spec: Some(ApplicationSpec { contenders, ..ApplicationSpec::default() }),
        ..Application::default()
    }
}

fn told(story: &mut Story, events: &[Event]) -> String {
    let lines = events.iter().flat_map(|event| story.tell(event));
    lines.map(|line| line.render(str::to_owned) + "\n").collect()
}

fn beginning() -> Vec<Event> {
    let digest = format!("sha256:9f3a{}c1", "0".repeat(58));
    vec![
        event(0, "submitted", 0, &[]),
        event(
            20,
            "artifact",
            1,
            &[("name", "carriers.sql"), ("size_bytes", "1100"), ("digest", &digest)],
        ),
        event(50, "leader", 1, &[("holder", "runner-0"), ("pid", "4121"), ("ordinal", "1")]),
        event(60, "cluster", 1, &[("incarnation", "1"), ("state", "starting")]),
        event(
            210,
            "cluster",
            1,
            &[("incarnation", "1"), ("state", "ready"), ("roles", "worker=1")],
        ),
        event(230, "main", 1, &[("state", "started"), ("pid", "4133"), ("execution", "1")]),
    ]
}

#[test]
fn a_first_run_is_told_line_by_line() {
    let mut story = Story::new(&application(1), "/home/me".into());
    let mut events = beginning();
    let output = ("location", "/home/me/out/carriers");
    events.extend([
        event(300, "job", 1, &[("name", "by_carrier"), ("state", "stored")]),
        event(310, "job", 1, &[("name", "by_carrier"), ("state", "submitted")]),
        event(
            600,
            "job",
            1,
            &[
                ("name", "by_carrier"),
                ("state", "ended"),
                ("outcome", "SUCCEEDED"),
                ("rows_in", "27004"),
                ("rows_out", "16"),
                ("files", "1"),
                output,
            ],
        ),
        event(
            610,
            "published",
            1,
            &[("name", "by_carrier"), output, ("files", "1"), ("bytes_out", "3100")],
        ),
        event(640, "main", 1, &[("state", "ended"), ("exit_code", "0")]),
        event(660, "ended", 1, &[("outcome", "SUCCEEDED")]),
        event(700, "clean", 1, &[]),
    ]);
    assert_eq!(
        told(&mut story, &events),
        " 0.02s artifact  carriers.sql 1.1 kB  sha256:9f3a…c1  pinned\n \
         0.05s leader    runner-0 (pid 4121)  epoch 1, no standby\n \
         0.21s cluster   incarnation 1, 1 worker ready\n \
         0.23s main()    started (pid 4133)\n \
         0.61s job       by_carrier  SUCCEEDED  27,004 rows in, 16 out -> out/carriers/ (1 file, 3.1 kB)\n"
    );
    let mut end = application(1);
    end.ended_at = at(660);
    end.outcome = Outcome::Succeeded.into();
    end.clean = true;
    end.jobs = vec![Job::default()];
    let line = story.end(&end).render(str::to_owned);
    assert_eq!(line, " 0.66s ended     SUCCEEDED  main() exit 0, 1 job, nothing left over");
}

#[test]
fn no_standby_is_denied_that_another_host_may_keep() {
    for (holder, line) in [
        ("runner-0", " 0.05s leader    runner-0  epoch 7, no standby"),
        ("node-7/runner-0", " 0.05s leader    node-7/runner-0  epoch 7"),
    ] {
        let elected = event(50, "leader", 7, &[("holder", holder), ("ordinal", "1")]);
        let mut story = Story::new(&application(1), "/".into());
        assert_eq!(told(&mut story, &[elected]).trim_end(), line);
    }
}

#[test]
fn a_take_over_is_told() {
    let mut story = Story::new(&application(2), "/".into());
    let events = [
        event(50, "leader", 7, &[("holder", "runner-0"), ("pid", "4121"), ("ordinal", "1")]),
        event(
            5_100,
            "leader",
            9,
            &[
                ("holder", "runner-1"),
                ("pid", "4122"),
                ("ordinal", "2"),
                ("cause", "lease expired"),
            ],
        ),
        event(5_200, "main", 9, &[("state", "started"), ("pid", "4200"), ("execution", "2")]),
        event(5_300, "job", 9, &[("name", "enrich"), ("state", "attached")]),
        event(
            6_000,
            "cluster",
            9,
            &[
                ("incarnation", "2"),
                ("state", "starting"),
                ("cause", "worker-0 exit code 1\nand more"),
            ],
        ),
    ];
    assert_eq!(
        told(&mut story, &events),
        " 0.05s leader    runner-0 (pid 4121)  epoch 7, 1 warm standby\n \
         5.10s leader    runner-1 (pid 4122)  epoch 9 (2nd leader); cause: lease expired\n \
         5.20s main()    executed again (pid 4200)\n \
         5.30s job       execute(\"enrich\") attached to the running job\n \
         6.00s cluster   incarnation 2 starting; cause: worker-0 exit code 1\n"
    );
}

#[test]
fn what_a_call_came_back_to_is_told_as_it_is() {
    let attached = |more: &[(&str, &str)]| {
        let attributes = [&[("name", "count\nwords"), ("state", "attached")], more].concat();
        told(&mut Story::new(&application(1), "/".into()), &[event(300, "job", 2, &attributes)])
    };
    assert_eq!(
        attached(&[]),
        " 0.30s job       execute(\"count words\") attached to the running job\n"
    );
    assert_eq!(
        attached(&[("outcome", "SUCCEEDED")]),
        " 0.30s job       execute(\"count words\") answered with the recorded end of the job: SUCCEEDED\n"
    );
    assert_eq!(
        attached(&[("asked", "count at 10:02")]),
        " 0.30s job       execute(\"count at 10:02\") attached to the running job \"count words\"\n"
    );
}

#[test]
fn a_cancelled_job_is_told_once_and_on_one_line() {
    let ended = [("name", "count\nwords"), ("state", "ended"), ("outcome", "CANCELLED")];
    let mut cancelled = event(300, "job", 1, &ended);
    cancelled.reason = "CANCELLED".into();
    let mut story = Story::new(&application(1), "/".into());
    assert_eq!(told(&mut story, &[cancelled]), " 0.30s job       count words  CANCELLED\n");
}

#[test]
fn a_failing_main_is_told_with_its_exit_and_its_time() {
    let mut story = Story::new(&application(1), "/".into());
    let events = [
        event(500, "main", 1, &[("state", "started"), ("execution", "1")]),
        event(1_900, "main", 1, &[("state", "ended"), ("exit_code", "3")]),
        event(1_950, "ended", 1, &[("outcome", "FAILED")]),
    ];
    assert_eq!(
        told(&mut story, &events),
        " 0.50s main()    started\n 1.90s main()    exit 3 after 1.40 s\n"
    );
}

#[test]
fn a_job_that_takes_its_time_is_told_once() {
    let mut story = Story::new(&application(1), "/".into());
    told(&mut story, &[event(300, "job", 1, &[("name", "slow"), ("state", "submitted")])]);
    let mut told_at = |millis| {
        let lines = story.still_running(Duration::from_millis(millis));
        lines.iter().map(|line| line.render(str::to_owned)).collect::<Vec<_>>()
    };
    assert!(told_at(1_300).is_empty());
    assert_eq!(told_at(1_301), [" 1.30s job       slow  RUNNING"]);
    assert!(told_at(2_300).is_empty());
    let stored = [("name", "loud"), ("state", "stored"), ("prints_in", "taskmanager")];
    told(
        &mut story,
        &[
            event(3_000, "job", 1, &stored),
            event(3_000, "job", 1, &[("name", "loud"), ("state", "submitted")]),
        ],
    );
    let lines = story.still_running(Duration::from_millis(4_001));
    assert_eq!(
        lines[0].text,
        "loud  RUNNING  what it prints: mainspring logs carriers-7k2m --role taskmanager"
    );
}

#[test]
fn what_ended_without_being_published_is_said() {
    let mut story = Story::new(&application(1), "/".into());
    let ended = [
        ("name", "a"),
        ("state", "ended"),
        ("outcome", "SUCCEEDED"),
        ("rows_in", "1"),
        ("rows_out", "1"),
        ("files", "1"),
    ];
    let events = [event(10, "job", 1, &ended), event(20, "ended", 1, &[("outcome", "FAILED")])];
    assert_eq!(
        told(&mut story, &events),
        " 0.02s job       a  SUCCEEDED  1 row in, 1 out  (not published)\n"
    );
}

#[test]
fn the_time_column_keeps_its_width() {
    let columns: Vec<_> = [20, 99_990, 100_000, 3_599_000, 36_000_000]
        .map(|ms| clock(Duration::from_millis(ms)))
        .into();
    assert_eq!(columns, [" 0.02s", "99.99s", " 1m40s", "   59m", "   10h"]);
}

#[test]
fn a_kill_is_told_with_its_sender_and_is_no_end() {
    let mut story = Story::new(&application(1), "/home/me".into());
    let killed =
        [("state", "killed"), ("signal", "9"), ("signal_sender", "the kernel's OOM killer")];
    let events = [
        event(1_000, "main", 1, &killed),
        event(2_000, "main", 2, &[("state", "started"), ("pid", "4134"), ("execution", "2")]),
    ];
    assert_eq!(
        told(&mut story, &events),
        " 1.00s main()    killed by signal 9 (the kernel's OOM killer), is executed again\n \
         2.00s main()    executed again (pid 4134)\n"
    );
}
