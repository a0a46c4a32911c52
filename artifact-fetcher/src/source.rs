//! Where bytes come from. A source streams; it neither verifies nor keeps.

mod file;
mod http;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chassis::clock::SharedClock;
use futures::stream::BoxStream;

pub use file::FileSource;
pub use http::HttpSource;

use crate::error::FetchError;
use crate::model::Location;

/// An artifact that has begun to arrive.
pub struct Opened {
    /// Its size in bytes, if the source tells.
    pub size_bytes: Option<u64>,
    /// The offset of the first byte: the offset asked for, or 0 if the source cannot go on or the
    /// artifact changed.
    pub offset: u64,
    /// A name for this version of the artifact, which lets the next opening go on after a cut.
    pub validator: Option<String>,
    /// The bytes from `offset` on, in chunks. After an error another try is worth while.
    pub body: BoxStream<'static, Result<Bytes, Broken>>,
}

/// Why the stream broke.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// Why a source did not open.
#[derive(Debug, Clone)]
pub enum OpenError {
    /// Trying again may help: the text of the failure.
    Passing(String),
    /// Trying again will not help.
    Final(FetchError),
}

/// One kind of place that artifacts come from.
///
/// A transfer opens a source, and opens it again where the stream before was cut. A source does not
/// verify: the transfer digests what arrives, so where the caller names a digest, a source that
/// breaks the first law fails the transfer and gives out no wrong artifact.
///
/// Laws: the bytes of one version of an artifact are the same at every opening; an opening at
/// `offset` with the validator of an earlier opening either goes on with that version or begins at
/// 0; every wait is bounded.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Opens the artifact from `offset` on. `validator` names the version that the first `offset`
    /// bytes were of.
    async fn open(
        &self,
        location: &Location,
        offset: u64,
        validator: Option<&str>,
    ) -> Result<Opened, OpenError>;
}

/// The sources of this build, by kind of location.
#[derive(Clone)]
pub struct Sources {
    file: Arc<dyn Source>,
    http: Arc<dyn Source>,
}

impl Sources {
    /// Files of this machine and `http(s)`.
    pub fn local_and_http(clock: SharedClock) -> Result<Self, reqwest::Error> {
        Ok(Self { file: Arc::new(FileSource), http: Arc::new(HttpSource::new(clock)?) })
    }

    /// The source for a location.
    pub fn of(&self, location: &Location) -> &dyn Source {
        match location {
            Location::File(_) | Location::Local(_) => &*self.file,
            Location::Http(_) => &*self.http,
        }
    }
}
