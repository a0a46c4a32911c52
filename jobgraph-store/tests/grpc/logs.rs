//! Output: taken from the owners of tethers, followed and read.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use proto::{ApplicationRef, Reason, api, jobgraph};
use record::Record as _;

use crate::host::{Host, reference, spec, submit_request};

fn source(app: &ApplicationRef, role: &str, number: u64) -> jobgraph::LogSource {
    jobgraph::LogSource {
        application: Some(app.clone().into()),
        role: role.into(),
        number,
        ..Default::default()
    }
}

fn chunk(next_offset: u64, stream: &str, text: &str, seconds: i64) -> jobgraph::OutputChunk {
    jobgraph::OutputChunk {
        next_offset,
        stream: stream.into(),
        data: Bytes::copy_from_slice(text.as_bytes()),
        unix_nanos: seconds * 1_000_000_000,
        lost_before: 0,
    }
}

fn read(id: &str) -> api::ReadLogsRequest {
    api::ReadLogsRequest { application_id: id.into(), ..Default::default() }
}

async fn texts(host: &Host, request: api::ReadLogsRequest) -> Vec<String> {
    let batches: Vec<Vec<api::LogLine>> =
        host.applications().read_logs(request).await.unwrap().try_collect().await.unwrap();
    batches.concat().iter().map(|line| String::from_utf8(line.text.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn output_reaches_a_follower_at_once_and_a_reader_after_a_restart() {
    let mut host = Host::start().await;
    let submitted = host.applications().submit(submit_request("r1", spec("logs"))).await.unwrap();
    let app = reference(&submitted.application.unwrap());
    let source = source(&app, "main", 3);
    let (mut stream, offset) = host.logs().append(source.clone()).await.unwrap();
    assert_eq!(offset, 0);
    let mut lines = host
        .applications()
        .read_logs(api::ReadLogsRequest { follow: true, ..read("logs") })
        .await
        .unwrap();
    stream.send(vec![chunk(9, "stdout", "hello\nwor", 1)]).await.unwrap();
    let first = lines.next().await.unwrap().unwrap();
    assert_eq!(
        (&first[0].text[..], first[0].role.as_str(), first[0].number),
        (&b"hello"[..], "main", 3)
    );
    stream.send(vec![chunk(12, "stdout", "ld\n", 1)]).await.unwrap();
    stream.finish().await.unwrap();
    assert_eq!(&lines.next().await.unwrap().unwrap()[0].text[..], b"world");
    drop(lines);
    host.restart().await;
    let rest = api::ReadLogsRequest { cursor: first[0].cursor.clone(), ..read("logs") };
    assert_eq!(texts(&host, rest).await, ["world"]);
    let (_, offset) = host.logs().append(source).await.unwrap();
    assert_eq!(offset, 12);
    host.stop().await;
}

#[tokio::test]
async fn lines_are_chosen_by_role_attempt_time_and_number() {
    let host = Host::start().await;
    let (app, fence) = host.led("choose").await;
    for (role, number, begin) in [("main", 1, 10), ("worker", 1, 20), ("main", 2, 30)] {
        let (mut stream, _) = host.logs().append(source(&app, role, number)).await.unwrap();
        for n in 0..3 {
            let text = format!("{role}-{number}-{n}\n");
            let offset = (n + 1) * text.len() as u64;
            let to = if n == 1 { "stderr" } else { "stdout" };
            stream
                .send(vec![chunk(offset, to, &text, begin + i64::try_from(n).unwrap())])
                .await
                .unwrap();
        }
        stream.finish().await.unwrap();
    }
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let all = texts(&host, read("choose")).await;
    assert_eq!(all.len(), 9);
    let main = api::ReadLogsRequest { roles: vec!["main".into()], ..read("choose") };
    assert_eq!(texts(&host, main).await, [&all[..3], &all[6..]].concat());
    let second = api::ReadLogsRequest { attempt: 2, ..read("choose") };
    assert_eq!(texts(&host, second).await, all[6..]);
    let last = api::ReadLogsRequest { tail: 4, ..read("choose") };
    assert_eq!(texts(&host, last).await, all[5..]);
    let between = api::ReadLogsRequest { since: at(12), until: at(21), ..read("choose") };
    assert_eq!(texts(&host, between).await, all[2..4]);
    let odd = api::ReadLogsRequest { cursor: "no cursor".into(), ..read("choose") };
    let odd = host.applications().read_logs(odd).await.map(|_| ()).unwrap_err();
    assert_eq!(odd.reason(), Some(Reason::RequestInvalid));

    let applications = host.applications();
    // A follower ends when the application is clean and the follower has read everything.
    let follow =
        applications.read_logs(api::ReadLogsRequest { follow: true, tail: 1, ..read("choose") });
    let follower = follow.await.unwrap();
    let (mut stream, _) = host.logs().append(source(&app, "main", 3)).await.unwrap();
    stream.send(vec![chunk(4, "stdout", "bye\n", 40)]).await.unwrap();
    stream.finish().await.unwrap();
    host.fails(&fence).await;
    host.record().mark_clean(&fence, Vec::new()).await.unwrap();
    let followed: Vec<Vec<api::LogLine>> = follower.try_collect().await.unwrap();
    let followed: Vec<&[u8]> = followed.iter().flatten().map(|line| &line.text[..]).collect();
    assert!(followed.ends_with(&[b"bye"]) && followed.len() <= 2, "{followed:?}");
    host.stop().await;
}

#[tokio::test]
async fn a_shipper_that_breaks_off_is_followed_by_another_without_a_double_line() {
    let host = Host::start().await;
    let (app, _) = host.led("ship").await;
    let (mut first, _) = host.logs().append(source(&app, "main", 1)).await.unwrap();
    first.send(vec![chunk(4, "stdout", "one\n", 1), chunk(7, "stdout", "two", 1)]).await.unwrap();
    // The second stream takes over while the first still lives.
    let (mut second, offset) = host.logs().append(source(&app, "main", 1)).await.unwrap();
    let all = "one\ntwo\nthree";
    let offset = usize::try_from(offset).unwrap();
    second.send(vec![chunk(13, "stdout", &all[offset..], 1)]).await.unwrap();
    let _ = first.send(vec![chunk(9, "stdout", "late\n", 1)]).await;
    second.finish().await.unwrap();
    assert_eq!(texts(&host, read("ship")).await, ["one", "two", "three"]);
    host.stop().await;
}

#[tokio::test]
async fn a_stream_that_was_replaced_does_not_take_its_output_for_kept() {
    let host = Host::start().await;
    let (app, _) = host.led("replaced").await;
    let (mut first, _) = host.logs().append(source(&app, "main", 1)).await.unwrap();
    let (mut second, offset) = host.logs().append(source(&app, "main", 1)).await.unwrap();
    assert_eq!(offset, 0);
    // The first stream sends this, and it does not write any more.
    let _ = first.send(vec![chunk(4, "stdout", "one\n", 1)]).await;
    assert!(first.finish().await.is_err(), "nothing says that it is durable");
    second.send(vec![chunk(4, "stdout", "one\n", 1)]).await.unwrap();
    second.finish().await.unwrap();
    assert_eq!(texts(&host, read("replaced")).await, ["one"]);
    host.stop().await;
}

#[tokio::test]
async fn output_is_taken_after_clean_and_after_somebody_called_it_complete() {
    let host = Host::start().await;
    let (app, fence) = host.led("late").await;
    let (mut stream, _) = host.logs().append(source(&app, "main", 1)).await.unwrap();
    stream.send(vec![chunk(4, "stdout", "one\n", 1)]).await.unwrap();
    stream.finish().await.unwrap();
    host.fails(&fence).await;
    host.record().mark_clean(&fence, Vec::new()).await.unwrap();
    let (mut stream, offset) = host.logs().append(source(&app, "main", 1)).await.unwrap();
    assert_eq!(offset, 4);
    stream.send(vec![chunk(8, "stdout", "two\n", 1)]).await.unwrap();
    stream.finish().await.unwrap();
    assert_eq!(texts(&host, read("late")).await, ["one", "two"]);
    host.stop().await;
}

/// Two hosts number their contenders alike. Red without the host in `source_key`: the second
/// contender is answered the offset of the first, and its line is taken for a known one.
#[tokio::test]
async fn contenders_of_two_hosts_with_one_number_are_two_sources() {
    let host = Host::start().await;
    let (app, _) = host.led("hosts").await;
    let on = |name: &str| jobgraph::LogSource { host: name.into(), ..source(&app, "contender", 0) };
    for (name, text) in [("a-1", "of a\n"), ("b", "of b\n"), ("", "alone\n")] {
        let (mut stream, offset) = host.logs().append(on(name)).await.unwrap();
        assert_eq!(offset, 0, "{name}");
        stream.send(vec![chunk(text.len() as u64, "stdout", text, 1)]).await.unwrap();
        stream.finish().await.unwrap();
    }
    let batches: Vec<Vec<api::LogLine>> =
        host.applications().read_logs(read("hosts")).await.unwrap().try_collect().await.unwrap();
    let lines = batches.concat();
    let named: Vec<&str> = lines.iter().map(|line| line.role.as_str()).collect();
    assert_eq!(named, ["a-1/contender", "b/contender", "contender"]);
    for (role, expected) in [("contender", 3), ("b/contender", 1), ("a-1/main", 0)] {
        let of_role = api::ReadLogsRequest { roles: vec![role.into()], ..read("hosts") };
        assert_eq!(texts(&host, of_role).await.len(), expected, "{role}");
    }
    let odd = host.logs().append(on("a/b")).await.map(drop).unwrap_err();
    assert_eq!(odd.reason(), Some(Reason::RequestInvalid));
    host.stop().await;
}
