//! Payloads as objects of a bucket, through OpenDAL: any service that speaks S3 and checks
//! signatures of version 4. A small payload is one call; a large one is an upload in parts that
//! becomes one object when it is completed. So no reader sees a part of a payload.

mod upload;

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::{StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use opendal::layers::{RetryLayer, TimeoutLayer};
use opendal::{Entry, Error, ErrorKind, HttpTransporter, OperationContext, Operator, services};
use opendal_http_transport_reqwest::ReqwestTransport;
use upload::S3Writer;

use super::layout::{OWNER, Shared};
use super::location::Bucket;
use super::{BlobEntries, BlobError, BlobInfo, BlobName, BlobStream, BlobWriter, Blobs};

/// A payload is read in parts of this size, in bytes: each is a call of its own, so a larger part
/// waits less and holds more memory. A reading holds up to three.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// A payload up to this size, in bytes, is put by one call, and a larger one in parts of this size.
/// A service takes 10,000 parts, which makes 78 GiB. A writer holds up to two parts.
const WRITE_BYTES: usize = 8 * 1024 * 1024;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a question for a payload's size may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long every other call may take: a part on its way, or a service that makes one object of all
/// parts.
const PART_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a call is made again that failed for a reason that may pass.
const RETRIES: usize = 5;

/// The pauses before a call is made again grow from the first to the last, and are drawn a little
/// longer.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3)];

/// Payloads as objects below a prefix of one bucket.
#[derive(Debug, Clone)]
pub struct S3Blobs {
    operator: Operator,
    /// The bucket and the prefix, as messages name them.
    location: Arc<str>,
}

impl S3Blobs {
    /// Prepares calls to the bucket, and makes none. The process has a TLS provider by then.
    pub fn open(bucket: &Bucket) -> Result<Self, BlobError> {
        let location: Arc<str> = bucket.location().to_string().into();
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("mainspring/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| BlobError::Failed(format!("{location}: {error}")))?;
        let transport = HttpTransporter::new(ReqwestTransport::new(client));
        let credentials = &bucket.credentials;
        // All that the service is reached by is a setting of the store, so nothing is taken from
        // files and services that happen to be there.
        let mut service = services::S3::default()
            .bucket(&bucket.name)
            .root(&bucket.prefix)
            .region(&bucket.region)
            .access_key_id(&credentials.access_key_id)
            .secret_access_key(credentials.secret_access_key.expose())
            .disable_config_load()
            .disable_ec2_metadata();
        if let Some(token) = &credentials.session_token {
            service = service.session_token(token.expose());
        }
        if let Some(endpoint) = &bucket.endpoint {
            service = service.endpoint(endpoint.as_str());
            if endpoint.is_open() {
                let endpoint = endpoint.as_str();
                tracing::warn!(endpoint, "payloads go to their bucket in plain text");
            }
        }
        // Each try has a bound of its own, so the bound comes below the tries.
        let operator = Operator::new(service)
            .map_err(|error| failed(&location, &error))?
            .with_context(OperationContext::new().with_http_transport(transport))
            .layer(TimeoutLayer::default().with_timeout(CALL_TIMEOUT).with_io_timeout(PART_TIMEOUT))
            .layer(
                RetryLayer::default()
                    .with_jitter()
                    .with_min_delay(PAUSES[0])
                    .with_max_delay(PAUSES[1])
                    .with_max_times(RETRIES),
            );
        Ok(Self { operator, location })
    }

    fn failed(&self, error: &Error) -> BlobError {
        failed(&self.location, error)
    }
}

/// The words by which services say that they take no more.
const FULL: [&str; 3] = ["QuotaExceeded", "StorageFull", "InsufficientStorage"];

/// The word by which services say that a signature is of another time than theirs.
const CLOCKS_APART: &str = "RequestTimeTooSkewed";

/// What went wrong, and where a setting is wrong, which.
fn failed(location: &str, error: &Error) -> BlobError {
    let mut why = error.message().to_owned();
    let mut cause = error.source();
    while let Some(below) = cause {
        // The transport's error tells the address and little else; the deepest cause says why.
        cause = below.source();
        if cause.is_none() {
            why = format!("{why}: {below}");
        }
    }
    if FULL.iter().any(|word| why.contains(word)) {
        return BlobError::Full(format!("{location}: {why}"));
    }
    // Services have codes of their own for a key that they do not know.
    let is_unknown_key = why.to_lowercase().contains("access key");
    let remedy = match error.kind() {
        _ if why.contains(CLOCKS_APART) => {
            "; the clocks of this machine and of the service are apart: set them right"
        }
        ErrorKind::ConfigInvalid => {
            "; is there such a bucket? make it, or name another with MAINSPRING_BLOBS"
        }
        kind if kind == ErrorKind::PermissionDenied || is_unknown_key => {
            "; the credentials have to be right, and to allow to list the bucket and to get, put \
             and delete its objects"
        }
        _ => "",
    };
    BlobError::Failed(format!("{location}: {why}{remedy}"))
}

#[async_trait]
impl Blobs for S3Blobs {
    async fn writer(&self, name: BlobName) -> Result<Box<dyn BlobWriter>, BlobError> {
        let writer = self
            .operator
            .writer_with(&name.place())
            .chunk(WRITE_BYTES)
            .await
            .map_err(|error| self.failed(&error))?;
        Ok(Box::new(S3Writer::new(writer, self.location.clone())))
    }

    async fn stat(&self, name: BlobName) -> Result<Option<u64>, BlobError> {
        match self.operator.stat(&name.place()).await {
            Ok(found) => Ok(Some(found.content_length())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn read(&self, name: BlobName, offset: u64) -> Result<BlobStream, BlobError> {
        let size = self.stat(name).await?.ok_or(BlobError::Missing(name.digest))?;
        if offset >= size {
            return Ok(futures::stream::empty().boxed());
        }
        let location = self.location.clone();
        let missing = move |error: &Error| match error.kind() {
            // The payload was removed meanwhile.
            ErrorKind::NotFound => BlobError::Missing(name.digest),
            _ => failed(&location, error),
        };
        let reader = self
            .operator
            .reader_with(&name.place())
            .chunk(READ_BYTES)
            .await
            .map_err(|error| missing(&error))?;
        let parts = reader.into_stream(offset..size).await.map_err(|error| missing(&error))?;
        Ok(parts.map_ok(|part| part.to_bytes()).map_err(move |error| missing(&error)).boxed())
    }

    fn place(&self, name: BlobName) -> String {
        format!("{}/{}", self.location, name.place())
    }

    async fn remove(&self, name: BlobName) -> Result<(), BlobError> {
        self.operator.delete(&name.place()).await.map_err(|error| self.failed(&error))
    }

    fn entries(&self) -> BlobEntries {
        let (operator, location) = (self.operator.clone(), self.location.clone());
        let listing = async move {
            let entries = operator
                .lister_with("")
                .recursive(true)
                .await
                .map_err(|error| failed(&location, &error))?;
            Ok::<_, BlobError>(
                entries
                    .map_err(move |error| failed(&location, &error))
                    .try_filter_map(|entry| std::future::ready(Ok(found(&entry)))),
            )
        };
        listing.try_flatten_stream().boxed()
    }
}

/// The payload of an entry of a listing, if it is one. A page of the listing tells the times of all
/// its objects, so none is asked for its own.
fn found(entry: &Entry) -> Option<BlobInfo> {
    let name = BlobName::at(entry.path())?;
    Some(BlobInfo { name, modified: entry.metadata().last_modified().map(SystemTime::from) })
}

#[async_trait]
impl Shared for S3Blobs {
    async fn owner(&self) -> Result<Option<String>, BlobError> {
        match self.operator.read(OWNER).await {
            Ok(read) => Ok(Some(String::from_utf8_lossy(&read.to_bytes()).trim_end().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn set_owner(&self, owner: &str) -> Result<(), BlobError> {
        let text = format!("{owner}\n");
        let set = self.operator.write_with(OWNER, text.clone()).if_not_exists(true).await;
        let Err(error) = set else { return Ok(()) };
        match error.kind() {
            ErrorKind::ConditionNotMatch | ErrorKind::Conflict => Ok(()),
            // A service that knows no conditions lets two records take one bucket if both do so in
            // the same moment. The one whose mark is gone is refused when it starts again.
            _ if error.message().contains("NotImplemented") => {
                let set = self.operator.write(OWNER, text).await;
                set.map(drop).map_err(|error| self.failed(&error))
            }
            _ => Err(self.failed(&error)),
        }
    }
}

#[cfg(test)]
mod tests;
