//! An etcd in memory, served over the traits that etcd's own protocol generates.
//!
//! `model` is what etcd does, without time and wire; `grpc` is the wire. Between them stands the
//! cluster: one state, one clock, and what a test does to it. The cluster loses nothing when its
//! members end, because a real one answers a write only when a quorum has it on disk.

mod grpc;
pub mod model;

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chassis::clock::{Boot, Clock as _, SharedClock};
use chassis::tasks::{OwnedTask, owned};
use chassis::transport::{Endpoint, SharedTransport};
use tokio::sync::watch;

use model::{Refusal, Space, State};

/// An etcd cluster.
#[derive(Debug)]
pub struct Etcd {
    cluster: Arc<Cluster>,
    /// Ends leases for as long as the cluster is there.
    _lessor: OwnedTask<()>,
}

/// One member, which serves for as long as the value is there. Connections that are open when the
/// value goes stay open.
#[derive(Debug)]
pub struct Member {
    _serving: OwnedTask<()>,
}

/// What the members of a cluster share.
struct Cluster {
    clock: SharedClock,
    held: Mutex<Held>,
    /// Wakes when the state or the faults change.
    changes: watch::Sender<()>,
}

/// The state of a cluster, and its faults.
#[derive(Debug, Default)]
struct Held {
    state: State,
    /// The members have no leader: they refuse every call and end every stream.
    leaderless: bool,
    /// Which of the next writes are done and their answers lost.
    answers_to_lose: Range<usize>,
}

impl Held {
    /// Whether the answer of the write that was just done gets lost.
    fn loses_an_answer(&mut self) -> bool {
        let Range { start, end } = self.answers_to_lose;
        self.answers_to_lose = start.saturating_sub(1)..end.saturating_sub(1);
        start == 0 && end > 0
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("held", &self.held).finish_non_exhaustive()
    }
}

impl Etcd {
    /// A cluster that holds nothing. The call has to come inside the runtime.
    pub fn new(clock: SharedClock) -> Self {
        let (held, changes) = (Mutex::default(), watch::Sender::default());
        let cluster = Arc::new(Cluster { clock, held, changes });
        let lessor = owned("etcd-lessor", keep_ending_leases(cluster.clone()));
        Self { cluster, _lessor: lessor }
    }

    /// Begins a member that serves at an endpoint.
    pub async fn serve(
        &self,
        transport: &SharedTransport,
        endpoint: &Endpoint,
    ) -> io::Result<Member> {
        let incoming = transport.listen(endpoint).await?;
        let serving = owned("etcd-member", grpc::serve(self.cluster.clone(), incoming));
        Ok(Member { _serving: serving })
    }

    /// The members lose their leader: every call is refused as unavailable, every stream of events
    /// ends, and no lease does.
    pub fn lose_leader(&self) {
        self.cluster.held().leaderless = true;
        self.cluster.changes.send_replace(());
    }

    /// The members elect a leader after a time without, so that every lease begins anew.
    pub fn elect_leader(&self) {
        let now = self.cluster.clock.boot();
        {
            let mut held = self.cluster.held();
            if std::mem::take(&mut held.leaderless) {
                held.state.elect(now);
            }
        }
        self.cluster.changes.send_replace(());
    }

    /// These of the next writes, counted from 0, are done, and answered like those of which etcd
    /// cannot say whether they will be. A write that is refused does not count.
    pub fn lose_answers(&self, writes: Range<usize>) {
        self.cluster.held().answers_to_lose = writes;
    }

    /// Gives up all of the past, as a client's compaction does: what a watch has not been told is
    /// lost to it.
    pub fn compact(&self) {
        {
            let mut held = self.cluster.held();
            let revision = held.state.revision();
            // Of a past that is given up already nothing is left to give up.
            let _ = held.state.compact(revision);
        }
        self.cluster.changes.send_replace(());
    }

    /// Grants leases of at most so many seconds from now on, whatever is asked for. etcd's protocol
    /// leaves the time to etcd.
    pub fn limit_leases(&self, seconds: i64) {
        self.cluster.held().state.limit_leases(seconds);
    }

    /// The next write that needs room uses up the rest of it. Clients end that by clearing the
    /// alarm, as on a real etcd.
    pub fn use_up_space(&self) {
        self.cluster.held().state.set_space(Space::LastWrite);
    }
}

impl Cluster {
    /// Reads.
    fn read<T>(
        &self,
        read: impl FnOnce(&State, Boot) -> Result<T, Refusal>,
    ) -> Result<(T, i64), Refusal> {
        self.act(|state, now| read(state, now))
    }

    /// Writes. The answer may get lost.
    fn write<T>(
        &self,
        write: impl FnOnce(&mut State, Boot) -> Result<T, Refusal>,
    ) -> Result<(T, i64), Refusal> {
        let written = self.act(write);
        self.changes.send_replace(());
        let written = written?;
        if self.held().loses_an_answer() { Err(Refusal::TimedOut) } else { Ok(written) }
    }

    /// Acts on the state of this moment. Answers the latest revision besides.
    fn act<T>(
        &self,
        act: impl FnOnce(&mut State, Boot) -> Result<T, Refusal>,
    ) -> Result<(T, i64), Refusal> {
        let now = self.clock.boot();
        let mut held = self.held();
        if held.leaderless {
            return Err(Refusal::NoLeader);
        }
        // A lease has ended at its instant, also if the lessor has not looked yet.
        if held.state.expire(now) {
            self.changes.send_replace(());
        }
        let acted = act(&mut held.state, now)?;
        let revision = held.state.revision();
        Ok((acted, revision))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends each lease at its instant.
async fn keep_ending_leases(cluster: Arc<Cluster>) {
    let mut changes = cluster.changes.subscribe();
    loop {
        changes.mark_unchanged();
        let next = cluster.read(|state, _| Ok(state.next_expiry()));
        // Waiting cannot fail: the sender is in `cluster`.
        match next {
            Ok((Some(at), _)) => {
                tokio::select! {
                    _ = changes.changed() => {}
                    () = cluster.clock.sleep_until(at) => {}
                }
            }
            Ok((None, _)) | Err(_) => {
                let _ = changes.changed().await;
            }
        }
    }
}
