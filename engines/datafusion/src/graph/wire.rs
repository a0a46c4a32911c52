//! The envelope's bytes: a magic word, then protobuf with field numbers that are never reused.

use std::collections::BTreeMap;

use prost::Message;

use super::{CODEC, ENGINE, Format, JobGraph, JobKind, Sink, engine_major};
use crate::error::GraphError;

/// The first bytes of every graph; the digit is the version of the envelope.
pub const MAGIC: &[u8; 8] = b"MSGRAPH1";

#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(string, tag = "1")]
    engine: String,
    #[prost(uint32, tag = "2")]
    engine_major: u32,
    #[prost(string, tag = "3")]
    codec: String,
    #[prost(btree_map = "string, string", tag = "4")]
    settings: BTreeMap<String, String>,
    #[prost(string, repeated, tag = "5")]
    setup: Vec<String>,
    #[prost(string, optional, tag = "6")]
    sql: Option<String>,
    #[prost(message, optional, tag = "7")]
    sink: Option<WireSink>,
    #[prost(bytes = "vec", tag = "8")]
    plan: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct WireSink {
    #[prost(string, tag = "1")]
    target: String,
    #[prost(string, tag = "2")]
    location: String,
    #[prost(string, tag = "3")]
    format: String,
    #[prost(bytes = "vec", optional, tag = "4")]
    format_options: Option<Vec<u8>>,
    #[prost(btree_map = "string, string", tag = "5")]
    options: BTreeMap<String, String>,
    #[prost(string, repeated, tag = "6")]
    partition_by: Vec<String>,
    #[prost(bool, tag = "7")]
    append: bool,
}

pub(super) fn encode(graph: &JobGraph) -> Vec<u8> {
    let sink = match &graph.kind {
        JobKind::Rows => None,
        JobKind::Sink(sink) => Some(WireSink {
            target: sink.target.clone(),
            location: sink.location.clone(),
            format: sink.format.name().to_owned(),
            format_options: sink.format_options.clone(),
            options: sink.options.clone(),
            partition_by: sink.partition_by.clone(),
            append: sink.append,
        }),
    };
    let envelope = Envelope {
        engine: ENGINE.to_owned(),
        engine_major: graph.engine_major,
        codec: CODEC.to_owned(),
        settings: graph.settings.clone(),
        setup: graph.setup.clone(),
        sql: graph.sql.clone(),
        sink,
        plan: graph.plan.clone(),
    };
    let mut bytes = MAGIC.to_vec();
    envelope.encode(&mut bytes).expect("a Vec grows as needed");
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Result<JobGraph, GraphError> {
    let unreadable = |why: String| GraphError::Unreadable { why };
    let body = bytes.strip_prefix(MAGIC.as_slice()).ok_or_else(|| {
        match bytes.strip_prefix(b"MSGRAPH") {
            Some([version, ..]) => unreadable(format!(
                "envelope version '{}', this engine reads version 1",
                char::from(*version)
            )),
            _ => unreadable("it does not begin with MSGRAPH1".to_owned()),
        }
    })?;
    let envelope = Envelope::decode(body).map_err(|e| unreadable(e.to_string()))?;
    if envelope.engine != ENGINE {
        return Err(GraphError::OtherEngine { found: envelope.engine });
    }
    if envelope.engine_major != engine_major() {
        return Err(GraphError::OtherMajor { found: envelope.engine_major, ours: engine_major() });
    }
    if envelope.codec != CODEC {
        return Err(GraphError::OtherCodec { found: envelope.codec, ours: CODEC });
    }
    let kind = match envelope.sink {
        None => JobKind::Rows,
        Some(sink) => JobKind::Sink(Sink {
            format: Format::from_name(&sink.format)
                .ok_or_else(|| unreadable(format!("unknown format '{}'", sink.format)))?,
            target: sink.target,
            location: sink.location,
            format_options: sink.format_options,
            options: sink.options,
            partition_by: sink.partition_by,
            append: sink.append,
        }),
    };
    Ok(JobGraph {
        engine_major: envelope.engine_major,
        settings: envelope.settings,
        setup: envelope.setup,
        sql: envelope.sql,
        kind,
        plan: envelope.plan,
    })
}
