//! Sizes that both sides of the record keep to. A caller that goes beyond one is refused; the
//! refusal names the limit.

/// The largest graph of one job, in bytes. A graph is held in memory by the runner, by the store
/// while it is put, and by the worker: data belongs into files that the graph names.
pub const MAX_GRAPH_BYTES: usize = 64 << 20;

/// The largest part of a graph, a payload or a result in one message, in bytes. Large enough that a
/// message's overhead does not show, small enough that a hundred streams at once fit into memory.
pub const CHUNK_BYTES: usize = 1 << 20;
