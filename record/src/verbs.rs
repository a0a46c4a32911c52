//! What can be asked of the record and told to it.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use proto::job::{Checkpoint, JobEnd, Savepoint};
use proto::{ApplicationRef, EpochFence, Incarnation, IncarnationFence, JobId, api, jobgraph};

use crate::error::{Answer, ClusterRefused, EndRefused, GraphRefused, PinRefused};
use crate::types::{ApplicationEnd, Confirmed, Holder, MainEnd, Standing};

/// The record now, and again after each change. The stream ends when the generation is clean.
pub type Records = BoxStream<'static, Answer<jobgraph::Record>>;

/// One answer for each beat: whether its epoch still holds.
pub type Beats = BoxStream<'static, Answer<bool>>;

/// The record of applications, behind its two fences.
///
/// Every write may be repeated after a lost answer: the same content is answered the same and
/// changes nothing. Nothing is retried inside, because only the caller knows until when it may act.
/// A request that carries a fence of its own is given it by the implementation, so that a caller
/// cannot name two.
///
/// `record.proto` is the specification of each operation; what stands here is what a Rust caller
/// has to know besides.
#[async_trait]
pub trait Record: Send + Sync {
    /// The record of one generation now.
    async fn read(&self, application: &ApplicationRef) -> Answer<jobgraph::Record>;

    /// The record of one generation now and after each change.
    async fn watch(&self, application: &ApplicationRef) -> Answer<Records>;

    /// The first write of a leader: from its return no lower epoch commits. A repeated call by the
    /// same holder is answered with the present record. Tokens are in the answer where the call
    /// went over the wire; a store that is called directly mints none.
    async fn begin_attempt(
        &self,
        fence: &EpochFence,
        holder: &Holder,
        cause: &str,
    ) -> Answer<jobgraph::BeginAttemptResponse>;

    /// Pins the artifacts that are not pinned yet; answers all that are pinned. An artifact that
    /// was pinned before keeps its digest.
    async fn pin_artifacts(
        &self,
        fence: &EpochFence,
        artifacts: Vec<api::PinnedArtifact>,
    ) -> Answer<Vec<api::PinnedArtifact>, PinRefused>;

    /// Begins a new incarnation: from its return no lower one commits. The same `request_id` is
    /// answered with the same number.
    async fn begin_cluster(
        &self,
        fence: &EpochFence,
        request: jobgraph::BeginClusterRequest,
    ) -> Answer<jobgraph::BeginClusterResponse, ClusterRefused>;

    /// Says what became of the current incarnation.
    async fn record_cluster(
        &self,
        fence: &EpochFence,
        request: jobgraph::RecordClusterRequest,
    ) -> Answer<()>;

    /// Says that main() is about to be started under this tether. A successor finds the tether by
    /// it.
    async fn main_starting(&self, fence: &EpochFence, tether_endpoint: &str) -> Answer<()>;

    /// Says that main() runs.
    async fn main_running(&self, fence: &EpochFence, pid: u32) -> Answer<()>;

    /// Says that main() has ended; the first recorded end of an execution stays.
    async fn main_ended(&self, fence: &EpochFence, end: MainEnd) -> Answer<()>;

    /// Answers the id of the job that a call will be for. Writes nothing.
    async fn find_job(
        &self,
        fence: &EpochFence,
        request: jobgraph::FindJobRequest,
    ) -> Answer<JobId>;

    /// Keeps a job's graph under its static id if it has none. A repeated call is answered as the
    /// first one was.
    async fn put_job_graph(
        &self,
        fence: &EpochFence,
        request: jobgraph::PutJobGraphRequest,
    ) -> Answer<jobgraph::PutJobGraphResponse, GraphRefused>;

    /// Says that a job was given to an incarnation.
    async fn job_submitted(
        &self,
        fence: &EpochFence,
        job: JobId,
        incarnation: Incarnation,
    ) -> Answer<()>;

    /// Says as the cluster that a job ended, which is the commit point of its output. No leader is
    /// needed for it.
    async fn job_ended(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        end: JobEnd,
    ) -> Answer<Standing<JobEnd>>;

    /// Says that a job ended in a way that only a leader can know, such as a lost job; never a
    /// success.
    async fn leader_job_ended(
        &self,
        fence: &EpochFence,
        job: JobId,
        end: JobEnd,
    ) -> Answer<Standing<JobEnd>>;

    /// What a job resumes from: its kept checkpoints, the counter of their ids, and whether it has
    /// ended.
    async fn read_checkpoints(
        &self,
        fence: &IncarnationFence,
        job: JobId,
    ) -> Answer<jobgraph::ReadCheckpointsResponse>;

    /// Keeps a checkpoint's pointer: the next incarnation resumes from it.
    async fn add_checkpoint(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        checkpoint: Checkpoint,
    ) -> Answer<()>;

    /// Forgets a checkpoint, if it is kept. Only after this has returned may its files be
    /// discarded.
    async fn remove_checkpoint(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        checkpoint_id: u64,
    ) -> Answer<()>;

    /// Raises the counter of checkpoint ids; answers the one that stands, which is never lower than
    /// it was.
    async fn advance_checkpoint_id(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        next_checkpoint_id: u64,
    ) -> Answer<u64>;

    /// Asks for a savepoint on behalf of main(). Answers whether the same wish was there before.
    async fn request_savepoint(&self, fence: &EpochFence, wish: api::SavepointWish)
    -> Answer<bool>;

    /// Says what became of a savepoint that was asked for.
    async fn savepoint_settled(
        &self,
        fence: &EpochFence,
        job: JobId,
        savepoint: Savepoint,
    ) -> Answer<Standing<Savepoint>>;

    /// Says that all outputs of a committed end stand at their final names.
    async fn published(&self, fence: &EpochFence, job: JobId) -> Answer<()>;

    /// Says that the application ended, decided on this revision of desired state; answers the end
    /// that stands.
    async fn end(
        &self,
        fence: &EpochFence,
        end: ApplicationEnd,
        desired_revision: u64,
    ) -> Answer<ApplicationEnd, EndRefused>;

    /// Says that nothing is left to do for the generation, but for `leftovers`, which were given
    /// up. Fails as PLACES_NOT_RELEASED while processes of its clusters may live at another place
    /// than the leader's.
    async fn mark_clean(&self, fence: &EpochFence, leftovers: Vec<String>) -> Answer<()>;

    /// One step of `once(key, …)`: reads its value, or keeps this one if there is none.
    async fn journal(
        &self,
        fence: &EpochFence,
        key: &str,
        value: Option<Bytes>,
    ) -> Answer<jobgraph::JournalResponse>;

    /// Adds events to the application's past, and sets the conditions that the leader sees now.
    async fn append_events(
        &self,
        fence: &EpochFence,
        events: Vec<api::Event>,
        conditions: Vec<api::Condition>,
    ) -> Answer<()>;

    /// Sends signs of life, one for each item; writes nothing durable.
    async fn beat(
        &self,
        fence: &EpochFence,
        beats: BoxStream<'static, jobgraph::BeatRequest>,
    ) -> Answer<Beats>;

    /// Whether this epoch is the one that writes.
    async fn confirm_epoch(&self, fence: &EpochFence) -> Answer<Confirmed>;

    /// Whether this incarnation is the current one of a generation that is not clean, where it
    /// runs, and whether a leader needs it still.
    async fn confirm_incarnation(&self, fence: &IncarnationFence) -> Answer<Confirmed>;
}
