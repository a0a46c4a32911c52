//! A Flink job graph as the record keeps it: an envelope around Flink's own bytes, and the names
//! and digests of the files that they need. The files are payloads of their own, so that each jar
//! is stored once.

use bytes::Bytes;
use prost::Message;
use proto::{Digest, JobId};

use crate::home::FLINK_VERSION;

/// The first bytes of every graph; the digit is the version of the envelope.
pub const MAGIC: &[u8; 8] = b"MSFLINK1";

/// A submission of Flink's client, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobGraph {
    /// The job's id, which is inside the plan too.
    pub job: JobId,
    /// Flink's plan, Java-serialised.
    pub plan: Bytes,
    /// Jars and artifacts.
    pub files: Vec<GraphFile>,
}

/// A file that came with the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphFile {
    /// The file's name, as the client called it.
    pub name: String,
    /// The digest of its bytes, which are in the record.
    pub digest: Digest,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its entry in the distributed cache; `None` for a jar.
    pub entry: Option<String>,
}

/// Why stored bytes are no graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// The bytes are damaged, or of another engine.
    #[error("the stored graph is none of the flink engine: {0}")]
    Unreadable(String),
    /// The graph was made by another version of Flink, whose bytes are not stable across versions.
    #[error(
        "the graph was made by Flink {made} and this engine runs {FLINK_VERSION}: submit the program anew"
    )]
    OtherVersion {
        /// The version in the envelope.
        made: String,
    },
}

#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(string, tag = "1")]
    flink_version: String,
    #[prost(string, tag = "2")]
    job_id: String,
    #[prost(bytes = "bytes", tag = "3")]
    plan: Bytes,
    #[prost(message, repeated, tag = "4")]
    files: Vec<WireFile>,
}

#[derive(Clone, PartialEq, Message)]
struct WireFile {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    digest: String,
    #[prost(uint64, tag = "3")]
    size_bytes: u64,
    #[prost(string, optional, tag = "4")]
    entry: Option<String>,
}

impl JobGraph {
    /// The bytes for the record.
    pub fn encode(&self) -> Bytes {
        let files = self.files.iter().map(|file| WireFile {
            name: file.name.clone(),
            digest: file.digest.to_string(),
            size_bytes: file.size_bytes,
            entry: file.entry.clone(),
        });
        let envelope = Envelope {
            flink_version: FLINK_VERSION.to_owned(),
            job_id: self.job.to_string(),
            plan: self.plan.clone(),
            files: files.collect(),
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(envelope.encode_to_vec());
        bytes.into()
    }

    /// Reads bytes from the record.
    pub fn decode(bytes: &Bytes) -> Result<Self, GraphError> {
        let unreadable = |why: &dyn ToString| GraphError::Unreadable(why.to_string());
        let body = bytes
            .strip_prefix(MAGIC.as_slice())
            .ok_or_else(|| unreadable(&"it begins otherwise"))?;
        let envelope =
            Envelope::decode(bytes.slice_ref(body)).map_err(|error| unreadable(&error))?;
        if envelope.flink_version != FLINK_VERSION {
            return Err(GraphError::OtherVersion { made: envelope.flink_version });
        }
        let file = |file: WireFile| {
            let digest =
                file.digest.parse().map_err(|error: proto::InvalidId| unreadable(&error))?;
            Ok(GraphFile {
                name: file.name,
                digest,
                size_bytes: file.size_bytes,
                entry: file.entry,
            })
        };
        Ok(Self {
            job: envelope.job_id.parse().map_err(|error: proto::InvalidId| unreadable(&error))?,
            plan: envelope.plan,
            files: envelope.files.into_iter().map(file).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> JobGraph {
        let file = |name: &str, entry: Option<&str>| GraphFile {
            name: name.to_owned(),
            digest: Digest::of(name.as_bytes()),
            size_bytes: 7,
            entry: entry.map(str::to_owned),
        };
        JobGraph {
            job: "00112233445566778899aabbccddeeff".parse().unwrap(),
            plan: Bytes::from_static(b"plan"),
            files: vec![file("app.jar", None), file("lookup.csv", Some("lookup"))],
        }
    }

    #[test]
    fn a_graph_is_read_as_it_was_written() {
        let bytes = graph().encode();
        assert!(bytes.starts_with(MAGIC));
        assert_eq!(JobGraph::decode(&bytes), Ok(graph()));
    }

    #[test]
    fn what_is_no_graph_or_another_versions_is_refused_by_name() {
        let other = JobGraph::decode(&Bytes::from_static(b"MSGRAPH1..")).unwrap_err();
        assert!(matches!(other, GraphError::Unreadable(_)));
        let mut bytes = graph().encode().to_vec();
        let at = bytes.windows(5).position(|window| window == FLINK_VERSION.as_bytes()).unwrap();
        bytes[at] = b'1';
        let older = JobGraph::decode(&bytes.into()).unwrap_err();
        assert!(older.to_string().contains("1.3.0"), "{older}");
    }
}
