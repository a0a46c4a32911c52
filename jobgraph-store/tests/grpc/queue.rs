//! An application that waits for room is shown as waiting, and the queue is no part of the record.

use chassis::credential::Principal;
use futures::StreamExt as _;
use proto::Reason;
use proto::api::{self, Phase, watch_response::Item};
use proto::jobgraph::{ReportQueueRequest, WaitingApplication};
use record::{Holder, Record as _};

use crate::host::{Host, reference, spec, submit_request};

async fn submitted(host: &Host, id: &str) -> api::Application {
    let request = submit_request(&format!("r-{id}"), spec(id));
    host.applications().submit(request).await.unwrap().application.unwrap()
}

fn only(application: &api::Application) -> ReportQueueRequest {
    let application = Some(reference(application).into());
    let waiting = WaitingApplication { application, share: "team=a".into(), share_running: 1 };
    ReportQueueRequest { running: 2, max_running: 2, waiting: vec![waiting], length: 1 }
}

async fn listed(host: &Host, phase: Phase) -> Vec<String> {
    let request = api::ListRequest { phases: vec![phase.into()], ..Default::default() };
    let page = host.applications().list(request).await.unwrap();
    page.applications.into_iter().map(|application| application.application_id).collect()
}

#[tokio::test]
async fn what_waits_is_queued_in_every_answer_until_it_is_led() {
    let mut host = Host::start().await;
    let waits = submitted(&host, "waits").await;
    submitted(&host, "next").await;
    host.admission().report(only(&waits)).await.unwrap();

    let shown = host.applications().get(&reference(&waits).id, None).await.unwrap();
    assert_eq!((shown.phase(), shown.reason.as_str()), (Phase::Queued, "HOST_FULL"));
    assert_eq!(shown.revision, waits.revision, "no revision");
    assert_eq!(listed(&host, Phase::Queued).await, ["waits"]);
    assert_eq!(listed(&host, Phase::Submitted).await, ["next", "waits"]);

    let request = api::WatchRequest { application_id: "waits".into(), ..Default::default() };
    let mut watch = host.applications().watch(request).await.unwrap();
    let bookmark = loop {
        if let Item::Bookmark(bookmark) = watch.next().await.unwrap().unwrap() {
            break bookmark;
        }
    };
    assert_eq!(bookmark.queue.unwrap().position, 1);
    drop(watch);

    let fence = crate::host::fence(&reference(&waits), 1);
    host.record().begin_attempt(&fence, &Holder::new("runner-0", 1), "").await.unwrap();
    let led = host.applications().get(&reference(&waits).id, None).await.unwrap();
    assert_eq!((led.phase(), led.queue), (Phase::Starting, None));

    // Nothing of a queue is in the record.
    host.restart().await;
    assert_eq!(listed(&host, Phase::Queued).await, Vec::<String>::new());
    host.stop().await;
}

#[tokio::test]
async fn only_the_deployment_says_who_waits() {
    let host = Host::start().await;
    let waits = submitted(&host, "waits").await;
    let contender = Principal::Contender { application: "waits".into(), generation: 1 };
    let refused = host.as_(Some(&contender)).admission().report(only(&waits)).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::CredentialScope));
    host.stop().await;
}
