//! Messages of etcd's protocol and the model's nouns, in both directions.

use etcd_client::proto::{
    PbAlarmMember, PbAlarmRequest, PbCompare, PbDeleteRequest, PbDeleteResponse, PbEvent,
    PbKeyValue, PbPutRequest, PbPutResponse, PbRangeRequest, PbRangeResponse, PbResponseHeader,
    PbResponseOp, PbTargetUnion, PbTxnOpRequest, PbTxnOpResponse, PbTxnRequest, PbTxnRequestOp,
    PbTxnResponse, PbWatchResponse,
};
use etcd_client::{
    AlarmAction, AlarmType, CompareOp, EventType, SortOrder, SortTarget, WatchFilterType,
};

use super::super::model::{
    Between, Compare, Delete, Deleted, Done, Event, KeyValue, Operation, Order, Put, PutDone,
    Range, Ranged, Refusal, Relation, SortBy, Space, Span, State, Subject, Told, Txn, TxnDone,
    WatchCreate,
};

/// The id of the cluster.
const CLUSTER_ID: u64 = 0x1e7c_d000;

/// The id of the member that answers.
pub(super) const MEMBER_ID: u64 = 0x1e7c_d001;

/// The term of the leader.
pub(super) const TERM: u64 = 2;

/// How a header is made of a revision. etcd fills the header of the answer, and leaves only the
/// revision in those of the answers inside it.
pub(super) type MakeHeader = fn(i64) -> Option<PbResponseHeader>;

/// The header of an answer.
pub(super) fn header(revision: i64) -> Option<PbResponseHeader> {
    Some(PbResponseHeader {
        cluster_id: CLUSTER_ID,
        member_id: MEMBER_ID,
        revision,
        raft_term: TERM,
    })
}

/// The header of an answer inside another one.
fn inner(revision: i64) -> Option<PbResponseHeader> {
    Some(PbResponseHeader { revision, ..PbResponseHeader::default() })
}

pub(super) fn range(range: PbRangeRequest) -> Result<Range, Refusal> {
    let order = match SortOrder::try_from(range.sort_order) {
        Ok(SortOrder::None) => Order::Any,
        Ok(SortOrder::Ascend) => Order::Ascending,
        Ok(SortOrder::Descend) => Order::Descending,
        Err(_) => return Err(Refusal::InvalidSort),
    };
    let by = match SortTarget::try_from(range.sort_target) {
        Ok(SortTarget::Key) => SortBy::Key,
        Ok(SortTarget::Version) => SortBy::Version,
        Ok(SortTarget::Create) => SortBy::Created,
        Ok(SortTarget::Mod) => SortBy::Modified,
        Ok(SortTarget::Value) => SortBy::Value,
        Err(_) => return Err(Refusal::InvalidSort),
    };
    Ok(Range {
        span: Span::new(range.key, range.range_end),
        limit: usize::try_from(range.limit).unwrap_or_default(),
        revision: range.revision,
        order,
        by,
        keys_only: range.keys_only,
        count_only: range.count_only,
        modified: Between { least: range.min_mod_revision, most: range.max_mod_revision },
        created: Between { least: range.min_create_revision, most: range.max_create_revision },
    })
}

pub(super) fn put(put: PbPutRequest) -> Put {
    Put {
        key: put.key,
        value: put.value,
        lease: put.lease,
        tell_previous: put.prev_kv,
        keep_value: put.ignore_value,
        keep_lease: put.ignore_lease,
    }
}

pub(super) fn delete(delete: PbDeleteRequest) -> Delete {
    Delete { span: Span::new(delete.key, delete.range_end), tell_previous: delete.prev_kv }
}

pub(super) fn txn(txn: PbTxnRequest) -> Result<Txn, Refusal> {
    let compares: Option<Vec<Compare>> = txn.compare.into_iter().map(compare).collect();
    Ok(Txn {
        compares: compares.ok_or(Refusal::KeyNotFound)?,
        success: txn.success.into_iter().map(operation).collect::<Result<_, _>>()?,
        failure: txn.failure.into_iter().map(operation).collect::<Result<_, _>>()?,
    })
}

/// A condition; `None` if it compares with nothing, which no client of this project does.
fn compare(compare: PbCompare) -> Option<Compare> {
    let relation = match CompareOp::try_from(compare.result).ok()? {
        CompareOp::Equal => Relation::Equal,
        CompareOp::Greater => Relation::Greater,
        CompareOp::Less => Relation::Less,
        CompareOp::NotEqual => Relation::NotEqual,
    };
    let subject = match compare.target_union? {
        PbTargetUnion::Version(version) => Subject::Version(version),
        PbTargetUnion::CreateRevision(revision) => Subject::Created(revision),
        PbTargetUnion::ModRevision(revision) => Subject::Modified(revision),
        PbTargetUnion::Value(value) => Subject::Value(value),
        PbTargetUnion::Lease(lease) => Subject::Lease(lease),
    };
    Some(Compare { span: Span::new(compare.key, compare.range_end), relation, subject })
}

fn operation(operation: PbTxnRequestOp) -> Result<Operation, Refusal> {
    Ok(match operation.request.ok_or(Refusal::KeyNotFound)? {
        PbTxnOpRequest::RequestRange(read) => Operation::Range(range(read)?),
        PbTxnOpRequest::RequestPut(write) => Operation::Put(put(write)),
        PbTxnOpRequest::RequestDeleteRange(deletion) => Operation::Delete(delete(deletion)),
        PbTxnOpRequest::RequestTxn(inner) => Operation::Txn(txn(inner)?),
    })
}

/// The keys of a watcher. etcd takes a missing key for the first one.
pub(super) fn watched(key: Vec<u8>, end: Vec<u8>) -> Span {
    Span::new(if key.is_empty() { vec![0] } else { key }, end)
}

pub(super) fn watch_create(
    span: Span,
    start: i64,
    filters: &[i32],
    with_before: bool,
    id: i64,
) -> WatchCreate {
    let told = |filter: WatchFilterType| !filters.contains(&(filter as i32));
    let (puts, deletes) = (told(WatchFilterType::NoPut), told(WatchFilterType::NoDelete));
    WatchCreate { span, start, puts, deletes, with_before, id }
}

/// What is told, and the latest revision.
pub(super) fn told(told: Told, revision: i64) -> PbWatchResponse {
    let message = PbWatchResponse {
        header: header(revision),
        watch_id: told.id(),
        ..PbWatchResponse::default()
    };
    match told {
        Told::Created { .. } => PbWatchResponse { created: true, ..message },
        Told::Refused { why } => {
            PbWatchResponse { created: true, canceled: true, cancel_reason: why, ..message }
        }
        Told::Canceled { .. } => PbWatchResponse { canceled: true, ..message },
        Told::Compacted { revision: compact_revision, .. } => {
            PbWatchResponse { canceled: true, compact_revision, ..message }
        }
        Told::Events { events, .. } => {
            PbWatchResponse { events: events.into_iter().map(event).collect(), ..message }
        }
        Told::Progress => message,
    }
}

fn event(event: Event) -> PbEvent {
    let kind = if event.put { EventType::Put } else { EventType::Delete };
    PbEvent {
        r#type: kind as i32,
        kv: Some(key_value(event.now)),
        prev_kv: event.before.map(key_value),
    }
}

pub(super) fn ranged(ranged: Ranged, header: MakeHeader) -> PbRangeResponse {
    PbRangeResponse {
        header: header(ranged.revision),
        kvs: ranged.kvs.into_iter().map(key_value).collect(),
        more: ranged.more,
        count: counted(ranged.count),
    }
}

pub(super) fn put_done(done: PutDone, header: MakeHeader) -> PbPutResponse {
    PbPutResponse { header: header(done.revision), prev_kv: done.previous.map(key_value) }
}

pub(super) fn deleted(deleted: Deleted, header: MakeHeader) -> PbDeleteResponse {
    PbDeleteResponse {
        header: header(deleted.revision),
        deleted: counted(deleted.count),
        prev_kvs: deleted.previous.into_iter().map(key_value).collect(),
    }
}

pub(super) fn txn_done(done: TxnDone, header: MakeHeader) -> PbTxnResponse {
    PbTxnResponse {
        header: header(done.revision),
        succeeded: done.succeeded,
        responses: done.answers.into_iter().map(operation_done).collect(),
    }
}

fn operation_done(done: Done) -> PbResponseOp {
    let response = match done {
        Done::Range(read) => PbTxnOpResponse::ResponseRange(ranged(read, inner)),
        Done::Put(done) => PbTxnOpResponse::ResponsePut(put_done(done, inner)),
        Done::Deleted(done) => PbTxnOpResponse::ResponseDeleteRange(deleted(done, inner)),
        Done::Txn(done) => PbTxnOpResponse::ResponseTxn(txn_done(done, inner)),
    };
    PbResponseOp { response: Some(response) }
}

fn key_value(kv: KeyValue) -> PbKeyValue {
    PbKeyValue {
        key: kv.key,
        create_revision: kv.created,
        mod_revision: kv.modified,
        version: kv.version,
        value: kv.value,
        lease: kv.lease,
    }
}

fn counted(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Looks at the alarm of a lack of room, raises it or clears it. There is no other alarm.
pub(super) fn alarm(state: &mut State, asked: &PbAlarmRequest) -> Vec<PbAlarmMember> {
    let of_space = asked.alarm == AlarmType::Nospace as i32;
    let is_raised = state.space() == Space::Exceeded;
    let is_told = match AlarmAction::try_from(asked.action) {
        Ok(AlarmAction::Get) => is_raised && (of_space || asked.alarm == AlarmType::None as i32),
        Ok(AlarmAction::Activate) => {
            if of_space {
                state.set_space(Space::Exceeded);
            }
            of_space
        }
        Ok(AlarmAction::Deactivate) => {
            let clears = is_raised && of_space && asked.member_id == MEMBER_ID;
            if clears {
                state.set_space(Space::Enough);
            }
            clears
        }
        Err(_) => false,
    };
    let member = PbAlarmMember { member_id: MEMBER_ID, alarm: AlarmType::Nospace as i32 };
    if is_told { vec![member] } else { Vec::new() }
}
