//! One upload. OpenDAL loses an upload whose call is cut while it is under way, and the service
//! would keep its parts. So each step is a task that goes on to its end when the caller leaves, and
//! an upload that no caller has any more is given up.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chassis::tasks::detached;
use opendal::{Error, Writer};
use tokio::sync::oneshot;

use super::failed;
use crate::blobs::{BlobError, BlobWriter};

/// Why a step outlives its caller, and the end of an upload its writer.
const WHY: &str = "an upload whose step is cut is lost, and its parts stay with the service";

/// An upload that is given up when this value is dropped before it was completed.
struct Upload(Option<Writer>);

impl Upload {
    /// Takes one step to its end. A caller that leaves meanwhile gives the upload up.
    async fn step<F>(
        mut self,
        step: impl FnOnce(Writer) -> F,
    ) -> Result<(Self, Result<(), Error>), BlobError>
    where
        F: Future<Output = (Writer, Result<(), Error>)> + Send + 'static,
    {
        let over = || BlobError::Failed("the upload is over".to_owned());
        let step = step(self.0.take().ok_or_else(over)?);
        let (answer, answered) = oneshot::channel();
        detached("upload", WHY, async move {
            let (writer, done) = step.await;
            // Without a caller, the upload is dropped here or in the channel.
            let _ = answer.send((Self(Some(writer)), done));
        });
        answered.await.map_err(|_| over())
    }

    /// Drops the parts that are with the service, and waits until that is done.
    async fn give_up(mut self) {
        if let Some(ended) = self.end() {
            // A task that panicked has told so.
            let _ = ended.await;
        }
    }

    /// Begins to drop the parts. What cannot be dropped now, a rule of the bucket has to clear
    /// away; no reader sees it.
    fn end(&mut self) -> Option<oneshot::Receiver<()>> {
        let mut writer = self.0.take()?;
        let (done, ended) = oneshot::channel();
        detached("abandoned upload", WHY, async move {
            if let Err(error) = writer.abort().await {
                tracing::debug!(%error, "parts of an upload may stay in the bucket");
            }
            let _ = done.send(());
        });
        Some(ended)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.end();
    }
}

/// A payload on its way into a bucket.
pub(super) struct S3Writer {
    /// The upload, but while a step is under way.
    upload: Upload,
    location: Arc<str>,
}

impl S3Writer {
    /// A payload that this upload brings into the bucket.
    pub(super) fn new(writer: Writer, location: Arc<str>) -> Self {
        Self { upload: Upload(Some(writer)), location }
    }

    fn take(&mut self) -> Upload {
        std::mem::replace(&mut self.upload, Upload(None))
    }
}

#[async_trait]
impl BlobWriter for S3Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        let step = |mut writer: Writer| async move {
            let written = writer.write(bytes).await;
            (writer, written)
        };
        let (upload, written) = self.take().step(step).await?;
        // After a failure it is not known which bytes are missing, so the upload ends here.
        written.map_err(|error| failed(&self.location, &error))?;
        self.upload = upload;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), BlobError> {
        let step = |mut writer: Writer| async move {
            let closed = writer.close().await.map(drop);
            (writer, closed)
        };
        let (mut upload, closed) = self.take().step(step).await?;
        match closed {
            Ok(()) => {
                upload.0 = None;
                Ok(())
            }
            // The upload is given up beside the caller, who need not wait to hear why.
            Err(error) => Err(failed(&self.location, &error)),
        }
    }

    async fn abort(mut self: Box<Self>) {
        self.take().give_up().await;
    }
}
