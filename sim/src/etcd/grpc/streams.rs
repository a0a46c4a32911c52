//! The two streams of etcd: events, and renewals of leases.

use std::sync::Arc;

use chassis::tasks::{Fed, Feed, fed};
use etcd_client::proto::{
    PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse, PbWatchRequest, PbWatchRequestUnion,
    PbWatchResponse,
};
use tonic::{Status, Streaming};

use super::super::Cluster;
use super::super::model::{State, Told, Watchers};
use super::wire;

/// How many messages wait for a slow reader.
const ROOM: usize = 128;

/// The stream of the watchers that are asked for on it.
pub(super) fn watch(
    cluster: Arc<Cluster>,
    asked: Streaming<PbWatchRequest>,
) -> Fed<PbWatchResponse, Status> {
    fed("etcd-watch", ROOM, |feed| tell(cluster, asked, feed))
}

/// Tells all watchers of one stream what happens.
async fn tell(
    cluster: Arc<Cluster>,
    mut asked: Streaming<PbWatchRequest>,
    feed: Feed<PbWatchResponse>,
) -> Result<(), Status> {
    let mut watchers = Watchers::default();
    let mut changes = cluster.changes.subscribe();
    // A client that asks for nothing more may still listen.
    let mut listens = true;
    loop {
        changes.mark_unchanged();
        let (told, revision) = cluster.read(|state, _| Ok(watchers.advance(state.history())))?;
        send(&feed, told, revision).await;
        tokio::select! {
            request = asked.message(), if listens => match request? {
                Some(request) => {
                    let (told, revision) =
                        cluster.read(|state, _| Ok(answer(&mut watchers, state, request)))?;
                    send(&feed, told, revision).await;
                }
                None => listens = false,
            },
            // Waiting cannot fail: the sender is in `cluster`.
            _ = changes.changed() => {}
        }
    }
}

async fn send(feed: &Feed<PbWatchResponse>, told: Vec<Told>, revision: i64) {
    for told in told {
        feed.send(wire::told(told, revision)).await;
    }
}

/// Answers a request. What has happened is told first, because the answer counts on it.
fn answer(watchers: &mut Watchers, state: &State, request: PbWatchRequest) -> Vec<Told> {
    let mut told = watchers.advance(state.history());
    match request.request_union {
        Some(PbWatchRequestUnion::CreateRequest(create)) => {
            let span = wire::watched(create.key, create.range_end);
            let wish = wire::watch_create(
                span,
                create.start_revision,
                &create.filters,
                create.prev_kv,
                create.watch_id,
            );
            told.push(watchers.create(state.history(), wish));
        }
        Some(PbWatchRequestUnion::CancelRequest(cancel)) => {
            told.extend(watchers.cancel(cancel.watch_id));
        }
        Some(PbWatchRequestUnion::ProgressRequest(_)) => {
            told.extend(watchers.progress(state.history()));
        }
        None => {}
    }
    told
}

/// The stream of renewals.
pub(super) fn keep_alive(
    cluster: Arc<Cluster>,
    asked: Streaming<PbLeaseKeepAliveRequest>,
) -> Fed<PbLeaseKeepAliveResponse, Status> {
    fed("etcd-keep-alive", ROOM, |feed| renew(cluster, asked, feed))
}

async fn renew(
    cluster: Arc<Cluster>,
    mut asked: Streaming<PbLeaseKeepAliveRequest>,
    feed: Feed<PbLeaseKeepAliveResponse>,
) -> Result<(), Status> {
    while let Some(request) = asked.message().await? {
        let id = request.id;
        let (ttl, revision) = cluster.act(|state, now| Ok(state.renew(now, id)))?;
        feed.send(PbLeaseKeepAliveResponse { header: wire::header(revision), id, ttl }).await;
    }
    Ok(())
}
