//! Watching, waiting, staleness: an old state is never shown as if it were new.

use record::{Holder, Record as _};
use std::time::Duration;

use chassis::clock::{Clock as _, SystemClock, timeout};
use futures::StreamExt as _;
use proto::api::{self, WaitFor, WatchRequest, watch_response::Item};
use proto::{Reason, jobgraph};

use crate::host::{Host, fence as fence_of, spec, submit_request};

fn beat(fence: &proto::EpochFence, rows: u64) -> jobgraph::BeatRequest {
    let counters = proto::job::Progress { rows_in: rows, ..Default::default() };
    jobgraph::BeatRequest {
        fence: Some(fence.clone().into()),
        source: "runner-0".into(),
        progress: vec![api::JobProgress {
            job_id: "j".into(),
            progress: Some(counters),
            checkpoint: None,
            last_failure: String::new(),
        }],
        activity: "fetching".into(),
        standbys: vec!["runner-1".into()],
    }
}

#[tokio::test]
async fn a_leader_that_falls_silent_is_stale_with_a_growing_age() {
    let mut host = Host::start().await;
    let (app, fence) = host.led("silent").await;
    let (beats, receiver) = tokio::sync::mpsc::channel(4);
    let mut answers = host
        .record()
        .beat(&fence, tokio_stream::wrappers::ReceiverStream::new(receiver).boxed())
        .await
        .unwrap();
    beats.send(beat(&fence, 41)).await.unwrap();
    assert!(answers.next().await.unwrap().unwrap());
    let fresh = host.applications().get(&app.id, None).await.unwrap();
    let observed = fresh.observation.unwrap();
    assert!(
        !observed.stale && observed.source == "runner-0" && observed.epoch == 1,
        "{observed:?}"
    );
    assert_eq!(
        (fresh.message.as_str(), fresh.leadership.unwrap().standbys),
        ("fetching", vec!["runner-1".to_owned()])
    );

    // The source is silent from here on.
    let request = WatchRequest { application_id: app.id.to_string(), ..Default::default() };
    let mut watch = host.applications().watch(request).await.unwrap();
    let stale = timeout(&SystemClock, Duration::from_secs(10), async {
        let mut ages = Vec::new();
        loop {
            let Some(Ok(item)) = watch.next().await else { panic!("the watch ended") };
            let Item::Bookmark(bookmark) = item else { continue };
            assert_eq!(bookmark.progress[0].progress.unwrap().rows_in, 41);
            let observed = bookmark.observation.unwrap();
            ages.push(observed.age_millis);
            if observed.stale {
                return ages;
            }
        }
    });
    let ages = stale.await.expect("it becomes stale");
    assert!(ages.is_sorted() && *ages.last().unwrap() > 2000 && ages.len() >= 2, "{ages:?}");
    let seen = host.applications().get(&app.id, None).await.unwrap();
    assert!(
        seen.observation.clone().unwrap().stale && seen.phase() == api::Phase::Starting,
        "the last known state, said to be old"
    );

    // After a restart no leader was heard of yet, so each is stale until its next beat.
    drop(beats);
    host.restart().await;
    assert!(host.applications().get(&app.id, None).await.unwrap().observation.unwrap().stale);
    let mut answers =
        host.record().beat(&fence, futures::stream::iter([beat(&fence, 1)]).boxed()).await.unwrap();
    assert!(answers.next().await.unwrap().unwrap());
    assert!(!host.applications().get(&app.id, None).await.unwrap().observation.unwrap().stale);
    // The beat of a superseded leader is told so, and counts for nothing.
    host.record()
        .begin_attempt(&fence_of(&app, 2), &Holder::new("runner-1", 2), "lease expired")
        .await
        .unwrap();
    let mut answers =
        host.record().beat(&fence, futures::stream::iter([beat(&fence, 1)]).boxed()).await.unwrap();
    assert!(!answers.next().await.unwrap().unwrap());
    assert_eq!(
        host.applications().get(&app.id, None).await.unwrap().observation.unwrap().source,
        "runner-1"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_list_and_a_watch_from_its_revision_have_no_gap() {
    let host = Host::start().await;
    let applications = host.applications();
    for n in 0..3 {
        host.led(&format!("app-{n}")).await;
    }
    let (listed, revision) = applications
        .list_all(api::ListRequest { page_size: 2, ..Default::default() })
        .await
        .unwrap();
    assert_eq!(listed.len(), 3);
    applications.cancel(&"app-1".parse().unwrap(), None, "why", "me").await.unwrap();
    applications.submit(submit_request("late", spec("late"))).await.unwrap();
    let mut watch = applications
        .watch(WatchRequest { after_revision: revision, ..Default::default() })
        .await
        .unwrap();
    applications.cancel(&"app-2".parse().unwrap(), None, "", "").await.unwrap();
    let mut names = Vec::new();
    let mut last = revision;
    while names.len() < 3 {
        let item = timeout(&SystemClock, Duration::from_secs(10), watch.next())
            .await
            .expect("a change")
            .unwrap()
            .unwrap();
        let Item::Application(application) = item else { continue };
        assert!(application.revision > last, "revision {} after {last}", application.revision);
        last = application.revision;
        names.push(application.application_id);
    }
    assert_eq!(names, ["app-1", "late", "app-2"]);
    let future = applications
        .watch(WatchRequest { after_revision: last + 1000, ..Default::default() })
        .await;
    assert_eq!(future.map(|_| ()).map_err(|error| error.reason()), Err(Some(Reason::Compacted)));
    host.stop().await;
}

#[tokio::test]
async fn lists_are_filtered_and_newest_first() {
    let host = Host::start().await;
    let applications = host.applications();
    for (n, team) in ["blue", "red", "blue"].into_iter().enumerate() {
        let labels = [("team".to_owned(), team.to_owned())].into();
        let request = api::SubmitRequest {
            labels,
            ..submit_request(&format!("r{n}"), spec(&format!("app-{n}")))
        };
        applications.submit(request).await.unwrap();
    }
    let first = fence_of(
        &proto::ApplicationRef { id: "app-0".parse().unwrap(), generation: proto::Generation(1) },
        1,
    );
    host.record().begin_attempt(&first, &Holder::new("runner-0", 1), "").await.unwrap();
    host.fails(&first).await;
    host.record().mark_clean(&first, Vec::new()).await.unwrap();
    applications.submit(submit_request("again", spec("app-0"))).await.unwrap();
    let names = async |request: api::ListRequest| {
        let listed = applications.list_all(request).await.unwrap().0;
        listed
            .iter()
            .map(|app| format!("{}@{}", app.application_id, app.generation))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(api::ListRequest::default()).await,
        ["app-0@2", "app-2@1", "app-1@1", "app-0@1"]
    );
    let latest = api::ListRequest { latest_only: true, ..Default::default() };
    assert_eq!(names(latest).await, ["app-0@2", "app-2@1", "app-1@1"]);
    let labels = [("team".to_owned(), "blue".to_owned())].into();
    assert_eq!(
        names(api::ListRequest { labels, page_size: 1, ..Default::default() }).await,
        ["app-2@1", "app-0@1"]
    );
    let ended = api::ListRequest { phases: vec![api::Phase::Ended.into()], ..Default::default() };
    assert_eq!(names(ended).await, ["app-0@1"]);
    let since = Some(prost_types::Timestamp::from(SystemClock.wall() + Duration::from_secs(60)));
    assert_eq!(
        names(api::ListRequest { since, ..Default::default() }).await,
        ["app-0@2", "app-2@1", "app-1@1"]
    );
    host.stop().await;
}

#[tokio::test]
async fn a_wait_answers_when_it_is_so_and_the_state_when_its_time_is_over() {
    let host = Host::start().await;
    let (app, fence) = host.led("wait").await;
    let applications = host.applications();
    let short = Duration::from_millis(30);
    let (seen, met) = applications.wait(&app.id, None, WaitFor::Ended, "", short).await.unwrap();
    assert!(!met && seen.phase() == api::Phase::Starting);
    let waiting = {
        let (applications, id) = (applications.clone(), app.id.clone());
        tokio::spawn(async move {
            applications.wait(&id, None, WaitFor::Ended, "", Duration::from_secs(20)).await
        })
    };
    host.fails(&fence).await;
    let (seen, met) = waiting.await.unwrap().unwrap();
    assert!(
        met && seen.outcome() == api::Outcome::Failed && seen.message == "main() exited with 3"
    );
    assert!(
        applications.wait(&app.id, None, WaitFor::Running, "", short).await.unwrap().1,
        "it runs no more, ever"
    );
    let (_, met) = applications.wait(&app.id, None, WaitFor::Job, "none", short).await.unwrap();
    assert!(!met);
    host.record().mark_clean(&fence, vec!["pid 812".into()]).await.unwrap();
    let (seen, met) = applications.wait(&app.id, None, WaitFor::Clean, "", short).await.unwrap();
    assert!(met && seen.leftovers == ["pid 812"]);
    host.stop().await;
}

/// Makes an application clean by its leader's words.
async fn clean(host: &Host, id: &str) -> (proto::ApplicationRef, u64) {
    let (app, fence) = host.led(id).await;
    host.fails(&fence).await;
    host.record().mark_clean(&fence, Vec::new()).await.unwrap();
    let revision = host.applications().get(&app.id, None).await.unwrap().revision;
    (app, revision)
}

#[tokio::test]
async fn watchers_hear_of_what_is_forgotten_and_snapshots_may_leave_out_what_is_clean() {
    let host = Host::start().await;
    let applications = host.applications();
    let (over, revision) = clean(&host, "over").await;
    host.led("runs").await;
    let mut of_one = applications
        .watch(WatchRequest { application_id: over.id.to_string(), ..Default::default() })
        .await
        .unwrap();
    let mut of_all = applications
        .watch(WatchRequest { snapshot_unclean_only: true, ..Default::default() })
        .await
        .unwrap();
    let mut snapshot = Vec::new();
    while let Item::Application(shown) = of_all.next().await.unwrap().unwrap() {
        snapshot.push(shown.application_id);
    }
    assert_eq!(snapshot, ["runs"]);
    // An application that becomes clean is told of all the same, and so is one that is forgotten,
    // each once.
    let (late, late_revision) = clean(&host, "late").await;
    for (app, revision) in [(&over, revision), (&late, late_revision)] {
        let forgotten =
            applications.forget(&app.id, app.generation, revision, false).await.unwrap();
        assert!(!forgotten.forgotten_earlier);
    }
    applications.cancel(&"runs".parse().unwrap(), None, "", "").await.unwrap();
    let (mut heard, mut last) = (Vec::new(), String::new());
    while last != "runs" {
        let item =
            timeout(&SystemClock, Duration::from_secs(10), of_all.next()).await.expect("an item");
        match item.unwrap().unwrap() {
            Item::Application(shown) => last = shown.application_id,
            Item::Forgotten(gone) => heard.push((gone.application_id, gone.generation)),
            Item::SnapshotEnd(_) | Item::Bookmark(_) => {}
        }
    }
    assert_eq!(heard, [("over".to_owned(), 1), ("late".to_owned(), 1)]);
    let mut of_one_last = None;
    while let Some(item) =
        timeout(&SystemClock, Duration::from_secs(10), of_one.next()).await.expect("its end")
    {
        of_one_last = Some(item.unwrap());
    }
    assert!(matches!(of_one_last, Some(Item::Forgotten(_))), "{of_one_last:?}");
    host.stop().await;
}
